/** At most so many keys are remembered: about a megabyte. */
const MOST_KEYS = 10_000

/**
 * Which keys the shared store was found to hold lately, and until when. It is a guess: keys are forgotten when an
 * invalidation is heard, and no notice tells of an eviction. A right guess is a plain read, which costs the store less
 * than a lease and changes nothing there. A wrong guess costs one more question.
 */
export class FoundKeys {
  readonly #untilMs = new Map<string, number>()

  /** @param untilMs - When its value expires, by the clock's `nowMs`. */
  note(key: string, untilMs: number): void {
    if (this.#untilMs.get(key) === untilMs) return
    if (this.#untilMs.size >= MOST_KEYS) this.#untilMs.clear()
    this.#untilMs.set(key, untilMs)
  }

  forget(key: string): void {
    this.#untilMs.delete(key)
  }

  /** Whether it is worth a guess that the store holds a fresh value of this key. */
  has(key: string, nowMs: number): boolean {
    const untilMs = this.#untilMs.get(key)
    return untilMs !== undefined && nowMs < untilMs
  }
}
