import {
  type Asked,
  ask,
  dropLease,
  type FirstReply,
  generationFor,
  giveBack,
  isBusy,
  mustBypass,
} from './ask.ts'
import { Abort } from './base/abort.ts'
import { load } from './load.ts'
import type { Flight } from './local/single-flight.ts'
import {
  type Answer,
  answerFound,
  answerStale,
  answerStaleIfSlow,
  fillAndKeep,
  fly,
  fromOrigin,
  joinOrLead,
  type Lead,
  loadByKey,
  loadFrame,
  orAbort,
  type ReadRequest,
  type Space,
  takeOff,
} from './read.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import type { LeaseReply } from './shared/shared-store.ts'

/**
 * Many keys at once: the same six steps for each, with its own flight, lease and fence, but one round trip to the
 * shared store for all of them and one call of `loadMany` for all that miss. Keys that somebody else is loading do
 * not hold up the others: they are waited for apart, and what is then still missing is loaded in a second call.
 */
export async function readMany<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
): Promise<{ answer: Answer<V>; joined: boolean }[]> {
  const own: Leg<Id>[] = []
  let gathering = true
  const lead: Lead = (led, id, key, strong) => {
    const flight = takeOff(led, key)
    // A strong reader's flight may have to wait for the one before it; by then the others have left.
    if (gathering) own.push({ flight, id: id as unknown as Id, strong })
    else led.parts.background(fly(led, flight, id, strong))
    return flight
  }
  const signal = requests[0]?.signal
  signal?.throwIfAborted()
  const joining = requests.map(request => joinOrLead(space, request, lead))
  gathering = false
  if (own.length > 0) space.parts.background(flyTogether(space, own))
  return Promise.all(
    joining.map(async ({ flight, joined }) => {
      const under = flight instanceof Promise ? await orAbort(flight, signal) : flight
      return { answer: (await under.wait(signal)) as Answer<V>, joined }
    }),
  )
}

/** One key's part of a batch. */
interface Leg<Id> {
  readonly flight: Flight<Answer>
  readonly id: Id
  readonly strong: boolean
}

/** Step 3 for all keys in one round trip, then each on its way. Never rejects, the flights do. */
async function flyTogether<Id, V>(space: Space<Id, V>, legs: readonly Leg<Id>[]): Promise<void> {
  const { parts } = space
  const beganMs = legs[0]!.flight.beganAtMs
  const requests = legs.map(({ flight }) => ({ key: flight.key, token: parts.clock.token() }))
  const asks = legs.some(({ flight }) => mustBypass(space, flight.key) === undefined)
  const reading = asks ? generationFor(space, legs[0]!.strong, legs[0]!.flight.beganAtMs) : UNCONFIRMED
  const replies = asks ? await leaseAll(space, requests) : UNCONFIRMED
  const generation = await reading
  const asked = legs.map(({ flight, strong }, i) => {
    const reply = replies === UNCONFIRMED ? UNCONFIRMED : replies[i]!
    const first: FirstReply | undefined = asks ? { reply, token: requests[i]!.token, generation } : undefined
    return { busy: isBusy(parts, reply), settled: ask(space, flight, strong, first) }
  })
  const group = (busy: boolean) => {
    const chosen = legs.map((leg, i) => ({ leg, ...asked[i]! })).filter(one => one.busy === busy)
    return settle(
      space,
      chosen.map(({ leg }) => leg),
      chosen.map(({ settled }) => settled),
      beganMs,
    )
  }
  await Promise.all([group(false), group(true)])
}

function leaseAll<Id, V>(
  space: Space<Id, V>,
  requests: readonly { key: string; token: string }[],
): Promise<LeaseReply[] | typeof UNCONFIRMED> {
  const { access, options } = space.parts
  return access.run(
    () => access.store.leaseMany(requests, options.leaseMs),
    undefined,
    late => {
      for (const [i, { key, token }] of requests.entries())
        if (late[i] === null) dropLease(space.parts, key, token)
    },
  )
}

/** Steps 4 to 6 for a group: those found are answered, the others loaded together. */
async function settle<Id, V>(
  space: Space<Id, V>,
  legs: readonly Leg<Id>[],
  settled: readonly Promise<Asked<V>>[],
  beganMs: number,
): Promise<void> {
  const toLoad: { leg: Leg<Id>; asked: Asked<V> & { kind: 'leased' | 'bypass' } }[] = []
  await Promise.all(
    legs.map(async (leg, i) => {
      try {
        const asked = await settled[i]!
        if (asked.kind !== 'found') return void toLoad.push({ leg, asked })
        answerFound(space, leg.flight, leg.id, asked, space.parts.clock.nowMs() - beganMs)
      } catch (error) {
        leg.flight.reject(error)
      }
      space.parts.flights.end(leg.flight)
    }),
  )
  if (space.options.loadMany !== undefined && toLoad.length > 0) await loadTogether(space, toLoad, beganMs)
  else await loadEach(space, toLoad, beganMs)
}

/** Legs that have to go to the origin. */
type Missing<Id, V> = readonly {
  readonly leg: Leg<Id>
  readonly asked: Asked<V> & { kind: 'leased' | 'bypass' }
}[]

/** One call of the loader for all of them. It begins after the last lease was granted. */
async function loadTogether<Id, V>(
  space: Space<Id, V>,
  missing: Missing<Id, V>,
  beganMs: number,
): Promise<void> {
  const { clock, flights } = space.parts
  const sharedMs = clock.nowMs() - beganMs
  const ids = missing.map(({ leg }) => leg.id)
  const stops = missing.map(({ leg, asked }) => answerStaleIfSlow(space, leg.flight, asked, sharedMs))
  const loadingMs = clock.nowMs()
  try {
    const keys = missing.map(({ leg }) => leg.flight.key)
    const frame = loadFrame(space, keys, abortedWithAll(missing.map(({ leg }) => leg.flight)))
    const loading = load(frame, context => loadByKey(space, ids, context))
    const { result, costMs } = await loading.finally(() => {
      for (const stop of stops) stop()
    })
    await Promise.all(
      missing.map(({ leg, asked }) =>
        fillAndKeep(space, leg.flight, asked, result.get(leg.flight.key), costMs, sharedMs),
      ),
    )
  } catch (error) {
    for (const { leg, asked } of missing) {
      giveBack(space, leg.flight.key, asked)
      if (!answerStale(space, leg.flight, asked, sharedMs, clock.nowMs() - loadingMs))
        leg.flight.reject(error)
    }
  } finally {
    for (const { leg } of missing) flights.end(leg.flight)
  }
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

/** Without a `loadMany`: one load per key, some at a time, so that one batch does not fill the load limit's queue. */
async function loadEach<Id, V>(space: Space<Id, V>, missing: Missing<Id, V>, beganMs: number): Promise<void> {
  const { clock, flights } = space.parts
  const sharedMs = clock.nowMs() - beganMs
  for (let at = 0; at < missing.length; at += LOADS_AT_ONCE) {
    await Promise.all(
      missing.slice(at, at + LOADS_AT_ONCE).map(async ({ leg, asked }) => {
        try {
          await fromOrigin(space, leg.flight, asked, sharedMs, leg.id)
        } catch (error) {
          leg.flight.reject(error)
        } finally {
          flights.end(leg.flight)
        }
      }),
    )
  }
}
