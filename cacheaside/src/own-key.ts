/**
 * The option `idOf`: a loaded or found value that belongs under another key than the one it was asked for.
 *
 * 1. a reader asks for `ABC`, and the origin, to which that is another text for `abc`, answers with the row;
 * 2. the row is stored under the key of `ABC`;
 * 3. the row is changed: its writer and the feed invalidate the key of `abc`.
 *
 * Nothing would reach the copy before it expires, so it is not kept. It cannot be kept under the other key either: the
 * load had no lease of that one.
 */
import type { Key } from './base/key.ts'
import { notAtOnce, silencePromise } from './base/thrown.ts'
import type { Opened } from './shared/codec.ts'

/** A value that does not belong under the key by which it was asked for. */
export interface Alias {
  /** The key under which it belongs; `undefined` if `idOf` could not tell. */
  readonly belongsTo: Key | undefined
  /** Why `idOf` could not tell. */
  readonly error?: unknown
}

/** The parts of a keyspace that tell under which key a value belongs. */
interface Belonging<Id, V> {
  readonly keyOf: (id: Id) => Key
  readonly options: { readonly idOf?: ((value: V) => Id) | undefined }
}

/**
 * Whether a value belongs under another key than this one, by the id of its row.
 *
 * @returns `undefined` if it belongs there, or that cannot be known: without `idOf`, and where there is no row.
 */
export function aliasOf<Id, V>(
  { keyOf, options: { idOf } }: Belonging<Id, V>,
  key: string,
  opened: Opened<V>,
): Alias | undefined {
  if (idOf === undefined) return undefined
  const value = opened.take()
  if (value === undefined) return undefined
  try {
    const id = idOf(value)
    if (silencePromise(id)) throw notAtOnce('idOf')
    const belongsTo = keyOf(id)
    return belongsTo === key ? undefined : { belongsTo }
  } catch (error) {
    return { belongsTo: undefined, error }
  }
}
