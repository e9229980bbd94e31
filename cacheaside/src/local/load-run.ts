/**
 * Loads that read through the cache, and which of them waits for which.
 *
 * A loader may ask for other keys. Its **run** then waits for their flights, which wait for runs of their own, which may
 * wait for a place under the load limit. All of this is kept as a graph of runs and flights, for two questions:
 *
 * - Would a run wait for itself, if it waited for this flight? Then it must not.
 * - Which runs wait for one that has no place? Each of them does nothing meanwhile, and can lend its own.
 *
 * A reader that is no loader is not in the graph, and costs nothing here.
 */
import { Abort } from '../base/abort.ts'
import { CacheError } from '../base/errors.ts'
import { AsyncContext } from '../base/runtime.ts'
import type { Identified } from '../base/trace-id.ts'

/** What a run can wait for: a flight, or one that has yet to begin. */
export interface Awaited extends Identified {
  readonly key: string
  /** The run whose loader leads it. */
  parent: LoadRun | undefined
  /** The run that answers it. */
  run: LoadRun | undefined
  /** What it waits for itself, if not for a run: flights of the same key that are before it. */
  ahead: readonly Awaited[]
  /** Those for which it is ahead. */
  behind: Set<Awaited> | undefined
  /** Who waits for it. */
  waits: Set<Wait> | undefined
  /** Begins its load, which would otherwise wait until others of its batch have ended. */
  start: (() => void) | undefined
}

/** A run waits for a flight, from the moment in which its loader asked until it is answered. */
export interface Wait {
  readonly run: LoadRun
  readonly on: Awaited
}

/** The places in which the loads of one cache run: its load limit, as its loads and those of other caches know it. */
export interface Places {
  /** A load that was at work waits for another. */
  rests(): void
  /** It waits no longer. */
  resumes(): void
  /** Lends a place to a load of this cache that waits for one, if none of its loads is at work. */
  relieve(): void
  /** Lends a place to a queued load, if one that waits for it has one to lend. */
  lend(run: LoadRun): void
  /** Whether a load that runs may lend its place to one of this cache, if that is what it waits for. */
  mayBorrowFrom(lender: LoadRun): boolean
  /** Lets a load of this cache begin in another's place. */
  borrow(run: LoadRun, lender: LoadRun): void
  /** Gives a place that nobody uses any more to the first in the queue. */
  freePlace(): void
}

/** Up to this many keys, a search is as fast as a look-up. */
const FEW = 8

/** How deep runs may nest. A deeper chain counts as endless. */
const DEEPEST = 10_000

/** The run whose loader is at work in the present context. */
const context = new AsyncContext<LoadRun>()
const runOfSignal = new WeakMap<AbortSignal, LoadRun>()

/**
 * The run inside whose loader a read was asked for, if that loader has not ended. Known by the asynchronous context; where
 * that was lost, as in the callbacks of some queues, by the signal that the loader was given.
 */
export function runAround(signal: AbortSignal | undefined): LoadRun | undefined {
  const bySignal = signal === undefined ? undefined : runOfSignal.get(signal)
  if (bySignal?.isRunning) return bySignal
  const inside = context.current
  return inside?.isRunning ? inside : undefined
}

/** What most runs wait for. Not to be added to. */
const NONE = new Set<Wait>()

/** One run of a loader, from the moment in which it asks for a place until the loader has settled. */
export class LoadRun implements Identified {
  readonly limit: Places
  /** What it answers. */
  readonly flights: readonly Awaited[]
  /** Ends its wait for a place, and tells its loader to end. */
  readonly abort: Abort
  /** The run whose loader asked for it. */
  readonly parent: LoadRun | undefined
  readonly depth: number
  /** What its loader waits for. */
  waits = NONE
  #state: 'waiting' | 'running' | 'ended' = 'waiting'
  /** Whose place it is in. */
  place: Places | undefined
  /** Runs that share one place form a stack. Only the uppermost does not wait for another of them. */
  below: LoadRun | undefined
  above: LoadRun | undefined
  /** Takes it out of the queue for a place, and lets it begin. */
  beginQueued: (() => void) | undefined
  /** Whether its loader has thrown. */
  hasFailed = false
  traceId = 0
  #isInside = false
  #keys: Set<string> | undefined

  constructor(limit: Places, flights: readonly Awaited[], abort: Abort, parent: LoadRun | undefined) {
    this.limit = limit
    this.flights = flights
    this.abort = abort
    this.parent = parent
    this.depth = parent === undefined ? 1 : parent.depth + 1
  }

  /** Whether it has a place, and its loader has not settled. */
  get isRunning(): boolean {
    return this.#state === 'running'
  }

  get hasEnded(): boolean {
    return this.#state === 'ended'
  }

  /** Whether it has a place and waits for nobody. */
  get isAtWork(): boolean {
    return this.#state === 'running' && this.waits.size === 0
  }

