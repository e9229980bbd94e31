import type { PgPoolClient } from './connection.ts'
import type { Touched } from './touched.ts'

type Query = (...args: unknown[]) => unknown

const COMMENTS = /^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/
const BEGIN = /^(?:begin|start\s+transaction)\b/i
const END = /^(?:commit|end|rollback|abort)\b/i
/** Such a transaction goes on, without the locks that were taken since the savepoint. */
const BACK = /^rollback\s+(?:work\s+|transaction\s+)?to\b/i

/** The text of a statement, in whichever form a driver or an ORM hands it to `query`. */
function textOf(first: unknown): string {
  const { text, cursor } = (first ?? {}) as { text?: unknown; cursor?: { text?: unknown } }
  const all = typeof first === 'string' ? first : String(text ?? cursor?.text ?? '')
  return all.replace(COMMENTS, '')
}

/**
 * A client that a loader works with while it is observed. Its statements run in a transaction, and before that ends, its
 * locks are read. A loader may begin a transaction of its own, perhaps with an isolation level. Before any transaction ends,
 * its locks are read.
 *
 * Its statements wait for each other here and not in the client: `pg` is going to refuse a second statement at once.
 */
export class LentClient {
  readonly #client: PgPoolClient
  #touchedSql = ''
  readonly #found = { asked: new Set<string>(), others: new Set<string>() }
  #isIn = false
  #last: Promise<unknown> = Promise.resolve()
  /** Whether the loader has used it at all. */
  isUsed = false
  /** Why it is not known, or not fully known, what was touched. */
  trouble: unknown

  constructor(client: PgPoolClient) {
    this.#client = client
  }

  /** Prepares the query for later, before the loader works. Never rejects: after trouble the loader's statements will. */
  async begin(sqlOf: (run: (script: string) => Promise<unknown>) => Promise<string>): Promise<void> {
    try {
      this.#touchedSql = await sqlOf(script => this.#client.query(script))
    } catch (error) {
      this.trouble = error
    }
  }

  /** What the loader's transactions have touched. */
  get touched(): Touched {
    return { asked: [...this.#found.asked], others: [...this.#found.others], isWithin: true }
  }

  /**
   * The stand-in for the client, and for the pool that it came from: `connect` gives the same client, and `release` does
   * nothing.
   */
  get stand(): unknown {
    const query = (...args: unknown[]) => this.#query(args)
    const own: Record<string, unknown> = {
      query,
      connect: (done?: (error: undefined, client: unknown, release: () => void) => void) => {
        if (typeof done !== 'function') return Promise.resolve(stand)
        done(undefined, stand, () => {})
        return undefined
      },
      release: () => {},
      end: async () => {},
    }
    const stand: unknown = new Proxy(this.#client, {
      get(client, name) {
        if (typeof name === 'string' && Object.hasOwn(own, name)) return own[name]
        const value: unknown = Reflect.get(client, name)
        return typeof value === 'function' ? value.bind(client) : value
      },
    })
    return stand
  }

  /** Ends what is left of the transaction; the loader has ended. */
  async end(commits: boolean): Promise<void> {
    await this.#last
    if (!this.#isIn) return
    if (commits) await this.#look()
    this.#isIn = false
    await this.#send('query', commits ? 'COMMIT' : 'ROLLBACK')
  }

  #query(args: unknown[]): unknown {
    this.isUsed = true
    const text = textOf(args[0])
    const turn = this.#last.then(() => this.#before(text))
    const isSubmitted = typeof (args[0] as { submit?: unknown } | undefined)?.submit === 'function'
    const callback = [args.at(-1), (args[0] as { callback?: unknown } | undefined)?.callback].find(
      one => typeof one === 'function',
    )
    if (isSubmitted || callback !== undefined) {
      // Its end comes by a callback or an event: the next statement waits in the client.
      this.#last = turn.then(() => void this.#send('query', ...args))
      return isSubmitted ? args[0] : undefined
    }
    const answer = turn.then(() => this.#send('query', ...args))
    this.#last = answer.catch(() => {})
    return answer
  }

  /** Sends what has to come before a statement of the loader. Never rejects: if the session is lost, the statement will. */
  async #before(text: string): Promise<void> {
    if (BEGIN.test(text)) this.#isIn = true
    else if (END.test(text)) {
      if (this.#isIn) await this.#look()
      this.#isIn &&= BACK.test(text)
    } else if (!this.#isIn) {
      this.#isIn = true
      await Promise.resolve(this.#send('query', 'BEGIN')).catch(() => {})
    }
  }

  async #look(): Promise<void> {
    if (this.#touchedSql === '') return
    try {
      const { rows } = (await this.#send('query', this.#touchedSql)) as { rows: { touched: string }[] }
      const { asked, others, isWithin } = JSON.parse(rows[0]!.touched) as Touched
      if (!isWithin) throw new Error('the transaction was ended by a text of several statements')
      for (const table of asked) this.#found.asked.add(table)
      for (const table of others) this.#found.others.add(table)
    } catch (error) {
      // Usually a statement has failed before, so the transaction refuses all others.
      this.trouble ??= error
    }
  }

  #send(method: 'query', ...args: unknown[]): unknown {
    return (this.#client[method] as unknown as Query).apply(this.#client, args)
  }
}
