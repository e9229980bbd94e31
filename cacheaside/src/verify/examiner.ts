/**
 * Compares cached values with the origin **at one moment**, although neither can be stopped, and reports only values that
 * were certainly stale.
 *
 * 1. The registers are read, and then the stamps of the tags that the values hold, and the generations. (The other way round:
 *    a generation is read; the keyspace is invalidated; a register is read that was filled after that, and looks like one of an
 *    unknown generation.) A random token never comes back. So a value has fallen for good if one of its tags has another stamp.
 *    If all of its stamps stand, none of its tags has been invalidated.
 * 2. The rows are read.
 * 3. The registers of values that differ are read again, and the generations. A value has its own nonce, which never comes
 *    back once it is gone. So a register that holds the same nonce twice has held it all the time in between, also when the row
 *    was read, without a guard or an invalidation. The same is true of its tags.
 * 4. A value that differs then is suspect. The invalidation of an unguarded change, such as one by `psql`, may be on its way.
 *    So it is left alone for `graceMs`, and then the steps are repeated. If it is still the same value, and still differs, it is
 *    stale.
 *
 * Nothing is written, and no decision is made by comparing the clock of one machine with that of another.
 */
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/thrown.ts'
import type { LoadContext } from '../options.ts'
import { type Opened, Unopened } from '../shared/codec.ts'
import { markOf, parseRegister, type Register, type ValueRegister } from '../shared/register.ts'
import type { StoreView } from '../shared/shared-store.ts'
import type { AuditedKeyspace, FromOrigin, KeyAndId, Lookup } from './audited-keyspace.ts'
import { behindOf, type Outcome, type StaleFinding, timeOf } from './outcome.ts'
import { limited } from './pace.ts'

/** The options of an {@link Examiner}. */
export interface ExaminerOptions {
  readonly view: StoreView
  readonly keyspaces: ReadonlyMap<string, AuditedKeyspace>
  readonly clock: Clock
  /** How long a value that differs is left alone before it is compared once more. */
  readonly graceMs: number
  /** How long the store, and each call of a loader, may take. */
  readonly timeoutMs: number
  /** Ends the work under way. */
  readonly signal?: AbortSignal | undefined
  /** How many calls of a loader may run at once. */
  readonly loadsAtOnce: number
  /** Called with each call of a loader. The call may go on when nobody waits for it any more. */
  readonly onCall?: (call: Promise<unknown>) => void
  /** Called before loads begin, with the number of values. */
  readonly onLoad: (count: number) => void
}

/** A value that can be compared with the origin. */
interface Comparable extends KeyAndId {
  readonly space: AuditedKeyspace
  readonly register: ValueRegister
  readonly opened: Opened<unknown>
}

/** A value that differed from the origin, and was still there afterwards. */
interface Suspect {
  readonly comparable: Comparable
  readonly sinceMs: number
}

/** A comparable value that differs from what the origin held between two looks at the value. */
interface Difference {
  readonly comparable: Comparable
  readonly origin: FromOrigin & { readonly kind: 'value' }
}

/** What the registers of some keys hold, with the tags of values and the generations, which were read *after* them. */
interface StoreReading {
  readonly texts: ReadonlyMap<string, string | undefined>
  readonly registers: ReadonlyMap<string, Register>
  /** The registers of the tags that the values hold. */
  readonly tags: ReadonlyMap<string, Register>
  /** The generations of all keyspaces, also of those of tags. */
  readonly generations: ReadonlyMap<string, string | undefined>
  /** The look-ups for `isReachable` since then, by key. */
  readonly lookedUp: Map<string, Promise<unknown>>
}

/** Compares values as they come, and keeps those that differed until their grace has ended. */
export class Examiner {
  readonly #options: ExaminerOptions
  /** In the order in which their grace ends. */
  readonly #suspects: Suspect[] = []

  constructor(options: ExaminerOptions) {
    this.#options = options
  }

  /** How many values differed once and are to be looked at again. */
  get suspects(): number {
    return this.#suspects.length
  }

