/**
 * Step 4 of a read: one call of the loader, within the load limit and the time limit; and the old value that is served
 * where a load fails or is slow.
 */
import { Abort } from './base/abort.ts'
import type { Clock } from './base/clock.ts'
import { CacheError, type CacheErrorCode } from './base/errors.ts'
import type { LoadEvent } from './base/events.ts'
import { isOf, silencePromise, tagOf } from './base/thrown.ts'
import { idOf } from './base/trace-id.ts'
import type { LoadTrace, Tracing } from './base/tracing.ts'
import { fillAndKeep } from './fill.ts'
import { readyTags, tagsOf } from './flight-tags.ts'
import { keepNone } from './late-tags.ts'
import { type Asked, giveBack, type Leased } from './lease.ts'
import { Flight } from './local/flight.ts'
import type { LoadLimit } from './local/load-limit.ts'
import { type Awaited, LoadRun } from './local/load-run.ts'
import type { LoadContext } from './options.ts'
import { type Answer, foundAnswer, type Space, type Spent } from './space.ts'
import { warnOfLoads } from './warn-of.ts'

/** What one call of a loader needs around it. */
export interface LoadFrame {
  readonly clock: Clock
  readonly limit: LoadLimit
  readonly emit: (event: LoadEvent) => void
  readonly tracing: Tracing
  /** Whether anybody is told of loads: if not, its flights get no numbers. */
  readonly isHeard: (operation: 'load') => boolean
  readonly keyspace: string
  /** The flights that it answers. All have the same parent. */
  readonly flights: readonly Awaited[]
  readonly timeoutMs: number
  /**
   * Whether a caller waits for it. If so, its timers keep the process alive until the caller has an answer. Left out: one
   * does.
   */
  readonly isAwaited?: boolean
  /** Aborting it ends the load for those who wait, and tells the loader. */
  readonly abort: Abort
}

/** What a loader returned, and what it cost. */
export interface Loaded<T> {
  readonly result: T
  readonly costMs: number
  /** The number that events name the load by. */
  readonly loadId: number
}

/**
 * Step 4 of a read: calls the loader once, within the load limit and the time limit.
 *
 * The time limit counts from now, so that a load which had to wait for its turn still ends before its lease does.
 * After it the callers are told `LOAD_TIMEOUT` and the loader's signal is aborted; its place under the load limit
 * becomes free when it really settles, because until then the origin is still at work for it.
 *
 * @throws the loader's error, as it is; CacheError `OVERLOADED` or `LOAD_TIMEOUT`; the abort's reason.
 */
export function callLoader<T>(
  frame: LoadFrame,
  call: (context: LoadContext) => Promise<T> | T,
): Promise<Loaded<T>> {
  const { tracing, keyspace, flights } = frame
  if (!tracing.hears('load')) return runLoader(frame, call)
  const message: LoadTrace = { keyspace, keys: flights.map(({ key }) => key), flights: flights.map(idOf) }
  const emit = (event: LoadEvent) => {
    message.event = event
    frame.emit(event)
  }
  return tracing.trace('load', message, () => runLoader({ ...frame, emit }, call))
}

