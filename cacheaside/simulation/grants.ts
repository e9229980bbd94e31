import { TIMES } from './settings.ts'

/** A lease or claim that was asked for. */
interface Asked {
  readonly askedMs: number
  readonly disturbances: number
  /** Since when it has to be given back. */
  owedMs: number | undefined
  isGivenBack: boolean
}

/** By when a process has given up waiting for certain, however its clock runs. */
const GIVEN_UP_MS = TIMES.sharedTimeoutMs + 5
const GRACE_MS = 300

/**
 * What a process has asked for and may have been granted without hearing of it in time. It must give it back, or others wait
 * for a load that nobody runs.
 */
export class Grants {
  readonly #asked = new Map<string, Asked>()

  /** It asks, by this token. */
  ask(token: string, nowMs: number, disturbances: number): void {
    this.#asked.set(token, { askedMs: nowMs, disturbances, owedMs: undefined, isGivenBack: false })
  }

  /** It hears what has become of that. */
  hear(token: string, isGranted: boolean, nowMs: number): void {
    const asked = this.#asked.get(token)
    if (asked === undefined) return
    if (!isGranted || nowMs - asked.askedMs <= GIVEN_UP_MS) {
      this.#asked.delete(token)
      return
    }
    // Given back once already, perhaps, and granted only after that.
    asked.owedMs = nowMs
    asked.isGivenBack = false
  }

  /** It hears that the connection is lost. */
  fail(token: string, nowMs: number): void {
    const asked = this.#asked.get(token)
    if (asked !== undefined) asked.owedMs ??= nowMs
  }

  /** It gives back. */
  giveBack(token: string): void {
    const asked = this.#asked.get(token)
    if (asked !== undefined) asked.isGivenBack = true
  }

  /** What should have been given back by now and was not, said once; across a pause nothing is expected. */
  overdue(nowMs: number, disturbances: number): string[] {
    const tokens: string[] = []
    for (const [token, asked] of this.#asked) {
      const owedMs = asked.owedMs ?? asked.askedMs + GIVEN_UP_MS
      if (nowMs - owedMs < GRACE_MS) continue
      if (asked.disturbances !== disturbances) this.#asked.delete(token)
      else if (!asked.isGivenBack) {
        this.#asked.delete(token)
        tokens.push(token)
      }
    }
    return tokens
  }
}
