/**
 * One passage through the read path for one key. It begins before its first command, and ends when its value is in L1 or
 * dropped and its fill has been answered. What it keeps and who may join it: see `single-flight.ts`.
 */
import { Abort, follow, reasonOf } from '../base/abort.ts'
import type { Identified } from '../base/trace-id.ts'
import { type Awaited, type LoadRun, NOTHING_AHEAD, type Wait } from './load-run.ts'

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

/** The flights of one key that are under way and not doomed. */
export interface FlightChain<T> {
  /** Each flight leads to the one before it, by {@link Flight.older}. */
  youngest: Flight<T> | undefined
}

/** A flight, from before its first command until it has ended. */
export class Flight<T> implements Awaited, Identified {
  readonly key: string
  readonly keyspace: string
  /** By the clock's `nowMs`: a default reader joins only a flight that began a short while ago. */
  readonly beganAtMs: number
  /** Whether it refreshes a value in the background: nobody waits for it, and nobody may join. */
  readonly background: boolean
  /** The flight of the same key that was under way when this one began. */
  older: Flight<T> | undefined
  /** The chain of its key, once it is tracked. */
  chain: FlightChain<T> | undefined
  /** Its index among the doomed flights, from then until it ends. */
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

  /** Tells a caller of the answer: when it comes, or at once if it is there. A caller that gives up {@link Flight.leave leaves}. */
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
   * A caller waits no longer. The last one aborts the flight, unless it has answered already. To be called once for each
   * caller.
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
