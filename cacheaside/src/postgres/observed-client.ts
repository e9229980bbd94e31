import type { PgPoolClient } from './connection.ts'
import type { Touched } from './touched.ts'

export type Query = (...args: unknown[]) => unknown

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

/** The SQLSTATE of a statement in a transaction that has failed before. */
const IN_FAILED = '25P02'

/** A query that ends by its own events, such as a cursor. */
interface Submitted {
  submit(): void
  handleError?(error: unknown, connection: object): void
}

const isSubmitted = (first: unknown): first is Submitted =>
  typeof (first as Partial<Submitted> | undefined)?.submit === 'function'

/**
 * Runs a statement, and answers in the way that its caller expects: by a promise, by a callback, or with the query itself if
 * it ends by its own events.
 */
export function answered(
  args: readonly unknown[],
  run: (args: readonly unknown[]) => Promise<unknown>,
): unknown {
  const [first] = args
  if (isSubmitted(first)) {
    run(args).catch(error => first.handleError?.(error, {}))
    return first
  }
  const inConfig = (first as { callback?: unknown } | null | undefined)?.callback
  const callback = [args.at(-1), inConfig].find(one => typeof one === 'function')
  if (callback === undefined) return run(args)
  const config = callback === inConfig ? { ...(first as object), callback: undefined } : first
  const own = [config, ...args.slice(1)].filter(one => one !== callback)
  const tell = (...outcome: unknown[]) => process.nextTick(callback as Query, ...outcome)
  run(own).then(result => tell(null, result), tell)
  return undefined
}

/** The transaction that its statements run in: none, one that was begun here, or one that the loader has begun. */
type Within = 'none' | 'ours' | 'theirs'

/**
 * A client that a loader works with while it is observed. Its statements run in a transaction, and before that ends, its
 * locks are read. A loader may begin a transaction of its own, perhaps with an isolation level: then ours ends before it.
 * Without observation each statement is a transaction by itself. So after an error ours ends, too, and the next statement
 * finds another.
 *
 * Its statements wait for each other here and not in the client: `pg` is going to refuse a second statement at once.
 */
export class LentClient {
  readonly #client: PgPoolClient
  readonly #touchedSql: string
  readonly #found = { asked: new Set<string>(), others: new Set<string>() }
  #within: Within = 'none'
  #last: Promise<unknown> = Promise.resolve()
  /** The last statement, if it may be under way. */
  #underWay: readonly unknown[] | undefined
  #isEnded = false
  /** Whether it cannot be brought out of its transaction: nobody else may get it. */
  isBroken = false
  /** Why it is not known, or not fully known, what was touched. */
  trouble: unknown

  /** @param touchedSql - The query for what a transaction has touched. Empty: nobody is going to ask. */
  constructor(client: PgPoolClient, touchedSql: string) {
    this.#client = client
    this.#touchedSql = touchedSql
  }

  /** Whether a statement may be under way. Of one that ends by an event, it shows with the next one. */
  get isBusy(): boolean {
    return this.#underWay !== undefined
  }

  /** What the loader's transactions have touched. */
  get touched(): Touched {
    return { asked: [...this.#found.asked], others: [...this.#found.others], isWithin: true }
  }

  /** The stand-in for the client. */
  stand(release: (destroy?: unknown) => void): unknown {
    const own: Record<string, unknown> = {
      query: (...args: unknown[]) => this.query(args),
      release,
      end: async () => {},
    }
    return standIn(this.#client, own)
  }

  /** Takes no more statements, and waits for none that is under way: the client is going to be destroyed. */
  abandon(): void {
    this.#isEnded = true
    this.trouble ??= new Error('its client was destroyed while a statement was under way')
  }

  /** Ends what is left of the transaction. It takes no statement after this: the client will be another's. */
  async end(commits: boolean): Promise<void> {
    this.#isEnded = true
    await this.#last
    if (commits) await this.#leave()
    else if (this.#within !== 'none') await this.#send('ROLLBACK')
  }

  /** Takes a statement of the loader; one with a callback too. */
  query(args: readonly unknown[]): unknown {
    return answered(args, own => this.#query(own))
  }

  #query(args: readonly unknown[]): Promise<unknown> {
    if (this.#isEnded) return Promise.reject(new Error('the load has given this client back'))
    const text = textOf(args[0])
    const turn = this.#last.then(() => this.#before(text))
    this.#underWay = args
    const answer = turn.then(() => this.#run(text, args))
    this.#last = answer.catch(error => this.#after(error))
    return answer
  }

  async #run(text: string, args: readonly unknown[]): Promise<unknown> {
    // If it ends by an event, the next statement waits in the client.
    if (isSubmitted(args[0])) return void this.#send(...args)
    try {
      return await this.#sendAgain(text, args)
    } finally {
      if (this.#underWay === args) this.#underWay = undefined
    }
  }

  /** Sends it once more if one that has ended by an event had failed before it: this one was not run. */
  async #sendAgain(text: string, args: readonly unknown[]): Promise<unknown> {
    try {
      return await this.#send(...args)
    } catch (error) {
      if (this.#within !== 'ours' || (error as { code?: unknown } | null)?.code !== IN_FAILED) throw error
      await this.#after(error)
      await this.#before(text)
      return this.#send(...args)
    }
  }

  /** Sends what has to come before a statement of the loader. Never rejects: if the session is lost, the statement will. */
  async #before(text: string): Promise<void> {
    if (BEGIN.test(text)) {
      if (this.#within === 'ours') await this.#leave().catch(() => {})
      this.#within = 'theirs'
    } else if (END.test(text)) {
      if (this.#within !== 'none') await this.#look()
      if (!BACK.test(text)) this.#within = 'none'
    } else if (this.#within === 'none') {
      this.#within = 'ours'
      await Promise.resolve(this.#send('BEGIN')).catch(() => {})
    }
  }

  /** A statement has failed. Its transaction refuses all others, and knows its locks no more. Never rejects. */
  async #after(error: unknown): Promise<void> {
    if (this.#within !== 'ours') return
    this.trouble ??= error
    this.#within = 'none'
    await Promise.resolve(this.#send('ROLLBACK')).catch(() => {
      this.isBroken = true
    })
  }

  async #leave(): Promise<void> {
    if (this.#within === 'none') return
    await this.#look()
    this.#within = 'none'
    await this.#send('COMMIT')
  }

  async #look(): Promise<void> {
    if (this.#touchedSql === '') return
    try {
      const { rows } = (await this.#send(this.#touchedSql)) as { rows: { touched: string }[] }
      const { asked, others, isWithin } = JSON.parse(rows[0]!.touched) as Touched
      if (!isWithin) throw new Error('the transaction was ended by a text of several statements')
      for (const table of asked) this.#found.asked.add(table)
      for (const table of others) this.#found.others.add(table)
    } catch (error) {
      // Usually a statement has failed before, so the transaction refuses all others.
      this.trouble ??= error
    }
  }

  #send(...args: unknown[]): unknown {
    return (this.#client.query as unknown as Query).apply(this.#client, args)
  }
}

/** An object that has these members instead of its own. */
export function standIn(real: object, own: Readonly<Record<string, unknown>>): unknown {
  return new Proxy(real, {
    has: (target, name) => Object.hasOwn(own, name) || Reflect.has(target, name),
    get(target, name) {
      if (typeof name === 'string' && Object.hasOwn(own, name)) return own[name]
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
