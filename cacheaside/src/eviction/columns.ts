/** No slot: where a link ends, or nothing was found. */
export const NOWHERE = -1

/** Set while an entry is in the slot. */
export const HELD = 1
/** Set if its owner allows a policy to evict it. */
export const EVICTABLE = 2
/** Set while the policy has it among its candidates. */
export const CANDIDATE = 4

/** Below this capacity it doubles; above, it grows by a quarter, because unused slots are memory, too. */
const DOUBLED_BELOW = 4_096
const LEAST_CAPACITY = 16

/** The next capacity of columns that are full. */
export const grownCapacity = (capacity: number): number =>
  capacity < DOUBLED_BELOW ? Math.max(LEAST_CAPACITY, capacity * 2) : Math.ceil(capacity * 1.25)

/** A column of another length, with the old content as far as it fits. */
export function resized<Column extends Float64Array | Uint32Array | Int32Array | Uint8Array>(
  column: Column,
  capacity: number,
): Column {
  const grown = new (column.constructor as new (length: number) => Column)(capacity)
  grown.set(column.length <= capacity ? column : column.subarray(0, capacity))
  return grown
}

/**
 * What a bounded map and its policy know of each entry, as one typed array per field: an entry is the number of a **slot**.
 * An object per entry would take twice the memory, and the garbage collector would have to visit it.
 */
export class Columns {
  /** The moment from which an entry is not found any more; `Infinity`: none. */
  expiresAtMs: Float64Array = new Float64Array(0)
  /** What an entry is charged, as its owner said. */
  bytes: Float64Array = new Float64Array(0)
  /** {@link HELD}, {@link EVICTABLE} and {@link CANDIDATE}. */
  flags: Uint8Array = new Uint8Array(0)

  get capacity(): number {
    return this.flags.length
  }

  grow(capacity: number): void {
    this.expiresAtMs = resized(this.expiresAtMs, capacity)
    this.bytes = resized(this.bytes, capacity)
    this.flags = resized(this.flags, capacity)
  }

  clear(): void {
    this.expiresAtMs = new Float64Array(0)
    this.bytes = new Float64Array(0)
    this.flags = new Uint8Array(0)
  }
}
