/**
 * What a reader would get for a key at this moment, found out by reading: the read path itself runs over a store that shows
 * what the real one holds and changes nothing. So its rules have no second copy, and a new rule of the read path holds here,
 * too.
 */
import type { Clock, Timer } from '../base/clock.ts'
import type { From, Why } from '../base/events.ts'
import { keyspaceOf, type Tag } from '../base/key.ts'
import { Cache } from '../cache.ts'
import type { CacheOptions, KeyspaceOptions } from '../options.ts'
import { beginsAsRegister } from '../redis/scripts.ts'
import { maxRegisterBytesOf } from '../redis/value-sizes.ts'
import { type LookReply, type SharedStore, type StoreView, TOO_LARGE } from '../shared/shared-store.ts'
import { bytesBeyond } from '../shared/text-size.ts'

/** What one kind of reader would get. */
export interface ReaderAnswer {
  /** Where the answer would come from. A process with a copy in L1 answers from there. */
  readonly from: From
  /** Why, in the words of a read's event. */
  readonly why: Why
  /** Whether the loaded value would be stored. */
  readonly kept: boolean
  /** For an answer of the shared store: whether it says that the row is absent. */
  readonly absent: boolean
}

/** What readers would get. */
export interface ReaderAnswers {
  /** A default read. */
  readonly plain: ReaderAnswer
  /** A read with `consistency: 'strong'`. */
  readonly strong: ReaderAnswer
  /** A default read whose load fails; `undefined`: it gets the loader's error. */
  readonly originDown: ReaderAnswer | undefined
}

/** The facts on which the answers depend. */
export interface Readers {
  readonly view: StoreView
  /** As the store's own. */
  readonly synchronous: boolean
  readonly maxValueBytes: number | undefined
  /** The keyspace's name, and the options that the cache's keyspace is made with. */
  readonly name: string
  readonly options: KeyspaceOptions<unknown, unknown>
  readonly id: unknown
  /** Options of the cache, as far as they are known. */
  readonly cache?: CacheOptions | undefined
  /** Where tokens come from. */
  readonly clock: Clock
}

/** Finds out what readers would get. Neither the store nor the origin is changed, and no loader is called. */
export async function answersFor(readers: Readers): Promise<ReaderAnswers> {
  const { view, clock } = readers
  const asking = new Asking()
  const shown = new ShownStore(view, asking, readers)
  const timeMs = await view.timeMs()
  const ask = async (isStrong: boolean, originAnswers: boolean): Promise<ReaderAnswer | undefined> => {
    const cache = new Cache(
      cacheOptions(readers.cache, shown, new HurriedClock(timeMs, clock, asking)),
      false,
    )
    try {
      const keyspace = cache.keyspace(readers.name, standIn(readers.options, originAnswers, knownTo(cache)))
      const { from, why, kept, value } = await keyspace.read(
        readers.id,
        isStrong ? { consistency: 'strong' } : undefined,
      )
      return { from, why, kept, absent: from === 'shared' && value === undefined }
    } catch (error) {
      if (error === ORIGIN_DOWN) return undefined
      throw error
    } finally {
      await cache.close()
    }
  }
  return {
    plain: (await ask(false, true))!,
    strong: (await ask(true, true))!,
    originDown: await ask(false, false),
  }
}

const ORIGIN_DOWN = new Error('the origin is assumed to be down')

/** Lets a cache know tags that another one has made. */
function knownTo(cache: Cache): (tags: readonly Tag[]) => readonly Tag[] {
  const groups = new Set<string>()
  return tags => {
    for (const group of new Set(tags.map(keyspaceOf)))
      if (!groups.has(group)) {
        groups.add(group)
        cache.tags(group)
      }
    return tags
  }
}

/**
 * The keyspace with an origin that answers at once. It answers that there is no such row, because no codec is needed for
 * that. Time limits and random refreshes are left out, and so are the tags of values that were not loaded.
 */
function standIn(
  options: KeyspaceOptions<unknown, unknown>,
  originAnswers: boolean,
  known: (tags: readonly Tag[]) => readonly Tag[],
): KeyspaceOptions<unknown, unknown> {
  const load = () => {
    if (originAnswers) return undefined
    throw ORIGIN_DOWN
  }
  const {
    loadMany: _many,
    loadTimeoutMs: _limit,
    loadSoftTimeoutMs: _soft,
    refreshAhead: _ahead,
    tagsOf: _tagsOf,
    tags,
    ...others
  } = options
  return { ...others, load, ...(tags === undefined ? {} : { tags: id => known(tags(id)) }) }
}

const silent = { info() {}, warn() {}, error() {} }

function cacheOptions(given: CacheOptions = {}, shared: SharedStore, clock: Clock) {
  const { local: _local, feed: _feed, onEvent: _onEvent, ...others } = given
  return { ...others, shared, clock, logger: silent }
}