function runLoader<T>(frame: LoadFrame, call: (context: LoadContext) => Promise<T> | T): Promise<Loaded<T>> {
  const { clock, limit, flights, abort, isAwaited = true } = frame
  const run = new LoadRun(limit, flights, abort, flights[0]!.parent)
  for (const flight of flights) flight.run = run
  return new Promise((resolve, reject) => {
    let beganMs: number | undefined
    let queuedMs: number | undefined
    let ended = false
    const end = (outcome: LoadEvent['outcome'], error?: unknown): number => {
      const nowMs = beganMs === undefined && queuedMs === undefined ? 0 : clock.nowMs()
      const costMs = beganMs === undefined ? 0 : nowMs - beganMs
      if (ended) return costMs
      ended = true
      timer.cancel()
      stopListening()
      const waitMs = queuedMs === undefined ? 0 : (beganMs ?? nowMs) - queuedMs
      const failure = outcome === 'loaded' ? {} : { error }
      tellEnd(frame, run, { outcome, costMs, waitMs, ...failure })
      return costMs
    }
    const giveUp = () => {
      const where =
        beganMs === undefined ? 'no place under the load limit became free' : 'the loader did not answer'
      abort.abort(new CacheError('LOAD_TIMEOUT', `${flights[0]!.key}: ${where} within ${frame.timeoutMs} ms`))
    }
    // After the process stood still, timers run before the sockets are read: the last millisecond is a turn of the event
    // loop by itself, in which an answer that has arrived already is seen.
    const oneMoreTurn = () => {
      timer = clock.after(0, giveUp, isAwaited)
    }
    let timer = clock.after(frame.timeoutMs - 1, oneMoreTurn, isAwaited)
    let stopListening = () => {}
    stopListening = abort.listen(reason => {
      end(hasCode(reason, 'LOAD_TIMEOUT') ? 'timed-out' : 'aborted', reason)
      reject(reason)
    })

    const begin = async () => {
      if (ended) return limit.leave(run)
      beganMs = clock.nowMs()
      try {
        const result = await run.within(call)
        resolve({ result, costMs: end('loaded'), loadId: idOf(run) })
      } catch (error) {
        run.hasFailed = true
        end('failed', error)
        reject(error)
      } finally {
        limit.leave(run)
      }
    }
    const refused = (error: unknown) => {
      end(hasCode(error, 'OVERLOADED') ? 'overloaded' : 'aborted', error)
      reject(error)
    }
    const turn = limit.enter(run)
    if (turn === undefined) return void begin()
    queuedMs = clock.nowMs()
    turn.then(begin, refused)
  })
}

const NO_FLIGHTS: readonly number[] = Object.freeze([])

/** Tells of a load that has ended. Its flights get numbers only if somebody is told of them. */
function tellEnd(
  { emit, isHeard, keyspace, flights }: LoadFrame,
  run: LoadRun,
  end: Pick<LoadEvent, 'outcome' | 'costMs' | 'waitMs' | 'error'>,
): void {
  const keys = flights.map(({ key }) => key)
  const numbers = { id: idOf(run), flights: isHeard('load') ? flights.map(idOf) : NO_FLIGHTS }
  emit({ type: 'load', keyspace, keys, ...numbers, ...end })
}

const hasCode = (error: unknown, code: CacheErrorCode): boolean =>
  isOf(error, CacheError) && error.code === code

/** One call of `load`, or of `loadMany` for one. */
function loadOne<Id, V>(
  space: Space<Id, V>,
  id: Id,
  key: string,
  context: LoadContext,
): Promise<V | undefined> | V | undefined {
  const { load } = space.options
  if (load !== undefined) return load(id, context)
  return loadByKey(space, [id], context).then(values => {
    if (!values.has(key) && hasUnaskedIds(space, values, [key]))
      throw unaskedIds(`${space.name}.loadMany`, key, 'give load too, ')
    const value = values.get(key)
    if (value instanceof NotLoaded) throw value.error
    return value
  })
}

/**
 * Whether `loadMany` answered with keys that it was not asked for, in a keyspace with `idOf`. There a row may be asked for
 * under another text than its own id. So a key that the answer leaves out is not known to be absent.
 */
export function hasUnaskedIds<Id, V>(
  { options }: Space<Id, V>,
  values: ReadonlyMap<string, unknown>,
  asked: readonly string[],
): boolean {
  if (options.idOf === undefined) return false
  const known = new Set(asked)
  return [...values.keys()].some(key => !known.has(key))
}

/** The row of the key cannot be guessed: a wrong guess would show somebody else's. */
const unaskedIds = (loader: string, key: string, remedy: string): TypeError =>
  new TypeError(
    `${loader} answered with ids that it was not asked for, and not with that of ${key}: ` +
      `answer with the ids as they were asked for, ${remedy}or make ids canonical by key`,
  )

/** An id for which `loadMany` has answered with an error. The other ids are not affected. */
export class NotLoaded {
  readonly error: Error

  constructor(error: Error) {
    this.error = error
  }
}

