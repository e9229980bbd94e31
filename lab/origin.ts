import pg from 'pg'
import type { Steps } from '../trials/steps.ts'
import type { Spell } from './adapter.ts'

const FIND = 'SELECT id::int AS id, version FROM spell WHERE id = ANY($1::bigint[])'
const BOOKS = `SELECT scroll.book::int AS id, sum(spell.version)::int AS version,
    array_agg(spell.id::int ORDER BY spell.id) AS spells
  FROM scroll JOIN spell ON spell.id = scroll.spell WHERE scroll.book = ANY($1::bigint[]) GROUP BY scroll.book`
const MOVE = `UPDATE spell SET version = version + CASE WHEN id = $1 THEN -1 ELSE 1 END WHERE id = ANY($2::bigint[])`
const CHANGE = `INSERT INTO spell VALUES ($1, 1)
  ON CONFLICT (id) DO UPDATE SET version = spell.version + 1 RETURNING id::int AS id, version`

/** Few, because the processes of all trials that run side by side share one server. */
const MOST_CONNECTIONS = 5

/** The table, as one process of a trial reads and changes it: with steps at which the trial can hold it. */
export class Origin {
  readonly pool: pg.Pool
  readonly #steps: Steps
  readonly #find: string
  readonly #loads = new Map<number, number>()
  #delayMs = 0
  #isFailing = false

  constructor(url: string, steps: Steps, hasBooks: boolean) {
    this.#steps = steps
    this.#find = hasBooks ? BOOKS : FIND
    this.pool = new pg.Pool({ connectionString: url, max: MOST_CONNECTIONS })
    this.pool.on('error', () => {})
  }

  /** Makes loads slow, or fail. */
  trouble({ delayMs = 0, fail = false }: { delayMs?: number; fail?: boolean }): void {
    this.#delayMs = delayMs
    this.#isFailing = fail
  }

  /** How often each of these rows was loaded. */
  loads(ids: readonly number[]): number[] {
    return ids.map(id => this.#loads.get(id) ?? 0)
  }

  find = async (id: number): Promise<Spell | null> => (await this.findMany([id]))[0] ?? null

  findMany = async (ids: readonly number[]): Promise<Spell[]> => {
    for (const id of ids) this.#loads.set(id, (this.#loads.get(id) ?? 0) + 1)
    for (const id of ids) await this.#steps.pass('load', id)
    const { rows } = await this.pool.query<Spell>(this.#find, [ids])
    if (this.#delayMs > 0) await new Promise(resolve => setTimeout(resolve, this.#delayMs))
    if (this.#isFailing) throw new Error('the loader fails')
    for (const id of ids) await this.#steps.pass('loaded', id)
    return rows
  }

  /** Takes one from the version of a row, and adds it to another's. */
  move = async (from: number, to: number): Promise<void> => {
    await this.pool.query(MOVE, [from, [from, to]])
  }

  /** Changes a row, or makes it where there is none; it is committed when this resolves. */
  change = async (id: number): Promise<Spell> => {
    const { rows } = await this.pool.query<Spell>(CHANGE, [id])
    await this.#steps.pass('committed', id)
    return rows[0]!
  }
}
