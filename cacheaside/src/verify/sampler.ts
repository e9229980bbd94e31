import { checkSignal } from '../base/abort.ts'
import type { Timer } from '../base/clock.ts'
import { CacheError } from '../base/errors.ts'
import { aFunction, knownNames, wholeNumber } from '../base/invalid-option.ts'
import { silencePromise } from '../base/thrown.ts'
import type { Cache } from '../cache.ts'
import type { StoreView } from '../shared/shared-store.ts'
import type { AuditedKeyspace } from './audited-keyspace.ts'
import { Examiner } from './examiner.ts'
import type { Finding, Outcome } from './outcome.ts'
import { limited } from './pace.ts'
import { assertKeyspaces } from './verify.ts'
import { Encounters } from './walk.ts'

/** The options of {@link startSampling}. */
export interface SamplingOptions {
  /** The audited keyspaces. Registers of others are skipped. */
  readonly keyspaces: readonly AuditedKeyspace[]
  /** How often some keys are looked at, in milliseconds. @defaultValue 1000 */
  readonly everyMs?: number
  /** Most keys that are examined each time; each costs the origin one value. @defaultValue 10 */
  readonly keys?: number
  /** As in `VerifyOptions`. @defaultValue 2000 */
  readonly graceMs?: number
  /** As in `VerifyOptions`. @defaultValue 10,000 */
  readonly timeoutMs?: number
  /** Called with what is stale, unreadable or orphaned; the numbers are in the cache's events and statistics. Left out: nobody is told. */
  readonly onFinding?: (finding: Finding) => void
  /** Ends it. Left out: `stop()` and the cache's `close()` do. */
  readonly signal?: AbortSignal
}

/** A sampler that runs. */
export interface Sampler {
  /** Ends it. Resolves when none of its work is under way any more. Idempotent. */
  stop(): Promise<void>
}

const DEFAULTS = { everyMs: 1_000, keys: 10, graceMs: 2_000, timeoutMs: 10_000 } as const
const OPTION_NAMES = [...Object.keys(DEFAULTS), 'keyspaces', 'onFinding', 'signal']
/** Most pages that one round reads: several pages in a row may hold nothing to examine. */
const MOST_PAGES = 20

type Resolved = SamplingOptions & typeof DEFAULTS

/**
 * Has a cache measure its own staleness: walks over the shared store without end, a few keys at a time, compares each
 * with the origin, and reports what comes of it as `verified` events, which `stats()` adds up. Every value is looked at
 * once per walk, so the share of stale ones is that of the whole store.
 *
 * It looks at the store on its own connections, and takes places under the cache's load limit only while readers leave some
 * free. It ends when it is stopped, or when the cache is closed. Trouble is reported as one `fault` event, until it is
 * over. One process of many is enough.
 *
 * @throws CacheError `INVALID_OPTIONS`; `CLOSED`.
 */
export function startSampling(cache: Cache, options: SamplingOptions): Sampler {
  const sampling = new Sampling(cache, resolve(cache, options))
  return { stop: () => sampling.stop() }
}

class Sampling {
  readonly #parts: Cache['auditable']
  readonly #options: Resolved
  readonly #spaces: ReadonlyMap<string, AuditedKeyspace>
  readonly #forget: () => void
  #view: StoreView | undefined
  #examiner: Examiner | undefined
  #walk: AsyncIterator<readonly string[]> | undefined
  /** Keys of the walk that have not been looked at. */
  #ahead: string[] = []
  #timer: Timer | undefined
  #round: Promise<void> = Promise.resolve()
  #stopped: Promise<void> | undefined
  #inTrouble = false
  /** Whether it has a place under the load limit, and the loader calls that use the place. */
  #hasPlace = false
  readonly #calls: Promise<unknown>[] = []
  readonly #ending = new AbortController()

