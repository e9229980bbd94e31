/**
 * How values become text and values again, and how one reader's value is protected from other readers.
 *
 * Every value that is handed out has been through the codec, also on the read that loaded it: a hit and a miss
 * return the same thing, and never the loader's own object. Plain objects and arrays are frozen, all the way down,
 * and shared by all readers of this process. A value that holds anything else (a `Date`, a `Map`, bytes) cannot be
 * frozen, so each reader gets a copy of its own, decoded for it.
 * See docs/decisions/0005-values-are-frozen.md and 0012-what-json-has-no-words-for.md.
 */
import { notAtOnce, silencePromise } from '../base/thrown.ts'

/**
 * Turns values into text and back. Must be a pure pair: `decode(encode(value))` is what readers get, of the type `W`
 * if it is another than the one that was loaded.
 *
 * `undefined` never reaches a codec: the absence of a row has its own mark. The text must be well-formed Unicode,
 * because Redis holds it as UTF-8; a binary format encodes to base64.
 */
export interface Codec<V, W = V> {
  /** May throw: the value then reaches the readers of this load as it is, and is not kept, and a warning says so once. */
  encode(value: V): string
  /** May throw: the stored bytes then count as unreadable, and are overwritten by a load. */
  decode(text: string): W
}

/**
 * A schema by the Standard Schema interface, version 1, as zod, valibot, arktype and others implement it. Only the part that
 * is used is declared here. It has to answer synchronously.
 *
 * @see https://standardschema.dev
 */
export interface StandardSchema<Output> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
  }
}
/** What a schema says of a value. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] }

/** A value as readers may have it. */
export interface Opened<V> {
  /**
   * The value for one more reader: the shared frozen one, or a copy of its own.
   *
   * @throws Unopened if the text cannot be opened any more: a schema may refuse later what it has accepted.
   */
  take(): V | undefined
  /** Whether `take` always gives the same object. */
  readonly isShared: boolean
}

/** A loaded value, ready to be stored and to be handed out. */
export interface Sealed<V> {
  /** The encoded value, or `undefined` for an absent row. */
  readonly text: string | undefined
  readonly opened: Opened<V>
}

/** Why a text could not be opened. */
export class Unopened extends Error {
  readonly reason: 'codec' | 'schema'
  readonly error: unknown
  constructor(reason: 'codec' | 'schema', error: unknown) {
    super(`a value does not survive its ${reason}`, { cause: error })
    this.reason = reason
    this.error = error
  }
}

/** A value that all readers share. */
class SharedValue<V> implements Opened<V> {
  readonly #value: V
  constructor(value: V) {
    this.#value = value
  }
  get isShared(): true {
    return true
  }
  take(): V {
    return this.#value
  }
}

/** An absent row. */
export const ABSENT: Opened<never> = new SharedValue<undefined>(undefined)
const SEALED_ABSENT: Sealed<never> = { text: undefined, opened: ABSENT }

/** The value, or {@link Unopened} if its text cannot be opened any more. */
export function takeOf<V>(opened: Opened<V>): V | undefined | Unopened {
  try {
    return opened.take()
  } catch (error) {
    if (error instanceof Unopened) return error
    throw error
  }
}

class CopiedValue<V> implements Opened<V> {
  readonly isShared = false
  readonly #text: string
  readonly #decode: (text: string) => V | Unopened
  /** The copy that was made to look at the value: the first reader gets it, and no other. */
  #first: V | undefined
  constructor(text: string, decode: (text: string) => V | Unopened, first: V) {
    this.#text = text
    this.#decode = decode
    this.#first = first
  }
  take(): V {
    const first = this.#first
    this.#first = undefined
    if (first !== undefined) return first
    const copy = this.#decode(this.#text)
    if (copy instanceof Unopened) throw copy
    return copy
  }
}

/**
 * A value that could not be encoded: nobody keeps it. Each reader of its load gets a clone, if a clone is equal, as of an
 * object that holds itself. Otherwise each gets the value itself, because a clone of an instance loses its class.
 */
export class UnsealedValue<V> implements Opened<V> {
  readonly isShared = false
  readonly #value: V
  constructor(value: V) {
    this.#value = value
  }
  take(): V {
    try {
      return isPlainThroughout(this.#value) ? structuredClone(this.#value) : this.#value
    } catch {
      // A getter or a trap throws, or the value is nested more deeply than the stack allows.
      return this.#value
    }
  }
}

/** Opens and encodes the values of one keyspace. */
export class Envelope<V> {
  readonly #codec: Codec<V>
  readonly #schema: StandardSchema<V> | undefined

