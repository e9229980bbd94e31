/**
 * The broadcast stream as one process hears it, and the proof that it is alive.
 *
 * Invalidations reach other processes by publish and subscribe. It loses messages without a sign: when the connection breaks,
 * when it hangs, when the store is restarted. So each process sends numbered heartbeats of its own through the store and
 * listens for them: one that is heard proves that everything published before it was *sent* has been heard, too, because a
 * connection keeps the order. So a proof counts from the moment of sending. A heartbeat that is heard late proves little:
 *
 * 1. a heartbeat is sent; 2. the stream is held up for five seconds; 3. an invalidation is published; 4. the
 * heartbeat is heard, and the invalidation is not. Counted from hearing, a copy five seconds stale would pass for
 * proven.
 *
 * In the same exchange the heartbeat re-reads the generations of the keyspaces, so that their copies here are at most as old
 * as the proof. A store that is `synchronous` needs none of this: its calls are proof enough, as long as it answers. On a
 * store whose `stream` is `'none'` nothing is ever proven.
 */
import type { Clock, Timer } from '../base/clock.ts'
import type { CacheEvent } from '../base/events.ts'
import { GenerationLooks } from './generation-looks.ts'
import { markedToken } from './key-mark.ts'
import { type SharedAccess, UNCONFIRMED } from './shared-access.ts'
import type { HeartbeatReply } from './shared-store.ts'

/** What the stream calls in its process. */
export interface StreamOwner {
  invalidated(key: string): void
  /** The keyspace's generation has changed, or may have. */
  keyspaceInvalidated(keyspace: string): void
  /** Messages may have been lost: nothing kept in this process can be trusted. */
  interrupted(): void
}

const HEARTBEATS_PER_BOUND = 4
/** After so many answered heartbeats in a row that nobody has heard, an event tells of it. */
const UNHEARD_BEATS = 20

/** The broadcast stream as one process hears it, with its copies of generations and what it knows of the store's clock. */
export class BroadcastStream {
  /** Used for readers that have seen a value of another generation. */
  readonly looks = new GenerationLooks(keyspace => this.readGeneration(keyspace))
  readonly #access: SharedAccess
  readonly #owner: StreamOwner
  readonly #clock: Clock
  readonly #maxStaleMs: number
  readonly #emit: (event: CacheEvent) => void
  readonly #self: string
  readonly #generations = new Map<string, GenerationCopy>()
  readonly #unsubscribe: () => void

  #proofMs = Number.NEGATIVE_INFINITY
  #proven = false
  /** Store's time less ours, as last learned. */
  #offsetMs: number | undefined
  #lastNumber = 0
  #lastGeneration = 0
  /** Grows whenever a generation is learned. */
  #turn = 0
  /** Heartbeats that were answered since the last one that proved something. */
  #unheard = 0
  readonly #sent = new Map<
    string,
    {
      sentMs: number
      turn: number
      heard: boolean
      reply: HeartbeatReply | undefined
      epochs: number[]
      names: string[]
    }
  >()
  /** Whether the stream has to be proven at all. */
  readonly needsProof: boolean
  #timer: Timer | undefined
  #closed = false

