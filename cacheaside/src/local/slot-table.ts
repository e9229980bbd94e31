import { grownCapacity, NOWHERE, resized } from '../eviction/columns.ts'
import type { Spot } from './spot.ts'

/** Numbers below this always have a place in the array. */
const LEAST_ROOM = 1_024
/** The array has at most so many places for each number that has one. */
const MOST_PLACES = 4

/**
 * The slots of a keyspace's entries, by their spots.
 *
 * The ids of most tables are whole numbers close together. Their slots lie in an array, which takes a tenth of the memory of a
 * `Map`, and a look-up there computes no hash. All other spots are in a `Map`.
 */
export class SlotTable {
  /** The slot of each small number, plus one; 0: none, or in the map. */
  #places = new Uint32Array(0)
  /** How many of the places are taken. */
  #taken = 0
  readonly #others = new Map<Spot, number>()

  /** The slot of a whole number of 32 bits; `NOWHERE` if there is none. */
  ofNumber(number: number): number {
    const places = this.#places
    const place = number >= 0 && number < places.length ? places[number]! : 0
    return place > 0 ? place - 1 : (this.#others.get(number) ?? NOWHERE)
  }

  /** The slot of any spot; `NOWHERE` if there is none. */
  of(spot: Spot): number {
    return typeof spot === 'number' ? this.ofNumber(spot) : (this.#others.get(spot) ?? NOWHERE)
  }

  /** Notes the slot of a spot that has none. */
  set(spot: Spot, slot: number): void {
    if (typeof spot !== 'number' || spot < 0 || !this.#hasPlace(spot)) {
      this.#others.set(spot, slot)
      return
    }
    this.#places[spot] = slot + 1
    this.#taken++
  }

  delete(spot: Spot): void {
    if (typeof spot === 'number' && this.#places[spot]! > 0) {
      this.#places[spot] = 0
      this.#taken--
    } else this.#others.delete(spot)
  }

  clear(): void {
    this.#places = new Uint32Array(0)
    this.#taken = 0
    this.#others.clear()
  }

  #hasPlace(number: number): boolean {
    const { length } = this.#places
    if (number < length) return true
    if (number >= Math.max(LEAST_ROOM, MOST_PLACES * this.#taken)) return false
    this.#places = resized(this.#places, Math.max(number + 1, grownCapacity(length)))
    return true
  }
}