  /** Milliseconds until the first suspect is due; `undefined` if there is none. */
  get dueInMs(): number | undefined {
    const first = this.#suspects[0]
    if (first === undefined) return undefined
    return Math.max(0, first.sinceMs + this.#options.graceMs - this.#options.clock.nowMs())
  }

  /** Examines keys of audited keyspaces. Returns the outcomes that are known now; the other values become suspects. */
  async examine(keys: readonly string[]): Promise<Outcome[]> {
    const { outcomes, differences } = await this.#compare(keys)
    const sinceMs = this.#options.clock.nowMs()
    for (const { comparable } of differences) this.#suspects.push({ comparable, sinceMs })
    return outcomes
  }

  /** Examines at most `most` suspects again whose grace has ended. Returns their outcomes. */
  async examineAgain(most: number): Promise<Outcome[]> {
    const dueMs = this.#options.clock.nowMs() - this.#options.graceMs
    const due = new Map<string, Suspect>()
    while (due.size < most && this.#suspects[0] !== undefined && this.#suspects[0].sinceMs <= dueMs) {
      const suspect = this.#suspects.shift()!
      due.set(suspect.comparable.key, suspect)
    }
    if (due.size === 0) return []
    const { outcomes, differences } = await this.#compare([...due.keys()])
    const accused: Outcome[] = []
    const timeMs = await this.#asked(view => view.timeMs())
    for (const difference of differences) {
      const { key, space, register } = difference.comparable
      const before = due.get(key)!
      // A new value: it may have been filled while the first was being invalidated, and gets its own grace.
      if (before.comparable.register.nonce !== register.nonce)
        accused.push({ kind: 'skipped', keyspace: space.name, key, why: 'changed' })
      else accused.push(this.#accuse(difference, before.sinceMs, timeMs))
    }
    const settled = outcomes.map(outcome => conclude(outcome, due.get(outcome.key)!))
    return [...settled, ...accused]
  }

  /** Steps 1 to 3. */
  async #compare(keys: readonly string[]): Promise<{ outcomes: Outcome[]; differences: Difference[] }> {
    const outcomes: Outcome[] = []
    const comparables: Comparable[] = []
    const before = await this.#readStore(keys)
    const unsure: Outcome[] = []
    for (const key of keys) {
      const seen = await this.#read(key, before)
      if ('register' in seen) comparables.push(seen)
      else if (isUnsure(seen)) unsure.push(seen)
      else outcomes.push(seen)
    }
    const origins = await this.#load(comparables)
    const differing: Difference[] = []
    for (const comparable of comparables) {
      const { key, space, register, opened } = comparable
      const origin = origins.get(key)!
      const name = { keyspace: space.name, key }
      if (origin.kind === 'failed')
        outcomes.push({ kind: 'skipped', ...name, why: 'failed', error: origin.error })
      else if (space.isEqual(register, opened, origin)) outcomes.push({ kind: 'equal', ...name })
      else differing.push({ comparable, origin })
    }
    const { changed, same } = await this.#confirm(differing, unsure, before)
    return { outcomes: [...outcomes, ...changed], differences: same }
  }

  /** Step 3: which of these have not changed. */
  async #confirm(
    differing: readonly Difference[],
    unsure: readonly Outcome[],
    before: StoreReading,
  ): Promise<{ changed: Outcome[]; same: Difference[] }> {
    const changed: Outcome[] = []
    const same: Difference[] = []
    if (differing.length + unsure.length === 0) return { changed, same }
    const keys = [...differing.map(({ comparable }) => comparable.key), ...unsure.map(({ key }) => key)]
    const after = await this.#readStore(keys)
    for (const difference of differing) {
      const { key, space, register } = difference.comparable
      const again = await this.#read(key, after)
      if ('register' in again && again.register.nonce === register.nonce) same.push(difference)
      else changed.push({ kind: 'skipped', keyspace: space.name, key, why: 'changed' })
    }
    for (const outcome of unsure) {
      const isSame = after.texts.get(outcome.key) === before.texts.get(outcome.key)
      const { keyspace, key } = outcome
      changed.push(isSame ? outcome : { kind: 'skipped', keyspace, key, why: 'changed' })
    }
    return { changed, same }
  }

