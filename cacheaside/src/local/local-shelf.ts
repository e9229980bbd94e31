/**
 * What L1 keeps of one keyspace: finds the slot of an id. A slot is valid only until L1 changes, so it must be used before
 * anything else is called.
 */
import { escapedPart, keyOf, unescapedPart } from '../base/key.ts'
import { type BoundedSlots, NOWHERE } from '../eviction/bounded-slots.ts'
import type { EntryColumns } from './entry-columns.ts'
import type { LocalEntry, LocalValue, Peeked } from './local-entry.ts'
import { SlotTable } from './slot-table.ts'
import { spotOf, spotOfText } from './spot.ts'

/** A copy of a keyspace's generation, which changes. */
export interface FollowedGeneration {
  /** `undefined` while it is not known. */
  readonly value: string | undefined
  /** Not 0, and another one for each value. Negative while it is not known. */
  readonly number: number
}

const NO_GENERATION: FollowedGeneration = { value: undefined, number: -1 }

/** The entries of one keyspace in L1, by their ids. */
export class LocalShelf {
  readonly #prefix: string
  readonly #number: number
  readonly #slots: BoundedSlots<unknown>
  readonly #columns: EntryColumns
  readonly #tellDiscarded: () => void
  #generation: FollowedGeneration = NO_GENERATION
  readonly #slotOf = new SlotTable()
  /** The slots of composite ids, by what follows the keyspace in their keys. */
  readonly #slotOfComposite = new Map<string, number>()

  /** @param prefix - What all its keys begin with: the name of the keyspace and a colon. */
  constructor(
    prefix: string,
    number: number,
    slots: BoundedSlots<unknown>,
    columns: EntryColumns,
    tellDiscarded: () => void,
  ) {
    this.#prefix = prefix
    this.#number = number
    this.#slots = slots
    this.#columns = columns
    this.#tellDiscarded = tellDiscarded
  }

  /**
   * The slot of an id whose entry has not expired. Counts as an access. `NOWHERE` if there is none.
   *
   * @throws CacheError `INVALID_KEY` for some malformed ids; for others there is no entry.
   */
  find(id: unknown, nowMs: number): number {
    // V8 looks up a number of 32 bits without a call, if it knows that it is one.
    const slot =
      typeof id === 'number' && (id | 0) === id ? this.#slotOf.ofNumber(id | 0) : this.#slotOfOther(id)
    return slot === NOWHERE ? NOWHERE : this.aliveAt(slot, nowMs)
  }

  /** The slot of an id that is no number of 32 bits. */
  #slotOfOther(id: unknown): number {
    const spot = spotOf(id)
    return spot === undefined ? this.#slotOfRest(this.#restOf(id)) : this.#slotOf.of(spot)
  }

  #slotOfRest(rest: string): number {
    return this.#slotOfComposite.get(rest) ?? NOWHERE
  }

  /** The same slot, if its entry has not expired. Counts as an access. */
  aliveAt(slot: number, nowMs: number): number {
    if (this.#slots.access(slot, nowMs)) return slot
    this.#tellDiscarded()
    return NOWHERE
  }

  /** The value for one more reader. */
  takeAt(slot: number): unknown {
    return this.#columns.taken(slot, this.#slots.valueAt(slot))
  }

  /** The same as a `peek` returns it: the same object each time, if readers share the value. */
  peekAt(slot: number): Peeked {
    return this.#columns.peekedAt(slot) ?? this.#columns.peeked(slot, this.#slots.valueAt(slot))
  }

  /** Entries are compared with this copy of the keyspace's generation from now on. */
  follow(generation: FollowedGeneration): void {
    this.#generation = generation
  }

  /** The number of a generation, if it is the keyspace's now; otherwise 0. */
  numberOf(generation: string): number {
    return generation === this.#generation.value ? this.#generation.number : 0
  }

  /** Whether an entry is of the keyspace's generation. Numbers are compared first: texts take V8 a call. */
  isCurrent(slot: number): boolean {
    const { value, number } = this.#generation
    return this.#columns.generationNumbers[slot] === number || this.#columns.generations[slot] === value
  }

  /** A hit has found the entry. */
  noteHit(slot: number): void {
    this.#columns.noteHit(slot)
  }

  refreshAtMs(slot: number): number {
    return this.#columns.refreshAtMs(slot)
  }

  entryAt(slot: number): LocalEntry {
    const { generations, filledAtMs, isShared } = this.#columns
    const kept = this.#slots.valueAt(slot)
    return {
      opened: isShared[slot] === 1 ? { take: () => kept, isShared: true } : (kept as LocalValue),
      generation: generations[slot]!,
      tags: this.#columns.tagsAt(slot),
      filledAtMs: filledAtMs[slot]!,
      expiresAtMs: this.#slots.expiresAtMs(slot),
      refreshAtMs: this.#columns.refreshAtMs(slot),
    }
  }

  /** The slot of a key of this keyspace, also of an entry that has expired. `NOWHERE` if there is none. */
  slotOfKey(key: string): number {
    const rest = key.slice(this.#prefix.length)
    return rest.includes(':') ? this.#slotOfRest(rest) : this.#slotOf.of(spotOfText(unescapedPart(rest)))
  }

  /** A new entry is put into this slot. */
  note(key: string, slot: number): void {
    const rest = key.slice(this.#prefix.length)
    if (rest.includes(':')) {
      this.#slotOfComposite.set(rest, slot)
      this.#columns.note(slot, this.#number, rest)
    } else {
      const spot = spotOfText(unescapedPart(rest))
      this.#slotOf.set(spot, slot)
      this.#columns.note(slot, this.#number, spot)
    }
  }

  /** The key of the entry in a slot. */
  keyAt(slot: number): string {
    const spot = this.#columns.spots[slot]!
    if (typeof spot === 'number') return this.#prefix + spot
    return this.#prefix + (this.#slotOf.of(spot) === slot ? escapedPart(spot) : spot)
  }

  /** The entry in this slot has gone. */
  forget(slot: number): void {
    const spot = this.#columns.spots[slot]!
    if (this.#slotOf.of(spot) === slot) this.#slotOf.delete(spot)
    else this.#slotOfComposite.delete(spot as string)
    this.#columns.forget(slot)
  }

  clear(): void {
    this.#slotOf.clear()
    this.#slotOfComposite.clear()
  }

  #restOf(id: unknown): string {
    return keyOf(this.#prefix.slice(0, -1), id).slice(this.#prefix.length)
  }
}
