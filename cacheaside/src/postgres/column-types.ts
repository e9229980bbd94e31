import { integerKey, uuidKey } from '../base/canonical-ids.ts'
import { CacheError } from '../base/errors.ts'
import { described, invalidOption } from '../base/invalid-option.ts'

/** The column types for which `where` makes exactly the text that the feed records. */
export type ColumnType = keyof ColumnValues

/** What `where` takes for a column of each type. A `Date` is a moment, so only types of moments take one. */
export interface ColumnValues {
  readonly smallint: number | bigint | string
  readonly integer: number | bigint | string
  readonly bigint: number | bigint | string
  readonly text: string
  readonly char: string
  readonly uuid: string
  readonly boolean: boolean
  readonly date: string
  readonly timestamp: string
  readonly timestamptz: Date | string
}

/** What `where` takes for a column whose type is not named. */
export type AnyColumnValue = string | number | bigint | boolean

const malformed = (what: string, value: unknown): CacheError =>
  new CacheError('INVALID_KEY', `expected ${what}, got ${described(value)}`)

/** Makes PostgreSQL's text for a value of one type. Throws `INVALID_KEY` for a value that is not of the type. */
type TextOf = (value: unknown) => string

const DAY = /^(\d{4})-(\d\d)-(\d\d)$/
const MOMENT = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(Z|[+-]\d\d(?::?\d\d)?)?$/

const two = (value: number): string => String(value).padStart(2, '0')

/** Milliseconds of the UTC clock for these parts, or `undefined` if there is no such day or time of day. */
function utcMs(parts: readonly (string | undefined)[]): number | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.map(part =>
    Number(part ?? 0),
  )
  const at = new Date(0)
  // `Date.UTC` takes the years up to 99 for those of the twentieth century.
  at.setUTCFullYear(year, month - 1, day)
  at.setUTCHours(hour, minute, second)
  const isSame =
    year > 0 &&
    at.getUTCFullYear() === year &&
    at.getUTCMonth() === month - 1 &&
    at.getUTCDate() === day &&
    at.getUTCHours() === hour &&
    at.getUTCMinutes() === minute &&
    at.getUTCSeconds() === second
  return isSame ? at.getTime() : undefined
}

/** As PostgreSQL writes it: no fraction if it is zero, and no zeros at its end. */
function momentText(ms: number, fraction: string, what: string, value: unknown): string {
  const at = new Date(ms)
  const year = at.getUTCFullYear()
  if (!(year >= 1 && year <= 9999)) throw malformed(`${what} of the years 1 to 9999`, value)
  const day = `${String(year).padStart(4, '0')}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`
  const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`
  const rest = fraction.replace(/0+$/, '')
  return `${day} ${time}${rest === '' ? '' : `.${rest}`}`
}

/** The minutes by which a zone is ahead of UTC. */
function offsetMinutes(zone: string): number | undefined {
  if (zone === 'Z') return 0
  const [, sign, hours, minutes = '0'] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? []
  if (Number(hours) > 15 || Number(minutes) > 59) return undefined
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
}

function momentOf(value: unknown, hasZone: boolean): string {
  const what = hasZone
    ? 'a Date, or a text such as 2026-11-23T09:30:00Z, with its zone'
    : 'a text such as 2026-11-23T09:30:00, without a zone'
  if (value === 'infinity' || value === '-infinity') return value
  if (hasZone && value instanceof Date) {
    const ms = value.getTime()
    if (Number.isNaN(ms)) throw malformed(what, 'an invalid Date')
    const fraction = String(((ms % 1000) + 1000) % 1000).padStart(3, '0')
    return `${momentText(ms, fraction, what, value)}+00`
  }
  const [, ...parts] = (typeof value === 'string' && MOMENT.exec(value)) || []
  const [fraction = '', zone] = parts.slice(6)
  const localMs = parts.length === 0 ? undefined : utcMs(parts.slice(0, 6))
  if (localMs === undefined || (zone !== undefined) !== hasZone) throw malformed(what, value)
  const aheadMinutes = offsetMinutes(zone ?? 'Z')
  if (aheadMinutes === undefined) throw malformed(what, value)
  return `${momentText(localMs - aheadMinutes * 60_000, fraction, what, value)}${hasZone ? '+00' : ''}`
}

function dayOf(value: unknown): string {
  if (value === 'infinity' || value === '-infinity') return value
  const [, ...parts] = (typeof value === 'string' && DAY.exec(value)) || []
  if (parts.length === 0 || utcMs(parts) === undefined)
    throw malformed('a text such as 2026-11-23, for a Date is a moment and no day', value)
  return value as string
}

const textOf: TextOf = value => {
  if (typeof value !== 'string') throw malformed('a text', value)
  return value
}

const wholeNumberOf: TextOf = value => integerKey(value as number)

const TEXTS: { readonly [Type in ColumnType]: TextOf } = {
  smallint: wholeNumberOf,
  integer: wholeNumberOf,
  bigint: wholeNumberOf,
  text: textOf,
  char: value => textOf(value).replace(/ +$/, ''),
  uuid: value => uuidKey(value as string),
  boolean(value) {
    if (typeof value !== 'boolean') throw malformed('true or false', value)
    return String(value)
  },
  date: dayOf,
  timestamp: value => momentOf(value, false),
  timestamptz: value => momentOf(value, true),
}

/** Whether a text names one of the types. */
export const isColumnType = (type: unknown): type is ColumnType =>
  typeof type === 'string' && Object.hasOwn(TEXTS, type)

/** The names of the types, for error messages. */
export const COLUMN_TYPES = Object.keys(TEXTS) as readonly ColumnType[]

/** For each type, the types of PostgreSQL that it may stand for. An enum is a `text`. */
export const POSTGRES_TYPES: { readonly [Type in ColumnType]: readonly string[] } = {
  smallint: ['int2', 'int4', 'int8'],
  integer: ['int2', 'int4', 'int8'],
  bigint: ['int2', 'int4', 'int8'],
  text: ['text', 'varchar', 'name'],
  char: ['bpchar'],
  uuid: ['uuid'],
  boolean: ['bool'],
  date: ['date'],
  timestamp: ['timestamp'],
  timestamptz: ['timestamptz'],
}

/**
 * The text that the feed records of a column with this value; `null` for `null`.
 *
 * @throws CacheError `INVALID_OPTIONS` for a value that no type of columns has; `INVALID_KEY` if it is malformed.
 */
export function columnText(name: string, type: ColumnType | undefined, value: unknown): string | null {
  if (value === null) return null
  if (value instanceof Date && type === undefined)
    throw invalidOption(name, 'a text, a whole number, true, false or null: name its type for others', value)
  const isPlain = ['string', 'number', 'bigint', 'boolean'].includes(typeof value)
  if (!isPlain && !(value instanceof Date)) throw invalidOption(name, 'the value of a column, or null', value)
  if (type !== undefined) return TEXTS[type](value)
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw invalidOption(name, 'a whole number that is exact, or a bigint', value)
  return String(value === 0 ? 0 : value)
}
