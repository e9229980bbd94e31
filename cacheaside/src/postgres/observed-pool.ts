import { borrowed, type PgPool } from './connection.ts'
import { answered, LentClient, type Query, standIn } from './observed-client.ts'
import type { Touched } from './touched.ts'

type Connected = (error: unknown, client: unknown, release: (destroy?: unknown) => void) => void

/**
 * What stands in for the pool while a load is observed. It keeps one client for the load. While the loader has that one out by
 * `connect`, it borrows others, as many as the loader would have had without observation: one could wait for another
 * within the loader.
 */
export class LentPool {
  readonly #pool: PgPool
  /** The clients that it has, each with the function that gives it back. */
  readonly #lent = new Map<LentClient, (destroy: boolean) => void>()
  readonly #found = { asked: new Set<string>(), others: new Set<string>() }
  #touchedSql = ''
  /** The client that the loader does not have out. */
  #free: LentClient | undefined
  /** Clients on their way back. */
  readonly #returning = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | undefined
  #isEnded = false
  /** Whether the loader has used it at all. */
  isUsed = false
  /** Why it is not known, or not fully known, what was touched. */
  trouble: unknown

  constructor(pool: PgPool) {
    this.#pool = pool
  }

  /**
   * Borrows the first client, and prepares the query for later, before the loader works. Rejects only if there is no client:
   * after other trouble the loader's statements will.
   */
  async begin(sqlOf: (run: (script: string) => Promise<unknown>) => Promise<string>): Promise<void> {
    const { client, giveBack } = await borrowed(this.#pool)
    try {
      this.#touchedSql = await sqlOf(script => client.query(script))
    } catch (error) {
      this.trouble = error
    }
    this.#free = new LentClient(client, this.#touchedSql)
    this.#lent.set(this.#free, giveBack)
  }

  /** What the loader's transactions have touched. */
  get touched(): Touched {
    return { asked: [...this.#found.asked], others: [...this.#found.others], isWithin: true }
  }

  /** The stand-in for the pool. After the load it is the pool again. */
  get stand(): unknown {
    return standIn(this.#pool, {
      query: (...args: unknown[]) => {
        if (this.#isEnded) return (this.#pool as unknown as { query: Query }).query(...args)
        this.isUsed = true
        return answered(args, own => this.#query(own))
      },
      connect: (done?: Connected) => {
        if (this.#isEnded) return (this.#pool.connect as Query).call(this.#pool, done)
        const taken = this.#take()
        if (typeof done !== 'function') return taken.then(lent => this.#out(lent).stand)
        const give = (lent: LentClient) => {
          const { stand, release } = this.#out(lent)
          process.nextTick(done, undefined, stand, release)
        }
        taken.then(give, error => process.nextTick(done, error, undefined, () => {}))
        return undefined
      },
      end: async () => {},
    })
  }

  /** Ends what is left of all transactions, and gives all clients back; the loader has ended. */
  async end(commits: boolean): Promise<void> {
    this.#isEnded = true
    for (const lent of [...this.#lent.keys()]) this.#giveBack(lent, commits, false)
    await Promise.all(this.#returning)
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Statements at the pool wait for each other, as long as there is a client that nobody has out. */
  async #query(args: readonly unknown[]): Promise<unknown> {
    const lent = this.#free ?? (await this.#take())
    const answer = lent.query(args)
    if (lent !== this.#free) this.#return(lent, false)
    return answer
  }

  #take(): Promise<LentClient> {
    const free = this.#free
    this.#free = undefined
    if (free !== undefined) return Promise.resolve(free)
    return borrowed(this.#pool).then(({ client, giveBack }) => {
      const lent = new LentClient(client, this.#touchedSql)
      this.#lent.set(lent, giveBack)
      if (this.#isEnded) this.#giveBack(lent, false, false)
      return lent
    })
  }

  /** A client that the loader gets. */
  #out(lent: LentClient) {
    let isOut = true
    const release = (destroy?: unknown) => {
      if (isOut) this.#return(lent, Boolean(destroy))
      isOut = false
    }
    this.isUsed = true
    return { stand: lent.stand(release), release }
  }

  /** It keeps one of those that the loader has given back. */
  #return(lent: LentClient, destroy: boolean): void {
    if (destroy || this.#free !== undefined) this.#giveBack(lent, true, destroy)
    else if (!this.#isEnded) this.#free = lent
  }

  #giveBack(lent: LentClient, commits: boolean, destroy: boolean): void {
    const giveBack = this.#lent.get(lent)
    if (giveBack === undefined) return
    this.#lent.delete(lent)
    const returning = this.#returned(lent, commits, destroy).then(
      () => giveBack(destroy || lent.isBroken),
      error => {
        this.#failure ??= { error }
        giveBack(true)
      },
    )
    this.#returning.add(returning)
    void returning.finally(() => this.#returning.delete(returning))
  }

  async #returned(lent: LentClient, commits: boolean, destroy: boolean): Promise<void> {
    // A loader ends a statement in this way.
    if (destroy && lent.isBusy) lent.abandon()
    else await lent.end(commits)
    this.trouble ??= lent.trouble
    for (const table of lent.touched.asked) this.#found.asked.add(table)
    for (const table of lent.touched.others) this.#found.others.add(table)
  }
}