  /** Reads a register: gives a value to compare, or an outcome. */
  async #read(key: string, reading: StoreReading): Promise<Comparable | Outcome> {
    const keyspace = keyspaceIn(key)
    const space = this.#options.keyspaces.get(keyspace)!
    const name = { keyspace, key }
    const register = reading.registers.get(key)
    if (register === undefined) return { kind: 'skipped', ...name, why: 'gone' }
    switch (register.state) {
      case 'lease':
        return { kind: 'skipped', ...name, why: 'leased' }
      case 'stamp':
        return { kind: 'skipped', ...name, why: 'stamp' }
      case 'guard':
        return { kind: 'skipped', ...name, why: 'guarded' }
      case 'later':
        return { kind: 'skipped', ...name, why: 'version' }
      case 'unreadable':
        return { kind: 'unreadable', ...name, reason: 'register', message: 'it has no known form' }
    }
    if (markOf(register, key) === 'foreign')
      return { kind: 'unreadable', ...name, reason: 'register', message: 'it belongs to another key' }
    if (register.generation !== reading.generations.get(keyspace))
      return { kind: 'orphaned', ...name, reason: 'generation' }
    if (register.shape !== space.shape) return { kind: 'orphaned', ...name, reason: 'shape' }
    const id = space.idFromKey(key)
    if (id === undefined) return { kind: 'orphaned', ...name, reason: 'id' }
    const fallen = fallenTags(register, reading)
    if (fallen === 'unknown') return { kind: 'skipped', ...name, why: 'version' }
    if (fallen.length > 0) return { kind: 'orphaned', ...name, reason: 'tag', tags: fallen }
    const lacking = lackingTags(register, space.tagsOfId(id))
    if (lacking.length > 0) return { kind: 'orphaned', ...name, reason: 'names', tags: lacking }
    const opened = space.open(register.text)
    if (opened instanceof Unopened)
      return { kind: 'unreadable', ...name, reason: opened.reason, message: messageOf(opened.error) }
    if (space.isAlias(key, opened)) return { kind: 'orphaned', ...name, reason: 'alias' }
    const named = space.tagsOfValue(id, opened)
    if (named === undefined) return { kind: 'orphaned', ...name, reason: 'names' }
    const late = lackingTags(register, named)
    if (late.length > 0) return { kind: 'orphaned', ...name, reason: 'names', tags: late }
    if (!(await space.isReachable(id, this.#lookupAfter(reading))))
      return { kind: 'orphaned', ...name, reason: 'unreachable' }
    return { ...name, id, space, register, opened }
  }

  /** Looks up what a read would find, after the first look, so at no earlier moment. Each key once. */
  #lookupAfter({ lookedUp }: StoreReading): Lookup {
    return async (keyspace, id) => {
      const space = this.#options.keyspaces.get(keyspace)
      if (space === undefined) throw new Error(`${keyspace} is no audited keyspace`)
      const key = space.key(id)
      const known = lookedUp.get(key) ?? this.#find(space, key)
      lookedUp.set(key, known)
      return known
    }
  }

  async #find(space: AuditedKeyspace, key: string): Promise<unknown> {
    const reading = await this.#readStore([key])
    const register = reading.registers.get(key)
    if (register?.state !== 'value' || register.generation !== reading.generations.get(space.name))
      return undefined
    if (markOf(register, key) === 'foreign' || fallenTags(register, reading).length > 0) return undefined
    const opened = space.open(register.text)
    return register.shape !== space.shape || opened instanceof Unopened ? undefined : opened.take()
  }

  async #readStore(keys: readonly string[]): Promise<StoreReading> {
    const texts = new Map(await this.#peek(keys))
    const registers = parsed(texts)
    const tagNames = new Set<string>()
    for (const register of registers.values())
      if (register.state === 'value') for (const { name } of register.tags) tagNames.add(name)
    const tags = tagNames.size === 0 ? [] : await this.#peek([...tagNames])
    const names = [...new Set([...keys, ...tagNames].map(keyspaceIn))]
    const generations = await this.#asked(view => view.generations(names))
    return {
      texts,
      registers,
      tags: parsed(tags),
      generations: new Map(names.map((name, i) => [name, generations[i]])),
      lookedUp: new Map(),
    }
  }

