/**
 * How states are written down: a record has named fields, each of which fits in a byte. The rules of the model work
 * with records, the checker with their bytes.
 */

/** One field: what it can be, and as what byte it is written. */
export interface Field<T> {
  readonly first: T
  encode(value: T): number
  decode(byte: number): T
}

/** Yes or no; no at the beginning. */
export const flag: Field<boolean> = { first: false as boolean, encode: Number, decode: byte => byte === 1 }

/** A small number; 0 at the beginning. */
export const count: Field<number> = {
  first: 0,
  encode: value => {
    if (value > 255) throw new RangeError(`${value} does not fit in a byte`)
    return value
  },
  decode: byte => byte,
}

/** One of these names; the first one at the beginning. */
export function oneOf<const Names extends readonly string[]>(...names: Names): Field<Names[number]> {
  const bytes = new Map<string, number>(names.map((name, byte) => [name, byte]))
  const encode = (name: string): number => {
    const byte = bytes.get(name)
    if (byte === undefined) throw new RangeError(`${name} is none of ${names.join(', ')}`)
    return byte
  }
  return { first: names[0]!, encode, decode: byte => names[byte]! }
}

/** Changes several fields of a record. */
export function set<R extends object>(record: R, fields: Partial<NoInfer<R>>): void {
  Object.assign(record, fields)
}

/**
 * Records of one kind and their bytes. The functions of a kind are written out for its fields and compiled: in most of its
 * time the checker writes, reads and copies records, and a loop over names takes several times as long.
 */
export class Kind<R extends object> {
  /** How many bytes a record takes. */
  readonly size: number
  /** A record as it is at the beginning. */
  readonly first: () => R
  /** Another record with the same in it. */
  readonly copy: (record: R) => R
  /** Writes a record to `bytes` from `at` on, and returns where the next one begins. */
  readonly pack: (record: R, bytes: Uint8Array, at: number) => number
  /** The record that was written at `at`. */
  readonly unpack: (bytes: Uint8Array, at: number) => R

  constructor(fields: { readonly [Name in keyof R]: Field<R[Name]> }) {
    const names = Object.keys(fields)
    this.size = names.length
    const each = (text: (field: string, i: number) => string) => names.map(text).join('\n')
    this.first = written(fields, '', `({ ${each(name => `${name}: fields.${name}.first,`)} })`)
    this.copy = written(fields, 'record', `({ ${each(name => `${name}: record.${name},`)} })`)
    this.pack = written(
      fields,
      'record, bytes, at',
      `{ ${each((name, i) => `bytes[at + ${i}] = encode_${name}(record.${name})`)}
      return at + ${names.length} }`,
    )
    this.unpack = written(
      fields,
      'bytes, at',
      `({ ${each((name, i) => `${name}: decode_${name}(bytes[at + ${i}]),`)} })`,
    )
  }
}

/** A function of a kind, of its text. */
function written<F>(fields: object, parameters: string, body: string): F {
  const own = Object.keys(fields).map(
    name => `const encode_${name} = fields.${name}.encode, decode_${name} = fields.${name}.decode`,
  )
  return new Function('fields', `${own.join('\n')}\nreturn (${parameters}) => ${body}`)(fields)
}

/** So many, made one after the other. */
export function many<T>(amount: number, one: (i: number) => T): T[] {
  const all: T[] = []
  for (let i = 0; i < amount; i++) all.push(one(i))
  return all
}

/**
 * Sorts `amount` stretches of `size` bytes that follow each other. Where the model may exchange two actors without
 * anybody noticing, states that differ in their order only become the same state.
 */
export function sortStretches(bytes: Uint8Array, at: number, size: number, amount: number): void {
  for (let sorted = 1; sorted < amount; sorted++) {
    for (let i = sorted; i > 0; i--) {
      const left = at + (i - 1) * size
      if (!isGreater(bytes, left, left + size, size)) break
      for (let b = left; b < left + size; b++) {
        const byte = bytes[b]!
        bytes[b] = bytes[b + size]!
        bytes[b + size] = byte
      }
    }
  }
}

function isGreater(bytes: Uint8Array, left: number, right: number, size: number): boolean {
  for (let i = 0; i < size; i++) {
    const difference = bytes[left + i]! - bytes[right + i]!
    if (difference !== 0) return difference > 0
  }
  return false
}
