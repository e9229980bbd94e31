import pg from 'pg'
import type { Steps } from './steps.ts'
import type { Shown, WriteHow } from './subject.ts'

/** A row of the table; or a book, whose version is the sum of those of its rows. */
export interface Spell {
  readonly id: number
  readonly version: number
  /** The rows that the book shows. */
  readonly spells?: readonly number[]
}

const ROWS = 'SELECT id::int AS id, version FROM spell WHERE id = ANY($1::bigint[])'
const BOOKS = `SELECT scroll.book::int AS id, sum(spell.version)::int AS version,
    array_agg(spell.id::int ORDER BY spell.id) AS spells
  FROM scroll JOIN spell ON spell.id = scroll.spell WHERE scroll.book = ANY($1::bigint[]) GROUP BY scroll.book`

/** The table, as one process reads and changes it. */
export class Origin {
  readonly pool: pg.Pool
  readonly #steps: Steps
  readonly #select: string
  /** SELECTs that were sent, and how many were under way at once at most. */
  loads = 0
  mostLoads = 0
  #loading = 0

  constructor(url: string, steps: Steps, statementTimeoutMs?: number, max = 10, shown: Shown = 'row') {
    this.#steps = steps
    this.#select = shown === 'row' ? ROWS : BOOKS
    this.pool = new pg.Pool({
      connectionString: url,
      max,
      ...(statementTimeoutMs === undefined ? {} : { statement_timeout: statementTimeoutMs }),
    })
    this.pool.on('error', () => {})
  }

  async find(id: number): Promise<Spell | undefined> {
    const rows = await this.#load([id])
    return rows[0]
  }

  async findMany(ids: readonly number[]): Promise<Spell[]> {
    return this.#load(ids)
  }

  async #load(ids: readonly number[]): Promise<Spell[]> {
    this.loads++
    this.mostLoads = Math.max(this.mostLoads, ++this.#loading)
    try {
      for (const id of ids) await this.#steps.pass('load', id)
      const { rows } = await this.pool.query(this.#select, [ids])
      for (const id of ids) await this.#steps.pass('loaded', id)
      return rows
    } finally {
      this.#loading--
    }
  }

  /** Raises the versions of these rows in one commit, and answers with them as committed, in the order of the ids. */
  async raise(ids: readonly number[], how: WriteHow = {}): Promise<Spell[]> {
    const client = await this.pool.connect()
    client.on('error', ignore)
    let problem: Error | undefined
    try {
      const spells = how.statement ? await update(client, ids) : await this.#transaction(client, ids)
      for (const id of ids) await this.#steps.pass('committed', id)
      return spells
    } catch (error) {
      problem = error as Error
      throw error
    } finally {
      client.off('error', ignore)
      client.release(problem)
    }
  }

  /** Takes one from the version of a row, and adds it to another's. */
  async move(from: number, to: number): Promise<void> {
    await this.pool.query(
      'UPDATE spell SET version = version + CASE WHEN id = $1 THEN -1 ELSE 1 END WHERE id = ANY($2::bigint[])',
      [from, [from, to]],
    )
  }

  async #transaction(client: pg.PoolClient, ids: readonly number[]): Promise<Spell[]> {
    await client.query('BEGIN')
    const spells = await update(client, ids)
    for (const id of ids) await this.#steps.pass('commit', id)
    await client.query('COMMIT')
    return spells
  }
}

const ignore = () => {}

/** Row by row in one order for all, so that no two writers wait for each other. */
async function update(client: pg.PoolClient, ids: readonly number[]): Promise<Spell[]> {
  const found = new Map<number, Spell>()
  for (const id of [...ids].sort((a, b) => a - b)) {
    const { rows } = await client.query(
      'UPDATE spell SET version = version + 1 WHERE id = $1 RETURNING id::int AS id, version',
      [id],
    )
    if (rows[0] === undefined) throw new Error(`there is no spell ${id}`)
    found.set(id, rows[0])
  }
  return ids.map(id => found.get(id)!)
}
