/**
 * Reads values that others have thrown, or have returned where no value was expected. They may be anything: `null`, an object
 * without a prototype, a getter that throws, a revoked proxy. Nothing here throws.
 */

/** An error in a sentence. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown)
  } catch {
    return 'a thrown value that cannot be shown'
  }
}

/** `instanceof`; `false` for a value that does not let its class be read. */
export function isOf<T>(value: unknown, of: abstract new (...given: never[]) => T): value is T {
  try {
    return value instanceof of
  } catch {
    return false
  }
}

/**
 * The tag that `Object.prototype.toString` shows: `'Error'`, also for an error of another realm; `'Object'` if it cannot be
 * read.
 */
export function tagOf(value: unknown): string {
  try {
    return Object.prototype.toString.call(value).slice('[object '.length, -1)
  } catch {
    return 'Object'
  }
}

/** A field of a thrown value; `undefined` also for one that cannot be read. */
export function fieldOf(thrown: unknown, name: string): unknown {
  try {
    return (thrown as Readonly<Record<string, unknown>> | null | undefined)?.[name]
  } catch {
    return undefined
  }
}

/**
 * Handles the rejection of a promise that a user's function has returned, where nothing waits for it. The function may have
 * been declared as async, and an unhandled rejection ends the process.
 *
 * @param rejected - Called with the error. Left out: the error is ignored.
 * @returns whether it is a promise.
 */
export function silencePromise(returned: unknown, rejected: (error: unknown) => void = nobody): boolean {
  if (typeof returned !== 'object' || !isOf(returned, Promise)) return false
  // Not the value's own `then`, which a class that extends `Promise` may have replaced.
  then.call(returned, undefined, rejected)
  return true
}

const { then } = Promise.prototype
const nobody = () => {}

/** The complaint about a function that answers with a promise where nothing can wait for it. */
export const notAtOnce = (name: string): TypeError =>
  new TypeError(`${name} answers with a promise; it has to answer at once`)
