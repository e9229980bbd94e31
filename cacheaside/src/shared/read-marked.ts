import { CONSTANTS, ERROR_MEMBERS, errorOfKind, fromBase64, VIEW_NAMES, viewOf } from './marked-kinds.ts'

/**
 * Reads the JSON of a text with marks back. Makes only the values that a mark can stand for, and throws for an unknown mark:
 * no code from the store is ever run.
 */

/** More levels than are ever written: marks add levels between those of the value. */
const MAX_DEPTH = 1_000

/** The value that marked JSON stands for. The JSON is used up. */
export function readMarked(json: unknown): unknown {
  const value = read(json, 0)
  // The absence of a row has a mark of its own.
  return value === undefined ? bad('a value', undefined) : value
}

function read(json: unknown, depth: number): unknown {
  if (typeof json !== 'object' || json === null) return json
  if (depth > MAX_DEPTH) throw new TypeError('nested too deeply')
  if (Array.isArray(json)) return readArray(json, depth)
  const names = Object.keys(json)
  const [name = ''] = names
  if (names.length === 1 && name.startsWith('$')) return readMark(name, json[name as never], depth)
  return readMembers(json, names, depth)
}

/** Changes the object in place: `JSON.parse` has made every member the object's own, also one called `__proto__`. */
function readMembers(json: object, names: readonly string[], depth: number): object {
  const members = json as Record<string, unknown>
  for (const name of names) {
    const member = members[name]
    if (typeof member === 'object' && member !== null) members[name] = read(member, depth + 1)
  }
  return json
}

function readArray(array: unknown[], depth: number): unknown[] {
  for (let i = 0; i < array.length; i++) {
    const element = array[i]
    if (typeof element !== 'object' || element === null) continue
    if (isHole(element)) delete array[i]
    else array[i] = read(element, depth + 1)
  }
  return array
}

const isHole = (json: object): boolean =>
  (json as { $?: unknown }).$ === 'hole' && Object.keys(json).length === 1

function readMark(name: string, json: unknown, depth: number): unknown {
  if (name.startsWith('$$')) return { [name.slice(1)]: read(json, depth + 1) }
  const reader = READERS[name]
  if (reader === undefined) throw new TypeError(`${name} is no mark that is known`)
  return reader(json, depth)
}

type Reader = (json: unknown, depth: number) => unknown

const READERS: Readonly<Record<string, Reader | undefined>> = Object.assign(Object.create(null), {
  $: json => (CONSTANTS.has(json) ? CONSTANTS.get(json) : bad('$', json)),
  $bigint: json =>
    /^(?:-?\d{1,400}|-?0x[\da-f]+)$/.test(textOf(json)) ? bigintOf(textOf(json)) : bad('$bigint', json),
  $null: (json, depth) => {
    const members = Object.create(null)
    for (const name of Object.keys(objectOf(json))) members[name] = read(json![name as never], depth + 1)
    return members
  },
  $Date: json => {
    const date = new Date(json === null ? Number.NaN : textOf(json))
    return json === null || !Number.isNaN(date.getTime()) ? date : bad('$Date', json)
  },
  $RegExp: (json, depth) => {
    const [source, flags, lastIndex = 0] = arrayOf(json)
    return Object.assign(new RegExp(textOf(source), textOf(flags)), { lastIndex: read(lastIndex, depth + 1) })
  },
  $URL: json => new URL(textOf(json)),
  $Map: (json, depth) =>
    new Map(
      arrayOf(json).map(entry => {
        const [key, value] = arrayOf(entry)
        return [read(key, depth + 1), read(value, depth + 1)]
      }),
    ),
  $Set: (json, depth) => new Set(arrayOf(json).map(element => read(element, depth + 1))),
  $ArrayBuffer: json => fromBase64(textOf(json)).buffer,
  $Error: readError,
  ...Object.fromEntries(
    VIEW_NAMES.map(name => [`$${name}`, (json: unknown) => viewOf(name, fromBase64(textOf(json)))]),
  ),
} satisfies Record<string, Reader>)

function readError(json: unknown, depth: number): Error {
  const [kind, hidden, shown] = arrayOf(json)
  const error = errorOfKind(textOf(kind))
  // The stored stack tells where the error was made, not this place.
  for (const name of ERROR_MEMBERS) delete error[name as never]
  for (const name of Object.keys(objectOf(hidden))) {
    if (!(ERROR_MEMBERS as readonly string[]).includes(name)) bad('$Error', name)
    const value = read(hidden![name as never], depth + 1)
    Object.defineProperty(error, name, { value, enumerable: false, writable: true, configurable: true })
  }
  for (const name of Object.keys(objectOf(shown))) {
    const value = read(shown![name as never], depth + 1)
    Object.defineProperty(error, name, { value, enumerable: true, writable: true, configurable: true })
  }
  return error
}

function bigintOf(text: string): bigint {
  return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text)
}

const textOf = (json: unknown): string => (typeof json === 'string' ? json : bad('a text', json))
const arrayOf = (json: unknown): unknown[] => (Array.isArray(json) ? json : bad('a list', json))
const objectOf = (json: unknown): object =>
  typeof json === 'object' && json !== null && !Array.isArray(json) ? json : bad('an object', json)

function bad(what: string, got: unknown): never {
  throw new TypeError(`${what} was expected, and there is ${got === null ? 'null' : typeof got}`)
}
