import type { Why } from './base/events.ts'
import type { Flight } from './local/single-flight.ts'
import type { Answer, Space } from './read.ts'
import { type Opened, Unopened } from './shared/codec.ts'
import {
  claimPrefix,
  leaseText,
  parseRegister,
  type Register,
  type ValueRegister,
  valuePrefix,
} from './shared/register.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import { type Expected, type LeaseReply, REFUSED } from './shared/shared-store.ts'

/**
 * Step 3 of a read: what the shared store says of a key.
 *
 * Asking takes the lease at the same time: one command answers with what is there or makes the absent register
 * ours. What is there is then judged here: found and good; to be replaced by our lease, if it is still what we saw;
 * busy, so asked again after a pause; or guarded.
 */
export type Asked<V> =
  | {
      readonly kind: 'found'
      readonly register: ValueRegister
      readonly opened: Opened<V>
      readonly why: 'fresh' | 'stale'
      readonly refresh: boolean
    }
  | Leased<V>
  | { readonly kind: 'bypass'; readonly why: Why; readonly fallback?: Fallback<V> | undefined }

/** The right to load and fill is ours. */
export interface Leased<V> {
  readonly kind: 'leased'
  readonly why: Why
  /** Read before the load begins; the fill is stamped with it. */
  readonly generation: string
  /** What the register begins with as long as the right is ours. */
  readonly prefix: string
  /** Set when it is a claim to refresh a value that stays readable. */
  readonly claim?: { readonly nonce: string; readonly token: string }
  readonly fallback?: Fallback<V> | undefined
}

/** An expired value that may be served if the load fails. */
export interface Fallback<V> {
  readonly register: ValueRegister
  readonly opened: Opened<V>
}

/** A first command that was sent together with others'. */
export interface FirstReply {
  readonly reply: LeaseReply | typeof UNCONFIRMED
  readonly token: string
  readonly generation: string | typeof UNCONFIRMED
}

const SWAP_ATTEMPTS = 3
const FIRST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 50
const LEAST_BUSY_WAIT_MS = 50

/** What is known in the course of asking. */
interface Asking<V> {
  readonly flight: Flight<Answer>
  readonly strong: boolean
  generation: string
  /** What is left of `sharedTimeoutMs`; pauses for somebody else's lease are bounded apart. */
  leftMs: number
  waitedMs: number
  swaps: number
  fallback: Fallback<V> | undefined
}

/** Why a read must go round the shared store from the start, if it must. */
export function mustBypass<Id, V>(space: Space<Id, V>, key: string): Why | undefined {
  if (space.parts.queue.holds(key)) return 'queued'
  return space.parts.access.available ? undefined : 'unavailable'
}

/** A keyspace's generation as this read may use it: the stream's copy, or for want of proof a fresh one. */
export function generationFor<Id, V>(
  space: Space<Id, V>,
  strong: boolean,
): string | Promise<string | typeof UNCONFIRMED> {
  const { stream, clock } = space.parts
  const copy = !strong && stream.proven(clock.nowMs()) ? space.generation.value : undefined
  return copy ?? stream.readGeneration(space.name)
}

/** Asks until there is an answer that the read can go on with. Rejects only if the flight is aborted. */
export async function ask<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  strong: boolean,
  first?: FirstReply,
): Promise<Asked<V>> {
  const why = mustBypass(space, flight.key)
  if (why !== undefined) {
    if (first?.reply === null) dropLease(space, flight.key, first.token)
    return { kind: 'bypass', why }
  }
  const { clock, options, queue } = space.parts
  const asking: Asking<V> = {
    flight,
    strong,
    generation: '',
    leftMs: options.sharedTimeoutMs,
    waitedMs: 0,
    swaps: 0,
    fallback: undefined,
  }
  let { reply, token, generation } = first ?? (await askFirst(space, asking))
  for (;;) {
    if (reply === UNCONFIRMED || generation === UNCONFIRMED) {
      dropLease(space, flight.key, token)
      return { kind: 'bypass', why: 'unavailable', fallback: asking.fallback }
    }
    asking.generation = generation
    if (reply === null)
      return {
        kind: 'leased',
        why: asking.fallback === undefined ? 'missing' : 'expired',
        generation,
        prefix: leaseText(token),
        fallback: asking.fallback,
      }
    if (reply === REFUSED) return { kind: 'bypass', why: 'full', fallback: asking.fallback }
    const judged = await judge(space, asking, reply)
    if (judged !== 'busy' && judged !== 'again') return judged
    if (judged === 'busy' && !(await pause(space, asking)))
      return { kind: 'bypass', why: 'busy', fallback: asking.fallback }
    if (queue.holds(flight.key)) return { kind: 'bypass', why: 'queued' }
    token = clock.token()
    reply = await lease(space, asking, token)
  }
}

