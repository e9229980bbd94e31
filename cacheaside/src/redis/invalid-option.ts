import { CacheError } from '../base/errors.ts'

/** The one form for a complaint about an option: what it is called, what it should be, what it is. */
export function invalidOption(name: string, expected: string, got: unknown): CacheError {
  return new CacheError('INVALID_OPTIONS', `expected ${name} to be ${expected}, got ${shown(got)}`)
}

/** Not every object can be made a text of: a module cannot. */
function shown(got: unknown): string {
  if (typeof got === 'string') return JSON.stringify(got)
  if (typeof got === 'function') return 'a function'
  return typeof got === 'object' && got !== null ? Object.prototype.toString.call(got) : String(got)
}
