/**
 * What the reply of the shared store means for a read: the second half of step 3, after `ask.ts`.
 *
 * A reply is judged in this order: is it a register, and of this key; whose shape and generation; do the stamps of its tags
 * stand; how old is it. The outcome is an answer to go on with, or that the store has to be asked again. A value that no
 * reader should find any more gives way to our lease, if it has not changed.
 */
import { keepAtHand } from './at-hand.ts'
import type { Why } from './base/events.ts'
import { FlightTags, tagsOf } from './flight-tags.ts'
import { tagsOfLoaded } from './late-tags.ts'
import { type Asked, claimRefresh, dropLease, type Fallback, refreshesAhead } from './lease.ts'
import type { Flight } from './local/flight.ts'
import { aliasOf } from './own-key.ts'
import { type Opened, takeOf, Unopened } from './shared/codec.ts'
import { type Mark, markedToken } from './shared/key-mark.ts'
import {
  type LeaseRegister,
  leaseText,
  markOf,
  parseRegister,
  type Register,
  type ValueRegister,
  valuePrefix,
} from './shared/register.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import { type Expected, type LeaseReply, REFUSED, TOO_LARGE } from './shared/shared-store.ts'
import type { Answer, CacheParts, OpenedRegister, Space } from './space.ts'

/** What the store says of one key; {@link UNCONFIRMED} if it has not answered in time. */
export type Reply = LeaseReply | typeof UNCONFIRMED

/** The shared store holds a value that may be returned. */
type Found<V> = Asked<V> & { readonly kind: 'found' }

/** What a register means for a read: an answer; `'busy'`: ask again after a pause; or `'again'`: ask again at once. */
export type Judged<V> = Asked<V> | 'busy' | 'again'

/** The state of one question to the store. */
export interface AskProgress<V> {
  readonly flight: Flight<Answer>
  readonly strong: boolean
  /** The keyspace's, as it is known to this read. */
  generation: string
  /** When `sharedTimeoutMs` are used up. Waiting for somebody else's lease is bounded apart, and puts it off. */
  deadlineMs: number
  /** When somebody else's lease or claim was seen first. */
  busySinceMs: number | undefined
  swaps: number
  fallback: Fallback<V> | undefined
  /** The register's text that is being judged. `known` is what was made of the same text when this process read it before. */
  text: string
  known: OpenedRegister | undefined
}

const SWAP_ATTEMPTS = 3

/** What a reply means for the read. */
export function judgeReply<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  reply: Reply,
  token: string | undefined,
  nowMs: number,
): Judged<V> | Promise<Judged<V>> {
  if (reply === UNCONFIRMED) return unavailable(space, progress.flight, token, progress.fallback)
  // What was seen before is gone, and may have been invalidated: it is no fallback.
  if (reply === null && token !== undefined)
    return { kind: 'leased', why: 'missing', generation: progress.generation, prefix: leaseText(token) }
  if (reply === null) return 'again'
  if (reply === REFUSED) {
    const message = 'the shared store has no room: what it does not hold is loaded by every read'
    space.parts.warnings.begin('SHARED_FULL', '', { message })
    return { kind: 'bypass', why: 'full' }
  }
  if (reply === TOO_LARGE) return { kind: 'bypass', why: 'too-large' }
  return judgeRegister(space, progress, reply, token, nowMs)
}

/** The usual case of {@link judgeReply}: a value that this process has read before, and that is fresh and has no tags. */
export function foundAgain<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  reply: Reply,
  generation: string,
  nowMs: number,
): Found<V> | undefined {
  const { readRegisters, stream } = space.parts
  if (readRegisters === undefined || typeof reply !== 'string' || flight.tags !== undefined) return undefined
  const known = readRegisters.madeOf(flight.key, reply)
  if (known === undefined || known.space !== (space as unknown)) return undefined
  const { register } = known
  if (register.shape !== space.options.shape || register.generation !== generation) return undefined
  const freshMs = register.softExpiryMs - stream.storesFromOurs(nowMs)
  if (freshMs <= 0 || register.tags.length > 0) return undefined
  return foundFresh(space, register, known.opened as Opened<V>, freshMs, nowMs)
}

