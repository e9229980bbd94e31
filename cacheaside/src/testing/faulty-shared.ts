import type { Clock, Timer } from '../base/clock.ts'
import type { Expected, Fill, SharedStore, StoreView, StreamListener } from '../shared/shared-store.ts'
import { FaultyLine, type NetworkFaults } from './faulty-line.ts'

/** The operations of a shared store that travel over a network. `view` stands for opening one and for all its calls. */
export const SHARED_OPERATIONS = [
  'lease',
  'leaseMany',
  'stampMany',
  'renewStamp',
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
  'view',
] as const
/** The name of an operation that can be made to fail. */
export type SharedOperation = (typeof SHARED_OPERATIONS)[number]

/**
 * A shared store as one process sees it over a network that a test can break; made by {@link faultySharedStore}.
 *
 * `cut` also loses the messages of the stream and tells the listeners that they are interrupted; `restore` without an
 * operation ends the faults of the stream as well. `hang` with `muteStream` is a dead connection without a sign.
 */
export interface FaultySharedStore extends SharedStore, NetworkFaults<SharedOperation> {
  /** Messages arrive `ms` late, in order. */
  delayStream(ms: number): void
  /** Messages are lost without a sign. */
  muteStream(): void
  /** Messages are kept back. */
  holdStream(): void
  /** Lets the messages go that were kept back, and later ones through. */
  releaseStream(): void
  /** Tells the listeners that messages may have been lost. */
  interrupt(reason: string): void
}

