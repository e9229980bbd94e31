/**
 * Deterministic simulation of the library: `docs/simulation.md` says what is simulated and what is checked.
 *
 *     npm run simulate -- --seed 7                 one history, with its trail
 *     npm run simulate -- --minutes 10             as many as there is time for
 *     npm run simulate -- --from 1000 --seeds 500  these
 *     npm run simulate -- --mutants                every protection taken out once
 *     npm run simulate -- --mutants --rewrite      the same; writes killing-seeds.json and docs/simulation.md
 *
 * `--weather NAME` plays in one weather only, `--mutant TEXT` tries only the mutants with this text in their names,
 * `--budget N` says how many seeds each may take in the weather that found it the last time, and in all of them.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Library, Nursery, shipped } from '../test/protections/library.ts'
import { explore, type Tally } from './exploration.ts'
import { type History, playHistory } from './history.ts'
import { type KillingSeed, killingSeeds, writeKillingSeeds } from './killing-seeds.ts'
import { MUTANTS } from './mutants.ts'
import { CONTROLS, WEATHERS } from './weather.ts'

const KEPT = join(import.meta.dirname, 'kept-seeds.json')
const REPORT_EVERY_MS = 30_000
const DEFAULT_MINUTES = 1
const DEFAULT_BUDGET = 3_000

class Usage extends Error {}

const OPTIONS = {
  seed: { type: 'string' },
  minutes: { type: 'string' },
  from: { type: 'string' },
  seeds: { type: 'string' },
  mutants: { type: 'boolean' },
  mutant: { type: 'string' },
  rewrite: { type: 'boolean' },
  budget: { type: 'string' },
  weather: { type: 'string' },
} as const

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 0)
    throw new Usage(`--${name}: expected a whole number, got ${text}`)
  return number
}

function readOptions(args: string[]) {
  let values: ReturnType<typeof parseArgs<{ options: typeof OPTIONS; args: string[] }>>['values']
  try {
    values = parseArgs({ args, options: OPTIONS }).values
  } catch (error) {
    throw new Usage((error as Error).message)
  }
  const { weather, mutant, mutants, rewrite = false } = values
  if (weather !== undefined && ![...WEATHERS, ...CONTROLS].some(({ name }) => name === weather))
    throw new Usage(
      `--weather: expected one of ${WEATHERS.map(({ name }) => name).join(', ')}, got ${weather}`,
    )
  if (mutant !== undefined && !MUTANTS.some(({ name }) => name.includes(mutant)))
    throw new Usage(`--mutant: no mutant has ${mutant} in its name`)
  if (rewrite && mutants !== true && mutant === undefined)
    throw new Usage('--rewrite: expected together with --mutants or --mutant')
  return {
    rewrite,
    seed: wholeNumber('seed', values.seed),
    minutes: wholeNumber('minutes', values.minutes),
    from: wholeNumber('from', values.from),
    seeds: wholeNumber('seeds', values.seeds),
    budget: wholeNumber('budget', values.budget) ?? DEFAULT_BUDGET,
    mutants: mutants === true || mutant !== undefined,
    mutant: mutant ?? '',
    weather: weather === undefined ? {} : { weather },
  }
}

type Options = ReturnType<typeof readOptions>

/** Plays one history and prints all of it. */
async function replay(seed: number, { weather }: Options): Promise<boolean> {
  const history = await playHistory({ seed, library: await shipped(), withTrail: true, ...weather })
  console.log(history.trail.lines.join('\n'))
  console.log(
    `seed ${seed}, ${history.weather}: ${history.operations} operations, ${history.faults} faults, ` +
      `${history.reads} answers checked, trail ${history.trail.hash}`,
  )
  for (const violation of history.violations) console.log(`VIOLATION ${violation}`)
  return history.violations.length === 0
}

/** Adds a seed to the list that the tests replay, unless something was done in it that nobody may do. */
function keep({ seed, weather, violations }: History): void {
  if (CONTROLS.some(({ name }) => name === weather)) return
  const kept = JSON.parse(readFileSync(KEPT, 'utf8')) as { seed: number }[]
  if (kept.some(one => one.seed === seed)) return
  writeFileSync(KEPT, `${JSON.stringify([...kept, { seed, weather, found: violations[0] }], null, 2)}\n`)
}

