/**
 * The type in which a value comes back from the default codec.
 *
 * Mostly it is the value's own type, under its own name; also for a value that cannot be kept, which reaches its readers as
 * it was loaded. Only an instance of a class with `toJSON` becomes something else: the type that its `toJSON` returns. So
 * `Kept<{ id: number; at: Date; price: Decimal }>` is `{ id: number; at: Date; price: string }`.
 */
export type Kept<V> = unknown extends V
  ? V
  : V extends AsItIs
    ? V
    : V extends HasToJson<infer Json>
      ? Kept<Json>
      : [V] extends [Searched<V>]
        ? V
        : Replaced<V>

/** Replaces an instance with `toJSON` during the search: nothing else can be assigned to it. */
declare const CHANGED: unique symbol

interface HasToJson<Json> {
  toJSON(key?: never): Json
}

/**
 * Types whose `toJSON` is not called, and types without members worth a look. `URL` and `Buffer` are recognised by their
 * members: not every program has these types.
 */
type AsItIs =
  | string
  | number
  | bigint
  | boolean
  | symbol
  | null
  | undefined
  | Date
  | RegExp
  | ArrayBufferLike
  | ArrayBufferView
  | { readonly href: string; readonly searchParams: object; toJSON(): string }
  | ((...args: never) => unknown)

/**
 * The same type, with `CHANGED` for everything that has a `toJSON`: only a type without any can be assigned to it. What a
 * list, a `Map` or a `Set` holds stands behind a member, where the compiler looks only when it has to: types may refer to
 * themselves.
 */
type Searched<V> = unknown extends V
  ? V
  : V extends AsItIs
    ? V
    : V extends HasToJson<unknown>
      ? typeof CHANGED
      : V extends readonly (infer T)[]
        ? { readonly [index: number]: Searched<T> }
        : V extends ReadonlyMap<infer K, infer T>
          ? { get(key: never): Searched<T> | undefined; keys(): SearchedNext<K> }
          : V extends ReadonlySet<infer T>
            ? { keys(): SearchedNext<T> }
            : { [Name in keyof V]: Searched<V[Name]> }

interface SearchedNext<T> {
  next(): { value?: Searched<T> | undefined }
}

/** The type with every changed part replaced. */
type Replaced<V> = V extends readonly unknown[]
  ? ReplacedList<V>
  : V extends Map<infer K, infer T>
    ? Map<Kept<K>, Kept<T>>
    : V extends Set<infer T>
      ? Set<Kept<T>>
      : V extends ReadonlyMap<infer K, infer T>
        ? ReadonlyMap<Kept<K>, Kept<T>>
        : V extends ReadonlySet<infer T>
          ? ReadonlySet<Kept<T>>
          : { [Name in keyof V]: Kept<V[Name]> }

type ReplacedList<V extends readonly unknown[]> = number extends V['length']
  ? V extends unknown[]
    ? Kept<V[number]>[]
    : readonly Kept<V[number]>[]
  : { [Name in keyof V]: Kept<V[Name]> }
