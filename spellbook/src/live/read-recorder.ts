import type { CacheEvent, FillEvent, ReadEvent, Why } from 'cacheaside'
import { Latencies } from './latencies.ts'
import type { Batch, Hello, Lane, LateFill, Sample } from './wire.ts'

/** How many reads are remembered one by one. */
const LANES = 50
/** How many reads of a batch are shown one by one. */
const LANES_AT_ONCE = 25
/** Two minutes of seconds. */
const SAMPLES = 120
/** Over how many seconds the percentiles go. */
const WINDOW_S = 10
/** A key may be as long as its id. */
const KEY_LENGTH = 80

/** The reasons why a read asks the database and keeps nothing. */
const BYPASSES: ReadonlySet<Why> = new Set([
  'busy',
  'guarded',
  'queued',
  'in-doubt',
  'full',
  'too-large',
  'snapshot',
  'unavailable',
])

type Writable<T> = { -readonly [Name in keyof T]: T[Name] }

const counts = () => ({ hits: 0, misses: 0, bypasses: 0, failed: 0 })

/**
 * Makes lanes and numbers from the events of a cache, in bounded memory: the last fifty reads, the last two minutes, and what
 * was not sent yet.
 */
export class ReadRecorder {
  readonly #now: () => number
  readonly #loads: () => number
  readonly #lanes: { readonly lane: Writable<Lane>; readonly flight: number | undefined }[] = []
  readonly #samples: Sample[] = []
  /** The lanes of the flights that may still be filled, by the flight's number. */
  readonly #byFlight = new Map<number, Writable<Lane>>()
  /** Fills that came before their reads, as they do if the answer waits for them. */
  readonly #early = new Map<number, FillEvent>()
  readonly #hits = new Latencies(WINDOW_S)
  readonly #misses = new Latencies(WINDOW_S)
  #reads = 0
  #counts = counts()
  /** What has not been told yet. */
  #toldReads = 0
  #newFills: LateFill[] = []
  #newSamples: Sample[] = []

  /**
   * @param loads - How many loads run now.
   * @param now - Milliseconds since 1970.
   */
  constructor(loads: () => number, now: () => number = Date.now) {
    this.#loads = loads
    this.#now = now
  }

  /** How many reads there were. */
  get reads(): number {
    return this.#reads
  }

  /** Whether something has happened that was not told yet. */
  get hasNews(): boolean {
    return this.#toldReads < this.#reads || this.#newFills.length > 0 || this.#newSamples.length > 0
  }

  /** Hears of everything that the cache does. */
  hear(event: CacheEvent): void {
    if (event.type === 'read') this.#read(event)
    else if (event.type === 'fill') this.#fill(event)
  }

