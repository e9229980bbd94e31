/**
 * What is traced: each operation has a tracing channel of Node's `diagnostics_channel`, such as
 * `tracing:cacheaside:read:start`, and the cache's own tracers are told of the same.
 *
 * Messages are published here and not by Node's `TracingChannel`. That makes a promise of its own for each operation, so
 * callers of the cache would go on a turn later if somebody listens. And it cannot enter contexts that are no
 * `AsyncLocalStorage`, such as those of OpenTelemetry.
 */
import type { FeedBatchEvent, FillEvent, LoadEvent, ReadEvent, RefreshEvent, WriteEvent } from './events.ts'
import { builtin, type DiagnosticsChannel } from './runtime.ts'

/** What every message may have when its operation has ended. */
export interface TraceEnd {
  /** What it was rejected with. */
  error?: unknown
}

/** A call of a reader: `get`, `read`, `getMany`, or a snapshot. */
export interface ReadTrace extends TraceEnd {
  readonly call: 'get' | 'read' | 'getMany' | 'snapshot'
  /** Not there for a snapshot. */
  readonly keyspace?: string
  readonly keys: readonly string[]
  readonly strong: boolean
  /** Its `read` events, as far as its reads have ended. */
  readonly events: ReadEvent[]
}

/** Step 3 of a read: the shared store is asked what is there, for one key or for those of a batch. */
export interface AskTrace extends TraceEnd {
  readonly keyspace: string
  readonly keys: readonly string[]
  /** The flights, in the order of the keys. */
  readonly flights: readonly number[]
  /** What the store has answered: a value, a lease, a load by somebody else, or nothing that counts. Left out for a batch. */
  answer?: 'found' | 'leased' | 'busy' | 'bypass'
}

/** Step 4 of a read: a call of the loader, with its wait for the load limit. */
export interface LoadTrace extends TraceEnd {
  readonly keyspace: string
  readonly keys: readonly string[]
  readonly flights: readonly number[]
  event?: LoadEvent
}

/** Step 5 of a read: a value is offered to the shared store. */
export interface FillTrace extends TraceEnd {
  readonly keyspace: string
  readonly key: string
  readonly flight: number
  event?: FillEvent
}

/** A refresh in the background. */
export interface RefreshTrace extends TraceEnd {
  readonly keyspace: string
  readonly key: string
  readonly flight: number
  readonly read: number
  /** The last of them: a refresh that has begun tells of that, and of its failure. */
  event?: RefreshEvent
}

/** A write, from its first guard to its last release. */
export interface WriteTrace extends TraceEnd {
  readonly id: number
  readonly keys: readonly string[]
  event?: WriteEvent
}

/** A step of a write: keys are guarded, the user's function is called, or the keys are released. */
export interface WriteStepTrace extends TraceEnd {
  readonly write: number
  readonly keys: readonly string[]
}

/** A call of `invalidate` or `invalidateAll`. */
export interface InvalidateTrace extends TraceEnd {
  readonly cause: number
  /** The keys and tags; none for a whole keyspace. */
  readonly keys: readonly string[]
  /** The keyspace that was invalidated as a whole. */
  readonly keyspace?: string
  outcome?: 'applied' | 'queued'
}

/** A batch of the change feed, from the moment it was taken. */
export interface RelayTrace extends TraceEnd {
  readonly id: number
  readonly changes: number
  event?: FeedBatchEvent
}

/** The messages of the channels, by the name of their operation. The same object is told of at the start and at the end. */
export interface TraceMessages {
  readonly read: ReadTrace
  readonly ask: AskTrace
  readonly load: LoadTrace
  readonly fill: FillTrace
  readonly refresh: RefreshTrace
  readonly write: WriteTrace
  readonly guard: WriteStepTrace
  readonly commit: WriteStepTrace
  readonly release: WriteStepTrace
  readonly invalidate: InvalidateTrace
  readonly relay: RelayTrace
}

/** What is traced. */
export type Operation = keyof TraceMessages

/** Who is told of operations inside the library, and may have each of them called in a context. */
export interface Tracer {
  /** Whether it is told of reads that L1 has answered. */
  readonly hearsHits: boolean
  /** An operation begins. `undefined`: it wants to know no more of this one. */
  begins<Of extends Operation>(operation: Of, message: TraceMessages[Of]): TracedOperation | undefined
}

/** One operation that a tracer follows. */
export interface TracedOperation {
  /** Calls what the operation does. Throws and returns what that does. */
  within<R>(work: () => R): R
  /** Its message is complete. */
  ended(): void
}

/** The five channels of an operation. */
class Channels {
  readonly #start: DiagnosticsChannel
  readonly #end: DiagnosticsChannel
  readonly #asyncStart: DiagnosticsChannel
  readonly #asyncEnd: DiagnosticsChannel
  readonly #error: DiagnosticsChannel

  constructor(name: string, channel: (name: string) => DiagnosticsChannel) {
    this.#start = channel(`${name}:start`)
    this.#end = channel(`${name}:end`)
    this.#asyncStart = channel(`${name}:asyncStart`)
    this.#asyncEnd = channel(`${name}:asyncEnd`)
    this.#error = channel(`${name}:error`)
  }