/** What to make of a register that is not absent. */
function judgeRegister<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  text: string,
  token: string | undefined,
  nowMs: number,
): Judged<V> | Promise<Judged<V>> {
  progress.fallback = undefined
  progress.text = text
  const known = space.parts.readRegisters?.madeOf(progress.flight.key, text)
  progress.known = known?.space === (space as unknown) ? known : undefined
  if (progress.known !== undefined) return judgeValue(space, progress, progress.known.register, nowMs)
  const register = parseRegister(text)
  const mark = markIn(space, progress, register)
  if (mark === 'foreign') return mismatched(space, progress, register as ValueRegister | LeaseRegister, token)
  switch (register.state) {
    case 'lease':
      return 'busy'
    case 'guard':
      return { kind: 'bypass', why: 'guarded' }
    // Its writer may count on a fence that this version does not see.
    case 'later':
      return { kind: 'bypass', why: 'version' }
    // This name was a tag's before.
    case 'stamp':
    case 'unreadable':
      space.parts.emit({
        type: 'unreadable',
        keyspace: space.name,
        key: progress.flight.key,
        reason: 'register',
      })
      return swapForLease(space, progress, { exactly: text }, 'unreadable')
    case 'value':
      // An earlier version's value does not tell its key: nobody knows whether it is the one that was asked for.
      if (mark === 'none') return replaceValue(space, progress, register, 'version')
      return judgeValue(space, progress, register, nowMs)
  }
}

/** Whose register the reply is. Nothing can mix up replies inside one process. */
const markIn = <Id, V>({ parts }: Space<Id, V>, { flight }: AskProgress<V>, register: Register): Mark =>
  parts.access.store.synchronous || (register.state !== 'value' && register.state !== 'lease')
    ? 'own'
    : markOf(register, flight.key)

/** Whether this reply is the register of another key. Then the answer to the question is unknown. */
export function isOfAnother(key: string, reply: Reply | undefined): boolean {
  if (typeof reply !== 'string') return false
  const register = parseRegister(reply)
  return (register.state === 'value' || register.state === 'lease') && markOf(register, key) === 'foreign'
}

/**
 * The reply is the register of another key. Either something on the way has lost or added a reply: then all that follows on
 * that connection is as wrong. Or that register itself was stored under this key: then our lease replaces it, if it is still
 * there.
 */
function mismatched<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister | LeaseRegister,
  token: string | undefined,
): Judged<V> | Promise<Judged<V>> {
  const { access, emit } = space.parts
  const { key } = progress.flight
  const prefix = register.state === 'value' ? valuePrefix(register.nonce) : leaseText(register.token)
  emit({ type: 'mismatch', keyspace: space.name, key })
  const isOfTheConnection = access.store.distrust?.(key, prefix) === true
  // The lease that was asked for may have been granted. It is dropped over the next connection: this one is not to be
  // trusted.
  dropLease(space.parts, key, token)
  if (isOfTheConnection) return { kind: 'bypass', why: 'unavailable' }
  return swapForLease(space, progress, { prefix }, 'unreadable')
}

function judgeValue<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
  nowMs: number,
): Judged<V> | Promise<Judged<V>> {
  // A newer deploy's value: it must not be overwritten by the older one, or the two would take turns for ever.
  if (register.shape > space.options.shape) return { kind: 'bypass', why: 'shape' }
  return register.generation === progress.generation
    ? judgeCurrent(space, progress, register, nowMs)
    : judgeGeneration(space, progress, register)
}

/** A value of another generation. The keyspace's generation is read once more, unless the value's is known to have fallen. */
async function judgeGeneration<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
): Promise<Judged<V>> {
  const { access, clock, stream } = space.parts
  const { generation: seen } = register
  if (!stream.looks.hasFallen(space.name, seen)) {
    const found = await access.run(() => stream.looks.after(space.name, seen), leftMs(space.parts, progress))
    if (found === UNCONFIRMED) return unavailable(space, progress.flight, undefined)
    progress.generation = found
    if (found === seen) return judgeCurrent(space, progress, register, clock.nowMs())
  }
  return replaceValue(space, progress, register, 'generation')
}

/** Judges a value of the keyspace's generation. */
function judgeCurrent<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
  nowMs: number,
): Judged<V> | Promise<Judged<V>> {
  if (register.shape < space.options.shape) return replaceValue(space, progress, register, 'shape')
  const { flight } = progress
  if (flight.tags === undefined && register.tags.length === 0)
    return judgeOpened(space, progress, register, nowMs)
  flight.tags ??= new FlightTags(space.parts, flight, progress.strong)
  const judged = judgeTags(space, progress, register)
  if (judged === 'standing') return judgeOpened(space, progress, register, nowMs)
  if (!(judged instanceof Promise)) return judged
  return judged.then(late =>
    late === 'standing' ? judgeOpened(space, progress, register, space.parts.clock.nowMs()) : late,
  )
}

