/**
 * How many loads run at once in this process. A bounded queue stands before it. A load that finds it full is
 * refused at once, instead of making all wait longer for an origin that cannot keep up.
 *
 * A load may wait for other loads, which its loader has asked for. Under a plain limit they starve each other:
 * 1. 64 loads take all places; 2. each asks for another key, whose load waits for a place; 3. nobody ever leaves. So a
 * load that waits **lends** its place, to one load at a time that it waits for, directly or through others. The
 * bound is on loads that run and have not lent their place: never more than there are places.
 *
 * Some load can always continue. Start at a load that waits, and follow what it waits for. There are no cycles, so the way
 * ends: at a load that is at work, or at one that has no place. The first load, or one on the way, lends it a place.
 */
import { CacheError } from '../base/errors.ts'
import { type LoadRun, type Places, queuedBelow, runWithoutFlights, waitingFor } from './load-run.ts'

/** The places of one cache in which loads run, and the queue before them. */
export class LoadLimit implements Places {
  readonly #maxLoads: number
  readonly #maxQueued: number
  /** Places that are taken. */
  #running = 0
  #loads = 0
  #queued = 0
  /** The queued loads for which no other load waits: the bound of the queue counts only these. */
  #queuedForReaders = 0
  /** Loads that run and wait for no other. */
  #atWork = 0
  /** Stands before the first that waits and behind the last: the queue is a ring. */
  readonly #ends = new Turn(undefined, () => {})
  /** Queued loads that loads of another cache wait for. */
  readonly #wantedElsewhere = new Set<LoadRun>()

  /**
   * @param maxLoads - Loads that may run at once, beside those that have lent their place.
   * @param maxQueued - Loads that may wait for their turn, beside those that loads wait for.
   */
  constructor(maxLoads: number, maxQueued: number) {
    this.#maxLoads = maxLoads
    this.#maxQueued = maxQueued
  }

  /** Loads whose loader has been called and has not settled, also those that all callers have given up. */
  get running(): number {
    return this.#loads
  }

  /** Whether a load would begin at once. */
  get hasRoom(): boolean {
    return this.#running < this.#maxLoads
  }

  /** Loads that wait for their turn. */
  get queued(): number {
    return this.#queued
  }