  async #peek(keys: readonly string[]): Promise<[key: string, text: string | undefined][]> {
    const texts = await this.#asked(view => view.peek(keys))
    return keys.map((key, i) => [key, texts[i]])
  }

  #asked<T>(ask: (view: StoreView) => Promise<T>): Promise<T> {
    const { view, clock, timeoutMs, signal } = this.#options
    const late = () => new Error(`the shared store did not answer within ${timeoutMs} ms`)
    return limited(clock, timeoutMs, ask(view), late, signal)
  }

  /** Step 2. */
  async #load(comparables: readonly Comparable[]): Promise<ReadonlyMap<string, FromOrigin>> {
    if (comparables.length > 0) this.#options.onLoad(comparables.length)
    const bySpace = new Map<AuditedKeyspace, Comparable[]>()
    for (const one of comparables) bySpace.set(one.space, [...(bySpace.get(one.space) ?? []), one])
    const loaded = new Map<string, FromOrigin>()
    for (const [space, asked] of bySpace) {
      const values = await space.load(asked, this.#options.loadsAtOnce, work => this.#call(space, work))
      for (const [key, origin] of values) loaded.set(key, origin)
    }
    // After an abort, the loader's failure is not its own.
    this.#options.signal?.throwIfAborted()
    return loaded
  }

  /** Runs one call of a loader. A caller that gives it up aborts its signal. */
  async #call<T>(space: AuditedKeyspace, work: (context: LoadContext) => Promise<T>): Promise<T> {
    const { clock, timeoutMs, signal } = this.#options
    const abort = new AbortController()
    const late = () => new Error(`the loader of ${space.name} did not answer within ${timeoutMs} ms`)
    try {
      const call = work({ signal: abort.signal })
      this.#options.onCall?.(call)
      return await limited(clock, timeoutMs, call, late, signal)
    } catch (error) {
      abort.abort(error)
      throw error
    }
  }

  #accuse({ comparable, origin }: Difference, sinceMs: number, timeMs: number): StaleFinding {
    const { key, space, register, opened } = comparable
    const ageMs = Math.max(0, timeMs - register.filledAtMs)
    const versions = [space.versionOf(opened), space.versionOf(origin.opened)] as const
    const [cached, current] = versions
    // The time of the row's last change tells since when. It is by the database's clock, and used only within bounds that are
    // certain.
    const changedMs = current === undefined ? undefined : timeOf(current)
    const seenMs = this.#options.clock.nowMs() - sinceMs
    const sureMs = changedMs === undefined ? seenMs : Math.max(seenMs, timeMs - changedMs)
    const isAbsent = register.text === undefined ? 'cached' : origin.text === undefined ? 'origin' : undefined
    return {
      kind: 'stale',
      keyspace: space.name,
      key,
      ageMs,
      staleMs: Math.round(Math.min(ageMs, sureMs)),
      ...(isAbsent === undefined ? {} : { absent: isAbsent }),
      ...(register.tags.length === 0 ? {} : { tags: register.tags.map(({ name }) => name) }),
      ...(cached === undefined || current === undefined ? {} : { behind: behindOf(cached, current) }),
    }
  }
}

/** Those of the tags that a value was not stored under. */
const lackingTags = (register: ValueRegister, tags: readonly string[]): readonly string[] =>
  tags.filter(tag => register.tags.every(has => has.name !== tag))

const keyspaceIn = (key: string): string => key.slice(0, key.indexOf(':'))

function parsed(texts: Iterable<readonly [key: string, text: string | undefined]>): Map<string, Register> {
  const registers = new Map<string, Register>()
  for (const [key, text] of texts) if (text !== undefined) registers.set(key, parseRegister(text))
  return registers
}

/**
 * The names of a value's tags that do not stand any more: then no reader finds the value. `'unknown'` if none is known to
 * have fallen, and one is of a later version.
 */
function fallenTags(register: ValueRegister, reading: StoreReading): readonly string[] | 'unknown' {
  if (register.tags.length === 0) return []
  const standsIn = ({ name, token, generation }: ValueRegister['tags'][number]): boolean | 'unknown' => {
    if (reading.generations.get(keyspaceIn(name)) !== generation) return false
    const tag = reading.tags.get(name)
    return tag?.state === 'later' ? 'unknown' : tag?.state === 'stamp' && tag.token === token
  }
  const stands = register.tags.map(standsIn)
  const fallen = register.tags.filter((_, i) => stands[i] === false).map(({ name }) => name)
  return fallen.length === 0 && stands.includes('unknown') ? 'unknown' : fallen
}

/** Whether the register has to be read once more: it may have changed before its tags and generations were read. */
const isUnsure = (outcome: Outcome): boolean =>
  outcome.kind === 'unreadable' ||
  (outcome.kind === 'orphaned' && (outcome.reason === 'generation' || outcome.reason === 'tag'))

/** A suspect that is gone, or that readers no longer find, was being invalidated. */
function conclude(outcome: Outcome, suspect: Suspect): Outcome {
  const { key, space } = suspect.comparable
  if (outcome.kind === 'equal' || (outcome.kind === 'skipped' && outcome.why === 'failed')) return outcome
  return { kind: 'skipped', keyspace: space.name, key, why: 'changed' }
}
