import { CacheError } from '../base/errors.ts'

/** The one form for a complaint about an option: what it is called, what it should be, what it is. */
export function invalidOption(name: string, expected: string, got: unknown): CacheError {
  const shown =
    typeof got === 'string' ? JSON.stringify(got) : typeof got === 'function' ? 'a function' : String(got)
  return new CacheError('INVALID_OPTIONS', `expected ${name} to be ${expected}, got ${shown}`)
}
