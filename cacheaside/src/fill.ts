/**
 * Steps 5 and 6 of a read: the loaded value is offered to the shared store, and kept in L1 if it was accepted.
 */
import type { Clock } from './base/clock.ts'
import type { Why } from './base/events.ts'
import { type Asked, giveBack, type Leased } from './lease.ts'
import type { Flight } from './local/single-flight.ts'
import { type Alias, aliasOf } from './own-key.ts'
import { ABSENT, type Opened, type Sealed, Unopened, UnsealedValue } from './shared/codec.ts'
import type { Answer, Parts, Space, Spent } from './space.ts'

/**
 * Steps 5 and 6, and the answer: before them, or with `fill: 'blocking'`, and with a store in this process, after them.
 * Never rejects.
 */
export async function fillAndKeep<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  value: V | undefined,
  spent: Spent,
): Promise<void> {
  const { parts } = space
  const { loadMs: costMs } = spent
  const sealed = space.envelope.seal(value)
  if (sealed instanceof Unopened) {
    parts.emit({
      type: 'fill',
      keyspace: space.name,
      key: flight.key,
      outcome: 'unencodable',
      error: sealed.error,
    })
    giveBack(space, flight.key, asked)
    flight.resolve(originAnswer(asked.why, new UnsealedValue(value), spent))
    return
  }
  space.usualCostMs = Math.max(costMs, (space.usualCostMs ?? 0) * 0.9 + costMs * 0.1)
  if (asked.kind === 'bypass') return flight.resolve(originAnswer(asked.why, sealed.opened, spent))
  const alias = aliasOf(space, flight.key, sealed.opened)
  if (alias !== undefined) {
    keepNot(space, flight, asked, alias)
    return flight.resolve(originAnswer(asked.why, sealed.opened, spent))
  }
  const nowMs = parts.clock.nowMs()
  const freshMs = timeToLive(space, sealed)
  const answer = originAnswer(asked.why, sealed.opened, spent, {
    filledAtMs: nowMs,
    freshUntilMs: nowMs + freshMs,
  })
  if (inBackground(parts)) flight.resolve(answer)
  const accepted = await offer(space, flight, asked, sealed, { freshMs, costMs })
  if (accepted) keep(space, flight, sealed.opened, asked.generation, answer, { costMs, text: sealed.text })
  // An answer that has waited for its fill also tells what became of it.
  flight.resolve(accepted ? answer : originAnswer(asked.why, sealed.opened, spent))
}

/**
 * What was loaded belongs under another key. The lease is given back. A value that is still there, because the load was a
 * refresh of it, does not belong there any more: the row has another id by now.
 */
function keepNot<Id, V>(
  space: Space<Id, V>,
  { key }: Flight<Answer>,
  asked: Leased<V>,
  { belongsTo, error }: Alias,
): void {
  const { access, background, emit } = space.parts
  emit({
    type: 'fill',
    keyspace: space.name,
    key,
    outcome: 'alias',
    belongsTo,
    ...(error === undefined ? {} : { error }),
  })
  if (error !== undefined) emit({ type: 'fault', during: `${space.name}.idOf`, error })
  if (asked.claim === undefined) giveBack(space, key, asked)
  else background(access.run(() => access.store.invalidate(key)).then(() => {}))
}

/** Whether the answer goes before the fill. In one process nothing is gained by it, and who asks again finds it kept. */
function inBackground({ options, access }: Parts): boolean {
  return options.fill === 'background' && !access.store.synchronous
}

function originAnswer<V>(
  why: Why,
  opened: Opened<V>,
  { sharedMs, loadMs }: Spent,
  times?: { readonly filledAtMs: number; readonly freshUntilMs: number },
): Answer<V> {
  return {
    opened,
    absent: opened === ABSENT,
    from: 'origin',
    why,
    kept: times !== undefined,
    filledAtMs: times?.filledAtMs,
    freshUntilMs: times?.freshUntilMs,
    sharedMs,
    loadMs,
  }
}

/** The time to live of a value about to be stored: shortened at random, never lengthened. */
export function timeToLive<Id, V>(space: Space<Id, V>, sealed: Sealed<V>): number {
  const { ttlMs, absentTtlMs, ttlJitter } = space.options
  const fullMs = sealed.text === undefined ? absentTtlMs : ttlMs
  return Math.max(1, Math.round(fullMs * (1 - ttlJitter * space.parts.clock.random())))
}

/** For how long a value about to be stored is fresh, and what its load has cost. */
interface Worth {
  readonly freshMs: number
  readonly costMs: number
}

/** What is stored for a value of this keyspace. */
export function fillOf<Id, V>(
  space: Space<Id, V>,
  generation: string,
  text: string | undefined,
  { freshMs, costMs }: Worth,
) {
  const { shape, staleMs, staleIfErrorMs } = space.options
  return {
    generation,
    shape,
    freshMs,
    staleMs: Math.max(staleMs, staleIfErrorMs),
    costMs: Math.round(costMs),
    text,
  }
}

/** Step 5: whether the shared store accepted the value. A lease that will not be filled is given back. */
async function offer<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' },
  sealed: Sealed<V>,
  worth: Worth,
): Promise<boolean> {
  const { access, emit } = space.parts
  let outcome: 'accepted' | 'refused' | 'unconfirmed' = 'refused'
  if (!flight.doomed) {
    const value = fillOf(space, asked.generation, sealed.text, worth)
    const reply = await access.run(() => access.store.fill(flight.key, asked.prefix, value))
    outcome = reply === true ? 'accepted' : reply === false ? 'refused' : 'unconfirmed'
  }
  emit({ type: 'fill', keyspace: space.name, key: flight.key, outcome })
  if (outcome !== 'accepted') giveBack(space, flight.key, asked)
  return outcome === 'accepted'
}

/**
 * Step 6: keeps a value in L1, unless its flight was doomed meanwhile.
 *
 * 1. the fill is accepted, its reply on the way; 2. a writer guards the key, and the message is heard here, where
 * there is nothing to remove yet; 3. the reply arrives. Kept now, the old value would stay until it expires: so the
 * message dooms the flight, and the flight is tracked until this moment.
 */
export function keep<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  opened: Opened<V>,
  generation: string,
  answer: Answer<V>,
  made: { costMs: number; text: string | undefined },
): void {
  const { local, found, clock } = space.parts
  if (flight.doomed) return
  const expiresAtMs = answer.freshUntilMs!
  found?.note(flight.key, expiresAtMs)
  if (!local.enabled) return
  const peeked = peekable(opened)
  local.keep(
    flight.key,
    {
      opened,
      peeked,
      absent: answer.absent,
      // The very string that hits compare with; and a register's would keep the whole register's text in memory.
      generation: generation === space.generation.value ? space.generation.value : generation,
      filledAtMs: answer.filledAtMs!,
      expiresAtMs,
      refreshAtMs: refreshMoment(space, expiresAtMs, made.costMs, clock),
    },
    made.text?.length ?? 0,
  )
}

/** A shared value is wrapped once; a copied one has to be taken again at every peek. */
function peekable<V>(opened: Opened<V>): { readonly value: V | undefined } | undefined {
  return opened.isShared ? Object.freeze({ value: opened.take() }) : undefined
}

/** When this process starts to refresh a value, drawn once; the distribution is that of the cited paper. */
function refreshMoment<Id, V>(
  { options }: Space<Id, V>,
  expiresAtMs: number,
  costMs: number,
  clock: Clock,
): number {
  if (options.refreshAhead === undefined) return Number.POSITIVE_INFINITY
  return expiresAtMs + costMs * options.refreshAhead * Math.log(1 - clock.random())
}
