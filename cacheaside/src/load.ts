import type { Abort } from './base/abort.ts'
import type { Clock } from './base/clock.ts'
import { CacheError } from './base/errors.ts'
import type { CacheEvent, LoadEvent } from './base/events.ts'
import type { LoadLimit } from './local/load-limit.ts'
import type { LoadContext } from './options.ts'

/** What one call of a loader needs around it. */
export interface LoadFrame {
  readonly clock: Clock
  readonly limit: LoadLimit
  readonly emit: (event: CacheEvent) => void
  readonly keyspace: string
  readonly keys: readonly string[]
  readonly timeoutMs: number
  /** Aborting it ends the load for those who wait, and tells the loader. */
  readonly abort: Abort
}

/** What a loader returned, and what it cost. */
export interface Loaded<T> {
  readonly result: T
  readonly costMs: number
}

/**
 * Step 4 of a read: calls the loader once, within the load limit and the time limit.
 *
 * The time limit counts from now, so that a load which had to wait for its turn still ends before its lease does.
 * After it the callers are told `LOAD_TIMEOUT` and the loader's signal is aborted; its place under the load limit
 * becomes free when it really settles, because until then the origin is still at work for it.
 *
 * @throws whatever the loader throws, as it is; CacheError `OVERLOADED` or `LOAD_TIMEOUT`; the abort's reason.
 */
export function load<T>(
  frame: LoadFrame,
  call: (context: LoadContext) => Promise<T> | T,
): Promise<Loaded<T>> {
  const { clock, limit, abort } = frame
  return new Promise((resolve, reject) => {
    let beganMs: number | undefined
    let ended = false
    const end = (outcome: LoadEvent['outcome'], error?: unknown): number => {
      const costMs = beganMs === undefined ? 0 : clock.nowMs() - beganMs
      if (ended) return costMs
      ended = true
      timer.cancel()
      stopListening()
      const event = { type: 'load', keyspace: frame.keyspace, keys: frame.keys, outcome, costMs } as const
      frame.emit(outcome === 'loaded' ? event : { ...event, error })
      return costMs
    }
    const giveUp = () => {
      const where = beganMs === undefined ? 'its turn did not come' : 'the loader did not answer'
      abort.abort(new CacheError('LOAD_TIMEOUT', `${frame.keys[0]}: ${where} within ${frame.timeoutMs} ms`))
    }
    // After the process stood still, timers run before the sockets are read: the last millisecond is a turn of the event
    // loop by itself, in which an answer that has arrived already is seen.
    let timer = clock.after(frame.timeoutMs - 1, () => {
      timer = clock.after(0, giveUp)
    })
    let stopListening = () => {}
    stopListening = abort.listen(reason => {
      end(isTimeout(reason) ? 'timed-out' : 'aborted', reason)
      reject(reason)
    })

    const begin = async () => {
      if (ended) return limit.leave()
      beganMs = clock.nowMs()
      try {
        const result = await call(abort)
        resolve({ result, costMs: end('loaded') })
      } catch (error) {
        end('failed', error)
        reject(error)
      } finally {
        limit.leave()
      }
    }
    const refused = (error: unknown) => {
      end(error instanceof CacheError && error.code === 'OVERLOADED' ? 'overloaded' : 'aborted', error)
      reject(error)
    }
    const turn = limit.enter(abort)
    if (turn === undefined) begin()
    else turn.then(begin, refused)
  })
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof CacheError && reason.code === 'LOAD_TIMEOUT'
}