  /** Ends a second. Nothing is told of a second without reads that follows another such. */
  tick(): void {
    const [hit, miss] = [this.#hits.percentiles(), this.#misses.percentiles()]
    const sample: Sample = {
      atS: Math.floor(this.#now() / 1000),
      ...this.#counts,
      hitP50: rounded(hit.p50),
      hitP99: rounded(hit.p99),
      missP50: rounded(miss.p50),
      missP99: rounded(miss.p99),
      loads: this.#loads(),
    }
    this.#counts = counts()
    this.#hits.next()
    this.#misses.next()
    const last = this.#samples.at(-1)
    this.#samples.push(sample)
    if (this.#samples.length > SAMPLES) this.#samples.shift()
    if (last !== undefined && isEmpty(sample) && isEmpty(last)) return
    this.#newSamples.push(sample)
    if (this.#newSamples.length > SAMPLES) this.#newSamples.shift()
  }

  /**
   * The greeting for a viewer: all that {@link ReadRecorder.takeNews} has given out so far. What comes next continues it.
   *
   * @param known - How many reads it knows of, if it comes back.
   */
  hello(known: number | undefined): Omit<Hello, 'hasLocal'> {
    const reads = this.#toldReads
    const lanes = this.#after(known ?? 0).filter(({ number }) => number <= reads)
    const lost = known === undefined ? 0 : Math.max(0, reads - known - lanes.length)
    const samples = this.#samples.filter(sample => !this.#newSamples.includes(sample))
    return { reads, lanes, lost, samples }
  }

  /** The news since the last call. */
  takeNews(): Batch {
    const since = Math.max(this.#toldReads, this.#reads - LANES_AT_ONCE)
    const batch = {
      reads: this.#reads,
      count: this.#reads - this.#toldReads,
      lanes: this.#after(since),
      fills: this.#newFills,
      samples: this.#newSamples,
    }
    this.#toldReads = this.#reads
    this.#newFills = []
    this.#newSamples = []
    return batch
  }

  #after(number: number): readonly Lane[] {
    return this.#lanes.map(({ lane }) => lane).filter(lane => lane.number > number)
  }

  #read(event: ReadEvent): void {
    this.#count(event)
    const { flight } = event
    const lane = this.#laneOf(event)
    this.#lanes.push({ lane, flight })
    if (this.#lanes.length > LANES) {
      const gone = this.#lanes.shift()!
      if (gone.flight !== undefined && this.#byFlight.get(gone.flight) === gone.lane)
        this.#byFlight.delete(gone.flight)
    }
    if (flight === undefined || event.joined) return
    const early = this.#early.get(flight)
    this.#early.delete(flight)
    if (early !== undefined) Object.assign(lane, filled(early))
    else if (event.outcome === 'answered' && event.from === 'origin') this.#byFlight.set(flight, lane)
  }

  #count(event: ReadEvent): void {
    this.#reads++
    if (event.outcome !== 'answered') this.#counts.failed++
    else if (event.from !== 'origin') {
      this.#counts.hits++
      this.#hits.record(event.durationMs)
    } else {
      if (BYPASSES.has(event.why)) this.#counts.bypasses++
      else this.#counts.misses++
      this.#misses.record(event.durationMs)
    }
  }

  #laneOf(event: ReadEvent): Writable<Lane> {
    const lane: Writable<Lane> = {
      number: this.#reads,
      atMs: this.#now(),
      key: event.key.slice(0, KEY_LENGTH),
      outcome: event.outcome,
      totalMs: rounded(event.durationMs)!,
    }
    if (event.joined) lane.joined = true
    if (event.outcome !== 'answered') return lane
    lane.from = event.from
    lane.why = event.why
    lane.sharedMs = rounded(event.sharedMs)!
    lane.loadMs = rounded(event.loadMs)!
    if (event.absent) lane.absent = true
    if (event.tag !== undefined) lane.tag = event.tag.slice(0, KEY_LENGTH)
    return lane
  }

  #fill(event: FillEvent): void {
    const { flight } = event
    if (flight === undefined) return
    const lane = this.#byFlight.get(flight)
    if (lane === undefined) {
      this.#early.set(flight, event)
      // A refresh is filled without a read.
      if (this.#early.size > LANES) this.#early.delete(this.#early.keys().next().value!)
      return
    }
    this.#byFlight.delete(flight)
    Object.assign(lane, filled(event))
    // It was told without.
    if (lane.number > this.#toldReads) return
    this.#newFills.push({ number: lane.number, ...filled(event) })
    if (this.#newFills.length > LANES) this.#newFills.shift()
  }
}

const filled = ({ outcome, durationMs }: FillEvent) => ({ fill: outcome, fillMs: rounded(durationMs)! })

/** To the microsecond. */
const rounded = (ms: number | undefined): number | null =>
  ms === undefined ? null : Math.round(ms * 1_000) / 1_000

const isEmpty = ({ hits, misses, bypasses, failed, loads, hitP50, missP50 }: Sample): boolean =>
  hits + misses + bypasses + failed + loads === 0 && hitP50 === null && missP50 === null
