/**
 * Steps 5 and 6 of a read: the loaded value is offered to the shared store, and kept in L1 if it was accepted.
 */
import type { Clock } from './base/clock.ts'
import { detached } from './base/detached.ts'
import type { FillEvent, Why } from './base/events.ts'
import { heardMs, sinceMs } from './base/heard-time.ts'
import { idOf } from './base/trace-id.ts'
import type { FillTrace } from './base/tracing.ts'
import { tagsOf } from './flight-tags.ts'
import { judgeLate, keepNone, tagsOfLoaded } from './late-tags.ts'
import { type Asked, giveBack, type Leased } from './lease.ts'
import { EntryTags, FIRST_HIT, NO_TAGS } from './local/entry-tags.ts'
import type { Flight } from './local/flight.ts'
import { type Alias, aliasOf } from './own-key.ts'
import { ABSENT, type Opened, type Sealed, takeOf, Unopened, UnsealedValue } from './shared/codec.ts'
import { MAX_TAGS } from './shared/register.ts'
import type { Fill, Stamp } from './shared/shared-store.ts'
import { bytesBeyond } from './shared/text-size.ts'
import type { Answer, CacheParts, Space, Spent } from './space.ts'
import { NO_NAMES } from './tagging.ts'

/**
 * Steps 5 and 6, and the answer. The callers are answered before these steps; with `fill: 'blocking'`, and with a store in
 * this process, after them. Never rejects.
 *
 * @param isSecond - Whether the value was loaded once before, because of its tags.
 * @returns whether it may be kept if it is loaded once more: it has brought tags that nobody knew (`late-tags.ts`).
 */
export async function fillAndKeep<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  value: V | undefined,
  spent: Spent,
  isSecond = false,
): Promise<boolean> {
  const { parts } = space
  const { loadMs: costMs } = spent
  const sealed = space.envelope.seal(value)
  const cannotEncode = ({ error }: Unopened) => {
    parts.emit({ ...fillEvent(space, flight, 'unencodable'), error })
    giveBack(space, flight.key, asked)
    flight.resolve(originAnswer(asked, new UnsealedValue(value), spent))
    return false
  }
  if (sealed instanceof Unopened) return cannotEncode(sealed)
  space.usualCostMs = Math.max(costMs, (space.usualCostMs ?? 0) * 0.9 + costMs * 0.1)
  const notKept = () => {
    flight.resolve(originAnswer(asked, sealed.opened, spent))
    return false
  }
  const bytes = bytesTooMany(parts, sealed)
  if (bytes !== undefined) {
    parts.emit({ ...fillEvent(space, flight, 'too-large'), bytes })
    giveBack(space, flight.key, asked)
    return notKept()
  }
  if (asked.kind === 'bypass') return notKept()
  const alias = aliasOf(space, flight.key, sealed.opened)
  if (alias !== undefined) {
    rejectAlias(space, flight, asked, alias)
    return notKept()
  }
  const tagged =
    flight.tags === undefined ? UNTAGGED : await stampsFor(space, flight, asked, sealed, spent, isSecond)
  if (tagged instanceof Unopened) return cannotEncode(tagged)
  if (tagged === 'not kept') return notKept()
  if (tagged === 'again') {
    notKept()
    return true
  }
  const nowMs = parts.clock.nowMs()
  const freshMs = timeToLive(space, sealed)
  const answer = originAnswer(asked, sealed.opened, spent, {
    filledAtMs: nowMs,
    freshUntilMs: nowMs + freshMs,
  })
  if (inBackground(parts)) flight.resolve(answer)
  const made = { costMs, text: sealed.text, tags: tagged }
  const accepted = await offer(space, flight, asked, made, freshMs)
  if (accepted) keep(space, flight, sealed.opened, asked.generation, answer, made)
  // If not: 1. this process stores the value, and later finds it in L1 only; 2. a write invalidates it and a tag of it; 3. the
  // tag is late again, under a new stamp, and the value is loaded twice.
  if (accepted) space.tagging?.remember(flight.key, namesOf(tagged))
  // An answer that has waited for its fill also tells what became of it.
  flight.resolve(accepted ? answer : originAnswer(asked, sealed.opened, spent))
  return false
}