/**
 * Whether all stamps of a value stand. A stamp that differs may have been read before the value was stored: it is read
 * again, and the value falls only by what was read after the value was seen. Otherwise processes would take turns to remove
 * each other's values.
 */
function judgeTags<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
): 'standing' | Judged<V> | Promise<'standing' | Judged<V>> {
  const tags = tagsOf(progress.flight)!
  const names = register.tags.map(({ name }) => name)
  const obstacle = tags.whyHeld(names) ?? tags.obstacle(names)
  if (obstacle !== undefined) return obstacle
  const doubtful = tags.doubtful(register.tags)
  return doubtful.length === 0
    ? judgeNames(space, progress, register, names)
    : judgeDoubtful(space, progress, register, doubtful)
}

/** Asks for the stamps that are not known, or differ. */
async function judgeDoubtful<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
  doubtful: readonly string[],
): Promise<'standing' | Judged<V>> {
  const tags = tagsOf(progress.flight)!
  // Generations are read, too: this process's copies would be those of the first look.
  await tags.ask(doubtful, { strong: true, limitMs: leftMs(space.parts, progress) })
  const names = register.tags.map(({ name }) => name)
  const obstacle = tags.obstacle(names)
  if (obstacle !== undefined) return obstacle
  const [fallen] = tags.doubtful(register.tags)
  if (fallen === undefined) return judgeNames(space, progress, register, names)
  return replaceValue(space, progress, register, 'tag', fallen)
}

/** Whether a value, whose stamps all stand, depends on every tag that the keyspace's `tags` names. */
function judgeNames<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
  names: readonly string[],
): 'standing' | Judged<V> | Promise<'standing' | Judged<V>> {
  const lacking = tagsOf(progress.flight)!.wanted.find(name => !names.includes(name))
  if (lacking !== undefined) return replaceLacking(space, progress, register, lacking)
  space.tagging?.remember(progress.flight.key, names)
  return 'standing'
}

/** A value that lacks a tag was stored by another deploy. It is replaced once in its life, and bypassed after that. */
function replaceLacking<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
  lacking: string | undefined,
): Judged<V> | Promise<Judged<V>> {
  const { tagging, parts } = space
  const { staleMs, staleIfErrorMs } = space.options
  const untilMs = parts.stream.oursFromStores(register.softExpiryMs) + Math.max(staleMs, staleIfErrorMs)
  if (tagging!.mayReplace(progress.flight.key, parts.clock.nowMs(), untilMs))
    return replaceValue(space, progress, register, 'names', lacking)
  return { kind: 'bypass', why: 'names', tag: lacking }
}

/** Judges a value by its age. Everything else about it has been judged. */
function judgeOpened<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
  nowMs: number,
): Judged<V> | Promise<Judged<V>> {
  const opened = (progress.known?.opened as Opened<V> | undefined) ?? openedOf(space, progress, register)
  if (opened === undefined) return replaceValue(space, progress, register, 'unreadable')
  if (progress.known === undefined && space.tagging?.hasLate === true) {
    const lacking = lackingOf(space, progress, register, opened)
    if (lacking !== 'none') return replaceLacking(space, progress, register, lacking.tag)
  }
  const storeNowMs = space.parts.stream.storesFromOurs(nowMs)
  const freshMs = register.softExpiryMs - storeNowMs
  if (freshMs > 0) {
    if (progress.known === undefined) remember(space, progress, register, opened)
    return foundFresh(space, register, opened, freshMs, nowMs)
  }
  const claimStands = register.claimUntilMs > storeNowMs
  if (!progress.strong && -freshMs < space.options.staleMs)
    return { kind: 'found', register, opened, why: 'stale', refresh: !claimStands, atMs: nowMs }
  progress.fallback =
    !progress.strong && -freshMs < space.options.staleIfErrorMs ? { register, opened } : undefined
  return claimStands ? 'busy' : claimExpired(space, progress, register)
}