  /** Whether it answers for a key. */
  answers(key: string): boolean {
    if (this.flights.length === 1) return this.flights[0]!.key === key
    if (this.flights.length < FEW) return this.flights.some(flight => flight.key === key)
    this.#keys ??= new Set(this.flights.map(flight => flight.key))
    return this.#keys.has(key)
  }

  hasBegun(place: Places): void {
    this.#state = 'running'
    this.place = place
  }

  /** Its loader has settled, or will not be called. Reads that it began and did not await go on. */
  end(): void {
    this.#state = 'ended'
    for (const wait of this.waits) wait.on.waits!.delete(wait)
    this.waits = NONE
    if (this.#isInside) context.leave()
    this.#isInside = false
  }

  /** Calls its loader. To be called once, and ended by {@link LoadRun.end}. */
  within<R>(call: (context: { readonly signal: AbortSignal }) => R): R {
    this.#isInside = true
    return context.enter(this, () => call(givenTo(this)))
  }

  /**
   * Notes that its loader waits for a flight, until {@link LoadRun.received}. Its place is lent meanwhile: if the flight waits
   * for a place somewhere, it gets this one.
   */
  waitFor(on: Awaited): Wait {
    const wait = { run: this, on }
    on.waits ??= new Set()
    on.waits.add(wait)
    if (this.isAtWork) this.limit.rests()
    if (this.waits === NONE) this.waits = new Set()
    this.waits.add(wait)
    hasToEnd(on, this)
    this.limit.relieve()
    return wait
  }

  received(wait: Wait): void {
    if (!this.waits.delete(wait)) return
    wait.on.waits!.delete(wait)
    if (this.isAtWork) this.limit.resumes()
  }
}

/** What a loader is told. Its signal is made only for those who want it. */
class GivenToLoader {
  readonly #run: LoadRun

  constructor(run: LoadRun) {
    this.#run = run
  }

