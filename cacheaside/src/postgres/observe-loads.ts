import { invalidOption, invalidOptionInWords, knownNames } from '../base/invalid-option.ts'
import { keyspaceOf, type Tag } from '../base/key.ts'
import { silencePromise } from '../base/thrown.ts'
import type { Cache } from '../cache.ts'
import type { Keyspace } from '../keyspace.ts'
import type { KeyspaceOptions, LoadContext, Settled } from '../options.ts'
import type { Kept } from '../shared/kept.ts'
import type { PgPool } from './connection.ts'
import { LentPGlite, type PGliteTransaction } from './observed-pglite.ts'
import { LentPool } from './observed-pool.ts'
import type { PostgresFeedTables } from './postgres-feed.ts'
import { type Places, placesSql, type Touched, touchedSql } from './touched.ts'

/** The part of a PGlite that an observer uses. */
export interface ObservedPGlite {
  transaction<T>(work: (transaction: never) => Promise<T>): Promise<T>
}

/** The options of {@link observeLoads}. */
export interface ObserveLoadsOptions<Pool, Db = Pool> {
  /** A `pg` pool of two clients at least. Left out: `pglite` is given. */
  readonly pool?: Pool & PgPool
  /** Or a PGlite. There a load that reads other keys through the cache cannot be observed. Left out: `pool` is given. */
  readonly pglite?: Pool & ObservedPGlite
  /**
   * The tables of the feed, as for `postgresFeed` and `installFeed`. The `keyspaces` of each, or `covers`, say what its
   * changes invalidate.
   */
  readonly tables: PostgresFeedTables
  /** For tables whose map names no `keyspaces`: the names of the keyspaces and tags that it invalidates. Left out: there are none. */
  readonly covers?: Readonly<Record<string, readonly string[]>>
  /**
   * Makes the loaders' `db` from the pool, or from its stand-in while a load is observed: for example `drizzle`, or a Kysely.
   * Called once, and once for each observed load. Left out: loaders get the pool.
   */
  readonly use?: (pool: Pool) => Db
  /** How many of the loads are observed: 1 is all of them, 0.001 one in a thousand, at random. Left out: none. */
  readonly sample?: number
  /** Whether tables that the feed does not watch are found, too. @defaultValue false */
  readonly unwatched?: boolean
  /**
   * What is done besides the event. `'throw'`: the load fails, for tests. A function: it is called. Left out: nothing; the
   * event `undeclared`, the statistics and a warning tell.
   */
  readonly undeclared?: 'throw' | ((finding: UndeclaredDependency) => void)
}

/** Tables that a load has touched, and whose changes do not invalidate the loaded value. */
export interface UndeclaredDependency {
  readonly keyspace: string
  readonly key: string
  /** The tables, by the names under which they are watched. */
  readonly tables: readonly string[]
  /** Tables that are not watched at all; only with `unwatched`. */
  readonly unwatched: readonly string[]
  /** The tags that were named for the value. */
  readonly tags: readonly string[]
}

/** What a loader gets besides the id, in an observed keyspace. */
export interface ObservedContext<Db> extends LoadContext {
  /**
   * Reads the origin: the pool, or its stand-in while this load is observed. Only reads through it are seen. Do not keep it
   * beyond the load.
   */
  readonly db: Db
}

/** The options of a keyspace whose loads are observed: as those of `cache.keyspace`, with a `db` for its loaders. */
export interface ObservedKeyspaceOptions<Id, V, D, W, Db>
  extends Omit<KeyspaceOptions<Id, V, D, W>, 'load' | 'loadMany'> {
  /** As in `KeyspaceOptions`. Left out: `loadMany` is given. */
  readonly load?: (id: Id, context: ObservedContext<Db>) => Promise<V | undefined> | V | undefined
  /** As in `KeyspaceOptions`. Left out: `load` is called for each id. */
  readonly loadMany?: (
    ids: readonly Id[],
    context: ObservedContext<Db>,
  ) => Promise<Iterable<readonly [Id, V | Error | undefined]>>
  /** Tables that loads may read without depending on them, for example a log. Left out: none. */
  readonly mayRead?: readonly string[]
}

