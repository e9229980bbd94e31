import { type Asked, ask, giveBack } from './ask.ts'
import type { Abort } from './base/abort.ts'
import type { Clock } from './base/clock.ts'
import type { CacheEvent, From, Why } from './base/events.ts'
import type { Key } from './base/key.ts'
import { type Loaded, load } from './load.ts'
import type { FoundKeys } from './local/found-keys.ts'
import type { LoadLimit } from './local/load-limit.ts'
import type { LocalStore } from './local/local-store.ts'
import { Flight, type QueuedFlight, type SingleFlight } from './local/single-flight.ts'
import type { LoadContext, ResolvedCacheOptions, ResolvedKeyspaceOptions } from './options.ts'
import type { BroadcastStream, GenerationCopy } from './shared/broadcast-stream.ts'
import { ABSENT, type Envelope, type Opened, type Sealed, Unopened, UnsealedValue } from './shared/codec.ts'
import type { InvalidationQueue } from './shared/invalidation-queue.ts'
import { claimPrefix, type ValueRegister } from './shared/register.ts'
import { type SharedAccess, UNCONFIRMED } from './shared/shared-access.ts'
import type { StatsFold } from './stats.ts'

/**
 * The read path.
 *
 * 1. **Local.** A fresh entry in this process is returned. Nothing else happens.
 * 2. **Join.** If this key is already being read in this process, wait for that flight; not if it was doomed by an
 *    invalidation or began too long ago, and a strong reader joins none that began before it.
 * 3. **Shared.** Ask the shared store, in one round trip (`ask.ts`): *found* a value; or *leased*, the right to load
 *    and fill is ours; or *busy*, somebody else is loading: wait a little and ask again; or *guarded*, a writer is
 *    at work.
 * 4. **Load.** Call the loader once, within the load limit and the time limit (`load.ts`).
 * 5. **Fill.** Offer the value to the shared store with the lease's token. If the key was invalidated meanwhile the
 *    lease is gone and the fill is refused: the readers still get the value, and nobody keeps it.
 * 6. **Keep.** An accepted or found value is kept in L1 until it expires or an invalidation is heard.
 *
 * Whoever was guarded, busy for too long, or could not reach the store, loads and keeps nothing anywhere.
 */

/** What a flight answers its callers with. */
export interface Answer<V = unknown> {
  readonly opened: Opened<V>
  /** Whether the origin has no such row. */
  readonly absent: boolean
  readonly from: From
  readonly why: Why
  /** Whether the value is, or is about to be, in a level of the cache. */
  readonly kept: boolean
  /** When the value was stored, and until when it is fresh, by the clock's `nowMs`; unknown for what is not kept. */
  readonly filledAtMs: number | undefined
  readonly freshUntilMs: number | undefined
  readonly sharedMs: number
  readonly loadMs: number
}

/** What all keyspaces of a cache share. */
export interface Parts {
  readonly clock: Clock
  readonly options: ResolvedCacheOptions
  readonly access: SharedAccess
  readonly stream: BroadcastStream
  readonly queue: InvalidationQueue
  readonly local: LocalStore
  readonly flights: SingleFlight<Answer>
  /** Which keys a look is likely to find. Not there where asking for a lease costs nothing more. */
  readonly found: FoundKeys | undefined
  readonly limit: LoadLimit
  readonly emit: (event: CacheEvent) => void
  readonly stats: StatsFold
  /** Whether anybody listens to events: if not, a read is counted without making one. */
  readonly isHeard: () => boolean
  readonly closed: () => boolean
  /** Something was committed here, or may have been, which the change feed holds as well. */
  readonly committed: () => void
  /** Work that nobody waits for, but `close` does. It must not reject. */
  readonly background: (work: Promise<void>) => void
}

/** What the read path needs to know of one keyspace. */
export interface Space<Id, V> {
  readonly name: string
  readonly options: ResolvedKeyspaceOptions<Id, V>
  readonly envelope: Envelope<V>
  readonly parts: Parts
  readonly keyOf: (id: Id) => Key
  /** The stream's copy of the keyspace's generation. */
  readonly generation: GenerationCopy
  /** What loads have cost lately, in milliseconds: how long to wait for somebody else's. */
  usualCostMs: number | undefined
  /** Whether most keys of the last batch were there: then it is cheaper to look first, and to ask for leases after. */
  batchesAreFound: boolean
}

/** How a caller wants one value read. */
export interface ReadRequest<Id> {
  readonly id: Id
  readonly key: Key
  readonly strong: boolean
}

