import { type Query, standIn } from './observed-client.ts'
import type { Touched } from './touched.ts'

/** The part of a PGlite's transaction that an observer uses. */
export interface PGliteTransaction {
  query(text: string): Promise<{ rows: { touched: string }[] }>
  exec(script: string): Promise<unknown>
}

/**
 * What stands in for a PGlite while a load is observed: a transaction of its session. The loader's statements and
 * transactions wait for each other, as in a PGlite. After one that has failed the transaction begins again, because without
 * observation each is a transaction by itself.
 */
export class LentPGlite {
  readonly #pglite: object
  readonly #transaction: PGliteTransaction
  readonly #touchedSql: string
  readonly #found = { asked: new Set<string>(), others: new Set<string>() }
  #last: Promise<unknown> = Promise.resolve()
  #isEnded = false
  /** Why it is not known, or not fully known, what was touched. */
  trouble: unknown

  constructor(pglite: object, transaction: PGliteTransaction, touchedSql: string) {
    this.#pglite = pglite
    this.#transaction = transaction
    this.#touchedSql = touchedSql
  }

  /** What the loader's transactions have touched. */
  get touched(): Touched {
    return { asked: [...this.#found.asked], others: [...this.#found.others], isWithin: true }
  }

  /** The stand-in. After the load it is the PGlite again. */
  get stand(): unknown {
    const methodOf = (real: object, name: string) => (Reflect.get(real, name) as Query).bind(real)
    const statement =
      (name: string) =>
      (...args: unknown[]) =>
        this.#isEnded
          ? methodOf(this.#pglite, name)(...args)
          : this.#inTurn(() => methodOf(this.#transaction, name)(...args))
    const transaction = (work: (given: unknown) => unknown) =>
      this.#isEnded
        ? methodOf(this.#pglite, 'transaction')(work)
        : this.#inTurn(() => this.#asTransaction(work))
    const statements = ['query', 'exec', 'sql'].map(name => [name, statement(name)] as const)
    return standIn(this.#transaction, { ...Object.fromEntries(statements), transaction })
  }

  /** Looks for the last time; the loader has ended. */
  async end(): Promise<void> {
    this.#isEnded = true
    await this.#last
    await this.#look()
  }

  /** The loader's own transaction. */
  get #within(): unknown {
    const rollback = async () => {
      await this.#look()
      await this.#again('ROLLBACK')
    }
    return standIn(this.#transaction, { rollback })
  }

  #inTurn(work: () => unknown): Promise<unknown> {
    const answer = this.#last.then(work)
    this.#last = answer.catch(async error => {
      await this.#look(error)
      // If that is not possible, the next statement fails.
      await this.#again('ROLLBACK').catch(() => {})
    })
    return answer
  }

  /** What was read before ends ahead of it, as it may want another isolation level. */
  async #asTransaction(work: (given: unknown) => unknown): Promise<unknown> {
    await this.#look()
    await this.#again('COMMIT')
    const answer = await work(this.#within)
    await this.#look()
    await this.#again('COMMIT')
    return answer
  }

  async #again(end: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    await this.#transaction.exec(`${end}; BEGIN`)
  }

  /** @param cause - Why it may be impossible. */
  async #look(cause?: unknown): Promise<void> {
    try {
      const { rows } = await this.#transaction.query(this.#touchedSql)
      const { asked, others } = JSON.parse(rows[0]!.touched) as Touched
      for (const table of asked) this.#found.asked.add(table)
      for (const table of others) this.#found.others.add(table)
    } catch (error) {
      this.trouble ??= cause ?? error
    }
  }
}
