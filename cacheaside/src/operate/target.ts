/**
 * The store and the keyspaces that the commands work on. Each question to them has a time limit, and each view is closed
 * again.
 */
import { type Clock, systemClock } from '../base/clock.ts'
import { CacheError } from '../base/errors.ts'
import { invalidOption, knownNames } from '../base/invalid-option.ts'
import { idPartsOf } from '../base/key.ts'
import type { SharedStore, StoreView } from '../shared/shared-store.ts'
import type { AuditedKeyspace } from '../verify/audited-keyspace.ts'
import { limited } from '../verify/pace.ts'
import { openTimedView } from '../verify/timed-view.ts'
import { assertKeyspaces, DEFAULT_VERIFY_OPTIONS } from '../verify/verify.ts'
import type { OperationConfig } from './config.ts'

/** What the commands work on: the object of a configuration file, or an application's own object with some of its fields. */
export interface Operated extends Omit<OperationConfig, 'close'> {
  /** Time and timers. @defaultValue `systemClock` */
  readonly clock?: Clock
  /** Ends the work under way, which then rejects with the signal's reason. Left out: only the time limits end it. */
  readonly signal?: AbortSignal
}

const NAMES = [
  ...['shared', 'keyspaces', 'feed', 'rate', 'graceMs', 'timeoutMs', 'maxFindings', 'close'],
  ...['cache', 'migration', 'pool', 'tags'],
]

/**
 * Refuses options that a configuration file does not have. The clock and the signal are the program's own.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function checkNames(config: OperationConfig): void {
  knownNames('options', config, NAMES)
}

/**
 * The store.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function sharedOf({ shared }: Operated): SharedStore {
  if (typeof shared?.lease !== 'function') throw invalidOption('shared', 'a shared store', shared)
  return shared
}

/** The clock that is given, or the machine's. */
export const clockOf = ({ clock = systemClock }: Operated): Clock => clock

/** How long a server, or a loader, may take. */
export const timeoutOf = ({ timeoutMs = DEFAULT_VERIFY_OPTIONS.timeoutMs }: Operated): number => timeoutMs

/** Waits for an answer, for no longer than is allowed. */
export function asked<T>(operated: Operated, who: string, answer: Promise<T>): Promise<T> {
  const ms = timeoutOf(operated)
  const late = () => new Error(`${who} did not answer within ${ms} ms`)
  return limited(clockOf(operated), ms, answer, late, operated.signal)
}

/** Waits for an answer of the store. */
export const askedStore = <T>(operated: Operated, answer: Promise<T>): Promise<T> =>
  asked(operated, 'the shared store', answer)

/** Opens a view of the store, and closes it afterwards. Each of its answers has the time limit. */
export async function withView<T>(operated: Operated, look: (view: StoreView) => Promise<T>): Promise<T> {
  const shared = sharedOf(operated)
  const limits = { clock: clockOf(operated), timeoutMs: timeoutOf(operated), signal: operated.signal }
  const view = await openTimedView(shared, limits)
  try {
    return await look(view)
  } finally {
    await view.close()
  }
}

/**
 * The keyspaces.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function keyspacesOf({ keyspaces }: Operated): readonly AuditedKeyspace[] {
  assertKeyspaces(keyspaces)
  return keyspaces
}

/**
 * The keyspace of this name.
 *
 * @throws CacheError `INVALID_OPTIONS`, with the names that there are.
 */
export function keyspaceNamed(operated: Operated, name: string): AuditedKeyspace {
  const keyspaces = keyspacesOf(operated)
  const found = keyspaces.find(space => space.name === name)
  if (found !== undefined) return found
  throw invalidOption('the keyspace', `one of ${keyspaces.map(space => space.name).join(', ')}`, name)
}

/** One key, by its keyspace and the parts of its id as texts. */
export interface NamedKey {
  readonly keyspace: AuditedKeyspace
  readonly id: unknown
  readonly key: string
}

/**
 * The key that a person has typed.
 *
 * @throws CacheError `INVALID_OPTIONS` for an unknown keyspace; `INVALID_KEY` for what is no id of it.
 */
export function keyNamed(operated: Operated, name: string, parts: readonly string[]): NamedKey {
  const keyspace = keyspaceNamed(operated, name)
  const found = keyspace.idFromParts(parts)
  // An `idFromKey` takes the parts that it knows. More of them are a second id, or one of another keyspace.
  // An empty one is often a variable that is not set, and `Number('')` is 0.
  const made = found === undefined ? [] : idPartsOf(found.key)
  const isBlank = parts.some((part, i) => part.trim() === '' && made[i] !== part)
  if (found === undefined || made.length !== parts.length || isBlank)
    throw new CacheError('INVALID_KEY', `${JSON.stringify(parts.join(' '))} is no id of ${name}`)
  return { keyspace, ...found }
}

/** The hint for a store that only its own process can see. */
export const EMBEDDED_NOTE =
  'this store is embedded: it lives in the process that has made it, and what other processes hold is not seen'
