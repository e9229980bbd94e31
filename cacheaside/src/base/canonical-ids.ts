import { CacheError } from './errors.ts'
import { MAX_KEY_LENGTH } from './key.ts'

/** Hexadecimal digits; after each four of them a hyphen may stand. */
const UUID = /^(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}$/i
const CANONICAL = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/
const WHOLE =
  /^[\t-\r ]*([+-]?)(\d+(?:_\d+)*|0x_?[\da-f]+(?:_[\da-f]+)*|0o_?[0-7]+(?:_[0-7]+)*|0b_?[01]+(?:_[01]+)*)[\t-\r ]*$/i

const invalid = (what: string, id: unknown): CacheError =>
  new CacheError('INVALID_KEY', `expected ${what}, got ${JSON.stringify(String(id).slice(0, 80))}`)

/**
 * The canonical text of a uuid, for the `key` of a keyspace whose ids are of that type: in lower case, with hyphens, as
 * PostgreSQL writes it. Accepts every text that PostgreSQL accepts: capitals, braces, other hyphens or none.
 *
 * @throws CacheError `INVALID_KEY` if it is no uuid. Then no store and no loader is asked.
 * @see https://www.postgresql.org/docs/current/datatype-uuid.html
 *
 * @example
 * ```ts
 * const items = cache.keyspace('item', { key: uuidKey, load: id => table.find(id) })
 * ```
 */
export function uuidKey(id: string): string {
  if (typeof id === 'string' && CANONICAL.test(id)) return id
  const text = typeof id === 'string' && id.startsWith('{') && id.endsWith('}') ? id.slice(1, -1) : id
  if (typeof text !== 'string' || !UUID.test(text)) throw invalid('a uuid', id)
  const digits = text.replaceAll('-', '').toLowerCase()
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/**
 * The canonical text of a whole number, for the `key` of a keyspace whose ids are of the types smallint, integer or bigint
 * and may come as texts. Accepts every text that PostgreSQL accepts: leading zeros, a sign, blanks around it, `0x`, `0o`
 * and `0b`, and `_` between digits.
 *
 * @throws CacheError `INVALID_KEY` if it is no whole number, or a number beyond those that are exact.
 * @see https://www.postgresql.org/docs/current/sql-syntax-lexical.html
 */
export function integerKey(id: string | number | bigint): string {
  if (typeof id === 'bigint' || (typeof id === 'number' && Number.isSafeInteger(id)))
    return String(BigInt(id))
  const [, sign, digits] = (typeof id === 'string' && id.length <= MAX_KEY_LENGTH && WHOLE.exec(id)) || []
  if (digits === undefined) throw invalid('a whole number', id)
  const value = BigInt(digits.replaceAll('_', '').toLowerCase())
  return String(sign === '-' ? -value : value)
}
