/**
 * The kinds of objects that are kept as they are, how they are told apart, and their bytes as text.
 *
 * An object is of a kind if its prototype is that kind's own, also of another realm: a test runner that gives each file
 * globals of its own mixes realms. The object's own methods are not trusted: its parts are read by the built-in methods,
 * which throw for any other object.
 */

/** How an object is written. */
export type KindName =
  | 'Object'
  | 'null'
  | 'Array'
  | 'Date'
  | 'RegExp'
  | 'URL'
  | 'Map'
  | 'Set'
  | 'ArrayBuffer'
  | 'view'
  | 'Error'

/** The values that are no objects and have no JSON, by their texts. A hole is one only within an array. */
export const CONSTANTS: ReadonlyMap<unknown, unknown> = new Map<unknown, unknown>([
  ['undefined', undefined],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['-0', -0],
])

/** The members of an error that are not enumerable. */
export const ERROR_MEMBERS = ['name', 'message', 'stack', 'cause', 'errors'] as const

const ERRORS = {
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
  AggregateError,
} as const

/** `Float16Array` is not everywhere. A runtime without it can neither write nor read one. */
const { Float16Array } = globalThis as { Float16Array?: Float32ArrayConstructor }
const VIEWS = {
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  ...(Float16Array === undefined ? {} : { Float16Array }),
  DataView,
  Buffer,
}

const KINDS = new Map<object, KindName>([
  [Object.prototype, 'Object'],
  [Array.prototype, 'Array'],
  [Date.prototype, 'Date'],
  [RegExp.prototype, 'RegExp'],
  [URL.prototype, 'URL'],
  [Map.prototype, 'Map'],
  [Set.prototype, 'Set'],
  [ArrayBuffer.prototype, 'ArrayBuffer'],
  ...Object.values(VIEWS).map(({ prototype }): [object, KindName] => [prototype, 'view']),
  ...Object.values(ERRORS).map(({ prototype }): [object, KindName] => [prototype, 'Error']),
])
/** By name, for prototypes of another realm. */
const OWN_PROTOTYPES = new Map([...KINDS.keys()].map(prototype => [prototype.constructor.name, prototype]))

const NATIVE = /\{\s*\[native code\]\s*\}$/

/** The prototype of the same name in this realm, for one of another realm. */
function ownPrototypeFor(prototype: object): object | undefined {
  const made: unknown = prototype.constructor
  if (typeof made !== 'function' || made.prototype !== prototype) return undefined
  return NATIVE.test(Function.prototype.toString.call(made)) ? OWN_PROTOTYPES.get(made.name) : undefined
}

/**
 * The kind of an object; `'a subclass'` for an instance of a class made from a built-in one that would be kept as that one, if
 * its own were not looked for; `undefined` for an instance of any other class.
 */
export function kindOf(object: object): KindName | 'a subclass' | undefined {
  const prototype: object | null = Object.getPrototypeOf(object)
  if (prototype === null) return 'null'
  const kind = KINDS.get(prototype) ?? KINDS.get(ownPrototypeFor(prototype) ?? object)
  if (kind !== undefined) return kind
  // These kinds inherit a `toJSON` that is not their class's own.
  const inherits = object instanceof Date || object instanceof URL || ArrayBuffer.isView(object)
  return inherits ? 'a subclass' : undefined
}

const getter = <T>(prototype: object, name: PropertyKey) => {
  const { get } = Object.getOwnPropertyDescriptor(prototype, name)!
  return (object: unknown): T => get!.call(object)
}
const sourceOf = getter<string>(RegExp.prototype, 'source')
const flagsOf = getter<string>(RegExp.prototype, 'flags')
const byteLengthOf = getter<number>(ArrayBuffer.prototype, 'byteLength')
const typedArrayName = getter<string | undefined>(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)

/** What the built-in methods say of an object; they throw if it only looks like one of theirs. */
export const originals = {
  dateTime: (date: Date): number => Date.prototype.getTime.call(date),
  regexp: (regexp: RegExp) => ({ source: sourceOf(regexp), flags: flagsOf(regexp) }),
  href: getter<string>(URL.prototype, 'href'),
  eachEntry: (map: ReadonlyMap<unknown, unknown>, visit: (value: unknown, key: unknown) => void): void =>
    Map.prototype.forEach.call(map, visit),
  eachElement: (set: ReadonlySet<unknown>, visit: (element: unknown) => void): void =>
    Set.prototype.forEach.call(set, visit),
  errorKind(error: Error): string {
    // Without the internal mark of an error the tag is "Object".
    if (Object.prototype.toString.call(error) !== '[object Error]') throw new TypeError('this is no error')
    return Object.getPrototypeOf(error).constructor.name
  },
  isArrayBuffer(buffer: ArrayBufferLike): boolean {
    try {
      byteLengthOf(buffer)
      return true
    } catch {
      return false
    }
  },
  mayGrow: (buffer: ArrayBuffer): boolean =>
    byteLengthOf(buffer) >= 0 && (buffer as { resizable?: boolean }).resizable === true,
}

/** The name under which bytes are written. */
export function nameOfView(view: ArrayBufferView): keyof typeof VIEWS {
  if (Buffer.isBuffer(view)) return 'Buffer'
  return (typedArrayName(view) ?? 'DataView') as keyof typeof VIEWS
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/** The bytes that a view shows, in little-endian order whatever the machine's. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  const bytes = new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength)
  return inLittleEndian(bytes, widthOf(view))
}

/** Turns this machine's byte order of numbers into little-endian, or back: it is the same operation. */
export function inLittleEndian(
  bytes: Uint8Array<ArrayBuffer>,
  width: number,
  already = IS_LITTLE_ENDIAN,
): Uint8Array<ArrayBuffer> {
  if (already || width === 1) return bytes
  const turned = bytes.slice()
  for (let at = 0; at < turned.length; at += width) turned.subarray(at, at + width).reverse()
  return turned
}

const widthOf = (view: object): number => (view as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1

export const toBase64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')

/** The bytes of a text, which has to be their base64 and nothing else. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  if (toBase64(bytes) !== text) throw new TypeError('this is no base64')
  return bytes
}

/** The names of everything that shows bytes. */
export const VIEW_NAMES = Object.keys(VIEWS) as readonly (keyof typeof VIEWS)[]

/** Bytes as they are shown by a view of this name. Throws if they are not a whole number of its elements. */
export function viewOf(name: keyof typeof VIEWS, bytes: Uint8Array<ArrayBuffer>): ArrayBufferView {
  if (name === 'Buffer') return Buffer.from(bytes.buffer)
  const View = VIEWS[name] as Uint8ArrayConstructor
  return new View(inLittleEndian(bytes, widthOf(View)).buffer)
}

/** An error of one of the language's classes. Throws if there is none of that name. */
export function errorOfKind(kind: string): Error {
  if (!Object.hasOwn(ERRORS, kind)) throw new TypeError(`${kind} is no error of the language`)
  return kind === 'AggregateError' ? new AggregateError([]) : new ERRORS[kind as 'Error']()
}
