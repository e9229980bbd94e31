/**
 * The handle that people hold: `get`, `getMany`, `read`, `peek`, `write` and `invalidate` of one keyspace. Step 1 of a
 * read is here, because a hit in L1 must cost no more than a function call. What comes after it begins in
 * `read-for-caller.ts`.
 */
import { dueAtHand, findAtHand } from './at-hand.ts'
import { throwIfAborted } from './base/abort.ts'
import { invalidOption } from './base/invalid-option.ts'
import {
  copiedId,
  type Key,
  noArray,
  rememberingByKey,
  type WholeKeyspace,
  wholeKeyspace,
} from './base/key.ts'
import { silencePromise } from './base/thrown.ts'
import { newId } from './base/trace-id.ts'
import type { ReadTrace } from './base/tracing.ts'
import type { KeyspaceWriteOptions, ReadOptions, SnapshotManyOptions } from './call-options.ts'
import { type CommittedEntry, committedEntry } from './committed-entry.ts'
import { invalidateKeys, invalidateWhole } from './invalidate.ts'
import { runAround } from './local/load-run.ts'
import { type LocalShelf, NOWHERE } from './local/local-store.ts'
import type { KeyspaceOptions } from './options.ts'
import { ALONE, type ReadContext, tellHit } from './read-events.ts'
import { contextOfBatch, readForCaller, readManyForCaller } from './read-for-caller.ts'
import { localAnswer, type ReadResult, readResult } from './read-result.ts'
import { refresh } from './refresh.ts'
import { checkReadOptions, checkWriteOptions, resolveKeyspaceOptions } from './resolve-options.ts'
import { ABSENT, Envelope, takeOf, Unopened } from './shared/codec.ts'
import type { SnapshotPart } from './snapshot.ts'
import { snapshotMany } from './snapshot-many.ts'
import {
  type Answer,
  type CacheParts,
  type Found,
  foundAnswer,
  type ReadRequest,
  type Space,
} from './space.ts'
import { Tagging } from './tagging.ts'
import { whileOpen } from './under-way.ts'
import { type WriteContext, type WriteResult, write } from './write.ts'

/**
 * The keys of one kind, with one loader: the handle people hold. Made by a cache's `keyspace()`.
 *
 * Values enter the cache only through the loader, under a lease, or as the committed value of a write. There is no `set`:
 * this makes the promises possible. What readers get is frozen, or a copy of their own.
 *
 * `V` is what readers get, and `Loaded` what the loader and the writers hand in: the same, unless the values hold instances of
 * classes with `toJSON`, or a codec or a schema makes something else of them.
 */
export class Keyspace<Id, V, Loaded = V> {
  /** What its keys begin with. */
  readonly name: string
  /**
   * Every key of this keyspace, for the map of a change feed: a row on which all of its values depend, as the row of a
   * role on which every set of permissions depends.
   */
  readonly all: WholeKeyspace
  readonly #space: Space<Id, V>
  /** Turns an id into the parts of its key, by the option `key`. Left out: the id itself. */
  readonly #toParts: ((id: Id) => unknown) | undefined
  /** What L1 keeps of it. */
  readonly #shelf: LocalShelf | undefined
  /** Whether L1 may answer only while the stream is proven. */
  readonly #needsProof: boolean

