/**
 * How large the values are that a store's commands carry. All commands of a process share one connection to each primary: what
 * is on its way holds up everything behind it, and past the cache's `sharedTimeoutMs` the store counts as unavailable.
 */
import { MAX_TAG_LENGTH, MAX_TAGS } from '../shared/register.ts'

/** What 100 megabits per second carry within 100 ms: see `docs/decisions/0029-a-bound-on-values-in-redis.md`. */
export const DEFAULT_MAX_VALUE_BYTES = 2 ** 20

/** What one command, and all fills under way, may carry: what a gigabit per second carries in two thirds of 100 ms. */
export const TOGETHER_BYTES = 8 * 2 ** 20

/** The most keys that one command asks for. A piece of a `getMany` asks for no more. */
export const MOST_TOGETHER = 1_000
/** So many misses, with their leases and fills, take a third of 100 ms on a slow machine. */
const MOST_AT_ONCE = 500

/** Header and tags of a register, at most. */
const AROUND_VALUE_BYTES = 1_024 + MAX_TAGS * (MAX_TAG_LENGTH * 3 + 64)

/** The most bytes of a register that a store with this bound hands out. */
export const maxRegisterBytesOf = (maxValueBytes: number): number => maxValueBytes + AROUND_VALUE_BYTES

/** After so many values the earlier ones count half. */
const VALUES_REMEMBERED = 2_000
const MOST_KEYSPACES = 1_000
const MOST_LARGE = 1_000

/** The sizes of values that one store has seen, and what follows for its next commands. */
export class ValueSizes {
  /** The most bytes of a register that is handed out. */
  readonly maxRegisterBytes: number
  /** The most bytes of UTF-8 of the values that one command carries. */
  readonly togetherBytes: number
  readonly #usual = new Map<string, { units: number; values: number }>()
  /** Names of registers that were seen to be too large. They are not asked for by commands that would bring them. */
  readonly #large = new Set<string>()
  #filling = 0

  constructor(maxValueBytes: number) {
    this.maxRegisterBytes = maxRegisterBytesOf(maxValueBytes)
    this.togetherBytes = Math.max(TOGETHER_BYTES, this.maxRegisterBytes)
  }

  /** As `SharedStore.keysAtOnce`. */
  keysAtOnce(keyspace: string): number {
    const usual = this.#usual.get(keyspace)
    if (usual === undefined || usual.units === 0) return MOST_AT_ONCE
    return Math.max(1, Math.min(MOST_AT_ONCE, Math.floor((this.togetherBytes * usual.values) / usual.units)))
  }

  /** Notes the values that came for keys of one keyspace together, or one that is stored. */
  saw(key: string, replies: readonly unknown[]): void {
    const keyspace = key.slice(0, key.indexOf(':'))
    let usual = this.#usual.get(keyspace)
    if (usual === undefined) {
      if (this.#usual.size >= MOST_KEYSPACES) this.#usual.clear()
      usual = { units: 0, values: 0 }
      this.#usual.set(keyspace, usual)
    }
    for (const reply of replies) {
      if (typeof reply !== 'string') continue
      usual.units += reply.length
      usual.values++
    }
    if (usual.values < VALUES_REMEMBERED) return
    usual.units /= 2
    usual.values /= 2
  }

  /** Whether any register was too large when it was seen last. */
  get knowsLarge(): boolean {
    return this.#large.size > 0
  }

  isLarge(name: string): boolean {
    return this.#large.has(name)
  }

  noteLarge(name: string, isLarge: boolean): void {
    if (!isLarge) this.#large.delete(name)
    else {
      if (this.#large.size >= MOST_LARGE) this.#large.delete(this.#large.values().next().value!)
      this.#large.add(name)
    }
  }

  /**
   * Whether a value may be sent to be stored now. One at a time may always.
   *
   * @returns ends its way; `undefined`: too much is under way already.
   */
  send(text: string | undefined): (() => void) | undefined {
    const units = text?.length ?? 0
    if (this.#filling > 0 && this.#filling + units > this.togetherBytes) return undefined
    this.#filling += units
    return () => {
      this.#filling -= units
    }
  }
}
