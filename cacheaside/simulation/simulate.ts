/**
 * Deterministic simulation of the library: `docs/simulation.md` says what is simulated and what is checked.
 *
 *     npm run simulate -- --seed 7                 one history, with its trail
 *     npm run simulate -- --minutes 10             as many as there is time for
 *     npm run simulate -- --from 1000 --seeds 500  these
 *     npm run simulate -- --mutants                every protection taken out once, as Markdown
 *
 * `--weather NAME` plays in one weather only, `--mutant TEXT` tries only the mutants with this text in their names,
 * `--budget N` says how many seeds each may take.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Nursery, shipped } from '../test/protections/library.ts'
import { explore, type Tally } from './exploration.ts'
import { type History, playHistory } from './history.ts'
import { MUTANTS } from './mutants.ts'
import { WEATHERS } from './weather.ts'

const KEPT = join(import.meta.dirname, 'kept-seeds.json')
const KILLING = join(import.meta.dirname, 'killing-seeds.json')
const REPORT_EVERY_MS = 30_000
const DEFAULT_MINUTES = 1
const DEFAULT_BUDGET = 1_000

class Usage extends Error {}

const OPTIONS = {
  seed: { type: 'string' },
  minutes: { type: 'string' },
  from: { type: 'string' },
  seeds: { type: 'string' },
  mutants: { type: 'boolean' },
  mutant: { type: 'string' },
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
  const { weather, mutant, mutants } = values
  if (weather !== undefined && !WEATHERS.some(({ name }) => name === weather))
    throw new Usage(
      `--weather: expected one of ${WEATHERS.map(({ name }) => name).join(', ')}, got ${weather}`,
    )
  if (mutant !== undefined && !MUTANTS.some(({ name }) => name.includes(mutant)))
    throw new Usage(`--mutant: no mutant has ${mutant} in its name`)
  return {
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

/** Adds a seed to the list that the tests replay. */
function keep({ seed, weather, violations }: History): void {
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
 * Takes out one protection after the other, prints with which seed that was found out, and keeps that seed for the tests. The
 * seed that found it out the last time is tried first.
 */
async function searchMutants({ mutant, budget, from = 1, weather }: Options): Promise<boolean> {
  const nursery = new Nursery()
  const survivors: string[] = []
  console.log('| taken out | seed | weather | found |\n|---|---|---|---|')
  for (const { name, patches } of MUTANTS.filter(one => one.name.includes(mutant))) {
    const library = await nursery.breed(patches)
    const isEnough = ({ failed, seeds }: Tally) => failed.length > 0 || seeds >= budget
    const known = killingSeeds()[name]
    const again = known === undefined ? undefined : await playHistory({ library, ...known })
    const isKnown = again !== undefined && again.violations.length > 0
    const { failed } = isKnown ? { failed: [again] } : await explore({ library, from, ...weather, isEnough })
    const [first] = failed
    if (first === undefined) survivors.push(name)
    keepKilling(name, first)
    const found = first?.violations[0]?.replace(/^at [^ ]* /, '') ?? ''
    console.log(`| ${name} | ${first?.seed ?? `none of ${budget}`} | ${first?.weather ?? ''} | ${found} |`)
  }
  nursery.close()
  console.log(survivors.length === 0 ? '\nNone survived.' : `\n${survivors.length} survived.`)
  return survivors.length === 0
}

function killingSeeds(): Record<string, { seed: number; weather: string }> {
  return JSON.parse(readFileSync(KILLING, 'utf8'))
}

/** Remembers the seed that found a mutant out; one that survived has none any more. */
function keepKilling(name: string, found: History | undefined): void {
  const seeds = killingSeeds()
  if (found === undefined) delete seeds[name]
  else seeds[name] = { seed: found.seed, weather: found.weather }
  writeFileSync(KILLING, `${JSON.stringify(seeds, null, 2)}\n`)
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