/** A store that shows what another one holds. It confirms every change without making it. */
class ShownStore implements SharedStore {
  readonly name = 'shown'
  /** As in the real store: inside one process the marks of registers are not checked. */
  readonly synchronous: boolean
  readonly stream?: 'none'
  readonly #view: StoreView
  readonly #asking: Asking
  /** As in the real store: a larger register is not handed out. */
  readonly #maxRegisterBytes: number
  /** The registers that were seen: all questions get the answers of the same moment. */
  readonly #seen = new Map<string, Promise<LookReply>>()

  constructor(view: StoreView, asking: Asking, { synchronous, maxValueBytes }: Readers) {
    this.synchronous = synchronous
    if (!synchronous) this.stream = 'none'
    this.#maxRegisterBytes = maxRegisterBytesOf(maxValueBytes ?? Number.POSITIVE_INFINITY)
    this.#view = view
    this.#asking = asking
  }

  lease(key: string): Promise<LookReply> {
    const seen =
      this.#seen.get(key) ??
      this.#asking.until(this.#view.peek([key]).then(([text]) => this.#handedOut(text)))
    this.#seen.set(key, seen)
    return seen
  }

  #handedOut(text: string | undefined): LookReply {
    if (text === undefined) return null
    const isTooLarge = bytesBeyond(text, this.#maxRegisterBytes) !== undefined && beginsAsRegister(text)
    return isTooLarge ? TOO_LARGE : text
  }

  leaseMany(requests: readonly { key: string }[]): Promise<LookReply[]> {
    return Promise.all(requests.map(({ key }) => this.lease(key)))
  }

  look(keys: readonly string[]): Promise<LookReply[]> {
    return Promise.all(keys.map(key => this.lease(key)))
  }

  stampMany(requests: readonly { key: string }[]): Promise<LookReply[]> {
    return this.leaseMany(requests)
  }

  async generation(keyspace: string, candidate: string): Promise<string> {
    const [generation] = await this.#asking.until(this.#view.generations([keyspace]))
    return generation ?? candidate
  }

  async heartbeat(_text: string, keyspaces: readonly { name: string; candidate: string }[]) {
    const names = keyspaces.map(({ name, candidate }) => this.generation(name, candidate))
    const timeMs = await this.#asking.until(this.#view.timeMs())
    return { timeMs, generations: await Promise.all(names) }
  }

  fill = async () => true
  swap = async () => true
  drop = async () => true
  claim = async () => true
  renewStamp = async () => true
  guard = async () => 'new' as const
  release = async () => ({ held: true, stored: false })
  invalidate = async () => {}
  invalidateKeyspace = async () => {}
  identity = async () => ''
  subscribe = () => () => {}
  close = async () => {}
}

/** The questions to the real store that are on their way. */
class Asking {
  #count = 0

  /** Whether there are any. */
  get isUnderWay(): boolean {
    return this.#count > 0
  }

  until<T>(answer: Promise<T>): Promise<T> {
    this.#count++
    return answer.finally(() => {
      this.#count--
    })
  }
}

/**
 * A clock that starts at the store's time, stands still while the store is asked, and jumps to the next timer when nothing
 * else is to be done. So no time limit ends a question, and a wait for another reader is over at once.
 */
class HurriedClock implements Clock {
  readonly #startMs: number
  readonly #real: Clock
  readonly #asking: Asking
  readonly #timers = new Set<{ readonly dueMs: number; readonly run: () => void }>()
  #elapsedMs = 0
  #isTicking = false

  constructor(startMs: number, real: Clock, asking: Asking) {
    this.#startMs = startMs
    this.#real = real
    this.#asking = asking
  }

  nowMs = (): number => this.#elapsedMs
  coarseMs = (): number => this.#elapsedMs
  epochMs = (): number => this.#startMs + this.#elapsedMs
  random = (): number => this.#real.random()
  token = (): string => this.#real.token()

  after(delayMs: number, run: () => void): Timer {
    const timer = { dueMs: this.#elapsedMs + delayMs, run }
    this.#timers.add(timer)
    this.#tick()
    return { cancel: () => void this.#timers.delete(timer) }
  }

  /** Uses a timer of the real clock: by then, everything that the turn of the event loop has started is done. */
  #tick(): void {
    if (this.#isTicking || this.#timers.size === 0) return
    this.#isTicking = true
    this.#real.after(
      0,
      () => {
        this.#isTicking = false
        if (!this.#asking.isUnderWay) this.#jump()
        this.#tick()
      },
      true,
    )
  }

  #jump(): void {
    const [next] = [...this.#timers].sort((a, b) => a.dueMs - b.dueMs)
    if (next === undefined) return
    this.#timers.delete(next)
    this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs)
    next.run()
  }
}