/** Observes the loads of the keyspaces that it defines. Made by {@link observeLoads}. */
export interface LoadObserver<Db> {
  /** Defines a keyspace, as `cache.keyspace` does. */
  keyspace<Id, V, D = Kept<V>, W = D>(
    name: string,
    options: ObservedKeyspaceOptions<Id, V, D, W, Db>,
  ): Keyspace<Id, Settled<W>, V>
  /** What was found so far, each once; at most a hundred. */
  readonly findings: readonly UndeclaredDependency[]
}

/** The outcome of one load: its value, and what it has touched; `undefined` if that is not known. */
interface Observed<T> {
  readonly result: T
  readonly touched: Touched | undefined
}

const OPTION_NAMES = ['pool', 'pglite', 'tables', 'covers', 'use', 'sample', 'unwatched', 'undeclared']
const MOST_FINDINGS = 100

/**
 * Finds tables on which values depend and which their keyspace does not declare. Loads run in a transaction; before it ends,
 * the locks of its session (`pg_locks`) tell which tables it has touched: by views, policies and functions too, and by plans
 * that were made long ago. A watched table that is touched must invalidate something of the value: its keyspace, or one of
 * the tags that `tags` and `tagsOf` name for this very value. Any other is an event `undeclared`.
 *
 * Names of tables are looked up as in a session that has just begun, whatever search path or role a loader sets.
 *
 * It sees tables and not rows: it cannot know whether `where` names the right group. A load that is not observed costs
 * nothing. An observed one costs three more statements (the first load a fourth), and keeps a client while it runs. At most
 * half of the pool's clients are used for this at once; further loads are not observed.
 *
 * @throws CacheError `INVALID_OPTIONS`
 * @see docs/tables.md#what-a-load-has-read
 *
 * @example
 * ```ts
 * const observed = observeLoads(cache, { pool, tables, sample: 0.001 })
 * const posts = observed.keyspace('post', {
 * load: async (id: number, { db }) => (await db.query('SELECT * FROM post_with_author WHERE id = $1', [id])).rows[0],
 * tagsOf: post => (post ? [author.where({ id: post.author_id })] : []),
 * })
 * ```
 */
export function observeLoads<Pool, Db = Pool>(
  cache: Cache,
  options: ObserveLoadsOptions<Pool, Db>,
): LoadObserver<Db> {
  return new Observer(cache, checked(cache, options))
}

type Checked = ReturnType<typeof checked>

function checked<Pool, Db>(cache: Cache, options: ObserveLoadsOptions<Pool, Db>) {
  if (typeof cache?.keyspace !== 'function') throw invalidOption('cache', 'a cache', cache)
  knownNames('options', options, OPTION_NAMES)
  const { pool, pglite, tables, covers = {}, use, sample, unwatched = false, undeclared } = options
  if ((pool === undefined) === (pglite === undefined))
    throw invalidOptionInWords('either pool or pglite', 'given', pool === undefined ? 'neither' : 'both')
  if (pool !== undefined && typeof pool?.connect !== 'function')
    throw invalidOption('pool', 'a pg Pool', pool)
  if (pglite !== undefined && typeof pglite?.transaction !== 'function')
    throw invalidOption('pglite', 'a PGlite', pglite)
  const most = (pool as { options?: { max?: number } } | undefined)?.options?.max ?? 10
  if (most < 2) throw invalidOption("the pool's max", '2 or more', most)
  if (sample !== undefined && !(typeof sample === 'number' && sample > 0 && sample <= 1))
    throw invalidOption('sample', 'greater than 0 and at most 1', sample)
  if (undeclared !== undefined && undeclared !== 'throw' && typeof undeclared !== 'function')
    throw invalidOption('undeclared', "'throw', or a function", undeclared)
  if (use !== undefined && typeof use !== 'function') throw invalidOption('use', 'a function', use)
  if (typeof tables !== 'object' || tables === null) throw invalidOption('tables', 'an object', tables)
  const names = Object.keys(tables)
  const invalidates = new Map<string, readonly string[]>()
  for (const [table, map] of Object.entries(tables)) {
    const covered = covers[table] ?? (typeof map === 'function' ? undefined : map.keyspaces)
    if (covered === undefined)
      throw invalidOption(
        `tables.${table}.keyspaces`,
        `the keyspaces that the table invalidates, or given as covers.${table}`,
        covered,
      )
    invalidates.set(table, covered)
  }
  return {
    pool,
    pglite,
    use: (use ?? ((given: unknown) => given)) as (given: unknown) => unknown,
    invalidates,
    names,
    sample: sample ?? 0,
    unwatched,
    undeclared,
    most: pglite === undefined ? Math.floor(most / 2) : 1,
  }
}

