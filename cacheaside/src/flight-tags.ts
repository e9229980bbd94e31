/**
 * The tags of one flight: which it depends on as far as it is known, and what the shared store says of them.
 *
 * A value is stored under a **stamp** of each of its tags: a random token that stands in the tag's register, and the
 * generation of the tag's keyspace. To invalidate a tag removes its token, and no token ever comes back. So a value is
 * current as long as all its stamps stand, if they were read before its load began.
 *
 * A flight is listed under a tag before it asks for that tag's stamp. From then on what is heard about the tag dooms it. The
 * other order has a gap: 1. the stamp is read; 2. the tag is invalidated, and the message heard; 3. the flight is listed, and
 * keeps in L1 what no further message removes.
 */
import type { Why } from './base/events.ts'
import { keyspaceOf } from './base/key.ts'
import { type Asked, giveBack } from './lease.ts'
import type { Flight, TagsOfFlight } from './local/flight.ts'
import { markedToken } from './shared/key-mark.ts'
import { leaseText, markOf, parseRegister, stampText, valuePrefix } from './shared/register.ts'
import { isSame } from './shared/seen-stamps.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import {
  type Expected,
  type LeaseReply,
  type LookReply,
  REFUSED,
  type Stamp,
  TOO_LARGE,
} from './shared/shared-store.ts'
import type { Answer, CacheParts, Space } from './space.ts'
import { inOrder, NO_NAMES } from './tagging.ts'

/** What a tag's register says: its stamp; `absent`, where none was asked for; or why there is none to be had. */
export type TagState = Stamp | 'absent' | 'guarded' | 'unavailable' | 'full' | 'too-large' | 'later'

/** Why a read bypasses the shared store because of a tag, by the tag's state. */
const BYPASS: Readonly<Record<Exclude<TagState, Stamp | 'absent'>, Why>> = {
  guarded: 'guarded',
  unavailable: 'unavailable',
  full: 'full',
  'too-large': 'too-large',
  later: 'version',
}

/** What stands in the way of using a tag. */
export interface TagBypass {
  readonly kind: 'bypass'
  readonly why: Why
  readonly tag: string
}

/** How often a tag's register is asked for, when something that is no stamp stands there. */
const ATTEMPTS = 3
/** A new stamp outlives the load that comes next. The fill makes it live longer. */
const LEASES = 2

/** How the stamps of some tags are asked for. */
export interface StampRequest {
  /** Whether generations have to be read now: copies are not enough. */
  readonly strong: boolean
  /** When the flight began, by the clock's `nowMs`. */
  readonly beganAtMs: number
  /** How long one round trip may take; left out: `sharedTimeoutMs`. */
  readonly limitMs?: number
}

/** What a look has found in the registers of tags. */
export async function lookedStates(
  parts: CacheParts,
  names: readonly string[],
  replies: readonly LookReply[],
  request: StampRequest,
): Promise<Map<string, TagState>> {
  const generations = await generationsOf(parts, names, request)
  const states = new Map<string, TagState>()
  for (const [i, tag] of names.entries()) {
    const state = stateOf(parts, tag, replies[i]!, undefined, generations)
    states.set(tag, isExpected(state) ? 'absent' : state)
  }
  return states
}

/**
 * Asks for the stamps of tags. Where there is none, one is made. The command is refused where writes are refused, so a
 * strong read may rely on the answer.
 */
export async function askedStates(
  parts: CacheParts,
  names: readonly string[],
  request: StampRequest,
): Promise<Map<string, TagState>> {
  const { access, clock, options } = parts
  const { limitMs = options.sharedTimeoutMs } = request
  const states = new Map<string, TagState>()
  const reading = generationsOf(parts, names, request)
  let left = names
  for (let attempt = 1; left.length > 0; attempt++) {
    const requests = left.map(tag => ({ key: tag, token: markedToken(tag, clock.token()) }))
    const replies = await access.run(
      () => access.store.stampMany(requests, LEASES * options.leaseMs),
      limitMs,
    )
    const generations = await reading
    const others: [tag: string, seen: Expected][] = []
    for (const [i, { key: tag, token }] of requests.entries()) {
      const reply = replies === UNCONFIRMED ? replies : replies[i]!
      const state = stateOf(parts, tag, reply, token, generations)
      if (isExpected(state)) others.push([tag, state])
      states.set(tag, isExpected(state) ? 'unavailable' : state)
    }
    if (attempt === ATTEMPTS) break
    // A keyspace of values had this name before. What it left here is no stamp. It is removed, if it is still there.
    await Promise.all(others.map(([tag, seen]) => access.run(() => access.store.drop(tag, seen), limitMs)))
    left = others.map(([tag]) => tag)
  }
  return states
}

