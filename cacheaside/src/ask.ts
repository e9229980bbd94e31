/**
 * Step 3 of a read: what the shared store says of a key.
 *
 * Asking takes the lease at the same time: one command answers with what is there, or makes the absent register ours.
 * If a value was found before, a plain look comes first, and mostly finds it again. What the reply means is judged
 * in `judge.ts`: it is *found*; or our lease takes its place, if it has not changed; or it is *busy*, and asked for again
 * after a pause; or *guarded*, and the read bypasses the store.
 */
import type { Timer } from './base/clock.ts'
import { CacheError } from './base/errors.ts'
import type { Why } from './base/events.ts'
import { contextHere } from './base/runtime.ts'
import { idOf } from './base/trace-id.ts'
import type { AskTrace } from './base/tracing.ts'
import { type FlightTags, lookedStates, tagsOf } from './flight-tags.ts'
import {
  type AskProgress,
  foundAgain,
  type Judged,
  judgeReply,
  leftMs,
  type Reply,
  unavailable,
} from './judge.ts'
import { type Asked, dropLease } from './lease.ts'
import type { Flight } from './local/flight.ts'
import { standBehind, stepOut } from './local/load-run.ts'
import { recursion } from './nested.ts'
import { markedToken } from './shared/key-mark.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import type { LookReply } from './shared/shared-store.ts'
import type { Answer, Space } from './space.ts'

/** Called once: later with an answer, or at once with a promise of it. Must not throw. */
type Next<V> = (asked: AskedOrBusy<V> | Promise<AskedOrBusy<V>>) => void

/**
 * Asks for what the store says of a key.
 *
 * The usual case, a look at a value that was found before, goes on in the same turn as its reply is read, and needs no promise
 * of its own. The promise rejects only if the flight is aborted, or would wait for a load that waits for it.
 */
export function askThen<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  strong: boolean,
  next: Next<V>,
): void {
  if (!space.parts.tracing.hears('ask')) {
    askStore(space, flight, strong, next)
    return
  }
  const message = askTrace(space, flight)
  // What follows is no part of the question.
  const outside = contextHere()
  const tellEnd = ({ kind }: Asked<V>) => {
    message.answer = kind
    end()
  }
  const tellFailure = (error: unknown) => end({ error })
  const { end } = space.parts.tracing.begin('ask', message, () =>
    askStore(space, flight, strong, asked => {
      follow(asked, tellEnd, tellFailure)
      outside(() => next(asked))
    }),
  )
}

const askTrace = <Id, V>({ name }: Space<Id, V>, flight: Flight<Answer>): AskTrace => ({
  keyspace: name,
  keys: [flight.key],
  flights: [idOf(flight)],
})

/** Tells of an answer when nothing more is waited for. Those who wait go on when they would without this, and after it. */
function follow<V>(
  asked: AskedOrBusy<V> | Promise<AskedOrBusy<V>>,
  tellEnd: (answer: Asked<V>) => void,
  tellFailure: (error: unknown) => void,
): void {
  if (asked instanceof Promise) asked.then(one => follow(one, tellEnd, tellFailure), tellFailure)
  else if (asked.kind !== 'busy') tellEnd(asked)
  else asked.onWait = waiting => void waiting.then(tellEnd, tellFailure)
}

/** Asks until there is an answer that the read can go on with. Rejects as {@link askThen}. */
export function ask<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, strong: boolean): Promise<Asked<V>> {
  return traced(space, flight, () => asking(space, flight, strong).then(waitIfBusy))
}

/** As {@link ask}, but does not wait for another reader's load. */
export function askOnce<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  strong: boolean,
): Promise<AskedOrBusy<V>> {
  return traced(space, flight, () => asking(space, flight, strong))
}

/** What follows {@link askOnce} where it found another reader's load: waits for that load. */
export function askOn<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, busy: Busy<V>): Promise<Asked<V>> {
  return traced(space, flight, () => busy.wait())
}

function traced<Id, V, A extends AskedOrBusy<V>>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  work: () => Promise<A>,
): Promise<A> {
  const { tracing } = space.parts
  if (!tracing.hears('ask')) return work()
  const message = askTrace(space, flight)
  const note = ({ kind }: A) => {
    message.answer = kind
  }
  return tracing.trace('ask', message, work, note)
}

const asking = <Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  strong: boolean,
): Promise<AskedOrBusy<V>> => new Promise(resolve => askStore(space, flight, strong, resolve))

const waitIfBusy = <V>(asked: AskedOrBusy<V>): Asked<V> | Promise<Asked<V>> =>
  asked.kind === 'busy' ? asked.wait() : asked

