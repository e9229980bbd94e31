/**
 * Many keys at once: the same six steps for each, with its own flight, lease and fence, but one round trip to the
 * shared store for all of them and one call of `loadMany` for all that miss. Keys that somebody else is loading do
 * not hold up the others: they are waited for apart, and what is then still missing is loaded in a second call.
 */
import { type AskedOrBusy, afterReply, type Busy, type Bypass, type FirstReply, mustBypass } from './ask.ts'
import { CacheError } from './base/errors.ts'
import { idOf } from './base/trace-id.ts'
import { askedStates, beginTags, lookedStates, type TagState, tagsOf } from './flight-tags.ts'
import { isOfAnother } from './judge.ts'
import { type Asked, dropLease, giveBack } from './lease.ts'
import { endFlight, loadMissing, loadOneOf, type Member, type Missing } from './load-many.ts'
import { allAnswers } from './local/all-answers.ts'
import { isAwaited, type LoadRun, runAround } from './local/load-run.ts'
import { recursion, unlessDeadlocked, waitInside } from './nested.ts'
import { answerFound, joinOrLead, type Lead, runFlight } from './read.ts'
import { markedToken } from './shared/key-mark.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import { type Answer, beginFlight, type Joining, type ReadRequest, type Space } from './space.ts'
import { NO_NAMES } from './tagging.ts'

/** Steps 2 to 6 for many keys. The caller waits for {@link Reading.answers}. */
export function readMany<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
  signal: AbortSignal | undefined,
): Reading<V> {
  const own: Member<Id>[] = []
  let gathering = true
  const lead: Lead = (led, id, key, strong, nowMs, parent, sameAs) => {
    const flight = beginFlight(led, key, nowMs, false, parent, sameAs)
    // A strong reader's flight may have to wait for the one before it. By then the batch has gone on without it.
    if (gathering) own.push({ flight, id: id as unknown as Id, strong })
    else runFlight(led, flight, id, strong)
    return flight
  }
  const beganMs = space.parts.clock.nowMs()
  const parent = runAround(signal)
  const joining = requests.map(request => joinOrLead(space, request, beganMs, lead, parent))
  gathering = false
  const waitsFor = parent === undefined ? joining : allUnlessDeadlocked(space, requests, parent, joining)
  if (waitsFor instanceof CacheError) {
    for (const { flight } of own) endFlight(space, flight, waitsFor)
    return { joining, beganMs, parent, answers: Promise.reject(waitsFor) }
  }
  const flights = waitsFor.map(({ flight }) => flight)
  const answers = allAnswers(flights, signal) as Promise<Answer<V>[]>
  if (own.length > 0) space.parts.background(runFlights(space, own))
  const waiting = parent === undefined ? answers : waitInside(parent, flights, answers)
  return { joining: waitsFor, beganMs, parent, answers: waiting }
}

/** The flights that a loader may wait for; an error if it may not wait for one of them. */
function allUnlessDeadlocked<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
  parent: LoadRun,
  joining: readonly Joining[],
): Joining[] | CacheError {
  const waitsFor: Joining[] = []
  for (const [i, one] of joining.entries()) {
    const may = unlessDeadlocked(space, requests[i]!, parent, one)
    if (may instanceof CacheError) return may
    waitsFor.push(may)
  }
  return waitsFor
}

/** A batch under way. */
interface Reading<V> {
  /** The flights that answer the requests, in their order. */
  readonly joining: readonly Joining[]
  /** By the clock's `nowMs`. */
  readonly beganMs: number
  /** The load inside whose loader it was asked for. */
  readonly parent: LoadRun | undefined
  /** In the order of the requests. Rejects with the first error. */
  readonly answers: Promise<Answer<V>[]>
}

/** All steps for all keys; never rejects, the flights do. */
async function runFlights<Id, V>(space: Space<Id, V>, all: readonly Member<Id>[]): Promise<void> {
  const members = space.tagging === undefined ? all : all.filter(member => beginsTags(space, member))
  if (members.length === 0) return
  try {
    await runTogether(space, members)
  } catch (error) {
    // A store that breaks its contract must not keep its readers waiting.
    for (const { flight } of members) endFlight(space, flight, error)
  }
}

/** Gives a member its tags; ends it where that fails. */
function beginsTags<Id, V>(space: Space<Id, V>, { flight, id, strong }: Member<Id>): boolean {
  try {
    beginTags(space, flight, id, strong)
    return true
  } catch (error) {
    endFlight(space, flight, error)
    return false
  }
}

