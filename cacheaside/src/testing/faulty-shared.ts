import type { Clock, Timer } from '../base/clock.ts'
import type { Expected, Fill, SharedStore, StreamListener } from '../shared/shared-store.ts'

/** The operations of a shared store that travel over a network. */
export const SHARED_OPERATIONS = [
  'lease',
  'leaseMany',
  'look',
  'fill',
  'swap',
  'drop',
  'claim',
  'guard',
  'release',
  'invalidate',
  'generation',
  'invalidateKeyspace',
  'heartbeat',
  'identity',
] as const
/** The name of an operation that can be made to fail. */
export type SharedOperation = (typeof SHARED_OPERATIONS)[number]

/** One call, as it was sent. */
export interface SentOperation {
  readonly operation: SharedOperation
  readonly arguments: readonly unknown[]
  /** When, by the clock's {@link Clock.nowMs}. */
  readonly atMs: number
}

/**
 * A shared store as one process sees it over a network that a test can break; made by {@link faultySharedStore}.
 *
 * A fault without an operation's name holds for all of them. A later fault of an operation takes the place of an
 * earlier one; all hold until {@link FaultySharedStore.restore}.
 */
export interface FaultySharedStore extends SharedStore {
  /** How often each operation was sent, whatever became of it. */
  readonly calls: Readonly<Record<SharedOperation, number>>
  /** Everything that was sent, in order. */
  readonly log: readonly SentOperation[]

  /**
   * A server that has stopped (SIGSTOP, a full queue): nothing is answered, and nothing is applied *yet*. What was
   * sent is applied, late and in order, by `restore`, or lost by `cut`.
   */
  hang(operation?: SharedOperation): void
  /** A server that refuses: nothing is applied, and `error` is the answer. */
  fail(operation?: SharedOperation, error?: Error): void
  /** A distant server: applied after half of `ms` and answered after all of it. */
  delay(ms: number, operation?: SharedOperation): void
  /**
   * Applied, and nobody hears of it: the answer is an error of the connection, or, with `'silence'`, none at all
   * until `restore` or `cut` ends the waiting with that error.
   */
  loseReplies(operation?: SharedOperation, how?: 'error' | 'silence'): void
  /**
   * The connection is lost: what is sent is refused at once, what was under way is answered by an error, messages
   * are lost, and the listeners are told that they are interrupted. (A connection that is dead without anybody
   * noticing is `hang` and `muteStream`.)
   */
  cut(): void
  /** Ends the faults of this operation, or all of them and those of the stream; after a `cut` it reconnects. */
  restore(operation?: SharedOperation): void

  /** Messages arrive `ms` late, in order. */
  delayStream(ms: number): void
  /** Messages are lost, and nobody notices. */
  muteStream(): void
  /** Messages are kept back. */
  holdStream(): void
  /** Lets the messages go that were kept back, and later ones through. */
  releaseStream(): void
  /** Tells the listeners that messages may have been lost. */
  interrupt(reason: string): void
}

type Fault =
  | { readonly kind: 'hang' }
  | { readonly kind: 'fail'; readonly error: Error }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'lose'; readonly how: 'error' | 'silence' }

/** Something that was sent and has not been answered. */
interface UnderWay {
  readonly operation: SharedOperation
  /** Goes on as if the fault had not been. */
  resume(): void
  lose(error: Error): void
}

/**
 * Puts a network between a process and `inner`, so that a test can make it slow, lossy or dead. Give each process
 * of the test its own, all over one inner store; `close` leaves the inner one open.
 *
 * @param inner - any shared store.
 * @param options - `clock`: what delays are counted by.
 */
export function faultySharedStore(inner: SharedStore, options: { readonly clock: Clock }): FaultySharedStore {
  return new FaultyStore(inner, options.clock)
}

class FaultyStore implements FaultySharedStore {
  readonly name: string
  readonly synchronous = false
  readonly calls = Object.fromEntries(SHARED_OPERATIONS.map(name => [name, 0])) as Record<
    SharedOperation,
    number
  >
  readonly log: SentOperation[] = []
  readonly #inner: SharedStore
  readonly #clock: Clock
  readonly #faults = new Map<SharedOperation, Fault>()
  readonly #underWay = new Set<UnderWay>()
  readonly #streams = new Map<FaultyStream, () => void>()
  #mode: StreamMode = { kind: 'through' }
  #isCut = false

  constructor(inner: SharedStore, clock: Clock) {
    this.#inner = inner
    this.#clock = clock
    this.name = `faulty ${inner.name}`
  }