/** Steps 2 to 6 for one caller, and what the caller makes of the answer. */
export function read<Id, V, R>(
  space: Space<Id, V>,
  request: ReadRequest<Id>,
  signal: AbortSignal | undefined,
  make: (answer: Answer<V>, joined: boolean) => R,
): Promise<R> {
  const { flight, joined } = joinOrLead(space, request, space.parts.clock.nowMs(), lead)
  return answerOf<V>(flight, signal).then(answer => make(answer, joined))
}

/** Waits for a flight, also for one that has yet to begin, on behalf of a caller who may give up. */
export function answerOf<V>(flight: Joining['flight'], signal: AbortSignal | undefined): Promise<Answer<V>> {
  return flight.wait(signal) as Promise<Answer<V>>
}

/** Begins a flight for an id and leads it. */
export type Lead = <Id, V>(
  space: Space<Id, V>,
  id: Id,
  key: Key,
  strong: boolean,
  nowMs: number,
) => Flight<Answer>

/** A flight to wait for, or one that has yet to begin, and whether somebody else leads it. */
export interface Joining {
  readonly flight: Flight<Answer> | QueuedFlight<Answer>
  readonly joined: boolean
}

/** Step 2: a flight to wait for. */
export function joinOrLead<Id, V>(
  space: Space<Id, V>,
  { id, key, strong }: ReadRequest<Id>,
  nowMs: number,
  lead: Lead,
): Joining {
  const { flights, clock, options, stream } = space.parts
  if (strong) return flights.next(key, () => lead(space, id, key, true, clock.nowMs()))
  // Asked for what it does: when the proof has run out, the flights that relied on it are doomed. The generation that
  // one of them began with may be older than this reader may be shown.
  stream.proven(nowMs)
  const flight = flights.joinable(key, nowMs - options.localMaxStaleMs)
  return flight === undefined
    ? { flight: lead(space, id, key, false, nowMs), joined: false }
    : { flight, joined: true }
}

/** Begins to track a flight. It is doomed by invalidations from here on, before its first command is sent. */
export function takeOff<Id, V>(
  space: Space<Id, V>,
  key: Key,
  nowMs: number,
  background = false,
): Flight<Answer> {
  const flight = new Flight<Answer>(key, space.name, nowMs, background)
  space.parts.flights.begin(flight)
  return flight
}

const lead: Lead = (space, id, key, strong, nowMs) => {
  const flight = takeOff(space, key, nowMs)
  space.parts.background(fly(space, flight, id, strong))
  return flight
}

/** Steps 3 to 6 of a flight; never rejects, the flight does. */
export async function fly<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  id: Id,
  strong: boolean,
): Promise<void> {
  const { flights, clock } = space.parts
  try {
    const asked = await ask(space, flight, strong)
    if (asked.kind === 'found') answerFound(space, flight, id, asked)
    else await fromOrigin(space, flight, asked, clock.nowMs() - flight.beganAtMs, id)
  } catch (error) {
    flight.reject(error)
  } finally {
    flights.end(flight)
  }
}

/** Step 3 ended well: answer, keep the value here, and see to a refresh. */
export function answerFound<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  id: Id,
  found: Asked<V> & { kind: 'found' },
): void {
  const sharedMs = found.atMs - flight.beganAtMs
  const answer = foundAnswer(space, found.register, found.opened, found.why, sharedMs)
  if (found.why === 'fresh')
    keep(space, flight, found.opened, found.register.generation, answer, found.register)
  flight.resolve(answer)
  if (found.refresh) refresh(space, id, flight.key as Key, found.register)
}

function foundAnswer<Id, V>(
  space: Space<Id, V>,
  register: ValueRegister,
  opened: Opened<V>,
  why: Why,
  sharedMs: number,
  loadMs = 0,
): Answer<V> {
  const { stream } = space.parts
  return {
    opened,
    absent: register.text === undefined,
    from: 'shared',
    why,
    kept: true,
    filledAtMs: stream.oursFromStores(register.filledAtMs),
    freshUntilMs: stream.oursFromStores(register.softExpiryMs),
    sharedMs,
    loadMs,
  }
}

function loadOne<Id, V>(
  space: Space<Id, V>,
  id: Id,
  key: string,
  context: LoadContext,
): Promise<V | undefined> | V | undefined {
  const { load } = space.options
  return load === undefined
    ? loadByKey(space, [id], context).then(values => values.get(key))
    : load(id, context)
}