/**
 * Puts a network between a process and `inner`, so that a test can make it slow, lossy or dead. Give each process
 * of the test its own, all over one inner store. `close` cuts this process off for good, and leaves the inner one open.
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
  readonly stream?: 'none'
  readonly maxValueBytes?: number
  readonly keysAtOnce?: (keyspace: string) => number
  readonly #inner: SharedStore
  readonly #clock: Clock
  readonly #line: FaultyLine<SharedOperation>
  readonly #streams = new Map<FaultyStream, () => void>()
  #mode: StreamMode = { kind: 'through' }

  constructor(inner: SharedStore, clock: Clock) {
    this.#inner = inner
    this.#clock = clock
    this.#line = new FaultyLine(SHARED_OPERATIONS, 'the shared store', clock)
    this.name = `faulty ${inner.name}`
    if (inner.stream !== undefined) this.stream = inner.stream
    if (inner.maxValueBytes !== undefined) this.maxValueBytes = inner.maxValueBytes
    if (inner.keysAtOnce !== undefined) this.keysAtOnce = keyspace => inner.keysAtOnce!(keyspace)
  }

  get calls() {
    return this.#line.calls
  }
  get log() {
    return this.#line.log
  }

  lease(key: string, token: string, leaseMs: number) {
    return this.#line.send('lease', [key, token, leaseMs], () => this.#inner.lease(key, token, leaseMs))
  }
  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number) {
    return this.#line.send('leaseMany', [requests, leaseMs], () => this.#inner.leaseMany(requests, leaseMs))
  }
  stampMany(requests: readonly { key: string; token: string }[], lifeMs: number) {
    return this.#line.send('stampMany', [requests, lifeMs], () => this.#inner.stampMany(requests, lifeMs))
  }
  renewStamp(key: string, token: string, lifeMs: number) {
    return this.#line.send('renewStamp', [key, token, lifeMs], () =>
      this.#inner.renewStamp(key, token, lifeMs),
    )
  }
  look(keys: readonly string[]) {
    return this.#line.send('look', [keys], () => this.#inner.look(keys))
  }
  fill(key: string, prefix: string, value: Fill) {
    return this.#line.send('fill', [key, prefix, value], () => this.#inner.fill(key, prefix, value))
  }
  swap(key: string, seen: Expected, token: string, leaseMs: number) {
    return this.#line.send('swap', [key, seen, token, leaseMs], () =>
      this.#inner.swap(key, seen, token, leaseMs),
    )
  }
  drop(key: string, seen: Expected) {
    return this.#line.send('drop', [key, seen], () => this.#inner.drop(key, seen))
  }
  claim(key: string, nonce: string, token: string, claimMs: number) {
    return this.#line.send('claim', [key, nonce, token, claimMs], () =>
      this.#inner.claim(key, nonce, token, claimMs),
    )
  }
  guard(key: string, token: string, guardMs: number, renewal: boolean) {
    return this.#line.send('guard', [key, token, guardMs, renewal], () =>
      this.#inner.guard(key, token, guardMs, renewal),
    )
  }
  release(key: string, token: string, committed?: Fill) {
    return this.#line.send('release', [key, token, committed], () =>
      this.#inner.release(key, token, committed),
    )
  }
  invalidate(key: string) {
    return this.#line.send('invalidate', [key], () => this.#inner.invalidate(key))
  }
  generation(keyspace: string, candidate: string) {
    return this.#line.send('generation', [keyspace, candidate], () =>
      this.#inner.generation(keyspace, candidate),
    )
  }
  invalidateKeyspace(keyspace: string, generation: string) {
    return this.#line.send('invalidateKeyspace', [keyspace, generation], () =>
      this.#inner.invalidateKeyspace(keyspace, generation),
    )
  }
  heartbeat(text: string, keyspaces: readonly { name: string; candidate: string }[]) {
    return this.#line.send('heartbeat', [text, keyspaces], () => this.#inner.heartbeat(text, keyspaces))
  }
  identity() {
    return this.#line.send('identity', [], () => this.#inner.identity())
  }

  async view(): Promise<StoreView> {
    const inner = this.#inner
    if (inner.view === undefined) throw new Error(`${inner.name} has no view`)
    const view = await this.#line.send('view', [], () => inner.view!())
    const send = <T>(args: readonly unknown[], ask: () => Promise<T>) => this.#line.send('view', args, ask)
    return {
      caveats: view.caveats,
      async *keys(keyspace) {
        const pages = view.keys(keyspace)[Symbol.asyncIterator]()
        for (;;) {
          const page = await send([keyspace], () => pages.next())
          if (page.done === true) return
          yield page.value
        }
      },
      peek: keys => send([keys], () => view.peek(keys)),
      generations: keyspaces => send([keyspaces], () => view.generations(keyspaces)),
      timeMs: () => send([], () => view.timeMs()),
      close: () => view.close(),
    }
  }

  subscribe(listener: StreamListener): () => void {
    const stream = new FaultyStream(listener, this.#clock, this.#mode)
    const unsubscribe = this.#inner.subscribe(stream)
    this.#streams.set(stream, unsubscribe)
    return () => this.#end(stream)
  }

  async close(): Promise<void> {
    this.#line.close()
    this.interrupt('the faulty store was closed')
    for (const stream of [...this.#streams.keys()]) this.#end(stream)
  }

  hang(operation?: SharedOperation): void {
    this.#line.hang(operation)
  }
  fail(operation?: SharedOperation, error?: Error): void {
    this.#line.fail(operation, error)
  }
  delay(ms: number, operation?: SharedOperation): void {
    this.#line.delay(ms, operation)
  }
  loseReplies(operation?: SharedOperation, how?: 'error' | 'silence'): void {
    this.#line.loseReplies(operation, how)
  }

  cut(): void {
    this.#line.cut()
    this.muteStream()
    this.interrupt('connection lost')
  }

  restore(operation?: SharedOperation): void {
    const reconnects = this.#line.isCut
    this.#line.restore(operation, () => {
      if (operation !== undefined) return
      this.releaseStream()
      if (reconnects) this.interrupt('reconnected')
    })
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

  #turnStreams(mode: StreamMode): void {
    this.#mode = mode
    for (const stream of this.#streams.keys()) stream.turn(mode)
  }

  #end(stream: FaultyStream): void {
    this.#streams.get(stream)?.()
    this.#streams.delete(stream)
    stream.turn({ kind: 'mute' })
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
  /** Found by the process itself, and no message: no fault keeps it back. */
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

/** The contract: a listener that throws does not affect the others. */
function quietly(tell: () => void): void {
  try {
    tell()
  } catch {}
}
