import { CacheError } from './errors.ts'
import { tagOf } from './thrown.ts'

/** The one form for a complaint about an option: what it is called, what it should be, what it is. @internal */
export function invalidOption(name: string, expected: string, got: unknown): CacheError {
  return invalidOptionInWords(name, expected, described(got))
}

/** As {@link invalidOption}, where words say more of what was given than the value does. @internal */
export function invalidOptionInWords(name: string, expected: string, got: string): CacheError {
  return new CacheError('INVALID_OPTIONS', `expected ${name} to be ${expected}, got ${got}`)
}

/** The complaint about an option that does not exist. @internal */
export function unknownOption(name: string, known: readonly string[]): CacheError {
  return new CacheError('INVALID_OPTIONS', `unknown option ${name}, known are: ${known.join(', ') || 'none'}`)
}

const SHOWN_CHARACTERS = 80
const SHOWN_ELEMENTS = 5

/**
 * What a value is, in few words. An object is never written out: it may hold a password, or itself.
 *
 * @internal
 */
export function described(value: unknown): string {
  if (Array.isArray(value)) {
    const shown = value
      .slice(0, SHOWN_ELEMENTS)
      .map(one => (Array.isArray(one) ? 'an array' : described(one)))
    return `[${shown.join(',')}${value.length > shown.length ? ',…' : ''}]`
  }
  if (typeof value === 'string') return JSON.stringify(shortened(value))
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `${value}n`
  return typeof value === 'object' && value !== null ? `[object ${tagOf(value)}]` : String(value)
}

/** A URL often holds a password: only its scheme is shown. */
function shortened(text: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(text)
  if (scheme !== null) return `${scheme[0]}…`
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
}

/**
 * Refuses what is no object of options.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function anObject(what: string, given: unknown): void {
  const tag = typeof given === 'object' && given !== null ? tagOf(given) : ''
  // A module's namespace is allowed. An array, a date or a promise is not.
  if (tag !== 'Object' && tag !== 'Module') throw invalidOption(what, 'an object', given)
}

/**
 * Refuses unknown names: a misspelt option would otherwise count as left out.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function knownNames(what: string, given: unknown, known: readonly string[]): void {
  anObject(what, given)
  for (const name of Object.keys(given as object)) {
    if (!known.includes(name)) throw unknownOption(`${what}.${name}`, known)
  }
}

/**
 * Refuses what is not a whole number within these bounds.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function wholeNumber(name: string, value: unknown, least: number, most: number): void {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most)
    throw invalidOption(name, `a whole number from ${least} to ${most}`, value)
}

/**
 * Refuses what is given and is no function.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function aFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw invalidOption(name, 'a function', value)
}

/**
 * Refuses an object that lacks a method, and names it.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function hasMethods(name: string, value: object, methods: readonly string[]): void {
  for (const method of methods) {
    const given = (value as Readonly<Record<string, unknown>>)[method]
    if (typeof given !== 'function') throw invalidOption(`${name}.${method}`, 'a function', given)
  }
}

const CLOCK_METHODS = ['coarseMs', 'epochMs', 'after', 'random', 'token']

/**
 * Refuses what is no clock.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function checkClock(clock: { readonly nowMs?: unknown } | null | undefined): void {
  if (typeof clock?.nowMs !== 'function') throw invalidOption('clock', 'a clock', clock)
  hasMethods('clock', clock, CLOCK_METHODS)
}