  lease(key: string, token: string, leaseMs: number) {
    return this.#send('lease', [key, token, leaseMs], () => this.#inner.lease(key, token, leaseMs))
  }
  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number) {
    return this.#send('leaseMany', [requests, leaseMs], () => this.#inner.leaseMany(requests, leaseMs))
  }
  look(keys: readonly string[]) {
    return this.#send('look', [keys], () => this.#inner.look(keys))
  }
  fill(key: string, prefix: string, value: Fill) {
    return this.#send('fill', [key, prefix, value], () => this.#inner.fill(key, prefix, value))
  }
  swap(key: string, seen: Expected, token: string, leaseMs: number) {
    return this.#send('swap', [key, seen, token, leaseMs], () => this.#inner.swap(key, seen, token, leaseMs))
  }
  drop(key: string, seen: Expected) {
    return this.#send('drop', [key, seen], () => this.#inner.drop(key, seen))
  }
  claim(key: string, nonce: string, token: string, claimMs: number) {
    return this.#send('claim', [key, nonce, token, claimMs], () =>
      this.#inner.claim(key, nonce, token, claimMs),
    )
  }
  guard(key: string, token: string, guardMs: number, renewal: boolean) {
    return this.#send('guard', [key, token, guardMs, renewal], () =>
      this.#inner.guard(key, token, guardMs, renewal),
    )
  }
  release(key: string, token: string, through?: Fill) {
    return this.#send('release', [key, token, through], () => this.#inner.release(key, token, through))
  }
  invalidate(key: string) {
    return this.#send('invalidate', [key], () => this.#inner.invalidate(key))
  }
  generation(keyspace: string, candidate: string) {
    return this.#send('generation', [keyspace, candidate], () => this.#inner.generation(keyspace, candidate))
  }
  invalidateKeyspace(keyspace: string, generation: string) {
    return this.#send('invalidateKeyspace', [keyspace, generation], () =>
      this.#inner.invalidateKeyspace(keyspace, generation),
    )
  }
  heartbeat(text: string, keyspaces: readonly { name: string; candidate: string }[]) {
    return this.#send('heartbeat', [text, keyspaces], () => this.#inner.heartbeat(text, keyspaces))
  }
  identity() {
    return this.#send('identity', [], () => this.#inner.identity())
  }

  subscribe(listener: StreamListener): () => void {
    const stream = new FaultyStream(listener, this.#clock, this.#mode)
    const unsubscribe = this.#inner.subscribe(stream)
    this.#streams.set(stream, unsubscribe)
    return () => this.#end(stream)
  }

  async close(): Promise<void> {
    this.#loseAll(connectionLost())
    for (const stream of [...this.#streams.keys()]) this.#end(stream)
  }

  hang(operation?: SharedOperation): void {
    this.#set(operation, { kind: 'hang' })
  }
  fail(operation?: SharedOperation, error: Error = new Error('the shared store refused')): void {
    this.#set(operation, { kind: 'fail', error })
  }
  delay(ms: number, operation?: SharedOperation): void {
    this.#set(operation, { kind: 'delay', ms })
  }
  loseReplies(operation?: SharedOperation, how: 'error' | 'silence' = 'error'): void {
    this.#set(operation, { kind: 'lose', how })
  }

  cut(): void {
    this.#isCut = true
    this.#loseAll(connectionLost())
    this.muteStream()
    this.interrupt('connection lost')
  }

  restore(operation?: SharedOperation): void {
    for (const name of named(operation)) this.#faults.delete(name)
    if (operation === undefined) {
      const reconnects = this.#isCut
      this.#isCut = false
      this.releaseStream()
      if (reconnects) this.interrupt('reconnected')
    }
    for (const sent of [...this.#underWay]) if (!this.#faults.has(sent.operation)) sent.resume()
  }

  delayStream(ms: number): void {
    this.#turnStreams({ kind: 'delayed', ms })
  }
  muteStream(): void {
    this.#turnStreams({ kind: 'mute' })
  }
  holdStream(): void {
    this.#turnStreams({ kind: 'held' })
  }
  releaseStream(): void {
    this.#turnStreams({ kind: 'through' })
  }
  interrupt(reason: string): void {
    for (const stream of this.#streams.keys()) stream.interrupted(reason)
  }

  #set(operation: SharedOperation | undefined, fault: Fault): void {
    for (const name of named(operation)) this.#faults.set(name, fault)
  }

  #turnStreams(mode: StreamMode): void {
    this.#mode = mode
    for (const stream of this.#streams.keys()) stream.turn(mode)
  }

  #end(stream: FaultyStream): void {
    this.#streams.get(stream)?.()
    this.#streams.delete(stream)
    stream.turn({ kind: 'mute' })
  }

  #loseAll(error: Error): void {
    for (const sent of [...this.#underWay]) sent.lose(error)
  }

  #send<T>(operation: SharedOperation, args: readonly unknown[], apply: () => Promise<T>): Promise<T> {
    this.calls[operation]++
    this.log.push({ operation, arguments: args, atMs: this.#clock.nowMs() })
    if (this.#isCut) return Promise.reject(connectionLost())
    const fault = this.#faults.get(operation)
    switch (fault?.kind) {
      case undefined:
        return apply()
      case 'fail':
        return Promise.reject(fault.error)
      case 'hang':
        return this.#stop(operation, apply)
      case 'delay':
        return this.#travel(operation, fault.ms, apply)
      case 'lose':
        // The answer, an error even, is what nobody hears.
        apply().catch(() => {})
        if (fault.how === 'error') return Promise.reject(connectionLost())
        return this.#stop(operation, () => Promise.reject(connectionLost()))
    }
  }

  /** Waits for `restore`, then goes on with `next`; or is lost. */
  #stop<T>(operation: SharedOperation, next: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const sent: UnderWay = {
        operation,
        resume: () => {
          this.#underWay.delete(sent)
          next().then(resolve, reject)
        },
        lose: error => {
          this.#underWay.delete(sent)
          reject(error)
        },
      }
      this.#underWay.add(sent)
    })
  }

  /** Half of the way there, the other half back. A connection that is lost stops it where it is. */
  #travel<T>(operation: SharedOperation, ms: number, apply: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const sent: UnderWay = {
        operation,
        // What is on its way arrives when it arrives, also after the delay was taken away.
        resume: () => {},
        lose: error => {
          this.#underWay.delete(sent)
          timer.cancel()
          reject(error)
        },
      }
      this.#underWay.add(sent)
      const wayBack = (deliver: () => void) => {
        if (!this.#underWay.has(sent)) return
        timer = this.#clock.after(ms / 2, () => {
          this.#underWay.delete(sent)
          deliver()
        })
      }
      let timer = this.#clock.after(ms / 2, () => {
        apply().then(
          value => wayBack(() => resolve(value)),
          error => wayBack(() => reject(error)),
        )
      })
    })
  }
}

