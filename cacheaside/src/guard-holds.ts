/**
 * The guards of this process: one token for each key, shared by all writers of the process who change the key at once.
 *
 * A thousand writers of one key would otherwise be a thousand tokens in one register, which every guard, renewal and
 * release reads and writes as a whole, and each of them holds up everybody else's commands.
 *
 * 1. The first writer guards. Those who come while the guard is young share it, once it has been confirmed.
 * 2. A writer that ends while others are at work asks whether the token is still there. Tokens are created once, so a
 * token that is there has been there all the time: the commit was guarded. Asking is renewing. Those who end while one
 * question is under way share the next.
 * 3. The last one releases.
 *
 * A writer that comes too late to share has a token of its own. Even so none of them writes through, because a token can be
 * lost:
 * 1. the store loses the token of the first; 2. the second guards, and commits; 3. the first commits; 4. the second
 * releases. For the store it was alone, and its value is the older one. (Seed 2021056 of the simulation, evictions.)
 */
import type { Clock, Timer } from './base/clock.ts'
import type { CacheEvent, GuardEvent } from './base/events.ts'
import { heardMs, sinceMs } from './base/heard-time.ts'
import { type Key, keyspaceOf, type Tag } from './base/key.ts'
import { type Identified, idOf } from './base/trace-id.ts'
import type { Operation } from './base/tracing.ts'
import type { ResolvedCacheOptions } from './resolve-options.ts'
import type { BroadcastStream } from './shared/broadcast-stream.ts'
import type { InvalidationQueue } from './shared/invalidation-queue.ts'
import { type SharedAccess, UNCONFIRMED } from './shared/shared-access.ts'
import type { Fill } from './shared/shared-store.ts'

/** The guards of this process, by key: which one a writer shares, and who is at work. */
export class GuardHolds {
  readonly #parts: HoldParts
  readonly #open = new Map<Key | Tag, GuardHold>()
  readonly #atWork = new Map<Key | Tag, AtWork>()

  constructor(parts: HoldParts) {
    this.#parts = parts
  }

  /**
   * Guards a key for one writer, with a token of its own or with the one that another writer has.
   *
   * @param beganMs - When its write began: `writeTimeoutMs` after that nothing is renewed for it any more.
   * @param readsGeneration - Whether it wants to write through: then the generation is read before the guard is sent.
   * @param write - The write, as events name it.
   */
  guard(key: Key | Tag, beganMs: number, readsGeneration: boolean, write: Identified): GuardShare {
    const atWork = this.#enter(key)
    const standing = this.#open.get(key)
    if (standing?.isOpen === true) return standing.share(beganMs, write)
    const hold = new GuardHold(this.#parts, key, readsGeneration, atWork, this.#onClosed, this.#onLeft)
    if (hold.isOpen) this.#open.set(key, hold)
    return hold.share(beganMs, write)
  }

  #enter(key: Key | Tag): AtWork {
    const present = this.#atWork.get(key)
    const atWork = present ?? { writers: 0, isSole: this.#parts.queue.whyHeld(key) !== 'in-doubt' }
    if (present === undefined) this.#atWork.set(key, atWork)
    else atWork.isSole = false
    atWork.writers++
    return atWork
  }

  readonly #onLeft = ({ key, atWork }: GuardHold): void => {
    atWork.writers--
    if (atWork.writers === 0) this.#atWork.delete(key)
  }

  readonly #onClosed = (hold: GuardHold): void => {
    if (this.#open.get(hold.key) === hold) this.#open.delete(hold.key)
  }
}

/** The writers of this process who are at work on one key at once, whatever their tokens. */
interface AtWork {
  /** How many have not ended. */
  writers: number
  /**
   * Whether there has been only one, and no earlier commit is in doubt. With several it is unknown whose commit comes last.
   */
  isSole: boolean
}

/** The parts of a cache that guards work with. */
export interface HoldParts {
  readonly access: SharedAccess
  readonly clock: Clock
  readonly emit: (event: CacheEvent) => void
  readonly isHeard: (operation: Operation) => boolean
  readonly options: ResolvedCacheOptions
  readonly queue: InvalidationQueue
  readonly stream: BroadcastStream
}

/** What a writer is told when its part in a guard has ended. */
export interface Ended {
  /** Whether the store has been told. If not it is queued. */
  readonly applied: boolean
  /** Whether the key was guarded all the time. */
  readonly fenced: boolean
  /** Whether the committed value was stored. */
  readonly stored: boolean
}

/** A writer's part in a guard. */
export class GuardShare {
  readonly beganMs: number
  readonly #hold: GuardHold

