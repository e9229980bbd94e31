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
  const bytes = Object.fromEntries(names.map((name, byte) => [name, byte]))
  const encode = (name: string): number => {
    const byte = bytes[name]
    if (byte === undefined) throw new RangeError(`${name} is none of ${names.join(', ')}`)
    return byte
  }
  return { first: names[0]!, encode, decode: byte => names[byte]! }
}

/** Changes several fields of a record. */
export function set<R extends object>(record: R, fields: Partial<NoInfer<R>>): void {
  Object.assign(record, fields)
}

/** Records of one kind and their bytes. */
export class Kind<R extends object> {
  /** How many bytes a record takes. */
  readonly size: number
  readonly #fields: readonly (readonly [name: keyof R, field: Field<R[keyof R]>])[]

  constructor(fields: { readonly [Name in keyof R]: Field<R[Name]> }) {
    this.#fields = Object.entries(fields) as unknown as [keyof R, Field<R[keyof R]>][]
    this.size = this.#fields.length
  }

  /** A record as it is at the beginning. */
  first(): R {
    return Object.fromEntries(this.#fields.map(([name, { first }]) => [name, first])) as R
  }

  /** Writes a record to `bytes` from `at` on, and returns where the next one begins. */
  pack(record: R, bytes: Uint8Array, at: number): number {
    let next = at
    for (const [name, field] of this.#fields) bytes[next++] = field.encode(record[name])
    return next
  }

  /** The record that was written at `at`. */
  unpack(bytes: Uint8Array, at: number): R {
    const record = {} as R
    let next = at
    for (const [name, field] of this.#fields) record[name] = field.decode(bytes[next++]!)
    return record
  }
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