function summary(
  { seeds, operations, reads, writes, fencedWrites, faults, failed }: Tally,
  ms: number,
): string {
  const perHour = (count: number) => Math.round((count / ms) * 3_600_000).toLocaleString('en')
  return (
    `${seeds} seeds (${perHour(seeds)} an hour), ${operations} operations (${perHour(operations)} an hour), ` +
    `${reads} answers checked, ${writes} writes (${fencedWrites} fenced), ${faults} faults: ${failed.length} seeds failed`
  )
}

/** Plays many histories, and keeps the seeds of those that fail. */
async function exploreMany(options: Options): Promise<boolean> {
  const { seeds, weather } = options
  const minutes = options.minutes ?? (seeds === undefined ? DEFAULT_MINUTES : Number.POSITIVE_INFINITY)
  const from = options.from ?? 1
  const beganMs = performance.now()
  let reportedMs = beganMs
  const tally = await explore({
    library: await shipped(),
    from,
    ...weather,
    isEnough: ({ seeds: played }) =>
      (seeds !== undefined && played >= seeds) || performance.now() - beganMs >= minutes * 60_000,
    onHistory: (history, soFar) => {
      if (history.violations.length > 0) {
        keep(history)
        console.log(`seed ${history.seed}, ${history.weather}: ${history.violations.join('; ')}`)
      }
      const nowMs = performance.now()
      if (nowMs - reportedMs < REPORT_EVERY_MS) return
      reportedMs = nowMs
      console.log(`from ${from}: ${summary(soFar, nowMs - beganMs)}`)
    },
  })
  console.log(`from ${from}: ${summary(tally, performance.now() - beganMs)}`)
  return tally.failed.length === 0
}

/**
 * Takes out one protection after the other and prints with which seed that was found out. With `rewrite` these seeds are
 * kept, for the tests and for the document.
 */
async function searchMutants({ mutant, rewrite, ...search }: Options): Promise<boolean> {
  const nursery = new Nursery()
  const seeds: Record<string, KillingSeed> = { ...killingSeeds() }
  const survivors: string[] = []
  console.log('| taken out | seed | weather | found |\n|---|---|---|---|')
  for (const { name, patches } of MUTANTS.filter(one => one.name.includes(mutant))) {
    const killing = await killingSeedOf(await nursery.breed(patches), seeds[name], search)
    if (killing === undefined) {
      delete seeds[name]
      survivors.push(name)
      console.log(`| ${name} | none of ${search.budget} | | |`)
    } else {
      seeds[name] = killing
      console.log(`| ${name} | ${killing.seed} | ${killing.weather} | ${killing.found} |`)
    }
    if (rewrite) writeKillingSeeds(seeds)
  }
  nursery.close()
  console.log(survivors.length === 0 ? '\nNone survived.' : `\n${survivors.length} survived.`)
  return survivors.length === 0
}

/** A history that finds a mutant out. The known one is tried first, then others of its weather, then those of all. */
async function killingSeedOf(
  library: Library,
  known: KillingSeed | undefined,
  { from = 1, budget, weather }: Pick<Options, 'from' | 'budget' | 'weather'>,
): Promise<KillingSeed | undefined> {
  const search = async (begin: number, most: number, where: { weather?: string }) => {
    const isEnough = ({ failed, seeds }: Tally) => failed.length > 0 || seeds >= most
    return (await explore({ library, from: begin, ...where, isEnough })).failed[0]
  }
  const killing =
    (known && (await search(known.seed, 1, { weather: known.weather }))) ??
    (known && (await search(from, budget, { weather: known.weather }))) ??
    (await search(from, budget, weather))
  if (killing === undefined) return undefined
  const found = killing.violations[0]!.replace(/^at [^ ]* /, '')
  return { seed: killing.seed, weather: killing.weather, found }
}

async function main(): Promise<boolean> {
  const options = readOptions(process.argv.slice(2))
  if (options.mutants) return searchMutants(options)
  if (options.seed !== undefined) return replay(options.seed, options)
  return exploreMany(options)
}

try {
  process.exitCode = (await main()) ? 0 : 1
} catch (error) {
  if (!(error instanceof Usage)) throw error
  console.error(`simulate: ${error.message}`)
  process.exitCode = 2
}