  constructor(hold: GuardHold, beganMs: number) {
    this.#hold = hold
    this.beganMs = beganMs
  }

  /** Settles when the store has confirmed the guard, or its time is up; never rejects. */
  get confirming(): Promise<void> {
    return this.#hold.confirming
  }

  /** Whether the guard was confirmed in time, and was never found missing. */
  get intact(): boolean {
    return this.#hold.intact
  }

  /**
   * Ends it, once none of its commands is under way any more.
   *
   * @param committed - The committed value, made with the generation that was read before the guard. Stored only if this
   * writer was alone.
   */
  end(committed?: (generation: string) => Fill | undefined): Promise<Ended> {
    return this.#hold.end(this, committed)
  }

  /** Leaves it: the commit is in doubt, and the guard is to run out by itself. */
  leave(): void {
    this.#hold.leave(this)
  }
}

/** A writer that has ended, and waits to be told the outcome. */
interface Ending {
  readonly committed: ((generation: string) => Fill | undefined) | undefined
  readonly resolve: (ended: Ended) => void
}

/** One token in the guard of a key, and the writers who share it. */
class GuardHold {
  readonly key: Key | Tag
  readonly atWork: AtWork
  /** Settles when the store has confirmed it, or its time is up; never rejects. */
  readonly confirming: Promise<void>
  readonly #parts: HoldParts
  readonly #onClosed: (hold: GuardHold) => void
  readonly #onLeft: (hold: GuardHold) => void
  readonly #token: string
  /** The writers who are at work. */
  readonly #sharers = new Set<GuardShare>()
  #intact = false
  /** Why it is not intact from the start, if it is not. */
  #failure: 'unconfirmed' | 'barred' = 'unconfirmed'
  #isClosed = false
  #isInDoubt = false
  /** The keyspace's generation, read before the guard was sent; only for write-through. */
  #generation: string | undefined
  #sentMs: number
  #renewal: Timer | undefined
  #isRenewalDue = false
  #ending: Ending[] = []
  #isSending = false

  constructor(
    parts: HoldParts,
    key: Key | Tag,
    readsGeneration: boolean,
    atWork: AtWork,
    onClosed: (hold: GuardHold) => void,
    onLeft: (hold: GuardHold) => void,
  ) {
    this.key = key
    this.#parts = parts
    this.atWork = atWork
    this.#onClosed = onClosed
    this.#onLeft = onLeft
    this.#token = parts.clock.token()
    this.#sentMs = parts.clock.nowMs()
    this.confirming = this.#confirm(readsGeneration)
  }

  /** Confirmed in time, and never found missing. */
  get intact(): boolean {
    return this.#intact
  }

  /**
   * Whether another writer may share it: for the third of `guardMs` until it is renewed. So a writer that hangs, or
   * whose commit is in doubt, delays only the release of those who came soon after it, and a guard that its process has
   * slept through is shared by nobody.
   */
  get isOpen(): boolean {
    const { clock, options } = this.#parts
    return !this.#isClosed && clock.nowMs() - this.#sentMs < options.guardMs / 3
  }

  share(beganMs: number, write: Identified): GuardShare {
    const share = new GuardShare(this, beganMs)
    this.#sharers.add(share)
    const askedMs = heardMs(this.#parts, 'guard')
    void this.confirming.then(() =>
      this.#emitOutcome(this.#intact ? 'confirmed' : this.#failure, askedMs, write),
    )
    return share
  }

  /**
   * Ends the part of one writer, once the command under way has ended: a renewal that arrived after the release would put up
   * a guard for nobody.
   */
  end(share: GuardShare, committed: Ending['committed']): Promise<Ended> {
    this.#remove(share)
    return new Promise(resolve => {
      this.#ending.push({ committed, resolve })
      void this.#sendCommands()
    })
  }

  /** A commit under it is in doubt: from now on nobody releases it, and it runs out when nobody renews it any more. */
  leave(share: GuardShare): void {
    this.#isInDoubt = true
    this.#remove(share)
    this.#close()
    this.#onLeft(this)
  }

  /** 1. The last writer ends, and its release is sent; 2. another one shares the token, which is taken out; 3. it commits. */
  #remove(share: GuardShare): void {
    this.#sharers.delete(share)
    if (this.#sharers.size > 0) return
    this.#close()
    this.#renewal?.cancel()
  }

  #close(): void {
    this.#isClosed = true
    this.#onClosed(this)
  }

