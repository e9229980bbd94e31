/**
 * What is read of a value that somebody else has thrown, or returned where nothing was asked for. It may be anything: `null`,
 * an object without a prototype, a getter that throws, a proxy that was revoked. Nothing here throws.
 */

/** An error in a sentence. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown)
  } catch {
    return 'a thrown value that cannot be shown'
  }
}

/** `instanceof`; what does not tell its class is of none. */
export function isOf<T>(value: unknown, of: abstract new (...given: never[]) => T): value is T {
  try {
    return value instanceof of
  } catch {
    return false
  }
}

/** What `Object.prototype.toString` says of it: `'Error'`, also for an error of another realm; `'Object'` for what does not say. */
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
 * Takes the rejection of what a function of the user has returned, which was not to be waited for. The function may have been
 * declared as async, and a rejection that nobody takes ends the process.
 *
 * @param rejected - Told of it. Left out: nobody is.
 * @returns whether it is a promise.
 */
export function unheard(returned: unknown, rejected: (error: unknown) => void = nobody): boolean {
  if (typeof returned !== 'object' || !isOf(returned, Promise)) return false
  // Not its own `then`, which a class that extends `Promise` may have replaced.
  then.call(returned, undefined, rejected)
  return true
}

const { then } = Promise.prototype
const nobody = () => {}

/** What is wrong with a function that answers with a promise where nobody can wait for it. */
export const atOnce = (name: string): TypeError =>
  new TypeError(`${name} answers with a promise; it has to answer at once`)