class Observer<Db> implements LoadObserver<Db> {
  readonly #cache: Cache
  readonly #options: Checked
  readonly #plain: Db
  readonly #findings = new Map<string, UndeclaredDependency>()
  /** The query for what a transaction has touched; made once all tables are found. */
  #touchedSql: string | undefined
  #running = 0

  constructor(cache: Cache, options: Checked) {
    this.#cache = cache
    this.#options = options
    this.#plain = options.use(options.pool ?? options.pglite) as Db
  }

  get findings(): readonly UndeclaredDependency[] {
    return [...this.#findings.values()]
  }

  keyspace<Id, V, D = Kept<V>, W = D>(
    name: string,
    { load, loadMany, mayRead = [], ...rest }: ObservedKeyspaceOptions<Id, V, D, W, Db>,
  ): Keyspace<Id, Settled<W>, V> {
    const judge = (id: Id, value: V | undefined, touched: Touched) =>
      this.#judge(space, rest as KeyspaceOptions<unknown, unknown>, mayRead, id, value, touched)
    const space: Keyspace<Id, Settled<W>, V> = this.#cache.keyspace<Id, V, D, W>(name, {
      ...(rest as KeyspaceOptions<Id, V, D, W>),
      ...(load && {
        load: (id: Id, context: LoadContext) => {
          if (!this.#isChosen()) return load(id, Object.assign({}, context, { db: this.#plain }))
          return this.#run(
            name,
            async db => load(id, Object.assign({}, context, { db })),
            value => [[id, value]],
            judge,
          )
        },
      }),
      ...(loadMany && {
        loadMany: (ids: readonly Id[], context: LoadContext) => {
          if (!this.#isChosen()) return loadMany(ids, Object.assign({}, context, { db: this.#plain }))
          const answer = async (db: Db) => [...(await loadMany(ids, Object.assign({}, context, { db })))]
          const pairsOf = (pairs: readonly (readonly [Id, V | Error | undefined])[]) => {
            const values = new Map(pairs.map(([id, value]) => [space.key(id), value]))
            return ids.map(id => [id, values.get(space.key(id))] as const)
          }
          return this.#run(name, answer, pairsOf, judge)
        },
      }),
    })
    return space
  }

  #isChosen(): boolean {
    const { sample, most } = this.#options
    if (sample === 0 || this.#running >= most) return false
    return sample === 1 || this.#cache.auditable.clock.random() < sample
  }