function askStore<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, strong: boolean, next: Next<V>): void {
  const bypass = mustBypass(space, flight)
  if (bypass !== undefined) {
    next(Promise.resolve(bypass))
    return
  }
  const { access, clock, found } = space.parts
  // One round trip: the first command, and beside it the generation where it has to be read.
  const reading = space.parts.stream.generationFor(space.name, strong, flight.beganAtMs)
  // No plain look where the generation has to be read: a store that refuses writes still answers looks, and its data may be
  // old.
  const looks = typeof reading === 'string' && found?.has(flight.key, flight.beganAtMs) === true
  const tags = tagsOf(flight)
  if (tags !== undefined && tags.names.length > 0) {
    next(
      looks
        ? lookWithTags(space, flight, tags, strong, reading)
        : askForLeaseWithTags(space, flight, tags, strong, reading),
    )
  } else if (looks) {
    const judge = (seen: readonly LookReply[] | typeof UNCONFIRMED) => {
      const reply = seen === UNCONFIRMED ? seen : seen[0]!
      return afterReply(space, flight, strong, { reply, token: undefined }, reading, clock.nowMs())
    }
    access.send(
      () => access.store.look([flight.key]),
      seen => next(caught(judge, seen)),
    )
  } else askForLease(space, flight, strong, reading, next)
}

/** What it returns; or, if it throws, a promise that rejects. */
function caught<T, V>(
  judge: (reply: T) => AskedOrBusy<V> | Promise<AskedOrBusy<V>>,
  reply: T,
): AskedOrBusy<V> | Promise<AskedOrBusy<V>> {
  try {
    return judge(reply)
  } catch (error) {
    return Promise.reject(error)
  }
}

/** A read that bypasses the shared store. */
export interface Bypass {
  readonly kind: 'bypass'
  readonly why: Why
  readonly tag?: string | undefined
}

/** Why a read must bypass the shared store from the start, if it must. */
export function mustBypass<Id, V>(space: Space<Id, V>, flight: Flight<Answer>): Bypass | undefined {
  const { queue, access } = space.parts
  const why = queue.whyHeld(flight.key)
  if (why !== undefined) return { kind: 'bypass', why }
  const held = tagsOf(flight)?.whyHeld(flight.tags!.names)
  if (held !== undefined) return held
  return access.readable ? undefined : { kind: 'bypass', why: 'unavailable' }
}

/** Asks for what is there or, at the same time, for the lease. */
function askForLease<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  strong: boolean,
  reading: string | Promise<string | typeof UNCONFIRMED>,
  next: Next<V>,
): void {
  const { access, clock, options } = space.parts
  const token = markedToken(flight.key, clock.token())
  const judge = (reply: Reply) => {
    const after = (generation: string | typeof UNCONFIRMED) =>
      afterReply(space, flight, strong, { reply, token }, generation, clock.nowMs())
    return reading instanceof Promise ? reading.then(after) : after(reading)
  }
  access.send(
    () => access.store.lease(flight.key, token, options.leaseMs),
    reply => next(caught(judge, reply)),
    options.sharedTimeoutMs,
    late => dropIfGranted(space, flight.key, token, late),
  )
}

/** As {@link askForLease}, with the registers of its tags. */
async function askForLeaseWithTags<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  tags: FlightTags,
  strong: boolean,
  reading: string | Promise<string | typeof UNCONFIRMED>,
): Promise<AskedOrBusy<V>> {
  const { clock, options } = space.parts
  const token = markedToken(flight.key, clock.token())
  const leasing = lease(space, flight.key, token, options.sharedTimeoutMs)
  // In the same round trip, and after the value.
  await tags.ask(tags.names)
  const reply = await leasing
  const generation = reading instanceof Promise ? await reading : reading
  return afterReply(space, flight, strong, { reply, token }, generation, clock.nowMs())
}

/** Looks at the value and at the registers of its tags, in one command. */
async function lookWithTags<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  tags: FlightTags,
  strong: boolean,
  generation: string,
): Promise<AskedOrBusy<V>> {
  const { access, clock } = space.parts
  const { names } = tags
  const seen = await access.run(() => access.store.look([flight.key, ...names]))
  let reply: FirstReply['reply'] = UNCONFIRMED
  if (seen !== UNCONFIRMED) {
    reply = seen[0]!
    tags.learn(await lookedStates(space.parts, names, seen.slice(1), tags.request))
  }
  return afterReply(space, flight, strong, { reply, token: undefined }, generation, clock.nowMs())
}

function lease<Id, V>(space: Space<Id, V>, key: string, token: string, limitMs: number): Promise<Reply> {
  const { access, options } = space.parts
  return access.run(
    () => access.store.lease(key, token, options.leaseMs),
    limitMs,
    late => dropIfGranted(space, key, token, late),
  )
}

function dropIfGranted<Id, V>({ parts }: Space<Id, V>, key: string, token: string, late: Reply): void {
  if (late === null) dropLease(parts, key, token)
}

/** The reply to a first command, which may have been sent together with others'. */
export interface FirstReply {
  readonly reply: Reply
  /** The token of the lease that was asked for; `undefined` if none was. */
  readonly token: string | undefined
}

/** Another reader is loading. Waiting for it is a separate step: a batch first loads the keys that it leads itself. */
export interface Busy<V> {
  readonly kind: 'busy'
  /** Called when somebody begins to wait: for tracers. */
  onWait: ((waiting: Promise<Asked<V>>) => void) | undefined
  /** Waits, and asks again until there is an answer. */
  wait(): Promise<Asked<V>>
}

