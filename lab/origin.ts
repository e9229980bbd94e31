import pg from 'pg'
import type { Steps } from '../trials/steps.ts'
import type { Spell } from './adapter.ts'

const FIND = 'SELECT id::int AS id, version FROM spell WHERE id = ANY($1::bigint[])'
const CHANGE = `INSERT INTO spell VALUES ($1, 1)
  ON CONFLICT (id) DO UPDATE SET version = spell.version + 1 RETURNING id::int AS id, version`

/** Few, because the processes of all trials that run side by side share one server. */
const MOST_CONNECTIONS = 5

/** The table, as one process of a trial reads and changes it: with steps at which the trial can hold it. */
export class Origin {
  readonly pool: pg.Pool
  readonly #steps: Steps
  readonly #loads = new Map<number, number>()
  #delayMs = 0
  #isFailing = false

  constructor(url: string, steps: Steps) {
    this.#steps = steps
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
    const { rows } = await this.pool.query<Spell>(FIND, [ids])
    if (this.#delayMs > 0) await new Promise(resolve => setTimeout(resolve, this.#delayMs))
    if (this.#isFailing) throw new Error('the loader fails')
    for (const id of ids) await this.#steps.pass('loaded', id)
    return rows
  }

  /** Changes a row, or makes it where there is none; it is committed when this resolves. */
  change = async (id: number): Promise<Spell> => {
    const { rows } = await this.pool.query<Spell>(CHANGE, [id])
    await this.#steps.pass('committed', id)
    return rows[0]!
  }
}
