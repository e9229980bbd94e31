import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Nursery, shipped } from '../test/protections/library.ts'
import { explore } from './exploration.ts'
import { playHistory } from './history.ts'
import { killingSeeds, tables, writtenTables } from './killing-seeds.ts'
import { MUTANTS } from './mutants.ts'
import { CONTROLS, WEATHERS } from './weather.ts'

const readJson = (file: string) => JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8'))
const keptSeeds = readJson('kept-seeds.json') as { seed: number; weather: string }[]
const killing = killingSeeds()
const COMMAND = 'npm run simulate -- --mutants --rewrite searches seeds and writes them'
const library = await shipped()
const nursery = new Nursery()
afterAll(() => nursery.close())

/** As many seeds, from two on. */
const SEEDS = 155
const FROM = [1, 1 + SEEDS]

describe('a simulated history of several processes', () => {
  const played = new Set<string>()

  test.each(FROM)('shows nothing wrong, from seed %d on', async from => {
    const { failed, reads, writes, fencedWrites, faults, weathers } = await explore({
      library,
      from,
      isEnough: ({ seeds }) => seeds >= SEEDS,
    })
    expect(failed.map(({ seed, violations }) => `seed ${seed}: ${violations[0]}`)).toEqual([])
    // A history in which nothing happens proves nothing. In some kinds of weather hardly anybody writes.
    expect(reads).toBeGreaterThan(SEEDS * 80)
    expect(writes).toBeGreaterThan(SEEDS * 16)
    expect(fencedWrites).toBeGreaterThan(SEEDS * 8)
    expect(faults).toBeGreaterThan(SEEDS * 4)
    for (const name of weathers.keys()) played.add(name)
  })

  test('is played in all weathers, also in those that no seed has drawn', async () => {
    const others = WEATHERS.filter(({ name }) => !played.has(name))
    expect(others.length).toBeLessThan(WEATHERS.length / 20)
    for (const { name } of others)
      expect((await playHistory({ seed: 1, library, weather: name })).violations).toEqual([])
  })

  test('is right wherever it once was not', async () => {
    const wrong: string[] = []
    for (const { seed, weather } of keptSeeds) {
      const { violations } = await playHistory({ seed, library, weather })
      if (violations.length > 0) wrong.push(`seed ${seed}, ${weather}: ${violations[0]}`)
    }
    expect(wrong).toEqual([])
  })

  test('finds out a stamp that is created twice by one command', async () => {
    expect(CONTROLS.map(({ name }) => name)).toEqual(['tags-created-twice'])
    const { violations } = await playHistory({ seed: 55, library, weather: 'tags-created-twice' })
    expect(violations.join()).toContain('which is stale')
  })

  test.each(WEATHERS)(
    'goes the same way twice under the same seed, in the weather $name',
    async ({ name }) => {
      const play = (seed: number) => playHistory({ seed, library, weather: name, withTrail: true })
      const first = await play(11)
      const again = await play(11)
      expect(again.trail.lines).toEqual(first.trail.lines)
      expect(again.trail.hash).toBe(first.trail.hash)
      expect(first.trail.lines.length).toBeGreaterThan(200)
      expect((await play(12)).trail.hash).not.toBe(first.trail.hash)
    },
  )
})

describe('a protection that is taken out is missed', () => {
  test('each of them has a seed that finds it out', () => {
    expect(Object.keys(killing), COMMAND).toEqual(MUTANTS.map(({ name }) => name))
  })

  test.each(MUTANTS)('$name', async ({ name, patches }) => {
    const { seed, weather } = killing[name]!
    const { violations } = await playHistory({ seed, weather, library: await nursery.breed(patches) })
    expect(violations.length, COMMAND).toBeGreaterThan(0)
  })

  test('and none of these seeds accuses the library as it is', async () => {
    const accused: string[] = []
    const played = new Map(Object.values(killing).map(one => [`${one.seed}, ${one.weather}`, one]))
    for (const { seed, weather } of played.values()) {
      const { violations } = await playHistory({ seed, weather, library })
      if (violations.length > 0) accused.push(`seed ${seed}, ${weather}: ${violations[0]}`)
    }
    expect(accused).toEqual([])
  })

  test('docs/simulation.md counts what these seeds find, and nobody has edited it', () => {
    expect(writtenTables(), COMMAND).toBe(tables(killing))
  })
})

test.each([
  ['--sed', '7', "Unknown option '--sed'"],
  ['--seed', 'x', 'expected a whole number, got x'],
  ['--weather', 'sunny', 'expected one of calm'],
  ['--rewrite', '--weather=calm', 'expected together with --mutants'],
])('npm run simulate -- %s %s says what is wrong with it', (option, value, message) => {
  const command = ['--conditions=source', '--import', 'tsx', join(import.meta.dirname, 'simulate.ts')]
  const { status, stderr } = spawnSync(process.execPath, [...command, option, value], { encoding: 'utf8' })
  expect(stderr).toContain(message)
  expect(status).toBe(2)
})