  async #run<Id, V, T>(
    name: string,
    work: (db: Db) => Promise<T>,
    pairsOf: (result: T) => readonly (readonly [Id, V | Error | undefined])[],
    judge: (id: Id, value: V | undefined, touched: Touched) => void,
  ): Promise<T> {
    this.#running++
    try {
      const { pglite } = this.#options
      const { result, touched } = await (pglite === undefined
        ? this.#onClient(name, work)
        : this.#onPGlite(name, work))
      if (touched === undefined) return result
      for (const [id, value] of pairsOf(result)) if (!(value instanceof Error)) judge(id, value, touched)
      return result
    } finally {
      this.#running--
    }
  }

  /** Finds the tables before a load begins. Looks again until all exist: another program may be creating them. */
  async #sqlOf(run: (script: string) => Promise<unknown>): Promise<string> {
    if (this.#touchedSql !== undefined) return this.#touchedSql
    const { names } = this.#options
    const results = (await run(placesSql(names))) as readonly { rows: { places: string }[] }[]
    const places = JSON.parse(results.at(-1)!.rows[0]!.places) as Places
    const sql = touchedSql(places)
    if (places.tables.length === names.length) this.#touchedSql = sql
    return sql
  }

  async #onClient<T>(name: string, work: (db: Db) => Promise<T>): Promise<Observed<T>> {
    const lent = new LentPool(this.#options.pool as PgPool)
    await lent.begin(run => this.#sqlOf(run))
    let result: T
    try {
      result = await work(this.#options.use(lent.stand) as Db)
    } catch (error) {
      await lent.end(false).catch(() => {})
      throw error
    }
    await lent.end(true)
    const unused = new Error('the loader has not used the db that it was given')
    return { result, touched: this.#known(name, lent.isUsed ? lent.trouble : unused, lent.touched) }
  }

  /** PGlite has one session, which is kept for the transaction. An error of the loader ends the transaction. */
  async #onPGlite<T>(name: string, work: (db: Db) => Promise<T>): Promise<Observed<T>> {
    const pglite = this.#options.pglite as ObservedPGlite
    const sql = await this.#sqlOf(script =>
      pglite.transaction((transaction: PGliteTransaction) => transaction.exec(script)),
    )
    return pglite.transaction(async (transaction: PGliteTransaction) => {
      const lent = new LentPGlite(pglite, transaction, sql)
      const result = await work(this.#options.use(lent.stand) as Db)
      await lent.end()
      return { result, touched: this.#known(name, lent.trouble, lent.touched) }
    })
  }

  #known(name: string, trouble: unknown, touched: Touched): Touched | undefined {
    if (trouble === undefined) return touched
    if (this.#options.undeclared === 'throw') throw trouble
    this.#cache.auditable.emit({ type: 'fault', during: `observing the loads of ${name}`, error: trouble })
    return undefined
  }

  #judge<Id>(
    space: Pick<Keyspace<Id, unknown>, 'name'> & { key(id: Id): string },
    { tags, tagsOf }: Pick<KeyspaceOptions<unknown, unknown>, 'tags' | 'tagsOf'>,
    mayRead: readonly string[],
    id: Id,
    value: unknown,
    touched: Touched,
  ): void {
    // If its tags throw, the value is not kept, and another event tells of it.
    const named = [() => tags?.(id) ?? [], () => tagsOf?.(value, id) ?? []].flatMap(attempt)
    const names = new Set([space.name, ...named.map(tag => keyspaceOf(tag))])
    const isCovered = (table: string) =>
      mayRead.includes(table) || this.#options.invalidates.get(table)?.some(name => names.has(name))
    const tables = touched.asked.filter(table => !isCovered(table))
    const unwatched = this.#options.unwatched ? touched.others.filter(table => !mayRead.includes(table)) : []
    if (tables.length === 0 && unwatched.length === 0) return
    this.#report({
      keyspace: space.name,
      key: space.key(id),
      tables,
      unwatched,
      tags: [...new Set(named)].sort(),
    })
  }

  #report(finding: UndeclaredDependency): void {
    const { keyspace, tables, unwatched } = finding
    const cause = JSON.stringify([keyspace, tables, unwatched])
    if (this.#findings.size < MOST_FINDINGS && !this.#findings.has(cause)) this.#findings.set(cause, finding)
    this.#cache.auditable.emit({ type: 'undeclared', ...finding })
    const { undeclared } = this.#options
    if (undeclared === 'throw') throw new Error(sentence(finding))
    if (undeclared !== undefined) silencePromise(undeclared(finding))
  }
}

function attempt(name: () => readonly Tag[]): readonly Tag[] {
  try {
    const named = name()
    return silencePromise(named) ? [] : named
  } catch {
    return []
  }
}

function sentence({ key, tables, unwatched, tags }: UndeclaredDependency): string {
  const read = [
    ...(tables.length > 0 ? [`${tables.join(', ')}, whose changes invalidate none of its tags`] : []),
    ...(unwatched.length > 0 ? [`${unwatched.join(', ')}, which the feed does not watch`] : []),
  ]
  return `the load of ${key} has read ${read.join('; and ')} (its tags: ${tags.join(', ') || 'none'})`
}
