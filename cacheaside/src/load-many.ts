/**
 * Step 4 of several reads of one keyspace: one call of `loadMany` for all of them, or of `load` for each.
 */
import { Abort } from './base/abort.ts'
import { idOf } from './base/trace-id.ts'
import { fillAndKeep } from './fill.ts'
import { readyTags } from './flight-tags.ts'
import { type Asked, giveBack } from './lease.ts'
import {
  type Again,
  answerStale,
  answerStaleIfSlow,
  callLoader,
  fromOrigin,
  hasUnaskedIds,
  loadAgain,
  loadByKey,
  loadFrame,
  NotLoaded,
} from './load.ts'
import type { Flight } from './local/flight.ts'
import { isAwaited } from './local/load-run.ts'
import type { Answer, Space, Spent } from './space.ts'
import { warnOfLoads } from './warn-of.ts'

/** One key's part of a batch. */
export interface Member<Id> {
  readonly flight: Flight<Answer>
  readonly id: Id
  readonly strong: boolean
}

/** A member that has to go to the origin. */
export interface Missing<Id, V> {
  readonly member: Member<Id>
  readonly asked: Asked<V> & { kind: 'leased' | 'bypass' }
}

/** Loads all of them, in one call where that is possible. Never rejects, the flights do. */
export function loadMissing<Id, V>(
  space: Space<Id, V>,
  missing: readonly Missing<Id, V>[],
  beganMs: number,
): Promise<void> {
  return missing.length > 0 && space.options.loadMany !== undefined
    ? loadTogether(space, missing, beganMs)
    : loadEach(space, missing, beganMs)
}

/** The same members, once all stamps that their loads need are read. Some may have lost their lease by that. */
async function ready<Id, V>(
  space: Space<Id, V>,
  missing: readonly Missing<Id, V>[],
): Promise<readonly Missing<Id, V>[]> {
  const loads = missing.map(({ member, asked }) => ({ flight: member.flight, asked }))
  await readyTags(space, loads)
  return missing.map(({ member }, i) => ({ member, asked: loads[i]!.asked }))
}

/** One call of the loader for all of them. It begins after the last lease was granted. */
async function loadTogether<Id, V>(
  space: Space<Id, V>,
  given: readonly Missing<Id, V>[],
  beganMs: number,
): Promise<void> {
  const { clock, flights, emit } = space.parts
  const withStamps = given.some(({ member }) => member.flight.tags !== undefined)
    ? await ready(space, given)
    : given
  const missing = withStamps.filter(one => isStillWanted(space, one))
  if (missing.length === 0) return
  const sharedMs = clock.nowMs() - beganMs
  const ids = missing.map(({ member }) => member.id)
  const stops = missing.map(({ member, asked }) => answerStaleIfSlow(space, member.flight, asked, sharedMs))
  const loadingMs = clock.nowMs()
  try {
    const members = missing.map(({ member }) => member.flight)
    const frame = loadFrame(space, members, abortedWithAll(members))
    const loading = callLoader(frame, context => loadByKey(space, ids, context))
    const { result, costMs, loadId } = await loading.finally(() => {
      for (const stop of stops) stop()
    })
    const keys = members.map(({ key }) => key)
    const isClear = !hasUnaskedIds(space, result, keys)
    const isTold = ({ member }: Missing<Id, V>) => isClear || result.has(member.flight.key)
    const again: Again<Id, V>[] = []
    const untold = missing.filter(one => !isTold(one))
    // They are still to be loaded, each by itself.
    for (const { member } of untold) member.flight.run = undefined
    await Promise.all(
      missing.filter(isTold).map(async one => {
        const { asked } = one
        const { flight, id } = one.member
        const value = result.get(flight.key)
        if (!(value instanceof NotLoaded)) {
          const isWorthAnother = await fillAndKeep(space, flight, asked, value, { sharedMs, loadMs: costMs })
          if (isWorthAnother && asked.kind === 'leased') again.push({ flight, id, asked })
          return
        }
        const { error } = value
        emit({
          type: 'load',
          keyspace: space.name,
          keys: [flight.key],
          id: loadId,
          flights: [idOf(flight)],
          outcome: 'failed',
          costMs,
          waitMs: 0,
          error,
        })
        hasFailed(space, one, error, { sharedMs, loadMs: costMs })
      }),
    )
    await Promise.all([loadAgain(space, again), loadEach(space, untold, beganMs)])
  } catch (error) {
    const spent = { sharedMs, loadMs: clock.nowMs() - loadingMs }
    for (const one of missing) hasFailed(space, one, error, spent)
  } finally {
    for (const { member } of missing) flights.end(member.flight)
  }
}

