/**
 * Wires the parts of one cache: L1, stream, queue, relay, keyspaces. Also its end.
 */
import type { Clock } from './base/clock.ts'
import { CacheError } from './base/errors.ts'
import type { CacheEvent } from './base/events.ts'
import { invalidOption } from './base/invalid-option.ts'
import { type IdParts, isKeyspaceName, type Key, noArray, type Tag } from './base/key.ts'
import type { Tracer } from './base/tracing.ts'
import { Relay } from './feed/relay.ts'
import type { RelayTarget } from './feed/relay-target.ts'
import { forgetAll, heardOf, heardOfKeyspace } from './forget.ts'
import { GuardHolds } from './guard-holds.ts'
import { invalidateKeys, relayKey, relayKeyspace } from './invalidate.ts'
import { Keyspace } from './keyspace.ts'
import { KnownKeyspaces } from './known-keyspaces.ts'
import { FoundKeys } from './local/found-keys.ts'
import { LoadLimit } from './local/load-limit.ts'
import { boundedLocal, noLocal } from './local/local-store.ts'
import { ReadRegisters } from './local/read-registers.ts'
import { SingleFlight } from './local/single-flight.ts'
import type { KeyspaceOptions, Settled } from './options.ts'
import { Reporter } from './reporter.ts'
import { type ResolvedCacheOptions, resolveCacheOptions, type WiredOptions } from './resolve-options.ts'
import { BroadcastStream } from './shared/broadcast-stream.ts'
import { InvalidationQueue } from './shared/invalidation-queue.ts'
import type { Kept } from './shared/kept.ts'
import { SeenStamps } from './shared/seen-stamps.ts'
import { SharedAccess, UNCONFIRMED } from './shared/shared-access.ts'
import type { SharedStore } from './shared/shared-store.ts'
import {
  type AnyPart,
  checkParts,
  readSnapshot,
  type SnapshotLoaded,
  type SnapshotOf,
  type SnapshotOptions,
} from './snapshot.ts'
import type { Answer, CacheParts } from './space.ts'
import type { Occupancy, Stats } from './stats.ts'
import { Tags } from './tags.ts'
import { hasTwin } from './twin-caches.ts'
import { type UnderWay, whileOpen, workAround } from './under-way.ts'
import { type WriteContext, type WriteOptions, type WriteResult, write } from './write.ts'

const LONGEST_MS = 2 ** 30

/**
 * One process's view of the cache: its L1, its way to the shared store, the broadcast it listens to, and the keyspaces
 * defined on it. Made by `createCache()`. Make one per process and shared store.
 */
export class Cache {
  readonly #parts: CacheParts
  readonly #relay: Relay | undefined
  readonly #keyspaces = new Map<string, Keyspace<never, never>>()
  readonly #tags = new Map<string, Tags<never>>()
  /** The tags that the feed has defined, because it invalidates them by itself. */
  readonly #fedTags = new Map<string, Tags<never>>()
  readonly #reporter: Reporter
  /** What ends samplers. */
  readonly #stops = new Set<() => Promise<void>>()
  /** Work under way that `close` waits for. */
  #working = 0
  #idle: (() => void) | undefined
  /** Tells the shared store that this cache does not use it any more. */
  readonly #releaseStore: (() => void) | undefined
  #closed = false
  #closing: Promise<void> | undefined

  readonly #known: KnownKeyspaces
  /** Whether it has made its embedded store itself: no other cache can use that store. */
  readonly #isLone: boolean