  constructor(
    access: SharedAccess,
    owner: StreamOwner,
    clock: Clock,
    maxStaleMs: number,
    emit: (event: CacheEvent) => void,
  ) {
    this.#access = access
    this.#owner = owner
    this.#clock = clock
    this.#maxStaleMs = maxStaleMs
    this.#emit = emit
    this.#self = clock.token()
    this.needsProof = !access.store.synchronous
    this.#proven = !this.needsProof
    if (access.store.stream === 'none') {
      this.#unsubscribe = () => {}
      this.#keepTime()
      return
    }
    this.#unsubscribe = access.store.subscribe({
      invalidated: key => owner.invalidated(key),
      keyspaceInvalidated: keyspace => this.keyspaceInvalidated(keyspace),
      heartbeat: text => this.#heard(text),
      interrupted: reason => this.#interrupted(reason),
    })
    if (this.needsProof) this.#beat()
    else this.#askTime()
  }

  /** Whether everything applied up to `localMaxStaleMs` before `nowMs` has been heard. */
  proven(nowMs: number): boolean {
    if (!this.needsProof) return true
    if (nowMs - this.#proofMs <= this.#maxStaleMs) return true
    this.#silent()
    return false
  }

  /** If the proof has run out, this dooms the flights that relied on it. */
  checkProof(nowMs: number): void {
    this.proven(nowMs)
  }

  /** The same as `proven`, without effects: for statistics. */
  isProven(nowMs: number): boolean {
    return this.needsProof ? nowMs - this.#proofMs <= this.#maxStaleMs : this.#access.available
  }

  /**
   * Turns a moment by this process's `nowMs` into one by the store's clock, as well as that is known here. Safety never
   * depends on it.
   */
  storesFromOurs(nowMs: number): number {
    return nowMs + (this.#offsetMs ?? this.#clock.epochMs() - this.#clock.nowMs())
  }

  /** Turns a moment by the store's clock into one by this process's `nowMs`. */
  oursFromStores(timeMs: number): number {
    return timeMs - (this.#offsetMs ?? this.#clock.epochMs() - this.#clock.nowMs())
  }

  /** Keeps a copy of this keyspace's generation from now on. Default reads may use it while the stream is proven. */
  follow(keyspace: string): GenerationCopy {
    let copy = this.#generations.get(keyspace)
    if (copy === undefined) {
      copy = { value: undefined, number: UNKNOWN, epoch: 0, learned: undefined, learnedAt: 0 }
      this.#generations.set(keyspace, copy)
    }
    return copy
  }

  /** A keyspace's generation as a read may use it: the copy; without a proof, one that is read now. */
  generationFor(
    keyspace: string,
    strong: boolean,
    beganAtMs: number,
  ): string | Promise<string | typeof UNCONFIRMED> {
    const copy = !strong && this.proven(beganAtMs) ? this.follow(keyspace).value : undefined
    return copy ?? this.readGeneration(keyspace)
  }

  /**
   * Reads a keyspace's generation from the store, and remembers it.
   *
   * It is remembered only if no message about the keyspace came while the answer was under way. Otherwise: 1. the
   * read is answered with the old generation; 2. the keyspace is invalidated, and the copy here forgotten; 3. the
   * answer arrives, and brings the old generation back.
   */
  async readGeneration(keyspace: string, limitMs?: number): Promise<string | typeof UNCONFIRMED> {
    const copy = this.#generations.get(keyspace)
    const epoch = copy?.epoch
    const turn = this.#turn
    const generation = await this.#access.run(
      () => this.#access.store.generation(keyspace, markedToken(keyspace, this.#clock.token())),
      limitMs,
    )
    if (generation === UNCONFIRMED) return UNCONFIRMED
    if (copy !== undefined && copy.epoch === epoch) this.#setGeneration(keyspace, copy, generation, turn)
    return generation
  }

  /** A keyspace was invalidated: a message says so, or this process has done it, and its message is still on its way. */
  keyspaceInvalidated(keyspace: string): void {
    const copy = this.#generations.get(keyspace)
    if (copy === undefined) return
    copy.value = undefined
    copy.number = UNKNOWN
    copy.epoch++
    this.#owner.keyspaceInvalidated(keyspace)
  }

  /** This process has invalidated the keyspace, and the message about it is still on its way. */
  forgetGeneration(keyspace: string): void {
    const copy = this.#generations.get(keyspace)
    if (copy !== undefined) this.#forget(copy)
  }

  /** Stops listening and sending. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#unsubscribe()
  }

  /** @param turn - When the reading that brought it began. */
  #setGeneration(keyspace: string, copy: GenerationCopy, value: string, turn: number): void {
    if (copy.learned !== undefined && copy.learned !== value && turn >= copy.learnedAt)
      this.looks.note(keyspace, copy.learned)
    copy.learned = value
    copy.learnedAt = ++this.#turn
    if (copy.value === value) return
    const changed = copy.value !== undefined
    copy.value = value
    copy.number = ++this.#lastGeneration
    // The register was lost and drawn again, or the message about it was lost: what is kept here belongs to the old one.
    if (changed) this.#owner.keyspaceInvalidated(keyspace)
  }

  #beat(): void {
    if (this.#closed) return
    const number = ++this.#lastNumber
    const text = `${this.#self} ${number}`
    const names = [...this.#generations.keys()]
    const epochs = names.map(name => this.#generations.get(name)!.epoch)
    const beat = {
      sentMs: this.#clock.nowMs(),
      turn: this.#turn,
      heard: false,
      reply: undefined as HeartbeatReply | undefined,
      epochs,
      names,
    }
    this.#sent.set(text, beat)
    const candidates = names.map(name => ({ name, candidate: markedToken(name, this.#clock.token()) }))
    this.#access
      .runBehind(() => this.#access.store.heartbeat(text, candidates), this.#maxStaleMs)
      .then(reply => {
        if (reply === UNCONFIRMED) return
        this.#learnTime(reply, beat.sentMs)
        beat.reply = reply
        this.#prove(text)
        if (this.#proven) this.#unheard = 0
        else if (++this.#unheard === UNHEARD_BEATS) this.#tellUnheard()
      })
    for (const [old, { sentMs }] of this.#sent)
      if (beat.sentMs - sentMs > this.#maxStaleMs) this.#sent.delete(old)
    this.#timer = this.#clock.after(this.#maxStaleMs / HEARTBEATS_PER_BOUND, () => {
      this.checkProof(this.#clock.nowMs())
      this.#beat()
    })
  }

  /** Broadcasts may be blocked for good, by access rights or by a proxy: nothing else would show that. */
  #tellUnheard(): void {
    const reason = `${UNHEARD_BEATS} heartbeats in a row were answered and not heard`
    this.#emit({ type: 'stream', state: 'unheard', reason })
  }

  #heard(text: string): void {
    const beat = this.#sent.get(text)
    if (beat === undefined) return
    // The connection keeps the order: an earlier heartbeat that has not been heard was lost, and other messages may have been
    // lost with it.
    for (const earlier of this.#sent.values()) {
      if (earlier === beat) break
      if (earlier.reply !== undefined) {
        this.#interrupted('a heartbeat was lost')
        return
      }
    }
    beat.heard = true
    this.#prove(text)
  }

  /** A heartbeat is a proof once two things are there: it was heard, and its exchange has brought the generations. */
  #prove(text: string): void {
    const beat = this.#sent.get(text)
    if (beat === undefined || !beat.heard || beat.reply === undefined) return
    this.#sent.delete(text)
    if (beat.sentMs <= this.#proofMs) return
    beat.names.forEach((name, i) => {
      const copy = this.#generations.get(name)!
      if (copy.epoch === beat.epochs[i])
        this.#setGeneration(name, copy, beat.reply!.generations[i]!, beat.turn)
    })
    this.#proofMs = beat.sentMs
    if (this.#proven) return
    this.#proven = true
    // Flights that began before this proof may have missed a message; they must keep nothing.
    this.#owner.interrupted()
    this.#emit({ type: 'stream', state: 'proven', reason: 'own heartbeat heard' })
  }

  /**
   * The proof has run out: what is kept here may have missed a message. Heartbeats on their way are still proofs when they
   * are heard, because the connection has kept the order.
   */
  #silent(): void {
    if (!this.#proven) return
    this.#proven = false
    this.#owner.interrupted()
    this.#emit({ type: 'stream', state: 'unproven', reason: 'silence' })
  }

  /**
   * The connection has certainly broken, so messages may have been lost. A heartbeat sent before that and heard after it
   * proves nothing about the messages in between, and the generations may be those of another store.
   */
  #interrupted(reason: string): void {
    this.#sent.clear()
    this.#proofMs = Number.NEGATIVE_INFINITY
    for (const copy of this.#generations.values()) {
      this.#forget(copy)
      copy.learned = undefined
    }
    this.looks.forget()
    const wasProven = this.#proven
    this.#proven = !this.needsProof
    this.#owner.interrupted()
    this.#access.mayHaveFallenBack()
    // A store in this process that was closed does not answer any more.
    if (!this.needsProof) void this.#askTime()
    if (wasProven) this.#emit({ type: 'stream', state: 'unproven', reason })
  }

  #forget(copy: GenerationCopy): void {
    copy.value = undefined
    copy.number = UNKNOWN
    copy.epoch++
  }

  /** Without a stream nothing is ever proven: a heartbeat brings only the store's time. */
  #keepTime(): void {
    if (this.#closed) return
    void this.#askTime()
    this.#timer = this.#clock.after(this.#maxStaleMs, () => this.#keepTime())
  }

  async #askTime(): Promise<void> {
    const sentMs = this.#clock.nowMs()
    const reply = await this.#access.runBehind(() => this.#access.store.heartbeat('', []))
    if (reply !== UNCONFIRMED) this.#learnTime(reply, sentMs)
  }

  #learnTime(reply: HeartbeatReply, sentMs: number): void {
    this.#offsetMs = reply.timeMs - (sentMs + this.#clock.nowMs()) / 2
  }
}

/** The number of no generation. */
const UNKNOWN = -1

/** A process's copy of a keyspace's generation. */
export interface GenerationCopy {
  /** `undefined` while it is not known. */
  value: string | undefined
  /** Another one for each value that it gets, so that a hit need not compare texts; {@link UNKNOWN} while it is not known. */
  number: number
  /** Grows with every message about the keyspace: an answer sent for before the last one must not be kept. */
  epoch: number
  /** The generation that was learned last, and when. It has fallen once a reading that began later brings another. */
  learned: string | undefined
  learnedAt: number
}
