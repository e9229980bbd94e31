/**
 * The lab: every library through every trial. `npm run lab` installs what it needs, and prints, writes and draws the
 * table; `--trial`, `--adapter` and `--count` do a part of it, which is then only printed, unless `--write` is given.
 * `--page` tries nothing, and writes the page again from the last results.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { ensureRedisServer } from '../test/ensure-redis-server.ts'
import { startPostgres } from '../test/services.ts'
import { parsedArgs, refuse } from '../test/usage.ts'
import type { AdapterModule } from './adapter.ts'
import { inShort, page } from './page.ts'
import { picture } from './picture.ts'
import { adapterNamed, adapterNames, trials } from './program.ts'
import {
  type Cell,
  machineOf,
  merged,
  type Results,
  readResults,
  versionsOf,
  writeResults,
} from './results.ts'
import { openStage } from './stage.ts'
import type { Trial } from './trial.ts'

const docs = (name: string): string => fileURLToPath(new URL(`../docs/${name}`, import.meta.url))
const DEFAULT_COUNT = 100

interface Job {
  readonly adapter: string
  readonly library: AdapterModule
  readonly trial: Trial
}

/** What trials are done on. */
interface Ground {
  readonly postgresUrl: string
  readonly redisProgram: string
  /** For people. */
  readonly machine: string
}

interface Options {
  readonly adapters: readonly string[]
  readonly trials: readonly Trial[]
  readonly count: number
  readonly jobs: number
  readonly writes: boolean
  /** Whether nothing is tried, and the page is written again from the results there are. */
  readonly isPageOnly: boolean
}

function optionsOf(args: string[]): Options {
  const { values } = parsedArgs('lab', {
    args,
    options: {
      trial: { type: 'string', multiple: true },
      adapter: { type: 'string', multiple: true },
      count: { type: 'string' },
      jobs: { type: 'string' },
      write: { type: 'boolean' },
      page: { type: 'boolean' },
    },
  })
  const isPart = [values.trial, values.adapter, values.count].some(value => value !== undefined)
  return {
    adapters: chosen(values.adapter, adapterNames()),
    trials: trials.filter(({ id }) =>
      chosen(
        values.trial,
        trials.map(one => one.id),
      ).includes(id),
    ),
    count: wholeNumber(values.count, DEFAULT_COUNT),
    jobs: wholeNumber(values.jobs, 2),
    writes: values.write ?? !isPart,
    isPageOnly: values.page ?? false,
  }
}

function wholeNumber(text: string | undefined, usual: number): number {
  const number = Number(text ?? usual)
  if (!Number.isInteger(number) || number < 1) refuse('lab', `${text} is no count`)
  return number
}

function chosen(asked: readonly string[] | undefined, all: readonly string[]): readonly string[] {
  const unknown = asked?.find(name => !all.includes(name))
  if (unknown !== undefined) refuse('lab', `there is no ${unknown}; there are ${all.join(', ')}`)
  return asked ?? all
}

/** Does one trial of one library, on a stage of its own. */
async function tryOne(
  { adapter, library, trial }: Job,
  count: number,
  { postgresUrl, redisProgram, machine }: Ground,
): Promise<Cell> {
  const when = { date: new Date().toISOString().slice(0, 10), machine }
  if (trial.isOfRefreshes && !library.about.refreshes)
    return { outcome: { kind: 'none', why: 'does not refresh in the background' }, ...when }
  const unfit = library.about.unfit?.[trial.id]
  if (unfit !== undefined) return { outcome: { kind: 'none', why: unfit }, ...when }
  const stage = await openStage(adapter, library, postgresUrl, redisProgram)
  try {
    return { outcome: await trial.run(stage, trial.rows?.(count) ?? count), ...when }
  } catch (error) {
    const { message, cause } = error as Error
    return {
      outcome: { kind: 'problem', why: cause === undefined ? message : `${message}: ${cause}` },
      ...when,
    }
  } finally {
    await stage.close()
  }
}

