import { invalidOption } from './invalid-option.ts'
import { expectManyListeners } from './runtime.ts'

/**
 * Tells work to end. Like an `AbortController`, whose signal it makes only when somebody asks for it: making one
 * costs several times as much as all else that a read from a cache does.
 */
export class Abort {
  #aborted = false
  #reason: unknown
  #listeners: Set<(reason: unknown) => void> | undefined
  #controller: AbortController | undefined

  get aborted(): boolean {
    return this.#aborted
  }

  /** What it was aborted with. */
  get reason(): unknown {
    return this.#reason
  }

  /** The same as a signal, for those who want one. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      // A loader may hand it to fifty queries: that is no leak.
      expectManyListeners(this.#controller.signal)
      if (this.#aborted) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /** Only the first call counts. */
  abort(reason: unknown): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason
    for (const listener of this.#listeners ?? []) listener(reason)
    this.#listeners = undefined
    this.#controller?.abort(reason)
  }

  /**
   * Calls `listener` once when it is aborted; at once, if it is already.
   *
   * @returns takes the listener off again.
   */
  listen(listener: (reason: unknown) => void): () => void {
    if (this.#aborted) {
      listener(this.#reason)
      return () => {}
    }
    this.#listeners ??= new Set()
    this.#listeners.add(listener)
    return () => void this.#listeners?.delete(listener)
  }
}

/**
 * Refuses what is no signal. Its form decides: a signal may come from another realm, or from a library with signals of its
 * own.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function checkSignal(signal: unknown): void {
  if (signal === undefined) return
  const given = signal as Partial<AbortSignal> | null
  if (
    typeof given !== 'object' ||
    typeof given?.aborted !== 'boolean' ||
    typeof given.addEventListener !== 'function' ||
    typeof given.removeEventListener !== 'function'
  )
    throw invalidOption('signal', 'an AbortSignal', signal)
}

/** Throws what a signal was aborted with, if it was. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw reasonOf(signal)
}

/** What a signal was aborted with. Signals of other libraries may know no reason. */
export const reasonOf = (signal: AbortSignal): unknown =>
  signal.reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : signal.reason

/** A signal that a caller has given, and how many follow it. */
interface Followed {
  readonly abort: Abort
  readonly onAbort: () => void
  followers: number
}

const followed = new WeakMap<AbortSignal, Followed>()

/**
 * Calls `listener` once when a signal that is not aborted yet is. However many follow it, the signal has one listener:
 * a caller may give the same one to a thousand reads, and Node warns of a leak at eleven.
 *
 * @returns takes the listener off again. To be called once.
 */
export function follow(signal: AbortSignal, listener: (reason: unknown) => void): () => void {
  let one = followed.get(signal)
  if (one === undefined) {
    const abort = new Abort()
    one = { abort, onAbort: () => abort.abort(reasonOf(signal)), followers: 0 }
    followed.set(signal, one)
    signal.addEventListener('abort', one.onAbort, { once: true })
  }
  const all = one
  all.followers++
  const stopListening = all.abort.listen(listener)
  return () => {
    stopListening()
    all.followers--
    if (all.followers > 0) return
    signal.removeEventListener('abort', all.onAbort)
    followed.delete(signal)
  }
}