/** How a read goes on: it knows what the store says, or has to wait for another reader. */
export type AskedOrBusy<V> = Asked<V> | Busy<V>

/** Goes on from the first reply. Mostly that reply is enough, and nothing has to be waited for. */
export function afterReply<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  strong: boolean,
  { reply, token }: FirstReply,
  generation: string | typeof UNCONFIRMED,
  nowMs: number,
): AskedOrBusy<V> | Promise<AskedOrBusy<V>> {
  if (generation === UNCONFIRMED) return unavailable(space, flight, token)
  const again = foundAgain(space, flight, reply, generation, nowMs)
  if (again !== undefined) return again
  const progress: AskProgress<V> = {
    flight,
    strong,
    generation,
    deadlineMs: flight.beganAtMs + space.parts.options.sharedTimeoutMs,
    busySinceMs: undefined,
    swaps: 0,
    fallback: undefined,
    text: '',
    known: undefined,
  }
  const judged = judgeReply(space, progress, reply, token, nowMs)
  if (judged === 'busy') return busy(space, progress)
  return judged instanceof Promise || judged === 'again' ? askAgain(space, progress, judged) : judged
}

/** Asks again while the last reply says so. */
async function askAgain<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
  last: Judged<V> | Promise<Judged<V>>,
): Promise<AskedOrBusy<V>> {
  const { parts } = space
  const { key } = progress.flight
  let judged = await last
  while (judged === 'again') {
    const why = parts.queue.whyHeld(key)
    if (why !== undefined) return { kind: 'bypass', why }
    const held = tagsOf(progress.flight)?.whyHeld(progress.flight.tags!.names)
    if (held !== undefined) return held
    const token = markedToken(key, parts.clock.token())
    const reply = await lease(space, key, token, leftMs(parts, progress))
    judged = await judgeReply(space, progress, reply, token, parts.clock.nowMs())
  }
  return judged === 'busy' ? busy(space, progress) : judged
}

function busy<Id, V>(space: Space<Id, V>, progress: AskProgress<V>): Busy<V> {
  const found: Busy<V> = {
    kind: 'busy',
    onWait: undefined,
    wait() {
      const waiting = waitForOther(space, progress)
      found.onWait?.(waiting)
      return waiting
    },
  }
  return found
}

async function waitForOther<Id, V>(space: Space<Id, V>, progress: AskProgress<V>): Promise<Asked<V>> {
  while (await pauseUnlessDeadlocked(space, progress)) {
    const going = await askAgain(space, progress, 'again')
    if (going.kind !== 'busy') return going
  }
  return { kind: 'bypass', why: 'busy', fallback: progress.fallback }
}

/** As {@link pause}. The lease may be that of another flight of this process, whose load loaders are known to wait for. */
function pauseUnlessDeadlocked<Id, V>(
  space: Space<Id, V>,
  progress: AskProgress<V>,
): Promise<boolean> | boolean {
  const { flight } = progress
  const deadlock = recursion(space, flight)
  if (deadlock instanceof CacheError) throw deadlock
  if (deadlock !== undefined) return false
  const others = space.parts.flights.others(flight)
  if (others.length === 0) return pause(space, progress)
  standBehind(flight, others)
  return pause(space, progress).finally(() => stepOut(flight))
}

const FIRST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 50
const LEAST_BUSY_WAIT_MS = 50

/**
 * Waits a little for another reader's load. All waits together take no longer than such loads usually do, and `busyWaitMs`
 * at most: the holder of the lease may have died.
 *
 * @returns whether to ask once more.
 */
async function pause<Id, V>(space: Space<Id, V>, progress: AskProgress<V>): Promise<boolean> {
  const { clock, options } = space.parts
  const usualMs =
    space.usualCostMs === undefined ? options.busyWaitMs : Math.max(LEAST_BUSY_WAIT_MS, 2 * space.usualCostMs)
  const nowMs = clock.nowMs()
  progress.busySinceMs ??= nowMs
  const waitedMs = nowMs - progress.busySinceMs
  const mostMs = Math.min(options.busyWaitMs, usualMs) - waitedMs
  if (mostMs <= 0) return false
  if (progress.flight.abort.aborted) throw progress.flight.abort.reason
  const steadyMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS + waitedMs / 2)
  const pauseMs = Math.min(mostMs, steadyMs * (0.5 + clock.random()))
  await new Promise<void>((resolve, reject) => {
    let timer: Timer | undefined
    const stopListening = progress.flight.abort.listen(reason => {
      timer?.cancel()
      reject(reason)
    })
    const end = () => {
      stopListening()
      resolve()
    }
    timer = clock.after(pauseMs, end, !progress.flight.background)
  })
  // The store has just answered. The next question belongs to the wait, and gets the whole `sharedTimeoutMs`.
  progress.deadlineMs = clock.nowMs() + options.sharedTimeoutMs
  return true
}