  get all(): readonly DiagnosticsChannel[] {
    return [this.#start, this.#end, this.#asyncStart, this.#asyncEnd, this.#error]
  }

  get isHeard(): boolean {
    return (
      this.#start.hasSubscribers ||
      this.#end.hasSubscribers ||
      this.#asyncStart.hasSubscribers ||
      this.#asyncEnd.hasSubscribers ||
      this.#error.hasSubscribers
    )
  }

  /** Calls the work in the contexts that are bound to the channel. */
  begin<R>(message: object, work: () => R): R {
    if (this.#start.runStores !== undefined) return this.#start.runStores(message, work)
    this.#start.publish(message)
    return work()
  }

  /** The work has returned, though it may not have ended. */
  returned(message: object): void {
    this.#end.publish(message)
  }

  ended(message: TraceEnd, hasFailed: boolean): void {
    if (hasFailed) this.#error.publish(message)
    this.#asyncStart.publish(message)
    this.#asyncEnd.publish(message)
  }
}

/** For all caches of the process. */
const channels = channelsOf()

function channelsOf(): Readonly<Record<Operation, Channels>> | undefined {
  const diagnostics = builtin('node:diagnostics_channel')
  if (diagnostics === undefined) return undefined
  const of = (name: Operation) => new Channels(`tracing:cacheaside:${name}`, diagnostics.channel)
  return {
    read: of('read'),
    ask: of('ask'),
    load: of('load'),
    fill: of('fill'),
    refresh: of('refresh'),
    write: of('write'),
    guard: of('guard'),
    commit: of('commit'),
    release: of('release'),
    invalidate: of('invalidate'),
    relay: of('relay'),
  }
}

/** In a runtime without channels. */
const NEVER_HEARD = { hasSubscribers: false }

const [
  start = NEVER_HEARD,
  end = NEVER_HEARD,
  asyncStart = NEVER_HEARD,
  asyncEnd = NEVER_HEARD,
  error = NEVER_HEARD,
] = channels?.read.all ?? []

/** Whether somebody listens to reads. Every hit asks this, so the channels are constants: no field has to be loaded first. */
const isReadHeard = (): boolean =>
  start.hasSubscribers ||
  end.hasSubscribers ||
  asyncStart.hasSubscribers ||
  asyncEnd.hasSubscribers ||
  error.hasSubscribers

/** Tells a follower of the end. The work has ended already: an error of the follower changes nothing. */
function ends(follower: TracedOperation): void {
  try {
    follower.ended()
  } catch {
    // There is nobody to tell.
  }
}

/** Who follows the operations of one cache. */
export class Tracing {
  #tracers: readonly Tracer[] = []
  #hearHits = false

  /** Whether somebody is told of this operation. If not, nothing should be made for it. */
  hears(operation: Operation): boolean {
    return this.#tracers.length > 0 || channels?.[operation].isHeard === true
  }

  /** Whether somebody is told of a read that L1 has answered. */
  get hearsHits(): boolean {
    return this.#hearHits || isReadHeard()
  }

  /** Has a tracer told of every operation from now on, until the returned function is called. */
  add(tracer: Tracer): () => void {
    this.#set([...this.#tracers, tracer])
    return () => this.#set(this.#tracers.filter(one => one !== tracer))
  }

  #set(tracers: readonly Tracer[]): void {
    this.#tracers = tracers
    this.#hearHits = tracers.some(({ hearsHits }) => hearsHits)
  }

  /**
   * Calls the work, and tells of its beginning and its end.
   *
   * @param note - Adds to the message what the work has come to, before its end is told.
   * @returns what the work returns: the same promise object, so that those who wait for it go on when they would without
   * this.
   */
  trace<Of extends Operation, R>(
    operation: Of,
    message: TraceMessages[Of],
    work: () => R,
    note?: (result: Awaited<R>) => void,
  ): R {
    const { result, end } = this.begin(operation, message, work)
    const failed = (error: unknown) => end({ error })
    const succeeded = (value: Awaited<R>) => {
      note?.(value)
      end()
    }
    if (result instanceof Promise) result.then(succeeded, failed)
    else succeeded(result as Awaited<R>)
    return result
  }

  /**
   * Calls the work, and tells of its beginning.
   *
   * @returns what the work returns, and what tells of its end.
   * @throws what the work throws. Then it has ended.
   */
  begin<Of extends Operation, R>(
    operation: Of,
    message: TraceMessages[Of],
    work: () => R,
  ): { readonly result: R; readonly end: (failure?: { readonly error: unknown }) => void } {
    const of = channels?.[operation]
    const heard = of?.isHeard === true ? of : undefined
    const followers = this.#begin(operation, message)
    let returned: { readonly result: R } | undefined
    let run = () => {
      const result = work()
      returned = { result }
      return result
    }
    for (const follower of followers) {
      const inner = run
      run = () => follower.within(inner)
    }
    const end = (failure?: { readonly error: unknown }) => {
      if (failure !== undefined) message.error = failure.error
      for (const follower of followers) ends(follower)
      heard?.ended(message, failure !== undefined)
    }
    let result: R
    try {
      result = heard === undefined ? run() : heard.begin(message, run)
    } catch (error) {
      if (returned === undefined) {
        heard?.returned(message)
        end({ error })
        throw error
      }
      // As with a listener: an error of a follower must not end the work.
      result = returned.result
    }
    heard?.returned(message)
    return { result, end }
  }

  /** A read that L1 has answered: it has begun and ended. */
  hit(message: ReadTrace): void {
    for (const follower of this.#begin('read', message, true)) ends(follower)
    const of = channels?.read
    if (of?.isHeard !== true) return
    of.begin(message, () => {})
    of.returned(message)
    of.ended(message, false)
  }

  #begin<Of extends Operation>(
    operation: Of,
    message: TraceMessages[Of],
    isHit = false,
  ): readonly TracedOperation[] {
    const followers: TracedOperation[] = []
    for (const tracer of this.#tracers) {
      if (isHit && !tracer.hearsHits) continue
      try {
        const follower = tracer.begins(operation, message)
        if (follower !== undefined) followers.push(follower)
      } catch {
        // As with a listener: an error of a follower must not end the work.
      }
    }
    return followers
  }
}