/** The first command, and beside it the generation where it has to be read: one round trip. */
async function askFirst<Id, V>(space: Space<Id, V>, asking: Asking<V>): Promise<FirstReply> {
  const token = space.parts.clock.token()
  const reading = generationFor(space, asking.strong)
  const reply = await lease(space, asking, token)
  return { reply, token, generation: typeof reading === 'string' ? reading : await reading }
}

async function lease<Id, V>(
  space: Space<Id, V>,
  asking: Asking<V>,
  token: string,
): Promise<LeaseReply | typeof UNCONFIRMED> {
  const { access, options } = space.parts
  const { key } = asking.flight
  return spend(space, asking, limitMs =>
    access.run(
      () => access.store.lease(key, token, options.leaseMs),
      limitMs,
      late => {
        if (late === null) dropLease(space, key, token)
      },
    ),
  )
}

/** Runs one command on what is left of the read's time for the shared store. */
async function spend<Id, V, T>(
  { parts }: Space<Id, V>,
  asking: Asking<V>,
  run: (limitMs: number) => Promise<T>,
): Promise<T> {
  const sentMs = parts.clock.nowMs()
  const reply = await run(Math.max(1, asking.leftMs))
  asking.leftMs -= parts.clock.nowMs() - sentMs
  return reply
}

/** What to make of a register that is not absent. */
async function judge<Id, V>(
  space: Space<Id, V>,
  asking: Asking<V>,
  text: string,
): Promise<Asked<V> | 'busy' | 'again'> {
  const register = parseRegister(text)
  switch (register.state) {
    case 'lease':
      return 'busy'
    case 'guard':
      return { kind: 'bypass', why: 'guarded' }
    case 'unreadable':
      space.parts.emit({
        type: 'unreadable',
        keyspace: space.name,
        key: asking.flight.key,
        reason: 'register',
      })
      return swapForLease(space, asking, { exactly: text }, 'unreadable')
    case 'value':
      return judgeValue(space, asking, register)
  }
}

async function judgeValue<Id, V>(
  space: Space<Id, V>,
  asking: Asking<V>,
  register: ValueRegister,
): Promise<Asked<V> | 'busy' | 'again'> {
  const { key } = asking.flight
  const seen = { prefix: valuePrefix(register.nonce) }
  // A newer deploy's value: it must not be overwritten by the older one, or the two would take turns for ever.
  if (register.shape > space.options.shape) return { kind: 'bypass', why: 'shape' }
  if (register.generation !== asking.generation) return swapForLease(space, asking, seen, 'generation')
  if (register.shape < space.options.shape) return swapForLease(space, asking, seen, 'shape')
  const opened = space.envelope.open(register.text)
  if (opened instanceof Unopened) {
    space.parts.emit({
      type: 'unreadable',
      keyspace: space.name,
      key,
      reason: opened.reason,
      error: opened.error,
    })
    return swapForLease(space, asking, seen, 'unreadable')
  }
  const storeNowMs = space.parts.stream.storeNowMs()
  const leftMs = register.softExpiryMs - storeNowMs
  if (leftMs > 0)
    return { kind: 'found', register, opened, why: 'fresh', refresh: refreshesAhead(space, register, leftMs) }
  const claimStands = register.claimUntilMs > storeNowMs
  if (!asking.strong && -leftMs < space.options.staleMs)
    return { kind: 'found', register, opened, why: 'stale', refresh: !claimStands }
  asking.fallback =
    !asking.strong && -leftMs < space.options.staleIfErrorMs ? { register, opened } : undefined
  return claimStands ? 'busy' : claim(space, asking, register)
}

function refreshesAhead<Id, V>(
  { options, parts }: Space<Id, V>,
  register: ValueRegister,
  leftMs: number,
): boolean {
  if (options.refreshAhead === undefined) return false
  return register.costMs * options.refreshAhead * -Math.log(1 - parts.clock.random()) >= leftMs
}