/** One call of `loadMany`, with its answer by key. */
export async function loadByKey<Id, V>(
  space: Space<Id, V>,
  ids: readonly Id[],
  context: LoadContext,
): Promise<ReadonlyMap<string, V | NotLoaded | undefined>> {
  return byKey(space, `${space.name}.loadMany`, await space.options.loadMany!(ids, context))
}

/**
 * The answer of a loader of several ids, by key. It may hold ids that were not asked for, or an id twice: then the last value
 * counts. An error for an id counts more than any value.
 */
function byKey<Id, V>(
  space: Space<Id, V>,
  loader: string,
  answer: unknown,
): ReadonlyMap<string, V | NotLoaded | undefined> {
  const values = new Map<string, V | NotLoaded | undefined>()
  if (typeof answer !== 'object' || answer === null || !(Symbol.iterator in answer))
    throw noPairs(loader, answer)
  for (const pair of answer as Iterable<readonly [Id, V | undefined]>) {
    // A text of two characters can be taken apart, too.
    const isPair = Array.isArray(pair)
    if (!isPair || silencePromise(pair[1])) {
      // The others may be promises that reject, too.
      if (Array.isArray(answer)) for (const one of answer.flat()) silencePromise(one)
      throw noPairs(loader, isPair ? pair[1] : pair)
    }
    const key = space.keyOf(pair[0])
    if (isError(pair[1])) values.set(key, new NotLoaded(pair[1]))
    else if (!(values.get(key) instanceof NotLoaded)) values.set(key, pair[1])
  }
  return values
}

/**
 * The rows of all these keys, in their order, of a loader that answers as `loadMany` does and on which nothing can fall back:
 * what it cannot read fails.
 */
export function rowsByKey<Id, V>(
  space: Space<Id, V>,
  loader: string,
  keys: readonly string[],
  answer: unknown,
): (V | undefined)[] {
  const values = byKey(space, loader, answer)
  const left = keys.find(key => !values.has(key))
  if (left !== undefined && hasUnaskedIds(space, values, keys)) throw unaskedIds(loader, left, '')
  return keys.map(key => {
    const value = values.get(key)
    if (value instanceof NotLoaded) throw value.error
    return value
  })
}

/** Whether a value is an error, of this realm or of another: a sandbox has an `Error` of its own. */
const isError = (value: unknown): value is Error => isOf(value, Error) || tagOf(value) === 'Error'

/** The usual mistake is to return the rows of a query as they are. */
const noPairs = (loader: string, got: unknown): TypeError =>
  new TypeError(`expected ${loader} to answer with pairs of id and value, got ${kindOf(got)}`)

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (silencePromise(value)) return 'a promise'
  return typeof value === 'object' && Symbol.asyncIterator in value
    ? 'an asynchronous iterable'
    : typeof value
}

/** Steps 4 to 6 for one flight. */
export async function fromOrigin<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  given: Asked<V> & { kind: 'leased' | 'bypass' },
  sharedMs: number,
  id: Id,
): Promise<void> {
  const { clock } = space.parts
  const asked = flight.tags === undefined ? given : await readyOne(space, flight, given)
  // A refresh that may keep nothing would load for nobody.
  if (flight.background && asked.kind === 'bypass') return
  const stopSoftLimit = answerStaleIfSlow(space, flight, asked, sharedMs)
  const beganMs = clock.nowMs()
  let loaded: Loaded<V | undefined>
  try {
    const frame = loadFrame(space, [flight], flight.abort, !flight.background)
    loaded = await callLoader(frame, context => loadOne(space, id, flight.key, context))
  } catch (error) {
    const spent = { sharedMs, loadMs: clock.nowMs() - beganMs }
    giveBack(space, flight.key, asked)
    if (!answerStale(space, flight, asked, spent)) throw error
    return warnOfLoads(space.parts.warnings, space.name, error)
  } finally {
    stopSoftLimit()
  }
  const spent = { sharedMs, loadMs: loaded.costMs }
  const isWorthAnother = await fillAndKeep(space, flight, asked, loaded.result, spent)
  if (isWorthAnother && asked.kind === 'leased') await loadAgain(space, [{ flight, id, asked }])
}