  /** @internal */
  constructor(parts: CacheParts, name: string, options: KeyspaceOptions<Id, Loaded, never, V>) {
    // The steps of a read have one type for loaded and for decoded values: the envelope converts between the two.
    const resolved = resolveKeyspaceOptions(
      name,
      options as unknown as KeyspaceOptions<Id, V, V>,
      parts.options,
    )
    const toParts = resolved.key === undefined ? undefined : answeringAtOnce(resolved.key)
    const toKey = rememberingByKey(name, sameKey)
    this.name = name
    this.all = wholeKeyspace(name)
    this.#toParts = toParts
    const generation = parts.stream.follow(name)
    this.#shelf = parts.local.shelfOf(name)
    this.#shelf?.follow(generation)
    this.#needsProof = parts.stream.needsProof
    const tagging =
      resolved.tags === undefined && resolved.tagsOf === undefined
        ? undefined
        : new Tagging(name, resolved, tag => parts.tags.has(tag))
    this.#space = {
      name,
      parts,
      counts: parts.stats.of(name),
      options: resolved,
      envelope: new Envelope(resolved.codec, resolved.schema),
      keyOf: toParts === undefined ? toKey : id => toKey(toParts(id)),
      tagging,
      atHand: parts.local.enabled ? undefined : parts.access.store.atHand,
      generation,
      usualCostMs: undefined,
      batchesAreFound: false,
    }
  }

  /**
   * The canonical key of an id: for writes over several keys, and for finding the value in `redis-cli`.
   *
   * @throws CacheError `INVALID_KEY` if the id is malformed or too long.
   */
  key(id: Id): Key {
    return this.#space.keyOf(id)
  }

  /**
   * Reads one value: from L1, the shared store, or the origin.
   *
   * @returns the value, or `undefined` if there is no such row.
   * @throws the loader's error, unwrapped; CacheError `INVALID_KEY` and `INVALID_OPTIONS` before any I/O, `OVERLOADED`,
   * `LOAD_TIMEOUT`, `LOAD_CYCLE`, `CLOSED`; the reason of the caller's signal. Trouble with the shared store never fails a
   * read.
   */
  get(id: Id, options?: ReadOptions): Promise<V | undefined> {
    try {
      this.#enter(options)
      const value = this.#fromLocal('get', id, options)
      if (value !== MISS) return Promise.resolve(value)
      const key = this.key(id)
      const found = this.#fromAtHand('get', id, key, options)
      if (found !== MISS) return Promise.resolve(found)
      return readForCaller(this.#space, 'get', requestFor(id, key, options), options?.signal, take<V>)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * As {@link Keyspace.get}, and tells where the answer came from, why, how old it is and what it took.
   *
   * @throws as {@link Keyspace.get}.
   */
  async read(id: Id, options?: ReadOptions): Promise<ReadResult<V>> {
    const { clock } = this.#space.parts
    this.#enter(options)
    const key = this.key(id)
    const beganMs = clock.nowMs()
    let answer: Answer<V> | undefined
    const noteLocal = (slot: number) => {
      answer = localAnswer(this.#shelf!.entryAt(slot))
    }
    const local = this.#fromLocal('read', id, options, ALONE, noteLocal)
    if (local !== MISS) return readResult(local, answer!, false, beganMs, clock.nowMs())
    const noteFound = (found: Found<V>) => {
      answer = foundAnswer(this.#space, found, 'fresh', NOTHING_SPENT)
    }
    const found = this.#fromAtHand('read', id, key, options, ALONE, noteFound)
    if (found !== MISS) return readResult(found, answer!, false, beganMs, clock.nowMs())
    const make = (later: Answer<V>, joined: boolean) =>
      readResult(later.opened.take(), later, joined, beganMs, clock.nowMs())
    return readForCaller(this.#space, 'read', requestFor(id, key, options), options?.signal, make)
  }

  /**
   * Reads several values at once: one round trip to the shared store, and one call of `loadMany` for all that miss.
   * Each key is fenced for itself; the answer is not an atomic view of them all, unless `consistency` is `'snapshot'`: then
   * see {@link Cache.snapshot}.
   *
   * On Redis, more than 500 keys that L1 does not have are read in pieces of so many, one after the other: each piece has its own
   * `sharedTimeoutMs` and its own call of `loadMany`. Of large values, and of values with tags, a piece has fewer keys.
   *
   * @returns the values by the ids as they were given; ids without a row are left out.
   * @throws as {@link Keyspace.get}, if any of the keys does: with the first error. Loads that have begun by then go on, and
   * what they bring is kept. No load of another key begins then, unless somebody else waits for it.
   */
  async getMany(
    ids: readonly Id[],
    options?: ReadOptions | SnapshotManyOptions<Id, Loaded>,
  ): Promise<Map<Id, V>> {
    if (!Array.isArray(ids)) throw noArray('ids', ids)
    return options?.consistency === 'snapshot'
      ? whileOpen(this.#space.parts, () => snapshotMany(this, ids, options))
      : this.#getMany(ids, options)
  }

  async #getMany(ids: readonly Id[], options: ReadOptions | undefined): Promise<Map<Id, V>> {
    this.#enter(options)
    const found = new Array<V | undefined>(ids.length)
    const requests: ReadRequest<Id>[] = []
    /** Which request each id waits for. The same key may be asked for twice, and is read once. */
    const requestOf = new Int32Array(ids.length).fill(-1)
    const known = new Map<Key, number>()
    const context = contextOfBatch(this.#space, ids, options?.consistency === 'strong')
    const { atHand } = this.#space
    // By index: an array's own methods skip its holes.
    for (let i = 0; i < found.length; i++) {
      const id = ids[i]!
      const value = this.#shelf === undefined ? MISS : this.#fromLocal('getMany', id, options, context)
      if (value !== MISS) {
        found[i] = value
        continue
      }
      const key = this.key(id)
      const hit = atHand === undefined ? MISS : this.#fromAtHand('getMany', id, key, options, context)
      if (hit !== MISS) found[i] = hit
      else {
        const same = known.get(key)
        if (same === undefined) known.set(key, requests.push(requestFor(id, key, options)) - 1)
        requestOf[i] = same ?? requests.length - 1
      }
    }
    // Without a wait nobody can have changed the array.
    const asked = requests.length > 0 ? ids.slice() : ids
    if (requests.length > 0) {
      // A listener that heard of the hits may have closed the cache, or aborted the signal.
      this.#enter(options)
      const signal = options?.signal
      const answers = await readManyForCaller(this.#space, requests, signal, context)
      for (let i = 0; i < asked.length; i++) {
        if (requestOf[i] === -1) continue
        const request = requestOf[i]!
        const value = takeOf(answers[request]!.opened)
        // Its flight's value could be opened before, and cannot be opened now.
        found[i] =
          value instanceof Unopened
            ? await readForCaller(
                this.#space,
                'getMany',
                { ...requests[request]!, strong: true },
                signal,
                take<V>,
              )
            : value
      }
    } else if (context.message !== undefined) this.#space.parts.tracing.hit(context.message)
    const values = new Map<Id, V>()
    for (let i = 0; i < asked.length; i++) if (found[i] !== undefined) values.set(asked[i]!, found[i]!)
    return values
  }

  /**
   * One value of a snapshot: for {@link Cache.snapshot}.
   *
   * @throws CacheError `INVALID_KEY`.
   */
  at(id: Id): SnapshotPart<V, Loaded> {
    const space = this.#space as unknown as Space<unknown, unknown>
    return { key: this.key(id), read: { space, id: copiedId(id) } }
  }

  /**
   * What L1 holds for an id, without I/O and without a promise. Neither loads nor refreshes.
   *
   * @returns the value, wrapped so that an absent row (`{ value: undefined }`) differs from not being in L1
   *   (`undefined`).
   * @throws CacheError `INVALID_KEY`, `CLOSED`.
   */
  peek(id: Id): { readonly value: V | undefined } | undefined {
    this.#assertOpen(undefined)
    const slot = this.#findLocal(id)
    if (slot === NOWHERE) {
      // Refuses a malformed id.
      this.key(id)
      return undefined
    }
    this.#shelf!.noteHit(slot)
    try {
      return this.#shelf!.peekAt(slot) as { readonly value: V | undefined }
    } catch (error) {
      this.#dropUnopened(id, error)
      return undefined
    }
  }

  /**
   * Changes one row of the origin: guards its key, calls `commit`, releases the key. Reads past L1 go to the origin
   * meanwhile. Once this resolves with `fenced: true`, no strong read is older than the commit, and no read of this
   * process. A default read of another process may be `localMaxStaleMs` old.
   *
   * @param commit - Makes the change. Let it return or await the promise of the query or the transaction: when it settles, the
   * guard is released, and a commit after that is not guarded.
   * @returns the function's value, and whether the cache was told.
   * @throws what `commit` throws, unwrapped. If the commit is in doubt the key stays guarded until `guardMs` have
   *   passed; see `rollsBack` for errors of your own. CacheError `INVALID_KEY`, `INVALID_OPTIONS` if `commit` is no function or an option cannot be, `CLOSED`;
   *   `UNGUARDED` with `unguarded: 'refuse'`.
   */
  write<T>(
    id: Id,
    commit: (context: WriteContext) => Promise<T> | T,
    options: KeyspaceWriteOptions<T, Loaded> = {},
  ): Promise<WriteResult<T>> {
    return whileOpen(this.#space.parts, () => {
      checkWriteOptions(options)
      const { writeThrough = false, ...own } = options
      if (typeof writeThrough !== 'boolean')
        throw invalidOption('writeThrough', 'true or false', writeThrough)
      const key = this.key(id)
      const entries = (value: T) => [committedEntry(this.#space, key, value as V | undefined)]
      return write(this.#space.parts, [key], commit, writeThrough ? { ...own, writeThrough: entries } : own)
    })
  }

  /**
   * Removes one value from every level, because the origin has changed. A load that began before is not stored.
   *
   * @returns `'applied'`, or `'queued'` if the shared store could not be told yet.
   * @throws CacheError `INVALID_KEY`, `CLOSED`.
   */
  invalidate(id: Id): Promise<'applied' | 'queued'> {
    return whileOpen(this.#space.parts, () => invalidateKeys(this.#space.parts, [this.key(id)]))
  }

  /**
   * Invalidates every value of the keyspace, in constant time: it gets a new generation, and what is stamped with
   * another is not found any more.
   *
   * @returns as {@link Keyspace.invalidate}.
   * @throws CacheError `CLOSED`.
   */
  invalidateAll(): Promise<'applied' | 'queued'> {
    return whileOpen(this.#space.parts, () => invalidateWhole(this.#space.parts, this.name))
  }

  /**
   * A committed value for `writeThrough` of a write over several keys.
   *
   * @param loaded - The committed row, as the loader would return it; `undefined` if it was deleted.
   * @throws CacheError `INVALID_KEY`.
   */
  entry(id: Id, loaded: Loaded | undefined): CommittedEntry {
    return committedEntry(this.#space, this.key(id), loaded as V | undefined)
  }

  #enter(options: ReadOptions | undefined): void {
    this.#assertOpen(options?.signal)
    if (options === undefined) return
    checkReadOptions(options)
    throwIfAborted(options.signal)
  }

  #assertOpen(signal: AbortSignal | undefined): void {
    if (this.#space.parts.closed()) this.#space.parts.assertInside(signal)
  }

  /**
   * Step 1 of a read: a fresh value in this process.
   *
   * @param note - Called with the slot of the hit, while the slot is valid.
   */
  #fromLocal(
    call: ReadTrace['call'],
    id: Id,
    options: ReadOptions | undefined,
    context = ALONE,
    note?: (slot: number) => void,
  ): V | undefined | typeof MISS {
    if (options?.consistency === 'strong') return MISS
    const slot = this.#findLocal(id)
    if (slot === NOWHERE) return MISS
    const { parts, counts } = this.#space
    const shelf = this.#shelf!
    shelf.noteHit(slot)
    const refreshAtMs = shelf.refreshAtMs(slot)
    note?.(slot)
    // Taken last: the codec may be asked for a copy, and may call this cache.
    let value: V | undefined
    try {
      value = shelf.takeAt(slot) as V | undefined
    } catch (error) {
      this.#dropUnopened(id, error)
      return MISS
    }
    const isDue = refreshAtMs !== Number.POSITIVE_INFINITY && refreshAtMs <= parts.clock.coarseMs()
    const isHeard = parts.hearsHits() || context.message !== undefined
    if (!isDue && !isHeard) {
      parts.stats.hit(counts, 'local', value === undefined)
      return value
    }
    const key = this.key(id)
    const readId = newId()
    if (isDue) refresh(this.#space, id, key, readId)
    if (isHeard) this.#tellHit(key, call, readId, 'local', value === undefined, options, context)
    else parts.stats.hit(counts, 'local', value === undefined)
    return value
  }

  /** Step 3 of a read, where the store is in this process: a fresh value in it. */
  #fromAtHand(
    call: ReadTrace['call'],
    id: Id,
    key: Key,
    options: ReadOptions | undefined,
    context = ALONE,
    note?: (found: Found<V>) => void,
  ): V | undefined | typeof MISS {
    const { atHand, parts, counts, options: own } = this.#space
    if (atHand === undefined || options?.consistency === 'strong') return MISS
    const isHeard = parts.hearsHits() || context.message !== undefined
    const readId = own.refreshAhead !== undefined || isHeard ? newId() : 0
    const found = findAtHand(this.#space, atHand, key)
    if (found === undefined) return MISS
    const due = own.refreshAhead === undefined ? undefined : dueAtHand(this.#space, found)
    if (due !== undefined) refresh(this.#space, id, key, readId, due)
    let value: V | undefined
    try {
      value = found.opened.take()
    } catch (error) {
      // The read that follows finds the same, and can replace what the store holds.
      if (error instanceof Unopened) return MISS
      throw error
    }
    note?.(found)
    const isAbsent = found.opened === ABSENT
    if (isHeard) this.#tellHit(key, call, readId, 'shared', isAbsent, options, context)
    else parts.stats.hit(counts, 'shared', isAbsent)
    return value
  }

  /**
   * Removes a copy from L1 that cannot be opened any more. The read that follows judges what the store holds, as any other
   * value.
   */
  #dropUnopened(id: Id, error: unknown): void {
    if (!(error instanceof Unopened)) throw error
    this.#space.parts.local.remove(this.key(id))
  }

  #tellHit(
    key: Key,
    call: ReadTrace['call'],
    readId: number,
    from: 'local' | 'shared',
    absent: boolean,
    options: ReadOptions | undefined,
    context: ReadContext,
  ): void {
    const parent = runAround(options?.signal)
    tellHit(this.#space, key, call, readId, from, absent, { ...context, parent })
  }

  /** The slot of a value in L1 that may be handed out. */
  #findLocal(id: Id): number {
    const shelf = this.#shelf
    if (shelf === undefined) return NOWHERE
    const { clock, queue } = this.#space.parts
    const nowMs = this.#needsProof ? this.#provenMs() : clock.coarseMs()
    if (nowMs === UNPROVEN) return NOWHERE
    const slot = shelf.find(this.#toParts === undefined ? id : this.#toParts(id), nowMs)
    if (slot === NOWHERE || !shelf.isCurrent(slot)) return NOWHERE
    if (queue.size > 0 && queue.holds(this.key(id))) return NOWHERE
    return slot
  }

  /** The time now; {@link UNPROVEN} if the stream is not proven now. */
  #provenMs(): number {
    const { clock, stream } = this.#space.parts
    const nowMs = clock.ceilingMs?.() ?? clock.nowMs()
    return stream.proven(nowMs) ? nowMs : UNPROVEN
  }
}

/** L1 does not have the value. `undefined` instead: L1 knows that there is no such row. */
const MISS: unique symbol = Symbol('miss')

/** No time: the stream is not proven, and L1 may not answer. */
const UNPROVEN = Number.POSITIVE_INFINITY

const requestFor = <Id>(id: Id, key: Key, options: ReadOptions | undefined): ReadRequest<Id> => ({
  id: copiedId(id),
  key,
  strong: options?.consistency === 'strong',
})

/** The option `key` must answer at once: a promise is no id. If it rejects, that is handled here. */
function answeringAtOnce<Id>(key: (id: Id) => unknown): (id: Id) => unknown {
  return id => {
    const parts = key(id)
    if (typeof parts === 'object' && !Array.isArray(parts)) silencePromise(parts)
    return parts
  }
}

const sameKey = (key: Key): Key => key

const NOTHING_SPENT = Object.freeze({ sharedMs: 0, loadMs: 0 })

const take = <V>({ opened }: Answer<V>): V | undefined => opened.take()