/** Puts our lease in the place of a value that nobody should find any more, if it is still there. */
async function swapForLease<Id, V>(
  space: Space<Id, V>,
  asking: Asking<V>,
  seen: Expected,
  why: Why,
): Promise<Asked<V> | 'again'> {
  const { access, clock, options } = space.parts
  const { key } = asking.flight
  if (++asking.swaps > SWAP_ATTEMPTS) return { kind: 'bypass', why }
  const token = clock.token()
  const swapped = await spend(space, asking, limitMs =>
    access.run(
      () => access.store.swap(key, seen, token, options.leaseMs),
      limitMs,
      late => late && dropLease(space, key, token),
    ),
  )
  if (swapped === UNCONFIRMED) {
    dropLease(space, key, token)
    return { kind: 'bypass', why: 'unavailable' }
  }
  return swapped ? { kind: 'leased', why, generation: asking.generation, prefix: leaseText(token) } : 'again'
}

/** Claims the refresh of an expired value, which stays there for others to fall back on. */
async function claim<Id, V>(
  space: Space<Id, V>,
  asking: Asking<V>,
  register: ValueRegister,
): Promise<Asked<V> | 'busy'> {
  const { access, clock, options } = space.parts
  const { key } = asking.flight
  const { nonce } = register
  const token = clock.token()
  const leased: Leased<V> = {
    kind: 'leased',
    why: 'expired',
    generation: asking.generation,
    prefix: claimPrefix(nonce, token),
    claim: { nonce, token },
    fallback: asking.fallback,
  }
  const claimed = await spend(space, asking, limitMs =>
    access.run(
      () => access.store.claim(key, nonce, token, options.leaseMs),
      limitMs,
      late => late && giveBack(space, key, leased),
    ),
  )
  if (claimed === true) return leased
  if (claimed === false) return 'busy'
  giveBack(space, key, leased)
  return { kind: 'bypass', why: 'unavailable', fallback: asking.fallback }
}

/**
 * Waits a little for somebody else's load. Not longer than such loads usually take, with `busyWaitMs` as the limit:
 * whoever holds the lease may have died.
 *
 * @returns whether to ask once more.
 */
async function pause<Id, V>(space: Space<Id, V>, asking: Asking<V>): Promise<boolean> {
  const { clock, options } = space.parts
  const usualMs =
    space.usualCostMs === undefined ? options.busyWaitMs : Math.max(LEAST_BUSY_WAIT_MS, 2 * space.usualCostMs)
  const leftMs = Math.min(options.busyWaitMs, usualMs) - asking.waitedMs
  if (leftMs <= 0) return false
  const steadyMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS + asking.waitedMs / 2)
  const pauseMs = Math.min(leftMs, steadyMs * (0.5 + clock.random()))
  const { signal } = asking.flight.abort
  await new Promise<void>((resolve, reject) => {
    const giveUp = () => {
      timer.cancel()
      reject(signal.reason)
    }
    const timer = clock.after(pauseMs, () => {
      signal.removeEventListener('abort', giveUp)
      resolve()
    })
    if (signal.aborted) return giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
  })
  asking.waitedMs += pauseMs
  return true
}

/** Gives back a lease or a claim that will not be filled. Late and repeated is fine: it compares. */
export function giveBack<Id, V>(space: Space<Id, V>, key: string, asked: Asked<V>): void {
  if (asked.kind !== 'leased') return
  const { access, background } = space.parts
  const { claim, prefix } = asked
  background(
    access
      .run(async () => {
        if (claim === undefined) await access.store.drop(key, { prefix })
        else await access.store.claim(key, claim.nonce, claim.token, 0)
      })
      .then(() => {}),
  )
}

function dropLease<Id, V>(space: Space<Id, V>, key: string, token: string): void {
  const { access, background } = space.parts
  background(access.run(() => access.store.drop(key, { prefix: leaseText(token) })).then(() => {}))
}

/** Whether a register's string says that somebody else is loading. */
export function isBusy(reply: LeaseReply | typeof UNCONFIRMED): boolean {
  if (typeof reply !== 'string') return false
  const register: Register = parseRegister(reply)
  return register.state === 'lease'
}