/** Does all jobs, so many side by side. */
async function inTurn(jobs: readonly Job[], atOnce: number, one: (job: Job) => Promise<void>): Promise<void> {
  const left = [...jobs]
  const workers = Array.from({ length: atOnce }, async () => {
    for (let job = left.shift(); job !== undefined; job = left.shift()) await one(job)
  })
  await Promise.all(workers)
}

async function run(options: Options): Promise<void> {
  const redisProgram = ensureRedisServer()
  const postgres = await startPostgres()
  try {
    const results = await tryAll(options, postgres.url, redisProgram)
    print(results, options.trials)
  } finally {
    await postgres.stop()
  }
}

/** Does what was asked for, and hands it out cell by cell to the screen and to the page. */
async function tryAll(options: Options, postgresUrl: string, redisProgram: string): Promise<Results> {
  const { adapters, trials: asked, count, jobs, writes } = options
  const libraries = await allLibraries()
  const machine = machineOf(redisProgram, await postgresVersion(postgresUrl))
  const ground = { postgresUrl, redisProgram, machine }
  const cells = new Map(adapters.map(name => [name, {} as Record<string, Cell>]))
  const results = (): Results => ({
    rows: Object.fromEntries(
      adapters.map(name => {
        const { about } = libraries.get(name)!
        return [name, { about, versions: versionsOf(about), cells: cells.get(name)! }]
      }),
    ),
  })
  const all = asked.flatMap(trial =>
    adapters
      .map(adapter => ({ adapter, trial, library: libraries.get(adapter)! }))
      .filter(({ library }) => library.about.hasTags === trial.isOfTags),
  )
  let done = 0
  await inTurn(all, jobs, async job => {
    const cell = await tryOne(job, count, ground)
    cells.get(job.adapter)![job.trial.id] = cell
    console.log(`${++done}/${all.length} ${job.trial.id}, ${job.library.about.name}: ${inFull(cell)}`)
    if (writes) await write(results())
  })
  return results()
}

function inFull(cell: Cell): string {
  const { outcome } = cell
  if (outcome.kind === 'problem') return `${inShort(cell)}: ${outcome.why}`
  return outcome.kind === 'count' && outcome.note !== undefined
    ? `${inShort(cell)}; ${outcome.note}`
    : inShort(cell)
}

async function postgresVersion(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query('SHOW server_version')
  await client.end()
  return rows[0].server_version
}

async function allLibraries(): Promise<Map<string, AdapterModule>> {
  const libraries = new Map<string, AdapterModule>()
  for (const name of adapterNames()) libraries.set(name, await adapterNamed(name))
  return libraries
}

/** Writes the page, the picture and the results: these, if any, over what is known of earlier ones. */
async function write(results?: Results): Promise<void> {
  const abouts = new Map([...(await allLibraries())].map(([name, { about }]) => [name, about]))
  const known = merged(readResults(docs('lab.json'), abouts), results)
  if (known === undefined) throw new Error('there are no results yet')
  // In the order of the program, whatever was run first.
  const rows = Object.fromEntries(
    [...abouts.keys()].flatMap(name => (known.rows[name] === undefined ? [] : [[name, known.rows[name]]])),
  )
  const ordered = { rows }
  writeResults(docs('lab.json'), ordered)
  writeFileSync(docs('lab.md'), page(ordered, trials))
  writeFileSync(docs('lab.svg'), picture(ordered, trials))
}

function print({ rows }: Results, asked: readonly Trial[]): void {
  const name = Math.max(...Object.values(rows).map(({ about }) => about.name.length))
  for (const { id, heading } of asked) {
    const tried = Object.values(rows).filter(({ cells }) => cells[id] !== undefined)
    if (tried.length > 0) console.log(`\n${heading}`)
    for (const { about, cells } of tried) console.log(`  ${about.name.padEnd(name)}  ${inShort(cells[id])}`)
  }
}

const options = optionsOf(process.argv.slice(2))
await (options.isPageOnly ? write() : run(options))
// All has ended. The channel to a process that was killed in the middle of a message may not know.
process.exit()