  async #confirm(readsGeneration: boolean): Promise<void> {
    const { access, clock, stream, options } = this.#parts
    if (readsGeneration && access.available) {
      const generation = await stream.readGeneration(keyspaceOf(this.key))
      this.#generation = generation === UNCONFIRMED ? undefined : generation
    }
    this.#sentMs = clock.nowMs()
    this.#renewLater()
    const reply = access.available
      ? await access.run(() => access.store.guard(this.key, this.#token, options.guardMs, false))
      : UNCONFIRMED
    this.#intact = reply !== UNCONFIRMED && reply !== 'barred'
    if (reply === 'barred') this.#failure = 'barred'
    if (!this.#intact) this.#close()
  }

  #renewLater(): void {
    const { clock, options } = this.#parts
    this.#renewal = clock.after(options.guardMs / 3, async () => {
      this.#close()
      const nowMs = clock.nowMs()
      const isAtWork = [...this.#sharers].some(({ beganMs }) => nowMs - beganMs < options.writeTimeoutMs)
      if (!isAtWork) return
      this.#renewLater()
      // Where commands overtake each other, a renewal ahead of its guard would find no token, and take that for a loss.
      await this.confirming
      this.#isRenewalDue = true
      await this.#sendCommands()
    })
  }

  /** Sends commands one at a time, each for all writers who have ended before it was sent. */
  async #sendCommands(): Promise<void> {
    if (this.#isSending) return
    this.#isSending = true
    while (this.#ending.length > 0 || (this.#isRenewalDue && this.#sharers.size > 0)) {
      this.#isRenewalDue = false
      const ending = this.#ending.splice(0)
      let ended: Ended
      try {
        ended =
          this.#sharers.size > 0 || this.#isInDoubt ? await this.#renew(ending) : await this.#release(ending)
      } catch (error) {
        ended = this.#failed(error, ending)
      }
      for (const { resolve } of ending) {
        this.#onLeft(this)
        resolve(ended)
      }
    }
    this.#isSending = false
  }

  /** Renews the token, for those who are at work, and tells those who have ended whether it was there. */
  async #renew(ending: readonly Ending[]): Promise<Ended> {
    const { access, options, queue } = this.#parts
    const askedMs = heardMs(this.#parts, 'guard')
    const reply = await access.run(() => access.store.guard(this.key, this.#token, options.guardMs, true))
    // A renewal without an answer may have found the token missing, and the next one would not show that.
    if (reply !== 'renewed') this.#lose()
    this.#emitOutcome(reply === UNCONFIRMED ? 'unconfirmed' : reply === 'new' ? 'renewed' : reply, askedMs)
    // Queued without the token, which the other writers still need.
    if (reply === UNCONFIRMED && ending.length > 0) queue.add(this.key)
    return { applied: reply !== UNCONFIRMED, fenced: this.#intact, stored: false }
  }

  /**
   * A command threw, against the store's contract. The writers who have ended are told so, and the key is queued until the
   * store confirms.
   */
  #failed(error: unknown, ending: readonly Ending[]): Ended {
    this.#lose()
    this.#parts.emit({ type: 'fault', during: 'guard', error })
    const isHeld = this.#isInDoubt || this.#sharers.size > 0
    try {
      if (ending.length > 0) this.#parts.queue.add(this.key, isHeld ? undefined : this.#token)
    } catch {
      // A clock that throws: the guard runs out by itself.
    }
    return { applied: false, fenced: false, stored: false }
  }

  #lose(): void {
    this.#intact = false
    this.#close()
  }

  async #release(ending: readonly Ending[]): Promise<Ended> {
    const { access, queue } = this.#parts
    const isCertain = this.atWork.isSole && this.#intact
    let fill: Fill | undefined
    try {
      fill =
        isCertain && this.#generation !== undefined ? ending[0]?.committed?.(this.#generation) : undefined
    } catch (error) {
      this.#parts.emit({ type: 'fault', during: 'writeThrough', error })
    }
    const reply = await access.run(() => access.store.release(this.key, this.#token, fill))
    if (reply === UNCONFIRMED) queue.add(this.key, this.#token)
    const applied = reply !== UNCONFIRMED
    return { applied, fenced: applied && this.#intact && reply.held, stored: applied && reply.stored }
  }

  #emitOutcome(outcome: GuardEvent['outcome'], askedMs: number | undefined, write?: Identified): void {
    const durationMs = sinceMs(this.#parts, askedMs)
    const { key } = this
    const keyspace = keyspaceOf(key)
    this.#parts.emit(
      write === undefined
        ? { type: 'guard', keyspace, key, outcome, durationMs }
        : { type: 'guard', keyspace, key, outcome, durationMs, write: idOf(write) },
    )
  }
}