/** Step 3 for all keys in one round trip, then steps 4 to 6 for each. */
async function runTogether<Id, V>(space: Space<Id, V>, members: readonly Member<Id>[]): Promise<void> {
  const { parts } = space
  const { beganAtMs } = members[0]!.flight
  // Before anything is asked: 1. an invalidation of a key is queued; 2. the batch asks for it beside others, and v1 is there;
  // 3. the invalidation is applied, and the key leaves the queue; 4. the replies arrive, and a process that was told that it
  // bypasses the key would find v1. (Seed 110553 of the simulation, refusals.)
  const bypasses = members.map(({ flight }) => mustBypass(space, flight))
  const isAnyAsked = bypasses.includes(undefined)
  const together = isAnyAsked ? await askTogether(space, members) : undefined
  const toLoad: Missing<Id, V>[] = []
  const undecided: Undecided<Id, V>[] = []
  const waiting: Waiting<Id, V>[] = []
  const nowMs = parts.clock.nowMs()
  for (let i = 0; i < members.length; i++) {
    const member = members[i]!
    const asked = afterReplyUnlessBypassed(space, member, i, together, bypasses[i], nowMs)
    if (asked instanceof Promise) undecided.push({ member, asked })
    else if (asked.kind === 'busy') waiting.push({ member, busy: asked })
    else answerOrLoad(space, member, asked, toLoad, beganAtMs)
  }
  await Promise.all([
    finishMembers(space, undecided, toLoad, beganAtMs),
    finishBusy(space, waiting, beganAtMs),
  ])
}

/** The replies to the first commands, in the order of the keys, and the generation. */
interface Together {
  readonly firsts: readonly FirstReply[]
  readonly generation: string | typeof UNCONFIRMED
}

/** The first commands for all keys, and the generation where it has to be read. */
function askTogether<Id, V>(space: Space<Id, V>, members: readonly Member<Id>[]): Promise<Together> {
  const { tracing } = space.parts
  if (!tracing.hears('ask')) return askStore(space, members)
  const keys = members.map(({ flight }) => flight.key)
  const message = { keyspace: space.name, keys, flights: members.map(({ flight }) => idOf(flight)) }
  return tracing.trace('ask', message, () => askStore(space, members))
}

async function askStore<Id, V>(space: Space<Id, V>, members: readonly Member<Id>[]): Promise<Together> {
  const { access, options } = space.parts
  const { flight, strong } = members[0]!
  const reading = space.parts.stream.generationFor(space.name, strong, flight.beganAtMs)
  // No plain look where the generation has to be read: a store that refuses writes still answers looks, and its data may be
  // old.
  const isCopy = typeof reading === 'string'
  const looksFirst = isCopy && space.batchesAreFound && !access.store.synchronous
  const names = space.tagging === undefined ? NO_NAMES : [...new Set(members.flatMap(tagsOfMember))]
  let firsts: FirstReply[]
  if (looksFirst) firsts = await lookThenLease(space, members, names)
  else {
    const leasing = leaseAll(space, members, options.sharedTimeoutMs)
    // In the same round trip, and after the values.
    if (names.length > 0) teach(members, await askedStates(space.parts, names, tagsOf(flight)!.request))
    firsts = await leasing
  }
  space.batchesAreFound = firsts.filter(({ reply }) => reply === null).length * 2 <= firsts.length
  return { firsts, generation: isCopy ? reading : await reading }
}

const tagsOfMember = ({ flight }: Member<unknown>): readonly string[] => flight.tags!.names

function teach(members: readonly Member<unknown>[], states: ReadonlyMap<string, TagState>): void {
  for (const { flight } of members) tagsOf(flight)!.learn(states)
}

/**
 * Asks for leases only where a look has found nothing. Where most keys are there, mostly the look is enough. It costs the
 * store a third of what leases cost, and this process half.
 */
async function lookThenLease<Id, V>(
  space: Space<Id, V>,
  members: readonly Member<Id>[],
  names: readonly string[],
): Promise<FirstReply[]> {
  const { access, clock, options } = space.parts
  const keys = members.map(({ flight }) => flight.key)
  const asked = names.length === 0 ? keys : [...keys, ...names]
  const all = await access.run(() => access.store.look(asked))
  if (all === UNCONFIRMED) return members.map(() => ({ reply: UNCONFIRMED, token: undefined }))
  if (names.length > 0) {
    const { request } = tagsOf(members[0]!.flight)!
    teach(members, await lookedStates(space.parts, names, all.slice(keys.length), request))
  }
  const seen = names.length === 0 ? all : all.slice(0, keys.length)
  if (!seen.includes(null)) return seen.map(reply => ({ reply, token: undefined }))
  const missing = members.filter((_, i) => seen[i] === null)
  const leftMs = members[0]!.flight.beganAtMs + options.sharedTimeoutMs - clock.nowMs()
  const leased = await leaseAll(space, missing, Math.max(1, leftMs))
  let next = 0
  return seen.map(reply => (reply === null ? leased[next++]! : { reply, token: undefined }))
}

