/**
 * One load per key in this process, for readers that may share it.
 *
 * A **flight** is one passage through the read path for one key, from before its first command until its value has
 * been kept in L1 or dropped, the reply to its fill included. One caller **leads** it, others **join** while it is
 * under way. An invalidation **dooms** the flights of its key: they still answer their callers, who began before it,
 * but they keep nothing, and later callers start a new flight.
 *
 * Why a doomed flight must not be joined, and must keep nothing:
 *
 * 1. a reader leads a flight, and its loader reads version 1;
 * 2. a writer commits version 2; the invalidation reaches this process;
 * 3. a second reader joins the flight and gets version 1 after it may have seen version 2; or
 * 4. the flight puts version 1 into L1, where nothing will remove it.
 */
import type { Identified } from '../base/trace-id.ts'
import { Dependents } from './dependents.ts'
import type { Flight, FlightChain } from './flight.ts'
import { standBehind, stepOut } from './load-run.ts'
import { QueuedFlight } from './queued-flight.ts'

/** How many keys are remembered at most, beside those that have a flight. */
const MOST_IDLE = 8_192

/** The flights that are under way in this process: whom a reader may join, and what dooms them. */
export class SingleFlight<T> {
  /**
   * The chain of each key. It stays when the key's last flight has ended, until there are many empty ones. A map that loses
   * keys as fast as it gets them is rebuilt all the time, and in V8 each of its tables holds the next, with the flights in
   * it, until a full collection.
   */
  readonly #chains = new Map<string, FlightChain<T>>()
  /** The chain that was looked up last, and its key. A flight is looked for, and mostly begun at once. */
  #lastKey: string | undefined
  #lastChain: FlightChain<T> | undefined
  /** How many keys have a flight. */
  #busy = 0
  /** Flights that strong readers wait in: each begins when the flight before it is over. */
  readonly #queued = new Map<string, QueuedFlight<T>>()
  /** By tag. */
  readonly #dependents = new Dependents<Flight<T>>()
  /** Flights whose tags are not all known yet: the value that they bring may name more. */
  readonly #untold = new Set<Flight<T>>()
  /** Flights that were doomed and have not ended: one of them may hold the lease of its key. */
  readonly #doomed: Flight<T>[] = []

  /** How many keys have a flight under way. */
  get size(): number {
    return this.#busy + this.#queued.size
  }

  /** The flight that a default reader may join: under way, not doomed, begun at or after `notBeforeMs`. */
  joinable(key: string, notBeforeMs: number): Flight<T> | undefined {
    let flight = this.#chainOf(key).youngest
    // A flight that all its callers have left is doomed, but stays here until its load has noticed.
    while (flight?.background || flight?.doomed || flight?.isApart) flight = flight.older
    return flight !== undefined && flight.beganAtMs >= notBeforeMs ? flight : undefined
  }

  /** Whether a refresh of this key is under way in this process. */
  refreshing(key: string): boolean {
    for (let flight = this.#chains.get(key)?.youngest; flight !== undefined; flight = flight.older) {
      if (flight.background) return true
    }
    return false
  }

  /** Starts to track a flight, before its first command is sent. */
  begin(flight: Flight<T>): void {
    const chain = this.#chainOf(flight.key)
    if (chain.youngest === undefined) this.#busy++
    flight.chain = chain
    flight.older = chain.youngest
    chain.youngest = flight
  }

  /** Its value has been kept or dropped. Removes this flight and no other, and nothing if it is gone already. */
  end(flight: Flight<T>): void {
    if (flight.doomedAt !== undefined) this.#endDoomed(flight, flight.doomedAt)
    flight.hasEnded = true
    if (flight.tags !== undefined) {
      this.#dependents.unlist(flight, flight.tags.names)
      this.#untold.delete(flight)
    }
    const chain = flight.chain!
    const { youngest } = chain
    if (youngest === flight) {
      if (flight.older === undefined) this.#busy--
      chain.youngest = flight.older
      return
    }
    for (let younger = youngest; younger !== undefined; younger = younger.older) {
      if (younger.older === flight) {
        younger.older = flight.older
        return
      }
    }
  }

