import { messageOf } from '../base/thrown.ts'
import {
  bytesOf,
  ERROR_MEMBERS,
  type KindName,
  kindOf,
  nameOfView,
  originals,
  toBase64,
} from './marked-kinds.ts'
import { MAX_OBJECTS } from './plain-json.ts'

const ORDINARY = { enumerable: true, writable: true, configurable: true }
/** Errors that were thrown here: the objects around do not explain them once more. */
const REFUSALS = new WeakSet<object>()
/** Levels of nesting. A fixed bound, because the stack's bound depends on the caller. */
const MAX_DEPTH = 500
const MAX_HOLES = 100_000
const LONGEST_PATH = 200
const LONGEST_DECIMAL = 300

/** One step into a value: a member's name, an index, or a place in a `Map` or `Set`. */
type Step = string | number | symbol | { readonly keyAt: number } | { readonly valueOf: unknown }

/**
 * Writes one value that is not plain JSON: finds the JSON that stands for it, or throws and says what cannot be kept,
 * and where in the value it is.
 *
 * An object with one member whose name begins with `$` is a mark. A plain object that looks like one gets another `$`
 * in front: that way no two values have the same text.
 */
export class MarkedWriting {
  /** Whether any mark was needed. If not, the JSON is plain. */
  #marked = false
  /** Objects that look like a mark, with the name that has been lengthened. */
  readonly #escaped: { readonly json: Record<string, unknown>; readonly name: string }[] = []
  /** The objects around the one that is being written. */
  readonly #around: object[] = []
  /** The way from the value to the one that is being written. */
  readonly #path: Step[] = []
  #objects = 0

