/** Places that share a bucket. Eight of two 32-bit words are one cache line of 64 bytes. */
const BUCKET_PLACES = 8
const MIN_BUCKETS = 128
const WORDS_PER_BUCKET = BUCKET_PLACES * 2
const EMPTY = 0

const FNV_BASIS = 0x811c9dc5
const FNV_PRIME = 0x01000193
const SPREAD = 0x9e3779b1

/** FNV-1a over the code units of a text, not yet mixed. @param from - The hash of what stands before it. */
export function hashOfText(text: string, from = FNV_BASIS): number {
  let hash = from
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME)
  return hash
}

/** The same over the bits of a whole number of up to 53 bits. */
export function hashOfNumber(number: number, from = FNV_BASIS): number {
  const hash = Math.imul(Math.imul(from, SPREAD) ^ (number | 0), FNV_PRIME)
  return Math.imul(hash ^ Math.floor(number / 2 ** 32), FNV_PRIME)
}

/** Mixes a hash so that all bits count; never {@link EMPTY}. */
export function mixed(hash: number): number {
  let mixing = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad)
  mixing = Math.imul(mixing ^ (mixing >>> 15), 0x735a2d97)
  return mixing ^ (mixing >>> 15) || 1
}

/** A 32-bit hash of a key, for a {@link GhostQueue}. */
export const hashOf = (key: string): number => mixed(hashOfText(key))

/**
 * Remembers which keys were evicted lately, without keeping the keys: a hash table of fingerprints, each with the number of
 * its eviction, as section 4.2 of the S3-FIFO paper suggests. The look-up says how far back it counts, so nothing has to be
 * removed when it ages.
 *
 * The table has at least twice the places that are needed, and a full bucket loses its oldest key: about 1 in 100 of the keys
 * that should be remembered is not. The other error, to remember a key that was never evicted, takes two equal hashes of 32
 * bits. Either costs an entry a better or worse place in the queues, nothing else.
 */
export class GhostQueue {
  /** Pairs of fingerprint and number, bucket after bucket; the length is a power of two. */
  #table = new Int32Array(MIN_BUCKETS * WORDS_PER_BUCKET)
  #added = 0

  /**
   * Remembers a key.
   *
   * @param hash - Of the key; by {@link mixed}.
   * @param length - How many keys will have to be remembered at a time.
   */
  add(hash: number, length: number): void {
    while (length * 4 > this.#table.length) this.#grow()
    this.#added = (this.#added + 1) | 0
    this.#place(hash, this.#added)
  }

  /** Whether the key is among the last `length` that were added. It is forgotten then. */
  take(hash: number, length: number): boolean {
    const table = this.#table
    const start = this.#bucketOf(hash)
    for (let at = start; at < start + WORDS_PER_BUCKET; at += 2) {
      if (table[at] !== hash) continue
      const age = (this.#added - table[at + 1]!) >>> 0
      table[at] = EMPTY
      table[at + 1] = 0
      return age < length
    }
    return false
  }

  clear(): void {
    this.#table = new Int32Array(MIN_BUCKETS * WORDS_PER_BUCKET)
    this.#added = 0
  }

  #bucketOf(hash: number): number {
    return Math.imul(hash, WORDS_PER_BUCKET) & (this.#table.length - 1)
  }

  /** Takes the place that the key has in its bucket, else the oldest one; an empty one has the number 0 and is older. */
  #place(hash: number, number: number): void {
    const table = this.#table
    const added = this.#added
    const start = this.#bucketOf(hash)
    let place = start
    let oldest = -1
    for (let at = start; at < start + WORDS_PER_BUCKET; at += 2) {
      if (table[at] === hash) {
        place = at
        break
      }
      const age = (added - table[at + 1]!) >>> 0
      if (age > oldest) {
        oldest = age
        place = at
      }
    }
    table[place] = hash
    table[place + 1] = number
  }

  #grow(): void {
    const old = this.#table
    this.#table = new Int32Array(old.length * 2)
    for (let at = 0; at < old.length; at += 2) if (old[at] !== EMPTY) this.#place(old[at]!, old[at + 1]!)
  }
}
