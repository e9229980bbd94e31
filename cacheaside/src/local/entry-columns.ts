import { grownCapacity, resized } from '../eviction/columns.ts'
import { type EntryTags, FIRST_HIT, NO_TAGS } from './entry-tags.ts'
import type { LocalEntry, LocalValue, Peeked } from './local-entry.ts'
import type { Spot } from './spot.ts'

/** What L1 knows of each entry beside its value, in columns as those of `eviction/columns.ts`. */
export class EntryColumns {
  /** The number of each entry's shelf, and its spot there. */
  shelves: Uint32Array = new Uint32Array(0)
  readonly spots: Spot[] = []
  readonly generations: string[] = []
  /** The numbers of the generations that were the keyspaces' when the entries were put in; 0 for others. */
  generationNumbers: Uint32Array = new Uint32Array(0)
  filledAtMs: Float64Array = new Float64Array(0)
  /** 1: readers share the value, which is kept as it is. 0: an object that makes copies of it is kept. */
  isShared: Uint8Array = new Uint8Array(0)
  /** What peeks have returned of shared values: made once for each, so that a peek allocates nothing. */
  readonly #peeked: (Peeked | undefined)[] = []
  /** From when on a hit starts a refresh. Empty while none ever does. */
  #refreshAtMs = new Float64Array(0)
  /** The tags of the entries that have any. */
  readonly #tags = new Map<number, EntryTags>()

  /** Notes whose entry it is. */
  note(slot: number, shelf: number, spot: Spot): void {
    if (slot >= this.shelves.length) this.#grow()
    this.shelves[slot] = shelf
    this.spots[slot] = spot
  }

  /** Notes what the entry is. */
  fill(
    slot: number,
    { opened, generation, filledAtMs, refreshAtMs, tags }: LocalEntry,
    generationNumber: number,
  ): void {
    this.isShared[slot] = opened.isShared ? 1 : 0
    if (slot < this.#peeked.length) this.#peeked[slot] = undefined
    this.generations[slot] = generation
    this.generationNumbers[slot] = generationNumber
    this.filledAtMs[slot] = filledAtMs
    if (refreshAtMs !== Number.POSITIVE_INFINITY && this.#refreshAtMs.length === 0)
      this.#refreshAtMs = new Float64Array(this.filledAtMs.length).fill(Number.POSITIVE_INFINITY)
    if (this.#refreshAtMs.length > 0) this.#refreshAtMs[slot] = refreshAtMs
    if (tags !== NO_TAGS) this.#tags.set(slot, tags)
    else if (this.#tags.size > 0) this.#tags.delete(slot)
  }

  /** What is kept of a value. */
  static kept(opened: LocalValue): unknown {
    return opened.isShared ? opened.take() : opened
  }

  /** The value for one more reader, made from what is kept. */
  taken(slot: number, kept: unknown): unknown {
    return this.isShared[slot] === 1 ? kept : (kept as LocalValue).take()
  }

  /** What an earlier peek has returned; `undefined` if there was none, or the value is not shared. */
  peekedAt(slot: number): Peeked | undefined {
    return slot < this.#peeked.length ? this.#peeked[slot] : undefined
  }

  /** What the first peek returns. */
  peeked(slot: number, kept: unknown): Peeked {
    if (this.isShared[slot] !== 1) return { value: (kept as LocalValue).take() }
    while (this.#peeked.length <= slot) this.#peeked.push(undefined)
    const made = Object.freeze({ value: kept })
    this.#peeked[slot] = made
    return made
  }

  refreshAtMs(slot: number): number {
    return this.#refreshAtMs.length === 0 ? Number.POSITIVE_INFINITY : this.#refreshAtMs[slot]!
  }

  /** A hit has found the entry. This is small, so that V8 puts it into the code of a hit. */
  noteHit(slot: number): void {
    if (this.#refreshAtMs.length > 0) this.#noteFirstHit(slot)
  }

  #noteFirstHit(slot: number): void {
    if (this.#refreshAtMs[slot] !== FIRST_HIT) return
    const tags = this.tagsAt(slot)
    tags.isUnread = false
    this.#refreshAtMs[slot] = tags.refreshAtMs
  }

  tagsAt(slot: number): EntryTags {
    return this.#tags.get(slot) ?? NO_TAGS
  }

  forget(slot: number): void {
    this.spots[slot] = 0
    this.generations[slot] = ''
    if (slot < this.#peeked.length) this.#peeked[slot] = undefined
    if (this.#tags.size > 0) this.#tags.delete(slot)
  }

  clear(): void {
    this.shelves = new Uint32Array(0)
    this.generationNumbers = new Uint32Array(0)
    this.spots.length = this.generations.length = this.#peeked.length = 0
    this.filledAtMs = new Float64Array(0)
    this.isShared = new Uint8Array(0)
    this.#refreshAtMs = new Float64Array(0)
    this.#tags.clear()
  }

  #grow(): void {
    const capacity = grownCapacity(this.shelves.length)
    this.shelves = resized(this.shelves, capacity)
    this.generationNumbers = resized(this.generationNumbers, capacity)
    this.filledAtMs = resized(this.filledAtMs, capacity)
    this.isShared = resized(this.isShared, capacity)
    if (this.#refreshAtMs.length > 0) this.#refreshAtMs = resized(this.#refreshAtMs, capacity)
  }
}
