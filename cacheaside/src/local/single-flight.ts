import { Abort, follow, reasonOf } from '../base/abort.ts'
import type { Identified } from '../base/trace-id.ts'
import { Dependents } from './dependents.ts'
import { type Awaited, type LoadRun, NOTHING_AHEAD, standBehind, stepOut, type Wait } from './load-run.ts'

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

/** Who waits for a flight. */
export interface Caller<T> {
  resolve(answer: T): void
  reject(error: unknown): void
}

/** What a flight depends on beside its key. */
export interface TagsOfFlight {
  /** As far as they are known. */
  readonly names: readonly string[]
}

/** What the flights of one key have in common. */
interface Place<T> {
  /** The youngest flight; older ones hang from it. */
  youngest: Flight<T> | undefined
}

/** One passage through the read path for one key. */
export class Flight<T> implements Awaited, Identified {
  readonly key: string
  readonly keyspace: string
  /** By the clock's `nowMs`: a default reader joins only a flight that began a short while ago. */
  readonly beganAtMs: number
  /** Whether it refreshes a value in the background: nobody waits for it, and nobody may join. */
  readonly background: boolean
  /** The flight of the same key that was under way when this one began. */
  older: Flight<T> | undefined
  /** Where it hangs, once it is tracked. */
  place: Place<T> | undefined
  /** Its place among the doomed flights, from then until it ends. */
  doomedAt: number | undefined
  readonly parent: LoadRun | undefined
  run: LoadRun | undefined
  ahead = NOTHING_AHEAD
  behind: Set<Awaited> | undefined
  waits: Set<Wait> | undefined
  start: (() => void) | undefined
  /** The tags that it depends on, if there are any; made by `flight-tags.ts`. */
  tags: TagsOfFlight | undefined
  /** Whether nobody may join it any more, although it is not doomed. */
  isApart = false
  hasEnded = false
  traceId = 0
  readonly sameAs: Identified | undefined

  #doomed = false
  #outcome: 'resolved' | 'rejected' | undefined
  /** The answer or the error, once it has answered. */
  #answer: unknown
  #abort: Abort | undefined
  #waiting = 0
  /** The callers who wait. Mostly there is one. */
  #first: Caller<T> | undefined
  #others: Caller<T>[] | undefined
  #onOver: (() => void)[] | undefined

  /** @param sameAs - Whose number events name it by: another flight for the same read. */
  constructor(
    key: string,
    keyspace: string,
    beganAtMs: number,
    background: boolean,
    parent?: LoadRun,
    sameAs?: Identified,
  ) {
    this.key = key
    this.keyspace = keyspace
    this.beganAtMs = beganAtMs
    this.background = background
    this.parent = parent
    this.sameAs = sameAs
  }

  /** Aborted when nobody waits for the flight any more, or its load takes too long. Made when it is first needed. */
  get abort(): Abort {
    this.#abort ??= new Abort()
    return this.#abort
  }

  /** What it was answered with. */
  get answer(): T {
    return this.#answer as T
  }

  /** Whether it must keep nothing. Never taken back. */
  get doomed(): boolean {
    return this.#doomed
  }

