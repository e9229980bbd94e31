import { CacheError } from './errors.ts'
import { described } from './invalid-option.ts'

/** What an id, or one part of a composite id, may be. */
export type IdPart = string | number | bigint | boolean

/** What a keyspace's ids are turned into: one part, or two and more for a composite id. */
export type IdParts = IdPart | readonly [IdPart, IdPart, ...IdPart[]]

/**
 * The canonical text of a keyspace's name and an id, for example `spell:4`: what registers, broadcasts and events
 * call a value. Made by a keyspace's `key()` and by nothing else.
 */
export type Key = string & { readonly [keyBrand]: never }
declare const keyBrand: unique symbol

/**
 * The canonical text of a tag, for example `author:7`: a name on which values depend, and which has no value of its own.
 * Made by the `key()` of a cache's `tags()` and by nothing else.
 */
export type Tag = string & { readonly [tagBrand]: never }
declare const tagBrand: unique symbol

/**
 * All keys of a keyspace, for the map of a change feed: where one key may be named, this names every one. Made only as a
 * keyspace's `all`.
 */
export interface WholeKeyspace {
  /** The name of the keyspace. */
  readonly wholeKeyspace: string
  readonly [wholeBrand]: never
}
declare const wholeBrand: unique symbol

/** Every key of the keyspace of this name. @internal */
export const wholeKeyspace = (name: string): WholeKeyspace =>
  Object.freeze({ wholeKeyspace: name }) as WholeKeyspace

/**
 * The name of the keyspace that a map has named as a whole; `undefined` if it has named a key, or something else. Told by
 * its form and not by its class: a bundler may have made two copies of this module.
 *
 * @internal
 */
export function wholeNameOf(target: unknown): string | undefined {
  if (typeof target !== 'object' || target === null) return undefined
  const { wholeKeyspace: name } = target as Partial<WholeKeyspace>
  return isKeyspaceName(name) ? name : undefined
}

/** The longest key, in characters. */
export const MAX_KEY_LENGTH = 512

const NAME = /^[A-Za-z0-9_.-]{1,64}$/

/** Whether a text may name a keyspace: 1 to 64 of letters, digits, `_`, `.` and `-`. */
export const isKeyspaceName = (name: unknown): name is string => typeof name === 'string' && NAME.test(name)

/**
 * Characters that mean something in a key, and control characters of ASCII. `{` and `}` would choose a Redis Cluster slot.
 * The set never changes, because values are stored under such keys. Other characters that a terminal may obey are escaped
 * when a key is shown.
 */
const SPECIAL = /[%:{}\u0000-\u001f\u007f]/
const EVERY_SPECIAL = /[%:{}\u0000-\u001f\u007f]/g

const escapeSpecial = (character: string): string =>
  '%' + character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')

/** A part of an id as its key has it. */
export const escapedPart = (part: string): string =>
  SPECIAL.test(part) ? part.replace(EVERY_SPECIAL, escapeSpecial) : part

function invalid(keyspace: string, what: string): CacheError {
  return new CacheError('INVALID_KEY', `${keyspace}: ${what}`)
}

function partText(keyspace: string, part: unknown): string {
  switch (typeof part) {
    case 'string':
      if (!part.isWellFormed()) throw invalid(keyspace, 'an id must be well-formed Unicode')
      return escapedPart(part)
    case 'number':
      if (!Number.isFinite(part)) throw invalid(keyspace, `an id cannot be ${part}`)
      // 2^53 and 2^53 + 1 are the same number: a key made of it could stand for two rows.
      if (Math.abs(part) > Number.MAX_SAFE_INTEGER)
        throw invalid(keyspace, `${part} is not a safe integer: use a bigint or a string`)
      return part === 0 ? '0' : '' + part
    case 'bigint':
    case 'boolean':
      return String(part)
    default:
      throw invalid(
        keyspace,
        `an id, or what the option key makes of it, must be a string, number, bigint, boolean or a tuple of these, not ${part === null ? 'null' : typeof part}`,
      )
  }
}

/**
 * The key of an id in a keyspace. Injective over canonical texts: two ids have one key only if their parts are the
 * same text, so that `4`, `4n` and `'4'` are one id and `'a:b'` and `['a', 'b']` are two.
 *
 * @throws CacheError `INVALID_KEY` if the id is malformed, or its key longer than {@link MAX_KEY_LENGTH}.
 */
export function keyOf(keyspace: string, id: unknown): Key {
  let text: string
  if (Array.isArray(id)) {
    if (id.length < 2) throw invalid(keyspace, 'a composite id has two parts or more')
    text = keyspace
    for (const part of id) text += ':' + partText(keyspace, part)
  } else {
    text = keyspace + ':' + partText(keyspace, id)
  }
  if (text.length > MAX_KEY_LENGTH)
    throw invalid(keyspace, `a key has at most ${MAX_KEY_LENGTH} characters, this one has ${text.length}`)
  return text as Key
}

/**
 * A copy of an id, for a loader that is called later: the program may use its tuple or its object for the next id meanwhile.
 * The copy is shallow. An instance of a class is handed on as it is.
 */
export function copiedId<Id>(id: Id): Id {
  if (typeof id !== 'object' || id === null) return id
  if (Array.isArray(id)) return [...id] as Id
  const prototype = Object.getPrototypeOf(id)
  const isPlain = prototype === Object.prototype || prototype === null
  return isPlain ? Object.assign(Object.create(prototype), id) : id
}

const ESCAPED = /%([0-9A-F]{2})/g

/**
 * The parts of the id that a key was made of, as texts: the way back from {@link keyOf}. Numbers come back as texts, and a
 * key of another program may have any parts. So a caller that makes an id of them compares the id's key.
 */
export function idPartsOf(key: string): readonly string[] {
  return key.split(':').slice(1).map(unescapedPart)
}

/** The way back from {@link escapedPart}. */
export const unescapedPart = (text: string): string =>
  text.includes('%')
    ? text.replace(ESCAPED, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
    : text

/** For a caller that hands in one key, or a Set, instead of an array. */
export function noArray(what: 'ids' | 'keys', got: unknown): CacheError {
  const shown = typeof got === 'string' ? JSON.stringify(got.slice(0, 80)) : typeof got
  return new CacheError('INVALID_KEY', `expected an array of ${what}, got ${shown}`)
}

const MOST_REMEMBERED = 8_192

/**
 * Remembers what was made of the keys of the last 8,192 ids. Making the text of a key costs more than finding a value by it,
 * and the same string object is found faster than an equal one. When the memory is full it starts again.
 */
export function rememberingByKey<T>(keyspace: string, make: (key: Key) => T): (id: unknown) => T {
  const remembered = new Map<unknown, T>()
  return id => {
    const known = remembered.get(id)
    if (known !== undefined) return known
    const made = make(keyOf(keyspace, id))
    // A tuple is another object every time, and could be changed after it was remembered.
    if (typeof id === 'object') return made
    if (remembered.size >= MOST_REMEMBERED) remembered.clear()
    remembered.set(id, made)
    return made
  }
}

/**
 * The keyspace that a key belongs to.
 *
 * @throws CacheError `INVALID_KEY` if the text is not one that {@link keyOf} could have made.
 */
export function keyspaceOf(key: string): string {
  const end = typeof key === 'string' ? key.indexOf(':') : -1
  const name = end === -1 ? '' : key.slice(0, end)
  if (!isKeyspaceName(name) || key.length > MAX_KEY_LENGTH) {
    throw new CacheError('INVALID_KEY', `expected a key made by a keyspace's key(), got ${described(key)}`)
  }
  return name
}
