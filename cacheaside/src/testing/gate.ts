/** A place where a loader waits until the test lets it go on; made by {@link gate}. */
export interface Gate<T> {
  /** Resolves at the first call of `wait`. */
  readonly reached: Promise<void>
  /** How often `wait` was called. */
  readonly arrivals: number
  /**
   * Waits for the test, now or at any later moment: a gate that was opened stays open.
   *
   * @param signal - ends this wait with the signal's reason.
   */
  wait(signal?: AbortSignal): Promise<T>
  /** Lets everybody go on with `value`. Only the first of `open` and `fail` counts. */
  open(value: T): void
  /** Makes everybody's waiting reject with `error`. */
  fail(error: unknown): void
}

/**
 * Stops a loader, or anything else that awaits it, at a place of the test's choosing, so that interleavings can
 * be written down instead of slept for.
 *
 * @example
 * ```ts
 * const query = gate<Spell>()
 * const reading = spells.get(4)          // its loader returns query.wait(signal)
 * await query.reached                    // now the load is under way
 * await spells.write(4, () => update())  // and here somebody overtakes it
 * query.open(oldSpell)
 * ```
 */
export function gate<T = void>(): Gate<T> {
  const passage = deferred<T>()
  const arrival = deferred<void>()
  // It may fail while nobody waits, which must not count as an unhandled rejection.
  passage.promise.catch(() => {})
  let arrivals = 0
  return {
    reached: arrival.promise,
    get arrivals() {
      return arrivals
    },
    wait(signal) {
      arrivals++
      arrival.resolve()
      return signal === undefined ? passage.promise : untilAborted(passage.promise, signal)
    },
    open: passage.resolve,
    fail: passage.reject,
  }
}

function deferred<T>() {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((onOpen, onFail) => {
    resolve = onOpen
    reject = onFail
  })
  return { promise, resolve, reject }
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
