import { printable } from './printable.ts'

/**
 * Everything the library itself can reject or throw with, told apart by `code`.
 *
 * | code | when | what to do |
 * |---|---|---|
 * | `INVALID_OPTIONS` | an option, or a relation between two, cannot work | mend the options; thrown by the call that gets the option |
 * | `INVALID_KEY` | an id or key is malformed or too long | refuse the request; thrown before any I/O. Only `guard()` inside a write and the tags of the option `tags` are checked later |
 * | `OVERLOADED` | the load limit is reached and its queue is full | answer 503 with `Retry-After` |
 * | `LOAD_TIMEOUT` | the load, its wait for a place included, took longer than `loadTimeoutMs` | answer 503 or 504; nothing was kept |
 * | `LOAD_CYCLE` | a loader asked for a key whose load waits for this very load; the message names the keys | mend the loaders: no time helps |
 * | `UNGUARDED` | a write could not be guarded, and `unguarded` is `'refuse'` | the function was not called, or must not commit |
 * | `WRITE_ENDED` | `guard()` was called after the function of its write had ended | mend the function: it must await `guard()` and its transaction |
 * | `CLOSED` | the cache has been closed | – |
 * | `CLOSE_CYCLE` | `close()` was waited for inside a load or a write of its own cache, and so for itself | call it outside, or do not wait for it; the cache is being closed |
 */
export type CacheErrorCode =
  | 'INVALID_OPTIONS'
  | 'INVALID_KEY'
  | 'OVERLOADED'
  | 'LOAD_TIMEOUT'
  | 'LOAD_CYCLE'
  | 'UNGUARDED'
  | 'WRITE_ENDED'
  | 'CLOSED'
  | 'CLOSE_CYCLE'

/**
 * The one error class of the library. What a loader or a write's function throws is never wrapped in it: those
 * errors reach the caller as they are.
 *
 * Compare {@link CacheError.code} rather than the class: it also holds across two copies of the package.
 */
export class CacheError extends Error {
  override readonly name = 'CacheError'
  /** What happened, from a closed set. */
  readonly code: CacheErrorCode

  constructor(code: CacheErrorCode, message: string, options?: ErrorOptions) {
    // A message may name keys, and keys hold the text of ids.
    super(printable(message), options)
    this.code = code
  }
}