  /** Takes a place if one is free, for work that nobody waits for; then {@link LoadLimit.leave} has to be called. */
  enterIfFree(): LoadRun | undefined {
    if (this.#running >= this.#maxLoads) return undefined
    const run = runWithoutFlights(this)
    this.#takePlace(run)
    return run
  }

  /**
   * Resolves when it is this load's turn, in the order of asking. The caller must call {@link LoadLimit.leave} once its
   * loader has settled; a loader that never settles keeps its place. If it rejects, `leave` must not be called.
   *
   * @throws CacheError `OVERLOADED` if the queue is full and no load waits for this one; the reason that it was aborted
   * with, if it is aborted first.
   */
  enter(run: LoadRun): Promise<void> | void {
    const { abort } = run
    if (abort.aborted) {
      run.end()
      return Promise.reject(abort.reason)
    }
    const { lender, isWanted } = this.#wantedBy(run)
    if (lender !== undefined) return this.borrow(run, lender)
    if (this.#running < this.#maxLoads) {
      this.#takePlace(run)
      return
    }
    // Once a load has begun, the loads that it waits for are never refused: no load that runs fails for want of room.
    if (!isWanted && this.#queuedForReaders >= this.#maxQueued) {
      run.end()
      return Promise.reject(
        new CacheError(
          'OVERLOADED',
          `${this.#maxLoads} loads are running and ${this.#maxQueued} are waiting`,
        ),
      )
    }
    return this.#queue(run, isWanted)
  }

  #queue(run: LoadRun, isWanted: boolean): Promise<void> {
    const begun = new Promise<void>((resolve, reject) => {
      const turn = new Turn(run, () => {
        stopListening()
        resolve()
      })
      const takeOut = () => {
        turn.stepOut()
        run.beginQueued = undefined
        this.#queued--
        if (!isWanted) this.#queuedForReaders--
        this.#wantedElsewhere.delete(run)
      }
      run.beginQueued = () => {
        takeOut()
        turn.begin()
      }
      const stopListening = run.abort.listen(reason => {
        takeOut()
        run.end()
        reject(reason)
      })
      turn.standBefore(this.#ends)
      this.#queued++
      if (!isWanted) this.#queuedForReaders++
    })
    if (isWanted) this.lend(run)
    return begun
  }

  /** Gives the place to the next: to a load that the lender of the place waits for, or back to it, or to the queue. */
  leave(run: LoadRun): void {
    const { below, above } = run
    this.#loads--
    if (run.isAtWork) this.#atWork--
    run.end()
    run.below = run.above = undefined
    if (below !== undefined) below.above = above
    if (above !== undefined) above.below = below
    if (below === undefined && above === undefined) run.place!.freePlace()
    if (below !== undefined && above === undefined) LoadLimit.#lendAgain(below)
    this.relieve()
  }

  /** Lends a place to a queued load, if one that waits for it has one to lend. */
  lend(run: LoadRun): void {
    if (run.beginQueued === undefined) return
    const { lender, isWantedElsewhere } = this.#wantedBy(run)
    if (lender !== undefined) this.borrow(run, lender)
    else if (isWantedElsewhere) this.#wantedElsewhere.add(run)
  }

  /** Whether a load that runs may lend its place to one of this limit, if that is what it waits for. */
  mayBorrowFrom(lender: LoadRun): boolean {
    if (!lender.isRunning || lender.above !== undefined) return false
    return lender.limit === this || lender.place === this || this.#atWork === 0
  }

  /** A load that was at work waits for another. */
  rests(): void {
    this.#atWork--
  }

  /** It waits no longer. */
  resumes(): void {
    this.#atWork++
  }

  /**
   * Two caches can starve each other, each with its own places:
   *
   * 1. a load of the first holds its only place, and waits for a load of the second;
   * 2. a load of the second holds its only place, and waits for a load of the first.
   *
   * So if all loads of a cache wait, one of them may borrow a place of another cache, from a load that waits for it. Never
   * are more loads at work than all caches have places.
   */
  relieve(): void {
    for (const run of this.#wantedElsewhere) {
      if (this.#atWork > 0) return
      const { lender, isWanted } = this.#wantedBy(run)
      if (lender !== undefined) this.borrow(run, lender)
      else if (!isWanted) this.#wantedElsewhere.delete(run)
    }
  }

  /** The load that could lend this one a place, and whether any load waits for it. */
  #wantedBy(run: LoadRun): Wanted {
    if (!run.flights.some(({ waits, behind }) => waits !== undefined || behind !== undefined)) return UNWANTED
    let isWanted = false
    let isWantedElsewhere = false
    const path = waitingFor(run, one => {
      if (one === run || !one.isRunning) return false
      isWanted = true
      if (one.limit !== this) isWantedElsewhere = true
      return this.mayBorrowFrom(one)
    })
    if (path === undefined) return { isWanted, isWantedElsewhere }
    return { lender: path[0]!, isWanted, isWantedElsewhere }
  }

  #takePlace(run: LoadRun): void {
    this.#running++
    this.#begin(run, this)
  }

  /** Lets a load of this cache begin in another's place. */
  borrow(run: LoadRun, lender: LoadRun): void {
    lender.above = run
    run.below = lender
    this.#begin(run, lender.place!)
  }

  #begin(run: LoadRun, place: Places): void {
    run.beginQueued?.()
    run.hasBegun(place)
    this.#loads++
    this.#atWork++
  }

  /** Gives a place that nobody uses any more to the first in the queue. */
  freePlace(): void {
    const first = this.#ends.behind.run
    this.#running--
    if (first !== undefined) this.#takePlace(first)
  }

  /** Lends a place that has come back, if its owner still waits for a load that has none. */
  static #lendAgain(lender: LoadRun): void {
    for (const { on } of lender.waits) {
      const run = queuedBelow(on).find(({ limit }) => limit.mayBorrowFrom(lender))
      if (run === undefined) continue
      run.limit.borrow(run, lender)
      return
    }
  }
}

/** Whether running loads wait for a load, and which of them has a place to lend. */
interface Wanted {
  readonly lender?: LoadRun
  readonly isWanted: boolean
  /** Whether a load of another cache is one of them. */
  readonly isWantedElsewhere: boolean
}

const UNWANTED: Wanted = { isWanted: false, isWantedElsewhere: false }

/**
 * A place in the queue, linked to its neighbours: each can be taken out at once. A `Set` is slower: finding its first member
 * steps over all that have left since it last grew or shrank.
 */
class Turn {
  readonly run: LoadRun | undefined
  readonly begin: () => void
  ahead: Turn = this
  behind: Turn = this

  constructor(run: LoadRun | undefined, begin: () => void) {
    this.run = run
    this.begin = begin
  }

  standBefore(other: Turn): void {
    this.ahead = other.ahead
    this.behind = other
    this.ahead.behind = other.ahead = this
  }

  stepOut(): void {
    this.ahead.behind = this.behind
    this.behind.ahead = this.ahead
  }
}