/** The tags of one flight. */
export class FlightTags implements TagsOfFlight {
  /** What the keyspace's `tags` says of the id. */
  readonly wanted: readonly string[]
  /** The tags of the loaded value; those of the id among them. Throws what `tagsOf` throws. */
  readonly after: (value: unknown) => readonly string[]
  /** The moment at which its load began, by {@link SeenStamps}. */
  loadBegan = 0
  readonly #flight: Flight<Answer>
  readonly #parts: CacheParts
  readonly #request: StampRequest
  readonly #states = new Map<string, TagState>()
  #names: readonly string[] = NO_NAMES

  constructor(
    parts: CacheParts,
    flight: Flight<Answer>,
    strong: boolean,
    wanted: readonly string[] = NO_NAMES,
    after: (value: unknown) => readonly string[] = () => NO_NAMES,
  ) {
    this.wanted = wanted
    this.after = after
    this.#flight = flight
    this.#parts = parts
    this.#request = { strong, beganAtMs: flight.beganAtMs }
    this.add(wanted)
  }

  get names(): readonly string[] {
    return this.#names
  }

  get request(): StampRequest {
    return this.#request
  }

  /** Lists the flight under more tags. */
  add(names: readonly string[]): void {
    const added = names.filter(name => !this.#names.includes(name))
    if (added.length === 0) return
    this.#names = inOrder([...this.#names, ...added])
    this.#parts.flights.list(this.#flight, added)
  }

  /** Takes the states of its own tags only: under these the flight was listed before they were asked for. */
  learn(states: ReadonlyMap<string, TagState>): void {
    for (const tag of this.#names) {
      const state = states.get(tag)
      if (state === undefined) continue
      this.#states.set(tag, state)
      if (typeof state === 'object') this.#parts.seenStamps.note(state)
    }
  }

  /** Asks for the stamps of these tags, and lists the flight under them first. */
  async ask(names: readonly string[], request: Partial<StampRequest> = {}): Promise<void> {
    this.add(names)
    this.learn(await askedStates(this.#parts, names, { ...this.#request, ...request }))
  }

  /** Why this process bypasses the cache for one of these tags, if it does. */
  whyHeld(names: readonly string[]): TagBypass | undefined {
    const { queue } = this.#parts
    if (queue.size === 0) return undefined
    for (const tag of names) {
      const why = queue.whyHeld(tag)
      if (why !== undefined) return { kind: 'bypass', why, tag }
    }
    return undefined
  }

  /** What keeps a value from being found or stored under these tags, as far as their states are known. */
  obstacle(names: readonly string[]): TagBypass | undefined {
    for (const tag of names) {
      const state = this.#states.get(tag)
      if (typeof state === 'string' && state !== 'absent') return { kind: 'bypass', why: BYPASS[state], tag }
    }
    return undefined
  }

  /** The tags whose stamps have to be asked for. */
  unknown(names: readonly string[]): readonly string[] {
    return names.filter(name => typeof this.#states.get(name) !== 'object')
  }

  /** The tags of a value whose stamps differ from those that it was stored under, or are unknown. */
  doubtful(stamps: readonly Stamp[]): readonly string[] {
    return stamps.filter(stamp => !isSame(this.#stamp(stamp.name), stamp)).map(({ name }) => name)
  }

  /** The stamps of these tags, all of which are known. */
  stamps(names: readonly string[]): readonly Stamp[] {
    return names.map(name => this.#stamp(name)!)
  }

  /** Whether these tags' stamps have stood since before the load began. */
  haveStood(names: readonly string[]): boolean {
    const { seenStamps } = this.#parts
    return this.stamps(names).every(stamp => seenStamps.hadSeen(stamp, this.loadBegan))
  }

  #stamp(name: string): Stamp | undefined {
    const state = this.#states.get(name)
    return typeof state === 'object' ? state : undefined
  }
}

/** The tags of a flight, if it has any. */
export const tagsOf = (flight: Flight<Answer>): FlightTags | undefined =>
  flight.tags as FlightTags | undefined

/**
 * Gives a flight its tags, before its first command is sent.
 *
 * @throws what the keyspace's `tags` throws.
 */
export function beginTags<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, id: Id, strong: boolean): void {
  const { tagging, parts } = space
  if (tagging === undefined) return
  const wanted = tagging.before(id)
  const after = (value: unknown) => tagging.after(wanted, value as V | undefined, id)
  const tags = new FlightTags(parts, flight, strong, wanted, after)
  flight.tags = tags
  if (!tagging.hasLate) return
  tags.add(tagging.remembered(flight.key))
  parts.flights.expectTags(flight)
}

/**
 * Reads the stamps that are still unknown before loads begin: a value may only be stored under stamps that were read before
 * its load. Where a tag stands in the way, the load keeps nothing, and its right to fill is given back at once.
 *
 * @param asked - What each flight may do; changed in place.
 */
export async function readyTags<Id, V>(
  space: Space<Id, V>,
  loads: { readonly flight: Flight<Answer>; asked: Asked<V> & { kind: 'leased' | 'bypass' } }[],
): Promise<void> {
  const { parts } = space
  const leased = loads.filter(({ flight, asked }) => flight.tags !== undefined && asked.kind === 'leased')
  if (leased.length === 0) return
  const unknown = new Set(leased.flatMap(({ flight }) => tagsOf(flight)!.unknown(flight.tags!.names)))
  if (unknown.size > 0) {
    const states = await askedStates(parts, [...unknown], tagsOf(leased[0]!.flight)!.request)
    for (const { flight } of leased) tagsOf(flight)!.learn(states)
  }
  for (const load of leased) {
    const tags = tagsOf(load.flight)!
    tags.loadBegan = parts.seenStamps.now()
    const obstacle = tags.obstacle(tags.names)
    if (obstacle === undefined) continue
    giveBack(space, load.flight.key, load.asked)
    const { why, tag } = obstacle
    load.asked = { kind: 'bypass', why, tag, fallback: load.asked.fallback }
  }
}

const isExpected = (state: TagState | Expected): state is Expected =>
  typeof state === 'object' && !('name' in state)

/** What a reply says of a tag; or what to remove, if it is no register of a tag. */
function stateOf(
  parts: CacheParts,
  tag: string,
  reply: LeaseReply | typeof UNCONFIRMED,
  token: string | undefined,
  generations: ReadonlyMap<string, string | typeof UNCONFIRMED>,
): TagState | Expected {
  const generation = generations.get(keyspaceOf(tag))
  if (reply === UNCONFIRMED || generation === UNCONFIRMED || generation === undefined) return 'unavailable'
  if (reply === REFUSED) return 'full'
  if (reply === TOO_LARGE) return 'too-large'
  if (reply === null) return token === undefined ? 'absent' : { name: tag, token, generation }
  const register = parseRegister(reply)
  switch (register.state) {
    case 'guard':
      return 'guarded'
    case 'later':
      return 'later'
    case 'stamp':
      if (parts.access.store.synchronous || markOf(register, tag) === 'own')
        return { name: tag, token: register.token, generation }
      return mismatched(parts, tag, stampText(register.token))
    case 'value':
      return { prefix: valuePrefix(register.nonce) }
    case 'lease':
      return { prefix: leaseText(register.token) }
    case 'unreadable':
      return { exactly: reply }
  }
}

/** The reply is the stamp of another tag: something on the way has lost or added a reply. */
function mismatched({ access, emit }: CacheParts, tag: string, prefix: string): TagState | Expected {
  emit({ type: 'mismatch', keyspace: keyspaceOf(tag), key: tag })
  return access.store.distrust?.(tag, prefix) === true ? 'unavailable' : { prefix }
}

/** The generations of the tags' keyspaces, each as this read may use it. */
async function generationsOf(
  { stream }: CacheParts,
  names: readonly string[],
  { strong, beganAtMs }: StampRequest,
): Promise<ReadonlyMap<string, string | typeof UNCONFIRMED>> {
  const generations = new Map<string, string | typeof UNCONFIRMED>()
  const reading: Promise<void>[] = []
  for (const keyspace of new Set(names.map(keyspaceOf))) {
    // The stream follows it from here on, even if only other processes have defined it.
    stream.follow(keyspace)
    const generation = stream.generationFor(keyspace, strong, beganAtMs)
    if (typeof generation === 'string') generations.set(keyspace, generation)
    else reading.push(generation.then(read => void generations.set(keyspace, read)))
  }
  if (reading.length > 0) await Promise.all(reading)
  return generations
}