/** One call of `loadMany`. Its answer is sorted by key: it may hold other ids than those asked for, or equal ones. */
export async function loadByKey<Id, V>(
  space: Space<Id, V>,
  ids: readonly Id[],
  context: LoadContext,
): Promise<ReadonlyMap<string, V | undefined>> {
  const values = new Map<string, V | undefined>()
  const answer: unknown = await space.options.loadMany!(ids, context)
  if (typeof answer !== 'object' || answer === null || !(Symbol.iterator in answer))
    throw noPairs(space, answer)
  for (const pair of answer as Iterable<readonly [Id, V | undefined]>) {
    // A text of two characters can be taken apart, too.
    if (!Array.isArray(pair)) throw noPairs(space, pair)
    values.set(space.keyOf(pair[0]), pair[1])
  }
  return values
}

/** Rows alone are what a query answers with, and easily handed on as they are. */
const noPairs = ({ name }: { readonly name: string }, got: unknown): TypeError =>
  new TypeError(
    `expected ${name}.loadMany to answer with pairs of id and value, got ${got === null ? 'null' : typeof got}`,
  )

/** Steps 4 to 6 for one flight. */
export async function fromOrigin<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  sharedMs: number,
  id: Id,
): Promise<void> {
  const { clock } = space.parts
  const stopSoftLimit = answerStaleIfSlow(space, flight, asked, sharedMs)
  const beganMs = clock.nowMs()
  let loaded: Loaded<V | undefined>
  try {
    const frame = loadFrame(space, [flight.key], flight.abort)
    loaded = await load(frame, context => loadOne(space, id, flight.key, context))
  } catch (error) {
    giveBack(space, flight.key, asked)
    if (!answerStale(space, flight, asked, sharedMs, clock.nowMs() - beganMs)) throw error
    return
  } finally {
    stopSoftLimit()
  }
  await fillAndKeep(space, flight, asked, loaded.result, loaded.costMs, sharedMs)
}

/** The frame of a load for these keys. */
export function loadFrame<Id, V>(space: Space<Id, V>, keys: readonly string[], abort: Abort) {
  const { clock, limit, emit } = space.parts
  return { clock, limit, emit, keyspace: space.name, keys, timeoutMs: space.options.loadTimeoutMs, abort }
}

/**
 * The load failed or is too slow, and `staleIfErrorMs` allows the value that was there. Not if the flight was doomed:
 * what was invalidated is never served as stale.
 */
export function answerStale<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  sharedMs: number,
  loadMs: number,
): boolean {
  if (asked.fallback === undefined || flight.doomed || space.parts.queue.holds(flight.key)) return false
  const { register, opened } = asked.fallback
  flight.resolve(foundAnswer(space, register, opened, 'stale-error', sharedMs, loadMs))
  return true
}

/** Serves the old value if the load is not back within `loadSoftTimeoutMs`; the load goes on. */
export function answerStaleIfSlow<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  sharedMs: number,
): () => void {
  const { loadSoftTimeoutMs } = space.options
  if (loadSoftTimeoutMs === undefined || asked.fallback === undefined) return () => {}
  const timer = space.parts.clock.after(loadSoftTimeoutMs, () => {
    answerStale(space, flight, asked, sharedMs, loadSoftTimeoutMs)
  })
  return () => timer.cancel()
}

/**
 * Steps 5 and 6, and the answer: before them, or with `fill: 'blocking'`, and with a store in this process, after them.
 * Never rejects.
 */
export async function fillAndKeep<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' | 'bypass' },
  value: V | undefined,
  costMs: number,
  sharedMs: number,
): Promise<void> {
  const { parts } = space
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
    flight.resolve(originAnswer(asked.why, new UnsealedValue(value), sharedMs, costMs))
    return
  }
  space.usualCostMs = Math.max(costMs, (space.usualCostMs ?? 0) * 0.9 + costMs * 0.1)
  if (asked.kind === 'bypass') return flight.resolve(originAnswer(asked.why, sealed.opened, sharedMs, costMs))
  const nowMs = parts.clock.nowMs()
  const freshMs = timeToLive(space, sealed)
  const answer = originAnswer(asked.why, sealed.opened, sharedMs, costMs, nowMs, nowMs + freshMs)
  if (inBackground(parts)) flight.resolve(answer)
  const accepted = await fill(space, flight, asked, sealed, freshMs, costMs)
  if (accepted) keep(space, flight, sealed.opened, asked.generation, answer, { costMs, text: sealed.text })
  // An answer that has waited for its fill also tells what became of it.
  flight.resolve(accepted ? answer : originAnswer(asked.why, sealed.opened, sharedMs, costMs))
}

/** Whether the answer goes before the fill. In one process nothing is gained by it, and who asks again finds it kept. */
function inBackground({ options, access }: Parts): boolean {
  return options.fill === 'background' && !access.store.synchronous
}

