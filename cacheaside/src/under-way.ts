/**
 * Work of a cache that is under way around a call: a load whose loader has made the call, or a write whose function has.
 * While the cache is being closed, such calls still belong to that work and are allowed. And a `close()` that is called inside
 * such work cannot wait for its end.
 */
import type { Key, Tag } from './base/key.ts'
import { AsyncContext } from './base/runtime.ts'
import { type LoadRun, runAround, waitingFor } from './local/load-run.ts'
import type { CacheParts } from './space.ts'

/** The write whose function is at work in the present context. */
const context = new AsyncContext<WriteRun>()

/** The function of one write, from its call until it has settled. */
export class WriteRun {
  readonly parts: CacheParts
  readonly keys: Iterable<Key | Tag>
  /** The write inside whose function it was asked for, until this one has ended. */
  parent: WriteRun | undefined
  isRunning = false

  constructor(parts: CacheParts, keys: Iterable<Key | Tag>) {
    this.parts = parts
    this.keys = keys
    this.parent = context.current
  }

  /** Calls the function. To be called once, and ended by {@link WriteRun.end}. */
  within<R>(call: () => R): R {
    this.isRunning = true
    return context.enter(this, call)
  }

  /** The function has settled, or was not called. Idempotent. */
  end(): void {
    if (this.isRunning) context.leave()
    this.isRunning = false
    // Writes that begin each other would be held in memory as a chain.
    this.parent = undefined
  }
}

/**
 * Does a piece of work that `close` of its cache waits for.
 *
 * @param signal - The signal that the call was given.
 * @throws CacheError `CLOSED` before anything is done, if the cache is closed and the call is not made inside work that is
 * under way; what the work throws.
 */
export async function whileOpen<T>(
  parts: CacheParts,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  if (parts.closed()) parts.assertInside(signal)
  parts.beginWork()
  try {
    return await work()
  } finally {
    parts.endWork()
  }
}

/** Work that `close` of a cache waits for. */
export interface UnderWay {
  readonly isRunning: boolean
  readonly what: string
}

/**
 * The loads and the writes of this cache around a call, each inside the next, first the loads. A call is known to be inside by the
 * asynchronous context; inside a load also by the loader's signal, and where a load waits for the one around the call.
 */
export function* workAround(parts: CacheParts, signal: AbortSignal | undefined): Generator<UnderWay> {
  for (let run = runAround(signal); run !== undefined; run = run.parent) {
    const found = waitingFor(run, one => one.limit === parts.limit && isUnderWay(one))?.at(-1)
    if (found !== undefined) yield loadUnderWay(found)
  }
  for (let write = context.current; write !== undefined; write = write.parent)
    if (write.isRunning && write.parts === parts) yield writeUnderWay(write)
}

/** Nobody waits for a load that was given up, however long its loader still runs. */
const isUnderWay = (run: LoadRun): boolean => run.isRunning && !run.abort.aborted

const loadUnderWay = (run: LoadRun): UnderWay => ({
  get isRunning() {
    return isUnderWay(run)
  },
  what: `the load of ${run.flights.map(({ key }) => key).join(', ') || 'a sampler'}`,
})

const writeUnderWay = (write: WriteRun): UnderWay => ({
  get isRunning() {
    return write.isRunning
  },
  what: `the write of ${[...write.keys].join(', ') || 'no key'}`,
})