/** A tag that a value names, by `tagsOf`, and that it was not stored under; `'none'` if it lacks none. */
function lackingOf<Id, V>(
  space: Space<Id, V>,
  { flight }: AskProgress<V>,
  register: ValueRegister,
  opened: Opened<V>,
): 'none' | { readonly tag: string | undefined } {
  const value = takeOf(opened)
  if (value instanceof Unopened) return 'none'
  const names = tagsOfLoaded(space, tagsOf(flight)!, value)
  if (names === 'untagged') return { tag: undefined }
  const tag = names.find(name => register.tags.every(has => has.name !== name))
  return tag === undefined ? 'none' : { tag }
}

const foundFresh = <Id, V>(
  space: Space<Id, V>,
  register: ValueRegister,
  opened: Opened<V>,
  freshMs: number,
  nowMs: number,
): Found<V> => ({
  kind: 'found',
  register,
  opened,
  why: 'fresh',
  refresh: refreshesAhead(space, register, freshMs),
  atMs: nowMs,
})

/** The value of a register, if it belongs under this key. `undefined` if it cannot be used; then an event says why. */
function openedOf<Id, V>(
  space: Space<Id, V>,
  { flight: { key } }: AskProgress<V>,
  register: ValueRegister,
): Opened<V> | undefined {
  const { emit } = space.parts
  const opened = space.envelope.open(register.text)
  if (opened instanceof Unopened) {
    emit({ type: 'unreadable', keyspace: space.name, key, reason: opened.reason, error: opened.error })
    return undefined
  }
  // A process that does not know `idOf` yet may have stored it.
  const alias = aliasOf(space, key, opened)
  if (alias === undefined) return opened
  emit({ type: 'unreadable', keyspace: space.name, key, reason: 'alias', error: alias.error })
  return undefined
}

/** Keeps a value for readers of the same text. A value of which each reader gets a copy is decoded for each of them. */
function remember<Id, V>(
  space: Space<Id, V>,
  { flight, text, generation }: AskProgress<V>,
  register: ValueRegister,
  opened: Opened<V>,
): void {
  if (space.atHand !== undefined && (space.tagging !== undefined || register.tags.length > 0))
    keepAtHand(space, flight.key, text, register, opened)
  if (opened.isShared)
    space.parts.readRegisters?.remember(flight.key, text, {
      space: space as unknown as OpenedRegister['space'],
      // The same string object that later reads compare with.
      register: { ...register, generation },
      opened,
    })
}

/** A value that no reader should find any more: our lease takes its place, if it is still there. */
const replaceValue = <Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  { nonce }: ValueRegister,
  why: Why,
  tag?: string,
): Promise<Asked<V> | 'again'> => swapForLease(space, progress, { prefix: valuePrefix(nonce) }, why, tag)

/** Puts our lease in the place of a register, if that is still what was seen. */
async function swapForLease<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  seen: Expected,
  why: Why,
  tag?: string,
): Promise<Asked<V> | 'again'> {
  const { access, clock, options } = space.parts
  const { key } = progress.flight
  if (++progress.swaps > SWAP_ATTEMPTS) return { kind: 'bypass', why, tag }
  const token = markedToken(key, clock.token())
  const swapped = await access.run(
    () => access.store.swap(key, seen, token, options.leaseMs),
    leftMs(space.parts, progress),
    late => late && dropLease(space.parts, key, token),
  )
  if (swapped === UNCONFIRMED) {
    dropLease(space.parts, key, token)
    return { kind: 'bypass', why: 'unavailable' }
  }
  return swapped
    ? { kind: 'leased', why, tag, generation: progress.generation, prefix: leaseText(token) }
    : 'again'
}

/** Claims the refresh of an expired value. */
async function claimExpired<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  register: ValueRegister,
): Promise<Asked<V> | 'busy'> {
  const { fallback, flight } = progress
  const limitMs = leftMs(space.parts, progress)
  const claimed = await claimRefresh(space, flight.key, register, { fallback, limitMs })
  return claimed === UNCONFIRMED ? { kind: 'bypass', why: 'unavailable', fallback } : claimed
}

/** The store has not answered in time. The lease may still have been granted. */
export function unavailable<Id, V>(
  { parts }: Space<Id, V>,
  flight: Flight<Answer>,
  token: string | undefined,
  fallback?: Fallback<V>,
): Asked<V> {
  dropLease(parts, flight.key, token)
  return { kind: 'bypass', why: 'unavailable', fallback }
}

/** What is left of the read's time for the shared store. */
export const leftMs = <V>({ clock }: CacheParts, progress: AskProgress<V>): number =>
  Math.max(1, progress.deadlineMs - clock.nowMs())