/**
 * Whether anybody waits for a member. If not, it ends: its lease goes back, and no load of it begins. The caller of the
 * batch leaves once another member has failed.
 */
function isStillWanted<Id, V>(space: Space<Id, V>, { member, asked }: Missing<Id, V>): boolean {
  const { flight } = member
  if (flight.isWanted) return true
  giveBack(space, flight.key, asked)
  endFlight(space, flight, flight.abort.reason)
  return false
}

/** A member could not be loaded: its lease goes back, and its readers are told, or served what was there before. */
function hasFailed<Id, V>(
  space: Space<Id, V>,
  { member, asked }: Missing<Id, V>,
  error: unknown,
  spent: Spent,
): void {
  giveBack(space, member.flight.key, asked)
  if (answerStale(space, member.flight, asked, spent)) warnOfLoads(space.parts.warnings, space.name, error)
  else member.flight.reject(error)
}

/** Aborted when the last of the flights is: one caller who gives up must not fail those who joined. */
function abortedWithAll(flights: readonly Flight<Answer>[]): Abort {
  const abort = new Abort()
  let left = flights.length
  for (const { abort: one } of flights) {
    one.listen(reason => {
      if (--left === 0) abort.abort(reason)
    })
  }
  return abort
}

const LOADS_AT_ONCE = 16

/**
 * Without a `loadMany`: one load per key, some at a time, so that one batch does not fill the load limit's queue. One that
 * another load needs does not wait for its turn: 1. the first keys are loaded; 2. the loader of one asks for a key of the
 * same batch whose turn is later; 3. that turn comes when the first have been loaded.
 */
async function loadEach<Id, V>(
  space: Space<Id, V>,
  missing: readonly Missing<Id, V>[],
  beganMs: number,
): Promise<void> {
  const sharedMs = space.parts.clock.nowMs() - beganMs
  const loads = missing.map(one => {
    let loading: Promise<void> | undefined
    return () => {
      loading ??= loadOneOf(space, one, sharedMs)
      return loading
    }
  })
  for (const [i, { member }] of missing.entries()) {
    if (i < LOADS_AT_ONCE) continue
    const { flight } = member
    flight.start = loads[i]!
    // A member that all callers have left does not wait for its turn either: it ends, and gives its lease back.
    if (isAwaited(flight) || !flight.isWanted) loads[i]!()
    else flight.abort.listen(() => void loads[i]!())
  }
  for (let at = 0; at < missing.length; at += LOADS_AT_ONCE)
    await Promise.all(loads.slice(at, at + LOADS_AT_ONCE).map(load => load()))
}

export async function loadOneOf<Id, V>(
  space: Space<Id, V>,
  missing: Missing<Id, V>,
  sharedMs: number,
): Promise<void> {
  if (!isStillWanted(space, missing)) return
  const { member, asked } = missing
  try {
    await fromOrigin(space, member.flight, asked, sharedMs, member.id)
  } catch (error) {
    member.flight.reject(error)
  } finally {
    space.parts.flights.end(member.flight)
  }
}
/** Ends a flight with an error. */
export function endFlight<Id, V>({ parts }: Space<Id, V>, flight: Flight<Answer>, error: unknown): void {
  flight.reject(error)
  parts.flights.end(flight)
}
