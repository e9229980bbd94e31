/** Steps of a process at which the test may hold it, or have it die. */

/**
 * Steps of a read: `load` (before its SELECT), `loaded` (after it), `filled` (the value is stored, the answer to that not
 * heard). Of a write: `guard` (not sent), `guarded`, `commit` (the row is changed, COMMIT not sent), `committed`,
 * `release` (not sent), `releasing` (sent, not answered).
 */
export type Step =
  | 'load'
  | 'loaded'
  | 'filled'
  | 'guard'
  | 'guarded'
  | 'commit'
  | 'committed'
  | 'release'
  | 'releasing'

/** The name of a step of the work on one key. */
export const stepOf = (step: Step, id: number | string): string => `${step} ${id}`

/** Holds the first to come to a step, until it is let go; or ends the process there, as `kill -9` does. */
export class Steps {
  readonly #held = new Map<string, { readonly goOn: Promise<void>; readonly letGo: () => void }>()
  readonly #waiting = new Map<string, () => void>()
  readonly #deadly = new Set<string>()
  readonly #report: (reached: string) => void

  constructor(report: (reached: string) => void) {
    this.#report = report
  }

  hold(name: string): void {
    let letGo = () => {}
    const goOn = new Promise<void>(resolve => {
      letGo = resolve
    })
    this.#held.set(name, { goOn, letGo })
  }

  letGo(name: string): void {
    this.#held.get(name)?.letGo()
    this.#held.delete(name)
    this.#waiting.get(name)?.()
    this.#waiting.delete(name)
  }

  dieAt(name: string): void {
    this.#deadly.add(name)
  }

  /** To be called, and awaited, wherever a step is. */
  pass(step: Step, id: number | string): Promise<void> | undefined {
    const name = stepOf(step, id)
    if (this.#deadly.has(name)) process.kill(process.pid, 'SIGKILL')
    const held = this.#held.get(name)
    if (held === undefined) return undefined
    this.#held.delete(name)
    this.#waiting.set(name, held.letGo)
    this.#report(name)
    return held.goOn
  }
}