  get signal(): AbortSignal {
    const { signal } = this.#run.abort
    runOfSignal.set(signal, this.#run)
    return signal
  }
}

/**
 * Shows the signal as a member of the object itself, which `{ ...context }` copies. A getter of its own would cost each load
 * 100 to 170 ns, and in a literal 1.7 µs, because each such object gets a layout of its own. This takes 20.
 */
const OWN_SIGNAL: ProxyHandler<GivenToLoader> = {
  get: (given, name) => given[name as 'signal'],
  ownKeys: () => ['signal'],
  getOwnPropertyDescriptor: (given, name) =>
    name === 'signal'
      ? { value: given.signal, enumerable: true, configurable: true, writable: false }
      : undefined,
}

const givenTo = (run: LoadRun): { readonly signal: AbortSignal } =>
  new Proxy(new GivenToLoader(run), OWN_SIGNAL)

/** What most flights wait for. */
export const NOTHING_AHEAD: readonly Awaited[] = []

/** Puts a flight behind others, of which one has to end first. */
export function standBehind(one: Awaited, ahead: readonly Awaited[]): void {
  one.ahead = ahead
  for (const before of ahead) {
    before.behind ??= new Set()
    before.behind.add(one)
    if (someWaiting(one, () => true)) hasToEnd(before, undefined)
  }
}

export function stepOut(one: Awaited): void {
  for (const before of one.ahead) before.behind?.delete(one)
  one.ahead = NOTHING_AHEAD
}

/** A flight, and all that are before it. */
function withAhead(one: Awaited): Set<Awaited> {
  const all = new Set([one])
  // The set grows during the loop.
  for (const next of all) for (const before of next.ahead) all.add(before)
  return all
}

/** Whether any run waits for it, directly or behind it; other than the one that leads it. */
export function isAwaited(one: Awaited): boolean {
  return someWaiting(one, run => run !== one.parent)
}

/** A run waits for it now: the loads that it depends on are started, or get the place of a run that waits. */
function hasToEnd(one: Awaited, waiting: LoadRun | undefined): void {
  for (const next of withAhead(one)) if (waiting === undefined || next.parent !== waiting) next.start?.()
  for (const run of queuedBelow(one)) run.limit.lend(run)
}

function someWaiting(one: Awaited, is: (run: LoadRun) => boolean): boolean {
  if (one.behind === undefined || one.behind.size === 0) return someWaits(one, is)
  const all = new Set([one])
  // The set grows during the loop.
  for (const next of all) {
    if (someWaits(next, is)) return true
    for (const behind of next.behind ?? []) all.add(behind)
  }
  return false
}

function someWaits({ waits }: Awaited, is: (run: LoadRun) => boolean): boolean {
  if (waits !== undefined) for (const { run } of waits) if (is(run)) return true
  return false
}

/** The runs without a place that a flight waits for. */
export function queuedBelow(one: Awaited): LoadRun[] {
  const queued = new Set<LoadRun>()
  const below = new Set([one])
  // The set grows during the loop.
  for (const { run, ahead } of below) {
    for (const next of ahead) below.add(next)
    if (run === undefined || run.hasEnded) continue
    if (run.beginQueued !== undefined) queued.add(run)
    else for (const { on } of run.waits) below.add(on)
  }
  return [...queued]
}

/**
 * The first run, from this one upwards, that fits, with the runs between them: each waits for the next.
 */
export function waitingFor(from: LoadRun, fits: (run: LoadRun) => boolean): LoadRun[] | undefined {
  const reachedFrom = new Map<LoadRun, LoadRun | undefined>([[from, undefined]])
  // The map grows during the loop.
  for (const run of reachedFrom.keys()) {
    if (fits(run)) return pathFrom(run, reachedFrom)
    for (const flight of run.flights) {
      someWaiting(flight, waiting => {
        if (!reachedFrom.has(waiting)) reachedFrom.set(waiting, run)
        return false
      })
    }
  }
  return undefined
}

function pathFrom(run: LoadRun, reachedFrom: ReadonlyMap<LoadRun, LoadRun | undefined>): LoadRun[] {
  const path: LoadRun[] = []
  for (let next: LoadRun | undefined = run; next !== undefined; next = reachedFrom.get(next)) path.push(next)
  return path
}

/**
 * What is wrong with a wait that would never end. A `CacheError` if each run on the way loads one key: then each of these
 * keys needs the next. `'together'` if keys are loaded together that need each other: then the run can load what it needs
 * apart.
 */
export type Deadlock = CacheError | 'together'

/** Whether a run would wait for itself if it waited for this flight. */
export function deadlockOf(run: LoadRun, on: Awaited): Deadlock | undefined {
  const answering = new Set<LoadRun>()
  for (const { run: one } of withAhead(on)) if (one !== undefined && !one.hasEnded) answering.add(one)
  if (answering.size === 0) return undefined
  const path = waitingFor(run, one => answering.has(one))
  return path === undefined ? undefined : deadlockIn(path, on.key)
}

/** How often a key may come up above its own load: where it was loaded together with others, it is loaded once more. */
const MOST_ABOVE = 2

/**
 * Whether a load of the flight's own key has begun this flight, or waits for it. The flight has to be loaded, or has to wait
 * for the lease of another load of its key.
 *
 * @param others - The other flights of the key that are under way.
 */
export function recursionOf(
  flight: Awaited,
  limit: Places,
  others: readonly Awaited[],
): Deadlock | undefined {
  const { key, parent } = flight
  if (parent !== undefined && parent.depth >= DEEPEST) return tooDeep(parent, key)
  let found: Deadlock | undefined
  let above = 0
  for (let run = parent; run !== undefined; run = run.parent) {
    // A failed load counts, too: otherwise a read that it left behind would begin that load again, which fails and leaves the
    // same read behind, for ever.
    if (run.limit !== limit || !run.answers(key) || (run.hasEnded && !run.hasFailed)) continue
    const path = descent(run, parent!)
    found = deadlockIn(path, key)
    if (++above > MOST_ABOVE) return cycle(path, key)
    if (found instanceof CacheError) return found
  }
  for (const { run } of others) {
    if (run === undefined || run.hasEnded) continue
    let way: LoadRun[] | undefined
    someWaiting(flight, waiting => {
      way ??= waitingFor(waiting, one => one === run)
      return way !== undefined
    })
    if (way !== undefined) found ??= deadlockIn(way, key)
  }
  return found
}

const deadlockIn = (path: readonly LoadRun[], key: string): Deadlock =>
  path.every(({ flights }) => flights.length === 1) ? cycle(path, key) : 'together'

const cycle = (path: readonly LoadRun[], key: string): CacheError =>
  new CacheError('LOAD_CYCLE', `${key} waits for itself: ${chainOf(path, key)}`)

const tooDeep = (parent: LoadRun, key: string): CacheError =>
  new CacheError(
    'LOAD_CYCLE',
    `loads nest deeper than ${DEEPEST}: ${chainOf(descent(undefined, parent), key)}`,
  )

/** From one run, or the first of all, to another inside it. */
function descent(from: LoadRun | undefined, to: LoadRun): LoadRun[] {
  const path: LoadRun[] = []
  for (let run: LoadRun | undefined = to; run !== undefined; run = run.parent) {
    path.push(run)
    if (run === from) break
  }
  return path.reverse()
}

const SHOWN_KEYS = 12

/** The keys of a chain. Of a long chain only both ends are shown. */
function chainOf(path: readonly LoadRun[], last: string): string {
  const keys = [...path.map(({ flights }) => flights.map(({ key }) => key).join('+')), last]
  const left = keys.length - SHOWN_KEYS
  if (left > 1) keys.splice(SHOWN_KEYS / 2, left, `… (${left} more)`)
  return keys.join(' → ')
}

/** A run that answers no flight: other work that takes a place and may read through the cache. */
export const runWithoutFlights = (limit: Places): LoadRun => new LoadRun(limit, [], new Abort(), undefined)
