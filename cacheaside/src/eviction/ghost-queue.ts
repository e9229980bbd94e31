/** Places that share a bucket. Eight of two 32-bit words are one cache line of 64 bytes. */
const BUCKET_PLACES = 8
const MIN_BUCKETS = 128
const WORDS_PER_BUCKET = BUCKET_PLACES * 2
const EMPTY = 0

/** A 32-bit hash of a key, never {@link EMPTY}: FNV-1a over its code units, then mixed so that all bits count. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad)
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97)
  return hash ^ (hash >>> 15) || 1
}

/**
 * Remembers which keys were evicted lately, without keeping the keys: a hash table of fingerprints, each with the
 * number of its eviction, as section 4.2 of the S3-FIFO paper suggests. How far back counts is asked at the look-up,
 * so nothing has to be removed when it ages.
 *
 * The table has at least twice the places that are needed, and what overflows a bucket is its oldest: about 1 in 100
 * of the keys that should be remembered is not. The other error, to remember a key that was never evicted, takes two
 * equal hashes of 32 bits. Either costs an entry a better or worse place in the queues, nothing else.
 */
export class GhostQueue {
  /** Pairs of fingerprint and number, bucket after bucket; the length is a power of two. */
  #table = new Int32Array(MIN_BUCKETS * WORDS_PER_BUCKET)
  #added = 0

  /** Remembers the key; `length` is how many keys will have to be remembered at a time. */
  add(key: string, length: number): void {
    while (length * 4 > this.#table.length) this.#grow()
    this.#added = (this.#added + 1) | 0
    this.#place(hashOf(key), this.#added)
  }

  /** Whether the key is among the last `length` that were added. It is forgotten then. */
  take(key: string, length: number): boolean {
    const hash = hashOf(key)
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