  #endDoomed(flight: Flight<T>, at: number): void {
    const last = this.#doomed.pop()!
    flight.doomedAt = undefined
    if (last === flight) return
    this.#doomed[at] = last
    last.doomedAt = at
  }

  /** The other flights of a flight's key that have not ended, also doomed ones. */
  others(flight: Flight<T>): Flight<T>[] {
    const found = this.#doomed.filter(one => one.key === flight.key && one !== flight)
    for (let one = this.#chains.get(flight.key)?.youngest; one !== undefined; one = one.older)
      if (one !== flight) found.push(one)
    return found
  }

  /**
   * The flight that a strong reader may share: one that begins after the reader came. If none is under way, the reader leads
   * one at once. Otherwise all strong readers that come before the next one begins share that one. It does not begin if
   * all of them have given up by then.
   *
   * @param lead - Begins a flight and leads it; is told of the queued one, if it takes the place of one.
   * @returns the flight, and whether another reader leads it.
   */
  next(
    key: string,
    lead: (queued?: Identified) => Flight<T>,
  ): { flight: Flight<T> | QueuedFlight<T>; joined: boolean } {
    const queued = this.#queued.get(key)
    if (queued !== undefined) return { flight: queued, joined: true }
    let before = this.#chainOf(key).youngest
    while (before?.background) before = before.older
    if (before === undefined || before.over) return { flight: lead(), joined: false }
    const flight = new QueuedFlight<T>(key)
    standBehind(flight, [before])
    // 1. An invalidation of a store in this process tells its listeners, and dooms the flight before this one; 2. this one
    // begins in the middle of that, and finds the old value or generation, which goes only when all have been told;
    // 3. no later message reaches it. (Seed 839 of the simulation.) So it begins when the store is done.
    const over = new Promise<void>(resolve => before.whenOver(resolve))
    // By a promise, and so not in the context of the flight before: traces would count its load as a part of another read.
    void over.then(() => {
      this.#queued.delete(key)
      stepOut(flight)
      if (flight.isWanted) flight.begin(lead(flight))
    })
    this.#queued.set(key, flight)
    return { flight, joined: false }
  }

  /** Dooms the flights of one key. */
  doom(key: string): void {
    const chain = this.#chains.get(key)
    let flight = chain?.youngest
    if (flight === undefined) return
    chain!.youngest = undefined
    this.#busy--
    for (; flight !== undefined; flight = flight.older) {
      flight.doomedAt = this.#doomed.push(flight) - 1
      flight.doom()
    }
  }

  /** Dooms the flights of one keyspace, or of all. */
  doomAll(keyspace?: string): void {
    // A copy: dooming a flight lets a queued one of the same key begin, which must not be doomed.
    for (const [key, { youngest }] of [...this.#chains]) {
      if (youngest !== undefined && (keyspace === undefined || youngest.keyspace === keyspace)) this.doom(key)
    }
  }

  /** From now on a notice about one of these tags dooms the flight. */
  list(flight: Flight<T>, tags: readonly string[]): void {
    if (!flight.hasEnded) this.#dependents.list(flight, tags)
  }

  /** The value that this flight brings may name tags that are not known yet. */
  expectTags(flight: Flight<T>): void {
    this.#untold.add(flight)
  }

  /** All tags of this flight are known, and it is listed under them. */
  knowsTags(flight: Flight<T>): void {
    this.#untold.delete(flight)
  }

  /** Dooms the flights that depend on a tag. */
  doomDependents(tag: string): void {
    for (const flight of this.#dependents.of(tag)) flight.doom()
  }

  /** Dooms the flights that depend on any tag of a keyspace. */
  doomDependentsOfKeyspace(keyspace: string): void {
    for (const flight of this.#dependents.ofKeyspace(keyspace)) flight.doom()
  }

  /**
   * This process has invalidated a tag, or a store in this process has told of one. A flight whose tags are not all known may
   * depend on it, and must not be joined any more: 1. a flight has loaded a post with its author; 2. this process changes the
   * author; 3. it reads the post, joins the flight, and does not see its own change. Whether the flight's value may be kept
   * is decided later, by its tags.
   */
  setApart(): void {
    for (const flight of this.#untold) flight.isApart = true
  }

  #chainOf(key: string): FlightChain<T> {
    if (this.#lastKey === key) return this.#lastChain!
    let chain = this.#chains.get(key)
    if (chain === undefined) {
      if (this.#chains.size >= this.#busy + MOST_IDLE) this.#forgetIdle()
      chain = { youngest: undefined }
      this.#chains.set(key, chain)
    }
    this.#lastKey = key
    this.#lastChain = chain
    return chain
  }

  #forgetIdle(): void {
    for (const [key, { youngest }] of this.#chains) if (youngest === undefined) this.#chains.delete(key)
  }
}