  doom(): void {
    if (this.#doomed) return
    this.#doomed = true
    this.#over()
  }

  /** Answers the callers; only the first answer counts. The flight may still have a fill under way. */
  resolve(answer: T): void {
    this.#end('resolved', answer)
  }

  /** As {@link Flight.resolve}, with an error. */
  reject(error: unknown): void {
    this.#end('rejected', error)
  }

  #end(outcome: 'resolved' | 'rejected', answer: unknown): void {
    if (this.#outcome !== undefined) return
    this.#outcome = outcome
    this.#answer = answer
    const first = this.#first
    const others = this.#others
    this.#first = this.#others = undefined
    if (first !== undefined) this.#tell(first)
    if (others !== undefined) for (const caller of others) this.#tell(caller)
    this.#over()
  }

  #tell(caller: Caller<T>): void {
    if (this.#outcome === 'resolved') caller.resolve(this.#answer as T)
    else caller.reject(this.#answer)
  }

  /** Whether a strong reader need not wait for it any more. */
  get over(): boolean {
    return this.#doomed || this.#outcome !== undefined
  }

  /** Calls `next` when the flight, which is not over yet, is over. */
  whenOver(next: () => void): void {
    this.#onOver ??= []
    this.#onOver.push(next)
  }

  #over(): void {
    const all = this.#onOver
    if (all === undefined) return
    this.#onOver = undefined
    for (const next of all) next()
  }

  /** Tells a caller of the answer: when it comes, or at once if it is there. Who gives up has to {@link Flight.leave}. */
  addCaller(caller: Caller<T>): void {
    this.#waiting++
    if (this.#outcome !== undefined) this.#tell(caller)
    else if (this.#first === undefined) this.#first = caller
    else if (this.#others === undefined) this.#others = [caller]
    else this.#others.push(caller)
  }

  /**
   * Waits for the answer on behalf of one caller. A caller that gives up leaves the others alone; when the last one
   * does, the flight itself is aborted, unless it has answered already.
   */
  wait(signal: AbortSignal | undefined): Promise<T> {
    // A caller that has given up already never waits. It must not leave, and so abort, a flight that another caller has just
    // begun.
    if (signal?.aborted) return Promise.reject(reasonOf(signal))
    return new Promise<T>((resolve, reject) => {
      if (signal === undefined) return this.addCaller({ resolve, reject })
      const caller: Caller<T> = {
        resolve: answer => {
          stopFollowing()
          resolve(answer)
        },
        reject: error => {
          stopFollowing()
          reject(error)
        },
      }
      const stopFollowing = follow(signal, reason => {
        reject(reason)
        this.leave(caller, reason, false)
      })
      this.addCaller(caller)
    })
  }

  /**
   * A caller waits no longer. The last one aborts the flight, unless it has answered already. To be called once for each.
   *
   * @param sparesLoad - Whether a load that has begun goes on nevertheless.
   */
  leave(_: Caller<T>, reason: unknown, sparesLoad: boolean): void {
    if (this.#outcome !== undefined) return
    this.#waiting--
    if (sparesLoad && this.#isLoading) return
    if (this.#waiting === 0) {
      // A new caller would get the abort: doomed, the flight is not joined.
      this.doom()
      this.abort.abort(reason)
    }
  }

  /** Whether any caller waits for it, or has been answered. */
  get isWanted(): boolean {
    return this.#waiting > 0
  }

  /** Whether its loader has been called. A load that waits for a place has not begun. */
  get #isLoading(): boolean {
    return this.run !== undefined && this.run.beginQueued === undefined
  }
}

/** A flight that has yet to begin, when the one before it is over. */
export class QueuedFlight<T> implements Awaited, Identified {
  readonly key: string
  traceId = 0
  readonly parent = undefined
  readonly run = undefined
  ahead = NOTHING_AHEAD
  behind: Set<Awaited> | undefined
  waits: Set<Wait> | undefined
  readonly start = undefined
  readonly #begun: Promise<Flight<T>>
  #begin: (flight: Flight<T>) => void = () => {}
  #waiting = 0
  /** Who waits by {@link QueuedFlight.addCaller}. */
  readonly #callers = new Set<Caller<T>>()
  #flight: Flight<T> | undefined

  constructor(key: string) {
    this.key = key
    this.#begun = new Promise(resolve => {
      this.#begin = resolve
    })
  }

  /** Whether anybody still waits for it: if not, it need not begin. */
  get isWanted(): boolean {
    return this.#waiting > 0
  }

  begin(flight: Flight<T>): void {
    standBehind(this, [flight])
    this.#flight = flight
    for (const caller of this.#callers) flight.addCaller(caller)
    this.#callers.clear()
    this.#begin(flight)
  }

  /** As {@link Flight.answer}. */
  get answer(): T {
    return this.#flight!.answer
  }

  /** As {@link Flight.addCaller}. */
  addCaller(caller: Caller<T>): void {
    this.#waiting++
    if (this.#flight === undefined) this.#callers.add(caller)
    else this.#flight.addCaller(caller)
  }

  /** As {@link Flight.leave}. */
  leave(caller: Caller<T>, reason: unknown, sparesLoad: boolean): void {
    this.#waiting--
    if (!this.#callers.delete(caller)) this.#flight?.leave(caller, reason, sparesLoad)
  }

  /** As {@link Flight.wait}. */
  wait(signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted) return Promise.reject(reasonOf(signal))
    this.#waiting++
    if (signal === undefined) return this.#begun.then(flight => flight.wait(signal))
    return new Promise((resolve, reject) => {
      const stopFollowing = follow(signal, reason => {
        this.#waiting--
        reject(reason)
      })
      this.#begun.then(flight => {
        stopFollowing()
        if (!signal.aborted) resolve(flight.wait(signal))
      })
    })
  }
}

/** At most so many keys are remembered beside those that have a flight. */
const MOST_IDLE = 8_192

/** The flights that are under way in this process, and not doomed. */
export class SingleFlight<T> {
  /**
   * The place of each key. It stays when the key's last flight has ended, until there are many such places. A map that loses
   * keys as fast as it gets them is rebuilt all the time, and in V8 each of its tables holds the next, with the flights in
   * it, until a full collection.
   */
  readonly #places = new Map<string, Place<T>>()
  /** The place that was looked up last, and its key. A flight is looked for, and mostly begun at once. */
  #lastKey: string | undefined
  #lastPlace: Place<T> | undefined
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
    let flight = this.#placeOf(key).youngest
    // A flight that all its callers have left is doomed, but stays here until its load has noticed.
    while (flight?.background || flight?.doomed || flight?.isApart) flight = flight.older
    return flight !== undefined && flight.beganAtMs >= notBeforeMs ? flight : undefined
  }

  /** Whether a refresh of this key is under way in this process. */
  refreshing(key: string): boolean {
    for (let flight = this.#places.get(key)?.youngest; flight !== undefined; flight = flight.older) {
      if (flight.background) return true
    }
    return false
  }

  /** Starts to track a flight, before its first command is sent. */
  begin(flight: Flight<T>): void {
    const place = this.#placeOf(flight.key)
    if (place.youngest === undefined) this.#busy++
    flight.place = place
    flight.older = place.youngest
    place.youngest = flight
  }

  /** Its value has been kept or dropped. Removes this flight and no other, and nothing if it is gone already. */
  end(flight: Flight<T>): void {
    if (flight.doomedAt !== undefined) this.#endDoomed(flight, flight.doomedAt)
    flight.hasEnded = true
    if (flight.tags !== undefined) {
      this.#dependents.unlist(flight, flight.tags.names)
      this.#untold.delete(flight)
    }
    const place = flight.place!
    const { youngest } = place
    if (youngest === flight) {
      if (flight.older === undefined) this.#busy--
      place.youngest = flight.older
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
    for (let one = this.#places.get(flight.key)?.youngest; one !== undefined; one = one.older)
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
    let before = this.#placeOf(key).youngest
    while (before?.background) before = before.older
    if (before === undefined) return { flight: lead(), joined: false }
    if (before.over) return { flight: lead(), joined: false }
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
    const place = this.#places.get(key)
    let flight = place?.youngest
    if (flight === undefined) return
    place!.youngest = undefined
    this.#busy--
    for (; flight !== undefined; flight = flight.older) {
      flight.doomedAt = this.#doomed.push(flight) - 1
      flight.doom()
    }
  }

  /** Dooms the flights of one keyspace, or of all. */
  doomAll(keyspace?: string): void {
    // A copy: dooming a flight lets a queued one of the same key begin, which must not be doomed.
    for (const [key, { youngest }] of [...this.#places]) {
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

  #placeOf(key: string): Place<T> {
    if (this.#lastKey === key) return this.#lastPlace!
    let place = this.#places.get(key)
    if (place === undefined) {
      if (this.#places.size >= this.#busy + MOST_IDLE) this.#forgetIdle()
      place = { youngest: undefined }
      this.#places.set(key, place)
    }
    this.#lastKey = key
    this.#lastPlace = place
    return place
  }

  #forgetIdle(): void {
    for (const [key, { youngest }] of this.#places) if (youngest === undefined) this.#places.delete(key)
  }
}