async function leaseAll<Id, V>(
  space: Space<Id, V>,
  members: readonly Member<Id>[],
  limitMs: number,
): Promise<FirstReply[]> {
  const { access, clock, options } = space.parts
  const requests = members.map(({ flight }) => ({
    key: flight.key,
    token: markedToken(flight.key, clock.token()),
  }))
  const replies = await access.run(
    () => access.store.leaseMany(requests, options.leaseMs),
    limitMs,
    late => {
      for (const [i, { key, token }] of requests.entries())
        if (late[i] === null) dropLease(space.parts, key, token)
    },
  )
  return requests.map(({ token }, i) => ({ reply: replies === UNCONFIRMED ? replies : replies[i]!, token }))
}

/**
 * A key may have to bypass the store, since before the question or by now, whatever the other keys do. A lease that it got
 * or may have got is given back.
 */
function afterReplyUnlessBypassed<Id, V>(
  space: Space<Id, V>,
  { flight, strong }: Member<Id>,
  index: number,
  together: Together | undefined,
  bypass: Bypass | undefined,
  nowMs: number,
): AskedOrBusy<V> | Promise<AskedOrBusy<V>> {
  const first = together?.firsts[index]
  const must = bypass ?? mustBypass(space, flight)
  if (first !== undefined && must === undefined)
    return afterReply(space, flight, strong, first, together!.generation, nowMs)
  if (isOfAnother(flight.key, first?.reply) || first?.reply === null || first?.reply === UNCONFIRMED)
    dropLease(space.parts, flight.key, first?.token)
  return must ?? { kind: 'bypass', why: 'unavailable' }
}

/** Answers a member that was found, and notes one that has to be loaded. */
function answerOrLoad<Id, V>(
  space: Space<Id, V>,
  member: Member<Id>,
  asked: Asked<V>,
  toLoad: Missing<Id, V>[],
  beganMs: number,
): void {
  const { flight } = member
  if (asked.kind === 'found') {
    answerFound(space, flight, member.id, asked)
    space.parts.flights.end(flight)
    return
  }
  const deadlock = recursion(space, flight)
  if (deadlock === undefined) toLoad.push({ member, asked })
  else if (deadlock === 'together')
    space.parts.background(loadOneOf(space, { member, asked }, space.parts.clock.nowMs() - beganMs))
  else {
    giveBack(space, flight.key, asked)
    endFlight(space, flight, deadlock)
  }
}

/** A member that has more to ask before it is known what becomes of it. */
interface Undecided<Id, V> {
  readonly member: Member<Id>
  readonly asked: Promise<AskedOrBusy<V>>
}

/**
 * Steps 4 to 6 for a group: those found are answered, the others loaded together. Members that wait for another process form
 * a group of their own. Otherwise: 1. two processes ask for the same two expired keys, and each gets the claim of one;
 * 2. each waits for the other's before it loads its own, and both until `busyWaitMs` are over.
 */
async function finishMembers<Id, V>(
  space: Space<Id, V>,
  undecided: readonly Undecided<Id, V>[],
  toLoad: Missing<Id, V>[],
  beganMs: number,
  areBusy = false,
): Promise<void> {
  const waiting: Waiting<Id, V>[] = []
  await Promise.all(
    undecided.map(async ({ member, asked: pending }) => {
      try {
        const asked = await pending
        if (asked.kind === 'busy') waiting.push({ member, busy: asked })
        else answerOrLoad(space, member, asked, toLoad, beganMs)
      } catch (error) {
        endFlight(space, member.flight, error)
      }
      if (areBusy) startWhenNeeded(space, member, toLoad, beganMs)
    }),
  )
  for (const { member } of toLoad) member.flight.start = undefined
  const others = finishBusy(space, waiting, beganMs)
  await loadMissing(space, toLoad, beganMs)
  await others
}

/**
 * A member that another load needs does not wait for the others of its group:
 *
 * 1. a batch has waited for the lease of A and has it, and waits for that of B; 2. the load that holds the lease of B asks
 * for A, joins that flight and waits for it; 3. neither goes on until the time is up.
 */
function startWhenNeeded<Id, V>(
  space: Space<Id, V>,
  { flight }: Member<Id>,
  toLoad: Missing<Id, V>[],
  beganMs: number,
): void {
  const at = toLoad.findIndex(({ member }) => member.flight === flight)
  if (at < 0) return
  const missing = toLoad[at]!
  flight.start = () => {
    flight.start = undefined
    toLoad.splice(toLoad.indexOf(missing), 1)
    space.parts.background(loadOneOf(space, missing, space.parts.clock.nowMs() - beganMs))
  }
  if (isAwaited(flight)) flight.start()
}

/** A member that has to wait until somebody else has loaded. */
interface Waiting<Id, V> {
  readonly member: Member<Id>
  readonly busy: Busy<V>
}

/** Steps 4 to 6 for those: what the others have not brought is loaded together. */
async function finishBusy<Id, V>(
  space: Space<Id, V>,
  waiting: readonly Waiting<Id, V>[],
  beganMs: number,
): Promise<void> {
  if (waiting.length === 0) return
  const undecided = waiting.map(({ member, busy }) => ({ member, asked: busy.wait() }))
  await finishMembers(space, undecided, [], beganMs, true)
}
