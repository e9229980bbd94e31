/**
 * How large the values are that a store's commands carry. All commands of a process share one connection to each primary: what
 * is on its way holds up everything behind it, and past the cache's `sharedTimeoutMs` the store counts as unavailable.
 */
import { MAX_TAG_LENGTH, MAX_TAGS } from '../shared/register.ts'

/** What 100 megabits per second carry within 100 ms: see `docs/decisions/0029-a-bound-on-values-in-redis.md`. */
export const DEFAULT_MAX_VALUE_BYTES = 2 ** 20

/**
 * What one command, all fills under way, and all replies under way but the last may carry: what a gigabit per second carries in
 * two thirds of 100 ms.
 */
const TOGETHER_BYTES = 8 * 2 ** 20

/** Registers of at most this length always come: a thousand of them are {@link TOGETHER_BYTES}. */
export const SHORT_BYTES = 8 * 2 ** 10

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

/** Registers that one command asks for. */
export interface AskedFor {
  /** A longer one is not to be sent. */
  readonly mostBytes: number
  /** To be called when the reply is there. `undefined`: their lengths are not counted. */
  readonly end: (() => void) | undefined
}

/** The sizes of values that one store has seen, and what follows for its next commands. */
export class ValueSizes {
  /** The most bytes of a register that is handed out. */
  readonly maxRegisterBytes: number
  /** The most bytes of UTF-8 of the values that one command carries. */
  readonly togetherBytes: number
  readonly #usual = new Map<string, { units: number; values: number }>()
  readonly #prefixLength: number
  readonly #short: AskedFor = { mostBytes: SHORT_BYTES, end: undefined }
  readonly #anyway: AskedFor
  /** Whether any register was longer than {@link SHORT_BYTES}. As long as none was, nothing follows from their lengths. */
  #seesLong = false
  #coming = 0
  /** Names of registers that were seen to be too large. They are not asked for by commands that would bring them. */
  readonly #large = new Set<string>()
  #filling = 0

  /** @param prefix - What comes before the key in the name of a register. */
  constructor(maxValueBytes: number, prefix = '') {
    this.maxRegisterBytes = maxRegisterBytesOf(maxValueBytes)
    this.togetherBytes = Math.max(TOGETHER_BYTES, this.maxRegisterBytes)
    this.#prefixLength = prefix.length
    this.#anyway = { mostBytes: this.maxRegisterBytes, end: undefined }
  }

  /** As `SharedStore.keysAtOnce`. */
  keysAtOnce(keyspace: string): number {
    const usual = this.#usual.get(keyspace)
    if (usual === undefined || usual.units === 0) return MOST_AT_ONCE
    return Math.max(1, Math.min(MOST_AT_ONCE, Math.floor((this.togetherBytes * usual.values) / usual.units)))
  }

  /** Notes a register that came, or a value that is stored. */
  saw(name: string, register: unknown): void {
    if (typeof register !== 'string') return
    if (!this.#seesLong && register.length <= SHORT_BYTES) return
    this.#seesLong = true
    const keyspace = this.#keyspaceOf(name)
    let usual = this.#usual.get(keyspace)
    if (usual === undefined) {
      if (this.#usual.size >= MOST_KEYSPACES) this.#usual.clear()
      usual = { units: 0, values: 0 }
      this.#usual.set(keyspace, usual)
    }
    usual.units += register.length
    usual.values++
    if (usual.values < VALUES_REMEMBERED) return
    usual.units /= 2
    usual.values /= 2
  }

  /**
   * How much may come for these registers now. While {@link ValueSizes.togetherBytes} are on their way already, only short ones
   * may: what is behind would come too late, and everything that is asked for after it.
   */
  ask(names: readonly string[]): AskedFor {
    if (!this.#seesLong) return this.#anyway
    if (this.#coming >= this.togetherBytes) return this.#short
    let units = 0
    for (const name of names) units += this.#usually(name)
    this.#coming += units
    return {
      mostBytes: this.maxRegisterBytes,
      end: () => {
        this.#coming -= units
      },
    }
  }

  /** How many of these registers, from one on, may be asked for by one command. */
  fitting(names: readonly string[], from: number): number {
    const most = Math.min(MOST_TOGETHER, names.length - from)
    if (!this.#seesLong) return most
    let units = 0
    for (let count = 0; count < most; count++) {
      units += this.#usually(names[from + count]!)
      if (units >= this.togetherBytes) return count + 1
    }
    return most
  }

  /** How long a register of this keyspace is; 0 where it is not known. */
  #usually(name: string): number {
    const usual = this.#usual.get(this.#keyspaceOf(name))
    return usual === undefined ? 0 : usual.units / usual.values
  }

  #keyspaceOf(name: string): string {
    return name.slice(this.#prefixLength, name.indexOf(':', this.#prefixLength))
  }

  /** Whether nothing was seen whose length matters. */
  get sawShortOnly(): boolean {
    return !this.#seesLong && this.#large.size === 0
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