  /** @internal */
  constructor(given: WiredOptions, isLone: boolean) {
    this.#isLone = isLone
    const options = resolveCacheOptions(given)
    // A commit in doubt is no invalidation yet.
    const isQueueEmpty = () => this.#parts.queue.size === this.#parts.queue.doubts
    this.#reporter = new Reporter(options.clock, options.logger, isQueueEmpty)
    const { emit, warnings } = this.#reporter
    this.#known = new KnownKeyspaces(options.shared, warnings)
    if (options.onEvent !== undefined) this.#reporter.listen(options.onEvent)
    this.#releaseStore = options.shared.retain?.()
    this.#parts = this.#wire(options)
    for (const name of options.feed?.tagNames ?? []) this.#fedTags.set(name, this.#addTags(name))
    if (options.feed !== undefined) {
      const relay = new Relay(options.feed, this.#relayTarget(), options.clock, options.guardMs, emit)
      this.#relay = relay
      if (!options.shared.synchronous) this.#parts.access.compare = () => relay.compared()
    }
  }

  /** Makes the parts, which know of each other. */
  #wire(options: ResolvedCacheOptions): CacheParts {
    const { clock } = options
    const { emit, onReason, stats, warnings, tracing, isHeard, hearsHits } = this.#reporter
    const access = new SharedAccess(options.shared, options.sharedTimeoutMs, clock, emit, onReason)
    const local =
      options.local === undefined
        ? noLocal
        : boundedLocal(options.local, clock, (key, reason) => emit({ type: 'discard', key, reason }))
    const flights = new SingleFlight<Answer>()
    const stream = new BroadcastStream(
      access,
      {
        invalidated: key => heardOf(this.#parts, key),
        keyspaceInvalidated: keyspace => heardOfKeyspace(this.#parts, keyspace),
        interrupted: () => {
          forgetAll({ local, flights })
          this.#relay?.reconnected('the broadcast stream was interrupted')
        },
      },
      clock,
      options.localMaxStaleMs,
      emit,
    )
    const queue = new InvalidationQueue(access, clock, options.maxQueuedInvalidations, emit, keyspace =>
      stream.keyspaceInvalidated(keyspace),
    )
    return {
      clock,
      options,
      access,
      stream,
      queue,
      holds: new GuardHolds({ access, clock, emit, isHeard, options, queue, stream }),
      local,
      flights,
      found: access.store.synchronous ? undefined : new FoundKeys(),
      readRegisters: access.store.synchronous || local.enabled ? undefined : new ReadRegisters(),
      seenStamps: new SeenStamps(),
      limit: new LoadLimit(options.maxLoads, options.maxQueuedLoads),
      emit,
      stats,
      warnings,
      tags: this.#tags,
      checkKeys: keys => this.#known.check(keys),
      tracing,
      isHeard,
      hearsHits,
      closed: () => this.#closed,
      assertInside: signal => this.#assertInside(signal),
      committed: () => this.#relay?.poke(),
      background: work => this.#track(work),
      beginWork: this.#beginWork,
      endWork: this.#endWork,
    }
  }

  /**
   * Defines a keyspace: keys of one kind, with one loader. Readers get what the loader returns, of the same type, but for
   * instances of classes with `toJSON`; see {@link Kept}.
   *
   * @param name - What its keys begin with, the same in every process: 1 to 64 letters, digits, `_`, `.` or `-`.
   * @throws CacheError `INVALID_OPTIONS`, also if the name is taken; `CLOSED`.
   */
  keyspace<Id, V, D = Kept<V>, W = D>(
    name: string,
    options: KeyspaceOptions<Id, V, D, W>,
  ): Keyspace<Id, Settled<W>, V> {
    this.#assertOpen()
    this.#assertNew("a keyspace's name", name)
    const keyspace = new Keyspace<Id, Settled<W>, V>(
      this.#parts,
      name,
      options as unknown as KeyspaceOptions<Id, V, never, W>,
    )
    this.#keyspaces.set(name, keyspace as unknown as Keyspace<never, never>)
    this.#known.add(name)
    if (this.#isLone && hasTwin(name, this))
      this.#parts.warnings.once('TWIN_CACHE', name, { message: twinMessage(name) })
    this.#relay?.verify()
    return keyspace
  }

  /**
   * Defines tags of one kind: names on which values depend, and which have no value of their own. Keyspaces name them in
   * their options `tags` and `tagsOf`, writers beside keys.
   *
   * @param name - What the tags begin with, the same in every process; no keyspace may have it. As for a keyspace.
   * @throws CacheError `INVALID_OPTIONS`, also if the name is taken; `CLOSED`.
   */
  tags<Id extends IdParts = IdParts>(name: string): Tags<Id> {
    this.#assertOpen()
    if (!isKeyspaceName(name))
      throw invalidOption("the tags' name", '1 to 64 letters, digits, "_", "." or "-"', name)
    const fed = this.#fedTags.get(name)
    if (fed !== undefined) return fed as unknown as Tags<Id>
    this.#assertNew("the tags' name", name)
    return this.#addTags(name) as unknown as Tags<Id>
  }

  #addTags(name: string): Tags<never> {
    const tags = new Tags<never>(this.#parts, name)
    this.#tags.set(name, tags)
    this.#known.add(name)
    this.#relay?.verify()
    return tags
  }

  #assertNew(what: string, name: string): void {
    if (this.#keyspaces.has(name) || this.#tags.has(name))
      throw invalidOption(what, 'a new one in this cache (make each once, and keep it)', name)
  }

  /**
   * Changes rows behind several keys in one commit; see {@link Keyspace.write}. Not an atomic view: each key is
   * guarded and released for itself.
   *
   * @param keys - What the commit changes: keys made by the keyspaces' `key()`, and tags; more can be guarded inside. May be
   * empty, if all are guarded inside a transaction after its statements: then cached values stay if nothing was changed.
   * @param commit - As in {@link Keyspace.write}.
   * @throws as {@link Keyspace.write}.
   */
  write<T>(
    keys: readonly (Key | Tag)[],
    commit: (context: WriteContext) => Promise<T> | T,
    options: WriteOptions<T> = {},
  ): Promise<WriteResult<T>> {
    return this.#withKeys(keys, own => write(this.#parts, own, commit, options))
  }

  /**
   * Reads several values as they were at one moment, with respect to fenced writes. Costs one round trip more than strong
   * reads. Where the cache cannot give that, `load` reads all of them at once.
   *
   * Outside the promise: changes that only a change feed brings, writes that were not fenced, and loaders that read a replica.
   *
   * @param parts - Made by the keyspaces' `at()`.
   * @returns the values in the order of the parts; `undefined` for a row that does not exist.
   * @throws what `load` throws; CacheError `INVALID_KEY`, `INVALID_OPTIONS`, `OVERLOADED`, `LOAD_TIMEOUT`, `CLOSED`; the reason
   * of the signal. Trouble with the shared store never fails it.
   */
  snapshot<const Asked extends readonly AnyPart[]>(
    parts: Asked,
    options: SnapshotOptions<SnapshotLoaded<Asked>>,
  ): Promise<SnapshotOf<Asked>> {
    const read = () =>
      readSnapshot(
        checkParts(parts, space => space.parts === this.#parts),
        options,
      )
    return whileOpen(this.#parts, read, options?.signal) as Promise<SnapshotOf<Asked>>
  }

  /**
   * Removes the values behind several keys from every level, and what was stored under several tags, because the origin has
   * changed.
   *
   * @returns `'applied'`, or `'queued'` if the shared store could not be told of all of them yet.
   * @throws CacheError `INVALID_KEY` before anything is done; `CLOSED`.
   */
  invalidate(keys: readonly (Key | Tag)[]): Promise<'applied' | 'queued'> {
    return this.#withKeys(keys, own => invalidateKeys(this.#parts, own))
  }

  /**
   * Listens to every event, until the returned function is called. If a listener throws, the cache goes on and warns once
   * (`LISTENER_THREW`). A function that listens twice is told twice. One that begins to listen during an event hears the next.
   */
  listen(listener: (event: CacheEvent) => void): () => void {
    if (typeof listener !== 'function') throw invalidOption('listener', 'a function', listener)
    return this.#reporter.listen(listener)
  }

  /** What the cache has done so far, and what it holds and is doing now. */
  stats(): Stats & { readonly now: Occupancy } {
    const { clock, local, flights, limit, queue, stream } = this.#parts
    const now = {
      localEntries: local.size,
      localBytes: local.bytes,
      localTags: local.tags,
      flights: flights.size,
      loads: limit.running,
      queuedLoads: limit.queued,
      queuedInvalidations: queue.size,
      commitsInDoubt: queue.doubts,
      streamProven: stream.isProven(clock.nowMs()),
    }
    return Object.assign(this.#parts.stats.snapshot(), { now })
  }

  /**
   * Ends the cache: reads and writes that are under way finish, with all that their loaders and functions ask of this cache;
   * new ones are refused with `CLOSED`; what is queued is tried once more. So it takes as long as the slowest write's
   * function, and `loadTimeoutMs` at most for each load that a loader waits for. The last cache on a shared store also ends
   * the store's connections, and the feed's session goes back to its pool. Your own clients and pools stay open. Idempotent.
   *
   * A call is known to be inside a load or a write by the asynchronous context (`AsyncLocalStorage`), and a read inside a load
   * also by the loader's signal. In a runtime without that context, reads without the signal and all calls inside a write are
   * refused, and a `close()` inside a write's function that waits for it never ends.
   *
   * @throws CacheError `CLOSE_CYCLE`, in the next turn of the event loop, if it was called inside a load or a write of this
   * cache that has not ended by then: it would wait for itself. The cache is being closed nevertheless.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    const around = [...workAround(this.#parts, undefined)]
    return around.length === 0 ? this.#closing : this.#closeInside(this.#closing, around)
  }

  /**
   * A close for which the caller's own work waits never ends. Whether that work waits cannot be known. So the call is
   * refused where any of the work still runs in the next turn: the load around may have been given up, and a write inside it
   * waits.
   */
  #closeInside(closing: Promise<void>, around: readonly UnderWay[]): Promise<void> {
    const ending = new Promise<void>((resolve, reject) => {
      const refuse = () => {
        const waiting = around.find(({ isRunning }) => isRunning)
        if (waiting === undefined) return
        const message = `close() was called inside ${waiting.what}, and cannot wait there for its end: the cache is being closed without that`
        reject(new CacheError('CLOSE_CYCLE', message))
      }
      const timer = this.#parts.clock.after(0, refuse, true)
      closing.finally(() => timer.cancel()).then(resolve, reject)
    })
    // Perhaps nobody waits for it: its rejection must not count as unhandled.
    ending.catch(() => {})
    return ending
  }

  /** @internal */
  get isClosed(): boolean {
    return this.#closed
  }

  /** What metrics are made of, besides {@link stats}. @internal */
  get measurable(): Measurable {
    return {
      hasFeed: this.#relay !== undefined,
      isHeard: this.#reporter.hearsHits(),
      trace: tracer => this.#reporter.trace(tracer),
      listenToWork: listener => this.#reporter.listenToWork(listener),
    }
  }

  /** What a sampler of `cacheaside/verify` works with. @internal */
  get auditable(): Auditable {
    const { access, clock, limit, emit } = this.#parts
    return {
      shared: access.store,
      clock,
      limit,
      emit,
      whenClosing: stop => {
        this.#assertOpen()
        this.#stops.add(stop)
        return () => void this.#stops.delete(stop)
      },
    }
  }

  async #close(): Promise<void> {
    this.#closed = true
    // Keeps the process alive until the end, which the caller may await.
    const hold = this.#parts.clock.after(LONGEST_MS, () => {}, true)
    try {
      await this.#end()
    } finally {
      hold.cancel()
    }
  }

  async #end(): Promise<void> {
    await Promise.all([...this.#stops].map(stop => stop()))
    if (this.#working > 0) {
      await new Promise<void>(resolve => {
        this.#idle = resolve
      })
    }
    await this.#relay?.close()
    await this.#parts.queue.flush()
    this.#parts.queue.close()
    this.#parts.stream.close()
    this.#parts.access.close()
    this.#parts.local.clear()
    this.#parts.warnings.close()
    this.#releaseStore?.()
  }

  /** What the relay does to the shared store. This process hears of it as all others do, by the broadcast. */
  #relayTarget(): RelayTarget {
    const { access, tracing } = this.#parts
    const { store } = access
    return {
      isPrivate: store.synchronous,
      // Other caches on the store may have no feed: nobody else would doubt their keyspaces.
      keyspaces: () => new Set([...this.#keyspaces.keys(), ...this.#tags.keys(), ...this.#known.names]),
      isKnown: keyspace => this.#known.has(keyspace),
      async identity() {
        const identity = await access.runBehind(() => store.identity())
        return identity === UNCONFIRMED ? undefined : identity
      },
      trace: (message, work) => (tracing.hears('relay') ? tracing.trace('relay', message, work) : work()),
      invalidate: (key, batch) => relayKey(this.#parts, key, batch),
      invalidateKeyspace: (keyspace, batch) => relayKeyspace(this.#parts, keyspace, batch),
    }
  }

  #track(work: Promise<void>): void {
    this.#beginWork()
    work.then(this.#endWork)
  }

  readonly #beginWork = (): void => {
    this.#working++
  }

  readonly #endWork = (): void => {
    this.#working--
    if (this.#working === 0) this.#idle?.()
  }

  /** @param work - Called with a copy of the keys: the caller may use its array for other keys meanwhile. */
  #withKeys<T>(keys: readonly (Key | Tag)[], work: (own: readonly (Key | Tag)[]) => Promise<T>): Promise<T> {
    return whileOpen(this.#parts, () => {
      if (!Array.isArray(keys)) throw noArray('keys', keys)
      const own = [...keys]
      this.#parts.checkKeys(own)
      return work(own)
    })
  }

  #assertOpen(): void {
    if (this.#closed) throw new CacheError('CLOSED', 'the cache has been closed')
  }

  #assertInside(signal: AbortSignal | undefined): void {
    if (workAround(this.#parts, signal).next().done) this.#assertOpen()
  }
}

const twinMessage = (name: string): string =>
  `two caches of this process have the keyspace ${name}, each on an embedded store of its own: neither hears of what the other writes. Make one cache: keep it on globalThis with its keyspaces where a bundler evaluates the module twice, or give both the same store`

/** What metrics need to know of a cache. @internal */
export interface Measurable {
  readonly hasFeed: boolean
  /** Whether a hit in L1 makes an event. */
  readonly isHeard: boolean
  /** As `listen`, for all events but reads and writes. */
  readonly listenToWork: (listener: (event: CacheEvent) => void) => () => void
  /** Has a tracer follow the operations of the cache, until the returned function is called. */
  readonly trace: (tracer: Tracer) => () => void
}

/** The parts of a cache that a sampler uses. @internal */
export interface Auditable {
  readonly shared: SharedStore
  readonly clock: Clock
  readonly limit: LoadLimit
  readonly emit: (event: CacheEvent) => void
  /** Has `stop` called when the cache is closed; `close` waits for it. The returned function undoes that. */
  readonly whenClosing: (stop: () => Promise<void>) => () => void
}
