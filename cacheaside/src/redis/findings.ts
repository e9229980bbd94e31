import { silencePromise } from '../base/thrown.ts'
import { Warnings } from '../base/warnings.ts'
import type { RedisFinding } from './examine.ts'
import type { ResolvedRedisOptions } from './options.ts'

const MOST_SOURCES = 1_000

/**
 * What is wrong with the servers now, by the source that has found it. A finding is told when it is new, and again when the
 * same source does not find it any more.
 */
export class Findings {
  readonly #warnings: Warnings
  readonly #onWarning: ResolvedRedisOptions['onWarning']
  readonly #current = new Map<string, readonly RedisFinding[]>()

  constructor({ clock, logger, onWarning }: ResolvedRedisOptions) {
    this.#warnings = new Warnings(clock, logger)
    this.#onWarning = onWarning
  }

  /**
   * Notes all that a source finds now.
   *
   * @param source - A connection's purpose and address.
   */
  found(source: string, findings: readonly RedisFinding[]): void {
    const before = this.#current.get(source) ?? []
    const isIn = (some: readonly RedisFinding[], one: RedisFinding) =>
      some.some(({ message }) => message === one.message)
    const others = [...this.#current].filter(([name]) => name !== source).flatMap(([, some]) => some)
    this.#current.delete(source)
    if (findings.length > 0) this.#current.set(source, findings)
    // Nodes of a Cluster come and go under new addresses for as long as the process lives.
    if (this.#current.size > MOST_SOURCES) this.#current.delete(this.#current.keys().next().value!)
    for (const finding of findings) if (!isIn(before, finding) && !isIn(others, finding)) this.#tell(finding)
    for (const finding of before) if (!isIn(findings, finding) && !isIn(others, finding)) this.#over(finding)
  }

  /** Says nothing any more. */
  close(): void {
    this.#warnings.close()
  }

  #tell(finding: RedisFinding): void {
    const { code, severity, message } = finding
    const telling =
      severity === 'refused'
        ? ({ message: `the shared store is not used: ${message}`, level: 'error' } as const)
        : ({ message, level: 'warn' } as const)
    try {
      if (this.#onWarning === undefined) this.#warnings.begin(`REDIS_${code}`, message, telling)
      else silencePromise(this.#onWarning(finding))
    } catch {
      // An error of the logger must not end the connection, and nobody is left to tell.
    }
  }

  #over({ code, message }: RedisFinding): void {
    this.#warnings.end(`REDIS_${code}`, message, `resolved: ${message}`)
  }
}