type StreamMode =
  | { readonly kind: 'through' }
  | { readonly kind: 'mute' }
  | { readonly kind: 'held' }
  | { readonly kind: 'delayed'; readonly ms: number }

/** A message that has not been delivered: one that is kept back has no timer. */
interface Message {
  readonly tell: () => void
  readonly timer: Timer | undefined
}

/** One listener's end of the stream: one connection, so that no message ever overtakes another. */
class FaultyStream implements StreamListener {
  readonly #listener: StreamListener
  readonly #clock: Clock
  readonly #waiting: Message[] = []
  #mode: StreamMode

  constructor(listener: StreamListener, clock: Clock, mode: StreamMode) {
    this.#listener = listener
    this.#clock = clock
    this.#mode = mode
  }

  invalidated(key: string): void {
    this.#pass(() => this.#listener.invalidated(key))
  }
  keyspaceInvalidated(keyspace: string): void {
    this.#pass(() => this.#listener.keyspaceInvalidated(keyspace))
  }
  heartbeat(text: string): void {
    this.#pass(() => this.#listener.heartbeat(text))
  }
  /** The process's own finding and not a message: no fault keeps it back. */
  interrupted(reason: string): void {
    quietly(() => this.#listener.interrupted(reason))
  }

  turn(mode: StreamMode): void {
    this.#mode = mode
    if (mode.kind === 'mute') this.#take(this.#waiting.length)
    else if (mode.kind !== 'held') this.#deliver(this.#waiting.length)
  }

  #pass(tell: () => void): void {
    switch (this.#mode.kind) {
      case 'through':
        quietly(tell)
        return
      case 'mute':
        return
      case 'held':
        this.#waiting.push({ tell, timer: undefined })
        return
      case 'delayed': {
        const timer = this.#clock.after(this.#mode.ms, () => {
          const place = this.#waiting.indexOf(message)
          if (this.#mode.kind === 'delayed') this.#deliver(place + 1)
        })
        const message = { tell, timer }
        this.#waiting.push(message)
      }
    }
  }

  #deliver(count: number): void {
    for (const { tell } of this.#take(count)) quietly(tell)
  }

  #take(count: number): Message[] {
    const taken = this.#waiting.splice(0, count)
    for (const { timer } of taken) timer?.cancel()
    return taken
  }
}

/** The contract: a listener that throws harms nobody else. */
function quietly(tell: () => void): void {
  try {
    tell()
  } catch {}
}

const named = (operation: SharedOperation | undefined): readonly SharedOperation[] =>
  operation === undefined ? SHARED_OPERATIONS : [operation]

const connectionLost = () => new Error('the connection to the shared store was lost')