/** How many bytes an encoded value has, if they are more than the shared store takes. */
export function bytesTooMany({ access }: CacheParts, { text }: Sealed<unknown>): number | undefined {
  const { maxValueBytes } = access.store
  return maxValueBytes === undefined || text === undefined ? undefined : bytesBeyond(text, maxValueBytes)
}

const UNTAGGED: readonly Stamp[] = Object.freeze([])

const namesOf = (tags: readonly Stamp[]): readonly string[] =>
  tags.length === 0 ? NO_NAMES : tags.map(({ name }) => name)

/** The stamps under which a loaded value is to be stored; or what becomes of it instead. */
async function stampsFor<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Leased<V>,
  sealed: Sealed<V>,
  spent: Spent,
  isSecond: boolean,
): Promise<readonly Stamp[] | 'again' | 'not kept' | Unopened> {
  const { emit, flights } = space.parts
  const tags = tagsOf(flight)!
  const loaded = takeOf(sealed.opened)
  if (loaded instanceof Unopened) return loaded
  const names = tagsOfLoaded(space, tags, loaded)
  const outcome = names === 'untagged' ? names : names.length > MAX_TAGS ? 'too-many-tags' : undefined
  if (names === 'untagged' || outcome !== undefined) {
    emit(fillEvent(space, flight, outcome!))
    giveBack(space, flight.key, asked)
    return 'not kept'
  }
  const late = tags.unknown(names)
  // From here on own writes doom the flight by its real tags.
  tags.add(late)
  flights.knowsTags(flight)
  if (late.length === 0) return tags.stamps(names)
  // The callers need not wait for what only decides about keeping.
  if (inBackground(space.parts)) flight.resolve(originAnswer(asked, sealed.opened, spent))
  const judged = await judgeLate(space, flight, names, late, isSecond)
  if (judged === 'stood') return tags.stamps(names)
  if (judged === 'not kept') keepNone(space, flight, asked)
  return judged
}

/**
 * The loaded row belongs under another key. The lease is given back. If the load was a refresh, the old value is still
 * there: it is invalidated, because the row has another id by now.
 */
function rejectAlias<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Leased<V>,
  { belongsTo, error }: Alias,
): void {
  const { access, background, emit } = space.parts
  const { key } = flight
  emit({ ...fillEvent(space, flight, 'alias'), belongsTo, ...(error === undefined ? {} : { error }) })
  if (error !== undefined) emit({ type: 'fault', during: `${space.name}.idOf`, error })
  if (asked.claim === undefined) giveBack(space, key, asked)
  else background(access.run(() => access.store.invalidate(key)).then(() => {}))
}

/**
 * Whether callers are answered before the fill. With a store in this process that gains nothing, and a caller who asks again
 * is to find the value kept.
 */
function inBackground({ options, access }: CacheParts): boolean {
  return options.fill === 'background' && !access.store.synchronous
}

function originAnswer<V>(
  { why, tag }: { readonly why: Why; readonly tag?: string | undefined },
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
    ...(tag === undefined ? {} : { tag }),
  }
}

/** The time to live of a value about to be stored: shortened at random, never lengthened. */
export function timeToLive<Id, V>(space: Space<Id, V>, sealed: Sealed<V>): number {
  const { ttlMs, absentTtlMs, ttlJitter } = space.options
  const fullMs = sealed.text === undefined ? absentTtlMs : ttlMs
  return Math.max(1, Math.round(fullMs * (1 - ttlJitter * space.parts.clock.random())))
}

/** What is stored of a value: its text, what its load has cost, and the stamps of its tags. */
interface Storable {
  readonly costMs: number
  readonly text: string | undefined
  readonly tags: readonly Stamp[]
}