  constructor(codec: Codec<V>, schema: StandardSchema<V> | undefined) {
    this.#codec = codec
    this.#schema = schema
  }

  /** The value of a stored text, checked by the schema. Never throws because of what was stored. */
  open(text: string | undefined): Opened<V> | Unopened {
    if (text === undefined) return ABSENT
    const value = this.#decode(text)
    if (value instanceof Unopened) return value
    return freeze(value) ? new SharedValue(value) : new CopiedValue(text, this.#decode, value)
  }

  /** The loaded value as it is stored and as readers have it; {@link Unopened} if it does not survive the codec. */
  seal(value: V | undefined): Sealed<V> | Unopened {
    if (value === undefined) return SEALED_ABSENT
    let text: string
    try {
      text = this.#codec.encode(value)
    } catch (error) {
      return new Unopened('codec', error)
    }
    // `JSON.stringify` is the usual `encode` of a codec, and does not always return a string.
    if (typeof text !== 'string' || !text.isWellFormed()) {
      const problem = promised('encode', text) ?? new TypeError('a codec has to encode to well-formed text')
      return new Unopened('codec', problem)
    }
    const opened = this.open(text)
    return opened instanceof Unopened ? opened : { text, opened }
  }

  /** The value of a text, checked by the schema. */
  readonly #decode = (text: string): V | Unopened => {
    let value: V
    try {
      value = this.#codec.decode(text)
    } catch (error) {
      return new Unopened('codec', error)
    }
    const late = promised('decode', value)
    if (late !== undefined) return new Unopened('codec', late)
    return this.#schema === undefined ? value : this.#check(value)
  }

  #check(value: V): V | Unopened {
    try {
      const result = this.#schema!['~standard'].validate(value)
      if ('then' in result) {
        result.then(undefined, () => {})
        throw new TypeError('the schema answers with a promise; it has to answer at once')
      }
      if (result.issues === undefined) return result.value
      throw new TypeError(result.issues.map(issue => issue.message).join('; '))
    } catch (error) {
      return new Unopened('schema', error)
    }
  }
}

/** The complaint about a codec that answers with a promise. Its rejection is handled here. */
function promised(method: 'encode' | 'decode', answer: unknown): TypeError | undefined {
  if (!silencePromise(answer)) return undefined
  return notAtOnce(`the codec's ${method}`)
}

/** Freezes plain objects and arrays all the way down. `false` if the value holds anything that freezing does not protect. */
function freeze(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'function'
  if (!isPlain(value)) return false
  // Most rows are flat: nothing but the row itself is to be frozen.
  const nested: object[] = []
  try {
    for (const inner of Object.values(value)) {
      if (typeof inner === 'function') return false
      if (typeof inner === 'object' && inner !== null) nested.push(inner)
    }
    if (nested.length > 0 && !freezeAll(new Set(nested))) return false
    Object.freeze(value)
    return true
  } catch {
    // A getter or a trap that throws.
    return false
  }
}

/**
 * A set that grows while it is walked, instead of recursion: JSON may be nested more deeply than the stack allows,
 * and another codec's values may be cyclic.
 */
function freezeAll(found: Set<object>): boolean {
  for (const object of found) {
    if (!isPlain(object)) return false
    for (const inner of Object.values(object)) {
      if (typeof inner === 'function') return false
      if (typeof inner === 'object' && inner !== null) found.add(inner)
    }
  }
  for (const object of found) Object.freeze(object)
  return true
}

/** Whether there is nothing in a value but primitives, plain objects and arrays. */
function isPlainThroughout(value: unknown): boolean {
  const found = new Set([value])
  for (const one of found) {
    if (typeof one === 'function' || typeof one === 'symbol') return false
    if (typeof one !== 'object' || one === null) continue
    if (!isPlain(one) || Object.getPrototypeOf(one) === null) return false
    if (Object.getOwnPropertySymbols(one).length > 0) return false
    for (const inner of Object.values(one)) found.add(inner)
  }
  return true
}

function isPlain(object: object): boolean {
  const prototype = Object.getPrototypeOf(object)
  return prototype === Object.prototype || prototype === Array.prototype || prototype === null
}