  /**
   * The JSON for a value, and whether it has marks.
   *
   * @throws TypeError or RangeError, whose message says what cannot be kept and where it is.
   */
  write(value: unknown): { readonly json: unknown; readonly marked: boolean } {
    const json = this.#value(value)
    if (!this.#marked) {
      // Without marks, no text can be confused with one: the names get back their first form.
      for (const { json, name } of this.#escaped) {
        json[name] = json[`$${name}`]
        delete json[`$${name}`]
      }
    }
    return { json, marked: this.#marked }
  }

  #value(value: unknown): unknown {
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return value
      case 'number':
        if (Number.isFinite(value) && !Object.is(value, -0)) return value
        return this.#mark('$', Object.is(value, -0) ? '-0' : String(value))
      case 'undefined':
        return this.#mark('$', 'undefined')
      case 'bigint':
        return this.#mark('$bigint', bigintText(value))
      case 'object':
        return value === null ? null : this.#object(value)
      default:
        throw this.#refusal(typeof value === 'function' ? 'a function' : 'a symbol')
    }
  }

  #mark(name: string, json: unknown): unknown {
    this.#marked = true
    return { [name]: json }
  }

  #object(object: object, answeredByToJson = false): unknown {
    if (this.#around.includes(object)) throw this.#refusal('an object that holds itself')
    if (this.#around.length >= MAX_DEPTH)
      throw this.#refusal(`a value that is nested more than ${MAX_DEPTH} levels deep`, RangeError)
    if (++this.#objects > MAX_OBJECTS) throw this.#refusal(`more than ${MAX_OBJECTS} objects`, RangeError)
    this.#around.push(object)
    const json = this.#trying(object, answeredByToJson)
    this.#around.pop()
    return json
  }

  /** A getter, a `toJSON` or a trap may throw anything: the error that is thrown on says where. */
  #trying(object: object, answeredByToJson: boolean): unknown {
    try {
      return this.#ofKind(object, answeredByToJson)
    } catch (error) {
      if (REFUSALS.has(error as object)) throw error
      throw this.#refusal(
        `something that throws when it is read (${messageOf(error).slice(0, LONGEST_PATH)})`,
        TypeError,
        error,
      )
    }
  }

  #ofKind(object: object, answeredByToJson: boolean): unknown {
    const kind = kindOf(object)
    if (kind === 'a subclass')
      throw this.#refusal(`an instance of ${classOf(object)}, a class made from a built-in one`)
    const asksToJson = kind === undefined || kind === 'Object' || kind === 'Array' || kind === 'null'
    if (asksToJson && !answeredByToJson) {
      const { toJSON } = object as { toJSON?: unknown }
      if (typeof toJSON === 'function') return this.#fromToJson(object, toJSON)
    }
    if (kind === undefined) {
      // Such as the rows of postgres.js.
      if (Array.isArray(object))
        throw this.#refusal(`an instance of ${classOf(object)}, no plain array (return [...rows])`)
      const without = answeredByToJson ? ', which a toJSON answered with' : ' without toJSON'
      throw this.#refusal(`an instance of ${classOf(object)}${without}`)
    }
    return MarkedWriting.#WRITERS[kind](this, object as never)
  }

  #fromToJson(object: object, toJson: unknown): unknown {
    const answer: unknown = Reflect.apply(toJson as () => unknown, object, [this.#ownName()])
    if (answer === undefined && this.#path.length === 0)
      throw this.#refusal('an object whose toJSON answers undefined, as if there were no row')
    return typeof answer === 'object' && answer !== null ? this.#object(answer, true) : this.#value(answer)
  }

  /** How each kind of object is written. */
  static readonly #WRITERS: Readonly<Record<KindName, (writing: MarkedWriting, object: never) => unknown>> = {
    Object: (writing, object: object) => writing.#escape(writing.#members(object)),
    // Its members are not taken for a mark, whatever their names.
    null: (writing, object: object) => writing.#mark('$null', writing.#members(object)),
    Array: (writing, array: readonly unknown[]) => writing.#array(array),
    Date: (writing, date: Date) => {
      const ms = originals.dateTime(date)
      return writing.#bare(date, '$Date', Number.isNaN(ms) ? null : Date.prototype.toISOString.call(date))
    },
    RegExp: (writing, regexp: RegExp) => {
      const { source, flags } = originals.regexp(regexp)
      const { lastIndex } = regexp
      const json = lastIndex === 0 ? [source, flags] : [source, flags, writing.#value(lastIndex)]
      return writing.#bare(regexp, '$RegExp', json)
    },
    URL: (writing, url: URL) => writing.#bare(url, '$URL', originals.href(url)),
    Map: (writing, map: ReadonlyMap<unknown, unknown>) => {
      const entries: unknown[] = []
      originals.eachEntry(map, (value, key) => {
        const entry = [writing.#at({ keyAt: entries.length }, key), writing.#at({ valueOf: key }, value)]
        entries.push(entry)
      })
      return writing.#bare(map, '$Map', entries)
    },
    Set: (writing, set: ReadonlySet<unknown>) => {
      const elements: unknown[] = []
      originals.eachElement(set, element => {
        elements.push(writing.#at({ keyAt: elements.length }, element))
      })
      return writing.#bare(set, '$Set', elements)
    },
    ArrayBuffer: (writing, buffer: ArrayBuffer) => {
      if (originals.mayGrow(buffer)) throw writing.#refusal('an ArrayBuffer that can grow')
      return writing.#bare(buffer, '$ArrayBuffer', toBase64(new Uint8Array(buffer)))
    },
    view: (writing, view: ArrayBufferView) => {
      if (!originals.isArrayBuffer(view.buffer)) throw writing.#refusal('bytes that threads share')
      // Its own members are not looked for: each byte would count as one.
      return writing.#mark(`$${nameOfView(view)}`, toBase64(bytesOf(view)))
    },
    Error: (writing, error: Error) => writing.#error(error),
  }

  /** The name of the member that is being written, for `toJSON`. */
  #ownName(): string {
    const step = this.#path.at(-1) ?? ''
    return typeof step === 'object' ? '' : String(step)
  }

  /** A member, by its name. It is on the path before it is read: a getter may throw. */
  #member(object: object, name: string | number): unknown {
    this.#path.push(name)
    const value: unknown = object[name as never]
    const json = typeof value === 'string' ? value : this.#value(value)
    this.#path.pop()
    return json
  }

  #at(step: Step, value: unknown): unknown {
    this.#path.push(step)
    const json = this.#value(value)
    this.#path.pop()
    return json
  }

  #members(object: object): Record<string, unknown> {
    const json: Record<string, unknown> = {}
    for (const name of Object.keys(object)) {
      const member = this.#member(object, name)
      if (name === '__proto__') Object.defineProperty(json, name, { value: member, ...ORDINARY })
      else json[name] = member
    }
    this.#noSymbols(object)
    return json
  }

  #array(array: readonly unknown[]): unknown[] {
    const json: unknown[] = []
    let holes = 0
    for (let i = 0; i < array.length; i++) {
      if (array[i] !== undefined || Object.hasOwn(array, i)) json.push(this.#member(array, i))
      else if (++holes <= MAX_HOLES) json.push(this.#mark('$', 'hole'))
      else throw this.#refusal(`an array with more than ${MAX_HOLES} holes`, RangeError)
    }
    const names = Object.keys(array)
    if (names.length > array.length - holes)
      throw this.#refusal('a member of an array that is no element', TypeError, undefined, names.at(-1))
    this.#noSymbols(array)
    return json
  }

  #error(error: Error): unknown {
    const hidden: Record<string, unknown> = {}
    for (const name of ERROR_MEMBERS) {
      const own = Object.getOwnPropertyDescriptor(error, name)
      if (own !== undefined && own.enumerable !== true) hidden[name] = this.#member(error, name)
    }
    const kind = originals.errorKind(error)
    return this.#mark('$Error', [kind, hidden, this.#members(error)])
  }

  /** A mark for an object without members of its own: these would get lost. */
  #bare(object: object, name: string, json: unknown): unknown {
    const [own] = Object.keys(object)
    if (own !== undefined)
      throw this.#refusal(`a member that somebody added to a ${name.slice(1)}`, TypeError, undefined, own)
    this.#noSymbols(object)
    return this.#mark(name, json)
  }

  #noSymbols(object: object): void {
    for (const symbol of Object.getOwnPropertySymbols(object)) {
      if (Object.prototype.propertyIsEnumerable.call(object, symbol))
        throw this.#refusal('a member whose name is a symbol', TypeError, undefined, symbol)
    }
  }

  #escape(json: Record<string, unknown>): Record<string, unknown> {
    const [name, ...others] = Object.keys(json)
    if (name === undefined || !name.startsWith('$') || others.length > 0) return json
    const escaped = { [`$${name}`]: json[name] }
    this.#escaped.push({ json: escaped, name })
    return escaped
  }

  #refusal(
    what: string,
    kind: typeof TypeError | typeof RangeError = TypeError,
    cause?: unknown,
    lastStep?: string | symbol,
  ): Error {
    const steps = lastStep === undefined ? this.#path : [...this.#path, lastStep]
    const path = steps.map(shownStep).join('')
    const shown = path.length > LONGEST_PATH ? `${path.slice(0, LONGEST_PATH)}…` : path
    const message = shown === '' ? `it is ${what}` : `it has ${what} at ${shown}`
    const refusal = new kind(message, cause === undefined ? undefined : { cause })
    REFUSALS.add(refusal)
    return refusal
  }
}

/** Hexadecimal where it is long: the time to read it grows with its length, that of a decimal text with the square. */
function bigintText(value: bigint): string {
  const digits = value.toString(16)
  if (digits.length <= LONGEST_DECIMAL) return String(value)
  return value < 0n ? `-0x${digits.slice(1)}` : `0x${digits}`
}

/** As it would be written in code. */
function shownStep(step: Step): string {
  if (typeof step === 'object') {
    if ('keyAt' in step) return `.keys()[${step.keyAt}]`
    const { valueOf: key } = step
    return `.get(${typeof key === 'string' ? JSON.stringify(key) : typeof key === 'number' ? key : '…'})`
  }
  if (typeof step !== 'string') return `[${String(step)}]`
  return /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
}

function classOf(object: object): string {
  const name: unknown = Object.getPrototypeOf(object)?.constructor?.name
  return typeof name === 'string' && name !== '' ? name.slice(0, LONGEST_PATH) : 'a class without a name'
}
