/**
 * The read path.
 *
 * 1. **Local.** Return a fresh entry of this process (`keyspace.ts`). Nothing else happens. Without an L1, and on a store in
 *    this process, the same is tried with a fresh value of step 3 (`at-hand.ts`).
 * 2. **Join.** If this process already reads the key, wait for that flight, unless an invalidation has doomed it or it
 *    began too long ago. A strong reader joins no flight that began before it.
 * 3. **Shared.** Ask the shared store in one round trip (`ask.ts`), and judge its reply (`judge.ts`): *found*; *leased*: the
 *    right to load and to fill is ours; *busy*: another reader loads, so ask again after a pause; or *guarded*: a writer is
 *    at work.
 * 4. **Load.** Call the loader once, within the load limit and the time limit (`load.ts`).
 * 5. **Fill.** Offer the value to the shared store with the lease's token (`fill.ts`). The store refuses it if the key
 *    was invalidated meanwhile: the readers still get the value, and nobody keeps it.
 * 6. **Keep.** Keep a found or accepted value in L1 until it expires or an invalidation is heard (`fill.ts`).
 *
 * A reader that was guarded, busy for too long, or could not reach the store, loads and keeps nothing anywhere.
 */
import { type AskedOrBusy, askThen } from './ask.ts'
import { CacheError } from './base/errors.ts'
import type { Key } from './base/key.ts'
import { type Identified, idOf } from './base/trace-id.ts'
import { keep } from './fill.ts'
import { beginTags } from './flight-tags.ts'
import { type Asked, giveBack } from './lease.ts'
import { fromOrigin } from './load.ts'
import type { Flight } from './local/flight.ts'
import { type LoadRun, runAround } from './local/load-run.ts'
import { recursion, unlessDeadlocked, waitInside } from './nested.ts'
import { refresh } from './refresh.ts'
import { type Answer, beginFlight, foundAnswer, type Joining, type ReadRequest, type Space } from './space.ts'

/** What a read does once it has ended: its result, or what is told of its failure. */
export interface Ending<V, R> {
  answered(answer: Answer<V>, joining: Joining, beganMs: number, parent: LoadRun | undefined): R | Promise<R>
  failed(error: unknown, joining: Joining, beganMs: number, parent: LoadRun | undefined): void
}

/** Steps 2 to 6 for one caller. */
export function read<Id, V, R>(
  space: Space<Id, V>,
  request: ReadRequest<Id>,
  signal: AbortSignal | undefined,
  ending: Ending<V, R>,
): Promise<R> {
  const parent = runAround(signal)
  const nowMs = space.parts.clock.nowMs()
  const joining = joinOrLead(space, request, nowMs, lead, parent)
  if (parent !== undefined) return readInside(space, request, signal, ending, nowMs, parent, joining)
  return answerOf<V>(joining.flight, signal).then(
    answer => ending.answered(answer, joining, nowMs, undefined),
    error => {
      ending.failed(error, joining, nowMs, undefined)
      throw error
    },
  )
}

/** Step 2, for a read inside a loader. */
function readInside<Id, V, R>(
  space: Space<Id, V>,
  request: ReadRequest<Id>,
  signal: AbortSignal | undefined,
  ending: Ending<V, R>,
  beganMs: number,
  parent: LoadRun,
  joining: Joining,
): Promise<R> {
  const waitsFor = unlessDeadlocked(space, request, parent, joining)
  if (waitsFor instanceof CacheError) {
    ending.failed(waitsFor, joining, beganMs, parent)
    return Promise.reject(waitsFor)
  }
  const { flight } = waitsFor
  return waitInside(parent, [flight], answerOf<V>(flight, signal)).then(
    answer => ending.answered(answer, waitsFor, beganMs, parent),
    error => {
      ending.failed(error, waitsFor, beganMs, parent)
      throw error
    },
  )
}

/** Waits for a flight on behalf of a caller who may give up. The flight may have yet to begin. */
function answerOf<V>(flight: Joining['flight'], signal: AbortSignal | undefined): Promise<Answer<V>> {
  return flight.wait(signal) as Promise<Answer<V>>
}

/** Begins a flight for an id and leads it. */
export type Lead = <Id, V>(
  space: Space<Id, V>,
  id: Id,
  key: Key,
  strong: boolean,
  nowMs: number,
  parent: LoadRun | undefined,
  sameAs: Identified | undefined,
) => Flight<Answer>

/** Step 2: a flight to wait for. */
export function joinOrLead<Id, V>(
  space: Space<Id, V>,
  { id, key, strong }: ReadRequest<Id>,
  nowMs: number,
  begin: Lead,
  parent: LoadRun | undefined,
): Joining {
  const { flights, clock, options, stream } = space.parts
  if (strong) return flights.next(key, queued => begin(space, id, key, true, clock.nowMs(), parent, queued))
  // A flight that relied on a proof which has run out may have begun with a generation too old for this reader.
  stream.checkProof(nowMs)
  const flight = flights.joinable(key, nowMs - options.localMaxStaleMs)
  return flight === undefined
    ? { flight: begin(space, id, key, false, nowMs, parent, undefined), joined: false }
    : { flight, joined: true }
}

const lead: Lead = (space, id, key, strong, nowMs, parent, sameAs) => {
  const flight = beginFlight(space, key, nowMs, false, parent, sameAs)
  runFlight(space, flight, id, strong)
  return flight
}

/** Steps 3 to 6 of a flight. It answers later, in any case. */
export function runFlight<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, id: Id, strong: boolean): void {
  space.parts.beginWork()
  try {
    beginTags(space, flight, id, strong)
    askThen(space, flight, strong, asked => goOn(space, flight, id, asked))
  } catch (error) {
    fail(space, flight, error)
  }
}

/** What follows step 3: the answer, or steps 4 to 6. */
function goOn<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  id: Id,
  asked: AskedOrBusy<V> | Promise<AskedOrBusy<V>>,
): void {
  if (asked instanceof Promise) {
    asked.then(
      one => goOn(space, flight, id, one),
      error => fail(space, flight, error),
    )
  } else if (asked.kind === 'busy') goOn(space, flight, id, asked.wait())
  else if (asked.kind === 'found') {
    try {
      answerFound(space, flight, id, asked)
    } catch (error) {
      flight.reject(error)
    }
    end(space, flight)
  } else load(space, flight, id, asked)
}

/** Steps 4 to 6. */
function load<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  id: Id,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
): void {
  const deadlock = recursion(space, flight)
  if (deadlock instanceof CacheError) {
    giveBack(space, flight.key, asked)
    fail(space, flight, deadlock)
    return
  }
  fromOrigin(space, flight, asked, space.parts.clock.nowMs() - flight.beganAtMs, id).then(
    () => end(space, flight),
    error => fail(space, flight, error),
  )
}

function fail<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, error: unknown): void {
  flight.reject(error)
  end(space, flight)
}

function end<Id, V>({ parts }: Space<Id, V>, flight: Flight<Answer>): void {
  parts.flights.end(flight)
  parts.endWork()
}

/** Step 3 ended well: answer, keep the value here, and see to a refresh. */
export function answerFound<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  id: Id,
  found: Asked<V> & { kind: 'found' },
): void {
  const sharedMs = found.atMs - flight.beganAtMs
  const answer = foundAnswer(space, found, found.why, { sharedMs, loadMs: 0 })
  if (found.why === 'fresh')
    keep(space, flight, found.opened, found.register.generation, answer, found.register)
  flight.resolve(answer)
  if (found.refresh) refresh(space, id, flight.key as Key, idOf(flight), found.register)
}