async function readyOne<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
): Promise<Asked<V> & { kind: 'leased' | 'bypass' }> {
  const load = { flight, asked }
  await readyTags(space, [load])
  return load.asked
}

/** A load whose callers are answered, and whose value may be kept if it is loaded once more. */
export interface Again<Id, V> {
  readonly flight: Flight<Answer>
  readonly id: Id
  readonly asked: Leased<V>
}

/**
 * Loads these values once more, in one call where there is a `loadMany`, and keeps them if they name no new tags. Nobody
 * waits for this load, so it begins only where the load limit has room. Never rejects.
 */
export async function loadAgain<Id, V>(space: Space<Id, V>, loads: readonly Again<Id, V>[]): Promise<void> {
  const { parts } = space
  if (loads.length === 0) return
  if (!parts.limit.hasRoom) {
    for (const { flight, asked } of loads) keepNone(space, flight, asked)
    return
  }
  const now = parts.seenStamps.now()
  for (const { flight } of loads) tagsOf(flight)!.loadBegan = now
  // New flights: the callers' flights have been answered, and their loads lend no places any more.
  const nobody = loads.map(
    ({ flight }) => new Flight<Answer>(flight.key, space.name, flight.beganAtMs, true, undefined, flight),
  )
  const frame = loadFrame(space, nobody, new Abort(), false)
  const spentOf = (loadMs: number) => ({ sharedMs: 0, loadMs })
  try {
    const [one] = loads
    if (loads.length === 1 || space.options.loadMany === undefined) {
      const { flight, asked } = one!
      const call = (context: LoadContext) => loadOne(space, one!.id, flight.key, context)
      const { result, costMs } = await callLoader(frame, call)
      await fillAndKeep(space, flight, asked, result, spentOf(costMs), true)
      return
    }
    const call = (context: LoadContext) =>
      loadByKey(
        space,
        loads.map(({ id }) => id),
        context,
      )
    const { result, costMs } = await callLoader(frame, call)
    await Promise.all(
      loads.map(({ flight, asked }) => {
        const value = result.get(flight.key)
        if (value instanceof NotLoaded || !result.has(flight.key)) return giveBack(space, flight.key, asked)
        return fillAndKeep(space, flight, asked, value, spentOf(costMs), true)
      }),
    )
  } catch {
    // A `load` event has told of it. The callers have their answers.
    for (const { flight, asked } of loads) giveBack(space, flight.key, asked)
  }
}

/** The frame of a load for these flights. */
export function loadFrame<Id, V>(
  space: Space<Id, V>,
  flights: readonly Awaited[],
  abort: Abort,
  isAwaited = true,
): LoadFrame {
  const { clock, limit, emit, isHeard, tracing } = space.parts
  const timeoutMs = space.options.loadTimeoutMs
  return { clock, limit, emit, isHeard, tracing, keyspace: space.name, flights, timeoutMs, isAwaited, abort }
}

/**
 * Answers with the old value where the load failed or is too slow, if `staleIfErrorMs` allows it. A doomed flight never
 * does: an invalidated value is not served as stale.
 *
 * @returns whether it did.
 */
export function answerStale<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  spent: Spent,
): boolean {
  if (asked.fallback === undefined || flight.doomed) return false
  flight.resolve(foundAnswer(space, asked.fallback, 'stale-error', spent))
  return true
}

/**
 * Serves the old value if the load is not back within `loadSoftTimeoutMs`; the load goes on.
 *
 * @returns what ends the wait.
 */
export function answerStaleIfSlow<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  sharedMs: number,
): () => void {
  const { loadSoftTimeoutMs } = space.options
  if (loadSoftTimeoutMs === undefined || asked.fallback === undefined) return () => {}
  const answer = () => {
    answerStale(space, flight, asked, { sharedMs, loadMs: loadSoftTimeoutMs })
  }
  const timer = space.parts.clock.after(loadSoftTimeoutMs, answer, true)
  return () => timer.cancel()
}