  constructor(cache: Cache, options: Resolved) {
    this.#parts = cache.auditable
    this.#options = options
    this.#spaces = new Map(options.keyspaces.map(space => [space.name, space]))
    const stop = () => this.stop()
    const forgetClosing = this.#parts.whenClosing(stop)
    options.signal?.addEventListener('abort', stop, { once: true })
    this.#forget = () => {
      forgetClosing()
      options.signal?.removeEventListener('abort', stop)
    }
    if (options.signal?.aborted === true) this.stop()
    else this.#next()
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    this.#forget()
    this.#timer?.cancel()
    this.#ending.abort(new Error('the sampler was stopped'))
    await this.#round
    await this.#close()
  }

  #next(): void {
    this.#timer = this.#parts.clock.after(this.#options.everyMs, () => {
      this.#round = this.#run().then(() => {
        if (this.#stopped === undefined) this.#next()
      })
    })
  }

  /** One round. Never rejects. */
  async #run(): Promise<void> {
    try {
      const examiner = await this.#open()
      const keys = await this.#take(this.#options.keys)
      await this.#withRoom(async () => {
        this.#emitOutcomes(await examiner.examine(keys))
        this.#emitOutcomes(await examiner.examineAgain(this.#options.keys))
        if (this.#inTrouble) this.#parts.emit({ type: 'mended', of: 'fault', what: 'sampling' })
        this.#inTrouble = false
      })
    } catch (error) {
      // The connections may be the trouble. The next round opens new ones, and begins another walk.
      await this.#close()
      if (this.#stopped !== undefined) return
      if (!this.#inTrouble) this.#parts.emit({ type: 'fault', during: 'sampling', error })
      this.#inTrouble = true
    }
  }

  async #open(): Promise<Examiner> {
    if (this.#examiner !== undefined) return this.#examiner
    const { shared, clock } = this.#parts
    const { graceMs, timeoutMs } = this.#options
    const opening = shared.view!()
    try {
      this.#view = await this.#limited(opening)
    } catch (error) {
      opening.then(
        unwanted => unwanted.close(),
        () => {},
      )
      throw error
    }
    const common = {
      view: this.#view,
      keyspaces: this.#spaces,
      clock,
      graceMs,
      timeoutMs,
      signal: this.#ending.signal,
    }
    this.#examiner = new Examiner({
      ...common,
      loadsAtOnce: 1,
      onLoad: () => {},
      onCall: call => void this.#calls.push(call),
    })
    return this.#examiner
  }

  async #close(): Promise<void> {
    const view = this.#view
    this.#view = this.#examiner = this.#walk = undefined
    this.#ahead = []
    await view?.close().catch(() => {})
  }

  /** The next keys of the walk. At its end another one is begun, in the next round. */
  async #take(count: number): Promise<readonly string[]> {
    const passedBy = new Encounters(this.#spaces, 0)
    for (let pages = 0; pages < MOST_PAGES && this.#ahead.length < count; pages++) {
      this.#walk ??= this.#view!.keys()[Symbol.asyncIterator]()
      const page = await this.#limited(this.#walk.next())
      if (page.done === true) {
        this.#walk = undefined
        break
      }
      this.#ahead.push(...passedBy.sift(page.value))
    }
    return this.#ahead.splice(0, count)
  }

  /**
   * Runs `work` in a place under the load limit, if readers leave one free; otherwise the keys have to wait for the next
   * walk. As with readers, the place is free again only when the loader has settled, even if it was given up: until
   * then the origin is still at work for it, and is not asked for more.
   */
  async #withRoom(work: () => Promise<void>): Promise<void> {
    const { limit } = this.#parts
    const place = this.#hasPlace ? undefined : limit.enterIfFree()
    if (place === undefined) return
    this.#hasPlace = true
    try {
      await place.within(work)
    } finally {
      Promise.allSettled(this.#calls.splice(0)).then(() => {
        this.#hasPlace = false
        limit.leave(place)
      })
    }
  }

  #emitOutcomes(outcomes: readonly Outcome[]): void {
    for (const outcome of outcomes) {
      const { keyspace, key } = outcome
      if (outcome.kind === 'skipped' && outcome.why === 'failed') throw outcome.error
      const staleMs = outcome.kind === 'stale' ? outcome.staleMs : 0
      this.#parts.emit({ type: 'verified', keyspace, key, outcome: outcome.kind, staleMs })
      if (outcome.kind === 'equal' || outcome.kind === 'skipped') continue
      try {
        silencePromise(this.#options.onFinding?.(outcome))
      } catch {
        // As with a listener of events, an error is not part of the work, and nobody is left to tell.
      }
    }
  }

  #limited<T>(work: Promise<T>): Promise<T> {
    const { timeoutMs } = this.#options
    const late = () => new Error(`the shared store did not answer within ${timeoutMs} ms`)
    return limited(this.#parts.clock, timeoutMs, work, late, this.#ending.signal)
  }
}

function resolve(cache: Cache, given: SamplingOptions): Resolved {
  knownNames('options', given, OPTION_NAMES)
  const set = Object.entries(given).filter(([, value]) => value !== undefined)
  const options: Resolved = Object.assign({}, DEFAULTS, Object.fromEntries(set) as unknown as SamplingOptions)
  assertKeyspaces(options.keyspaces)
  for (const [name, least] of [
    ['everyMs', 1],
    ['keys', 1],
    ['graceMs', 0],
    ['timeoutMs', 1],
  ] as const) {
    wholeNumber(name, options[name], least, 2 ** 31 - 1)
  }
  aFunction('onFinding', options.onFinding)
  checkSignal(options.signal)
  const { shared } = cache.auditable
  if (shared.view === undefined)
    throw new CacheError(
      'INVALID_OPTIONS',
      `the shared store ${shared.name} cannot be looked at: it has no view()`,
    )
  return options
}