/** What is stored for a value of this keyspace. */
export function fillOf<Id, V>(
  space: Space<Id, V>,
  generation: string,
  { text, costMs, tags }: Storable,
  freshMs: number,
): Fill {
  const { shape, staleMs, staleIfErrorMs } = space.options
  return {
    generation,
    shape,
    freshMs,
    staleMs: Math.max(staleMs, staleIfErrorMs),
    costMs: Math.round(costMs),
    text,
    ...(tags.length === 0 ? {} : { tags }),
  }
}

/** Step 5: whether the shared store accepted the value. A lease that will not be filled is given back. */
function offer<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Leased<V>,
  made: Storable,
  freshMs: number,
): Promise<boolean> {
  const { tracing } = space.parts
  if (!tracing.hears('fill')) return offerTraced(space, flight, asked, made, freshMs)
  const message: FillTrace = { keyspace: space.name, key: flight.key, flight: idOf(flight) }
  return tracing.trace('fill', message, () => offerTraced(space, flight, asked, made, freshMs, message))
}

async function offerTraced<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Leased<V>,
  made: Storable,
  freshMs: number,
  message?: FillTrace,
): Promise<boolean> {
  const { access, emit } = space.parts
  const sentMs = heardMs(space.parts, 'fill')
  let outcome: 'accepted' | 'refused' | 'unconfirmed' = 'refused'
  if (!flight.doomed) {
    const value = fillOf(space, asked.generation, made, freshMs)
    const reply = await access.run(() => access.store.fill(flight.key, asked.prefix, value))
    outcome = reply === true ? 'accepted' : reply === false ? 'refused' : 'unconfirmed'
    if (outcome === 'accepted') renewStamps(space, made.tags, value)
  }
  const event = fillEvent(space, flight, outcome, sinceMs(space.parts, sentMs))
  if (message !== undefined) message.event = event
  emit(event)
  if (outcome !== 'accepted') giveBack(space, flight.key, asked)
  return outcome === 'accepted'
}

/** The event that tells what became of a flight's value. */
const fillEvent = <Id, V>(
  { name }: Space<Id, V>,
  flight: Flight<Answer>,
  outcome: FillEvent['outcome'],
  durationMs = 0,
): FillEvent => ({ type: 'fill', keyspace: name, key: flight.key, flight: idOf(flight), outcome, durationMs })

/** A stamp lives twice as long as the values under it. One that expired before them would only cost their loads. */
function renewStamps<Id, V>(
  { parts }: Space<Id, V>,
  tags: readonly Stamp[],
  { freshMs, staleMs }: Fill,
): void {
  const { access, background } = parts
  const lifeMs = STAMP_LIVES * (freshMs + staleMs)
  for (const { name, token } of tags)
    background(access.runBehind(() => access.store.renewStamp(name, token, lifeMs)).then(() => {}))
}

const STAMP_LIVES = 2

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
  made: Storable,
): void {
  const { local, found, clock } = space.parts
  if (flight.doomed) return
  const expiresAtMs = answer.freshUntilMs!
  found?.note(flight.key, expiresAtMs)
  if (!local.enabled) return
  const refreshAtMs = refreshMoment(space, expiresAtMs, made.costMs, clock)
  // What was found was not stored for this flight.
  const isUnread = answer.from === 'origin' && made.tags.length > 0
  local.keep(
    flight.key,
    {
      opened,
      tags: made.tags.length === 0 ? NO_TAGS : new EntryTags(namesOf(made.tags), isUnread, refreshAtMs),
      // The same string object that hits compare with.
      generation: generation === space.generation.value ? space.generation.value : detached(generation),
      filledAtMs: answer.filledAtMs!,
      expiresAtMs,
      refreshAtMs: isUnread ? FIRST_HIT : refreshAtMs,
    },
    made.text?.length ?? 0,
  )
}

/** When this process begins to refresh a value. Drawn once, from the distribution of the paper that `refreshAhead` cites. */
function refreshMoment<Id, V>(
  { options }: Space<Id, V>,
  expiresAtMs: number,
  costMs: number,
  clock: Clock,
): number {
  if (options.refreshAhead === undefined) return Number.POSITIVE_INFINITY
  return expiresAtMs + costMs * options.refreshAhead * Math.log(1 - clock.random())
}
