import type { Clock } from '../base/clock.ts'
import { BoundedMap, type BoundedMapOptions } from '../eviction/bounded-map.ts'
import type { MadeOfRegister } from '../shared/shared-store.ts'

/** What {@link Registers} are bounded by; the same options as a {@link BoundedMap}'s. */
export type RegistersOptions = Omit<BoundedMapOptions<string>, 'onEvict'>

/** What the embedded store holds, and how much has been evicted and has expired. */
export interface RegistersStats {
  /** Registers held, expired ones included that were not found yet. */
  readonly entries: number
  /** What they are charged: key and text in UTF-8, and {@link REGISTER_OVERHEAD_BYTES} each. */
  readonly bytes: number
  /** Registers that had to make room for others. */
  readonly evictions: number
  /** Registers whose life ended. */
  readonly expirations: number
}

/**
 * What one register costs beside the characters of its key and its text: two string headers, an entry of the map
 * and a slot in the columns of the map and of its policy. Measured on Node 20: 130–160 bytes, depending on the
 * policy and on how full the map's table is. (`embedded-shared.test.ts` compares it with the heap.)
 */
export const REGISTER_OVERHEAD_BYTES = 150

/**
 * The memory of the embedded store: one string per key, bounded, each with a life, and the store's own time. It
 * knows nothing about what the strings mean, except that a pinned one must not make room for another.
 */
export class Registers {
  /** Where the time and the nonces come from. */
  readonly clock: Clock
  /** The text of each register, or what a reader has made of it. */
  readonly #map: BoundedMap<string | MadeOfRegister>
  readonly #mostMadeBytes: number
  /** What is charged for all that readers have made of texts. */
  #madeBytes = 0
  readonly #epochOffsetMs: number
  #evictions = 0
  #expirations = 0

  constructor(options: RegistersOptions) {
    this.clock = options.clock
    // Taken once: the time in registers only goes forward, even if the wall clock jumps later.
    this.#epochOffsetMs = this.clock.epochMs() - this.clock.nowMs()
    this.#map = new BoundedMap<string | MadeOfRegister>({
      ...options,
      onEvict: (_key, _held, reason) => {
        if (reason === 'evicted') this.#evictions++
        else this.#expirations++
      },
      onGone: held => {
        if (typeof held === 'object') this.#madeBytes -= chargeOfMade(held)
      },
    })
    // After the map has refused what is no number.
    this.#mostMadeBytes = (options.maxBytes ?? Number.POSITIVE_INFINITY) * MADE_SHARE
  }

  /** The store's time in milliseconds since 1970. Never goes back. */
  timeMs(): number {
    return this.clock.nowMs() + this.#epochOffsetMs
  }

  /** What is under the key. Counts as an access. */
  get(key: string, timeMs: number): string | undefined {
    return textOf(this.#map.get(key, timeMs - this.#epochOffsetMs))
  }

  /** As {@link Registers.get} at about this moment, or what a reader has made of the text. */
  held(key: string): string | MadeOfRegister | undefined {
    return this.#map.get(key, this.clock.coarseMs())
  }

  /**
   * Keeps what a reader has made of a text beside it. A quarter of the room is for that: it only makes hits faster, and
   * must not take the place of many other values.
   */
  keepMade(key: string, made: MadeOfRegister): void {
    const { registerText } = made
    const held = this.#map.inspect(key, this.clock.coarseMs())
    if (textOf(held) !== registerText) return
    const bytes = chargeOfMade(made)
    if (this.#madeBytes + bytes > this.#mostMadeBytes) return
    if (this.#map.replace(key, made, charge(key, registerText) + bytes)) this.#madeBytes += bytes
  }

  /** What is under the key, without counting as an access. */
  inspect(key: string, timeMs: number): string | undefined {
    return textOf(this.#map.inspect(key, timeMs - this.#epochOffsetMs))
  }

  /** When the life of what is under the key ends; `undefined` if there is nothing, or it never ends. */
  untilMs(key: string): number | undefined {
    const expiresAtMs = this.#map.expiresAtMs(key)
    return expiresAtMs === undefined ? undefined : expiresAtMs + this.#epochOffsetMs
  }

  /**
   * Puts `text` under the key until `untilMs`, and replaces what was there.
   *
   * @returns `false` if no room could be made: then nothing has changed, and what was there still is.
   */
  put(key: string, text: string, untilMs: number): boolean {
    return this.#map.set(key, text, {
      bytes: charge(key, text),
      expiresAtMs: untilMs - this.#epochOffsetMs,
    })
  }

  /** As {@link Registers.put}, but never evicted, and always taken: beyond the limit, if need be. */
  pin(key: string, text: string, untilMs: number): void {
    this.#map.set(key, text, {
      bytes: charge(key, text),
      expiresAtMs: untilMs - this.#epochOffsetMs,
      evictable: false,
    })
  }

  /** Changes the text of a register that is there to another of the same length; its life stays as it is. */
  change(key: string, text: string): void {
    this.#map.replace(key, text, charge(key, text))
  }

  /** Removes what is under the key. */
  delete(key: string): boolean {
    return this.#map.delete(key)
  }

  /** The keys of all registers whose life has not ended, also while others come and go. */
  *keys(): IterableIterator<string> {
    for (const [key] of this.#map.entries()) yield key
  }

  /** Removes everything. */
  clear(): void {
    this.#map.clear()
    this.#madeBytes = 0
  }

  /** What is held now, and the counts since the beginning. */
  stats(): RegistersStats {
    return {
      entries: this.#map.size,
      bytes: this.#map.bytes,
      evictions: this.#evictions,
      expirations: this.#expirations,
    }
  }
}

/** The share of the room for what readers have made of texts. */
const MADE_SHARE = 0.25
/** A parsed object takes about as much again as half its JSON, and the fields before the JSON pay for the object around it. */
const MADE_BYTES_PER_CHARACTER = 1.5

const chargeOfMade = ({ registerText, furtherBytes }: MadeOfRegister): number =>
  Math.ceil(registerText.length * MADE_BYTES_PER_CHARACTER) + furtherBytes

const textOf = (held: string | MadeOfRegister | undefined): string | undefined =>
  typeof held === 'object' ? held.registerText : held

/**
 * The limit is a promise about memory, so that text is charged by the byte, not by the character. V8 keeps text
 * beyond Latin-1 with two bytes per character, which for mostly-ASCII text with a few such characters is up to
 * twice what UTF-8 takes.
 */
function charge(key: string, text: string): number {
  return Buffer.byteLength(key) + Buffer.byteLength(text) + REGISTER_OVERHEAD_BYTES
}