function originAnswer<V>(
  why: Why,
  opened: Opened<V>,
  sharedMs: number,
  loadMs: number,
  filledAtMs?: number,
  freshUntilMs?: number,
): Answer<V> {
  const kept = freshUntilMs !== undefined
  return {
    opened,
    absent: opened === ABSENT,
    from: 'origin',
    why,
    kept,
    filledAtMs,
    freshUntilMs,
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

/** What is stored for a value of this keyspace. */
export function fillOf<Id, V>(
  space: Space<Id, V>,
  generation: string,
  text: string | undefined,
  freshMs: number,
  costMs: number,
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
async function fill<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  asked: Asked<V> & { kind: 'leased' },
  sealed: Sealed<V>,
  freshMs: number,
  costMs: number,
): Promise<boolean> {
  const { access, queue, emit } = space.parts
  let outcome: 'accepted' | 'refused' | 'unconfirmed' = 'refused'
  if (!flight.doomed && !queue.holds(flight.key)) {
    const value = fillOf(space, asked.generation, sealed.text, freshMs, costMs)
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
function keep<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  opened: Opened<V>,
  generation: string,
  answer: Answer<V>,
  made: { costMs: number; text: string | undefined },
): void {
  const { local, found, queue, clock } = space.parts
  if (flight.doomed || queue.holds(flight.key)) return
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

/** A shared value is the same at every taking; a copied one has to be taken anew at every peek. */
function peekable<V>(opened: Opened<V>): { readonly value: V | undefined } | undefined {
  const value = opened.take()
  return value === opened.take() ? Object.freeze({ value }) : undefined
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

/**
 * Loads a value anew in the background, while the old one is still served. It first claims the refresh, so that one
 * reader of all processes does it; its fill is compared with the value it claimed.
 *
 * @param seen - The value as it was found; left out: it is asked for.
 */
export function refresh<Id, V>(space: Space<Id, V>, id: Id, key: Key, seen?: ValueRegister): void {
  const { parts } = space
  if (parts.flights.refreshing(key)) return
  const flight = takeOff(space, key, parts.clock.nowMs(), true)
  parts.background(flyRefresh(space, flight, id, seen))
}

async function flyRefresh<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  id: Id,
  seen: ValueRegister | undefined,
): Promise<void> {
  const { flights, access, clock, options, emit } = space.parts
  const report = (outcome: 'began' | 'left-to-another' | 'failed', error?: unknown) =>
    emit({
      type: 'refresh',
      keyspace: space.name,
      key: flight.key,
      outcome,
      ...(error === undefined ? {} : { error }),
    })
  try {
    let asked: Asked<V> | undefined
    let register = seen
    if (register === undefined) {
      asked = await ask(space, flight, false)
      if (asked.kind === 'found') {
        if (keepNewer(space, flight, asked)) return report('left-to-another')
        register = asked.register
      }
    }
    if (register !== undefined) {
      const { nonce, generation } = register
      const token = clock.token()
      const claimed: Asked<V> = {
        kind: 'leased',
        why: 'expired',
        generation,
        prefix: claimPrefix(nonce, token),
        claim: { nonce, token },
      }
      const late = () => giveBack(space, flight.key, claimed)
      const reply = await access.run(
        () => access.store.claim(flight.key, nonce, token, options.leaseMs),
        undefined,
        late,
      )
      if (reply === UNCONFIRMED) late()
      if (reply !== true) return report('left-to-another')
      asked = claimed
    }
    if (asked?.kind !== 'leased') return report('left-to-another')
    report('began')
    await fromOrigin(space, flight, asked, 0, id)
  } catch (error) {
    report('failed', error)
  } finally {
    flight.reject(undefined)
    flights.end(flight)
  }
}

/**
 * Whether another process has refreshed the value already: it is kept, and nothing is left to be done. Without this
 * every process with an L1 would load once in each life of a value. Ours was stamped before it was stored, so that
 * the same value may seem to be newer by what a fill takes, and not by more.
 */
function keepNewer<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  found: Asked<V> & { kind: 'found' },
): boolean {
  if (found.why !== 'fresh') return false
  const { clock, local, options } = space.parts
  const { register, opened, why } = found
  const answer = foundAnswer(space, register, opened, why, 0)
  const ours = local.get(flight.key, clock.nowMs())
  if (ours !== undefined && answer.freshUntilMs! - ours.expiresAtMs <= 2 * options.sharedTimeoutMs)
    return false
  keep(space, flight, opened, register.generation, answer, register)
  return true
}
