/**
 * One library for `npm run lab:speed`: opens it through its adapter, reads until its values are warm, and takes the time of a
 * number of hits whenever it is asked for that. It ends with the process that has started it.
 */
import pg from 'pg'
import type { About, Setting, Spell } from './adapter.ts'
import { adapterNamed } from './program.ts'

/** What it says first. */
export interface Opened {
  readonly about: About
}

/** What it answers to a number of hits. */
export interface Taken {
  readonly nsPerHit: number
}

const KEYS = 100
const MOST_TURNS = 1_000
/** So many hits come before the first that counts: by then the code that they take has been compiled. */
const WARM_UP_HITS = 20_000

const [name, redisPort] = process.argv.slice(2)
const { about, open } = await adapterNamed(name!)
let loads = 0
const rowOf = (id: number): Spell => {
  loads++
  return { id, version: 1 }
}
const setting: Setting = {
  redisPort: Number(redisPort),
  pool: new pg.Pool({ max: 1 }),
  find: async id => rowOf(id),
  findMany: async ids => ids.map(rowOf),
  ttlMs: 3_600_000,
  tagsFrom: 'id',
}
const { get } = await open(setting)

async function hit(times: number): Promise<void> {
  for (let i = 0; i < times; i++) await get(i % KEYS)
}

// Warm is what a whole turn finds without a load, however long a library takes to store behind its answers.
for (let before = -1, turns = 0; before !== loads; turns++) {
  if (turns === MOST_TURNS) throw new Error(`${about.name} still loads after ${turns} turns`)
  before = loads
  await hit(KEYS)
}
await hit(WARM_UP_HITS)

process.on('disconnect', () => process.exit())
process.on('message', async hits => {
  const beganMs = performance.now()
  await hit(hits as number)
  process.send!({ nsPerHit: ((performance.now() - beganMs) * 1e6) / (hits as number) } satisfies Taken)
})
process.send!({ about } satisfies Opened)
