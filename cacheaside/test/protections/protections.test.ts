import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { fills } from './fills.scenarios.ts'
import { flights } from './flights.scenarios.ts'
import { generations } from './generations.scenarios.ts'
import { guards } from './guards.scenarios.ts'
import { lateTags } from './late-tags.scenarios.ts'
import { leases } from './leases.scenarios.ts'
import { Nursery, shipped } from './library.ts'
import { queue } from './queue.scenarios.ts'
import { registers } from './registers.scenarios.ts'
import { snapshots } from './snapshots.scenarios.ts'
import type { Protection } from './stage.ts'
import { stale } from './stale.scenarios.ts'
import { stamps } from './stamps.scenarios.ts'
import { stream } from './stream.scenarios.ts'
import { tags } from './tags.scenarios.ts'

/** In the order of docs/protections.md, under its headings. */
const themes: Readonly<Record<string, readonly Protection[]>> = {
  'What a load may store': fills,
  'What is given back': leases,
  'Generations, shapes and bytes': generations,
  'Versions and keys': registers,
  Stamps: stamps,
  Flights: flights,
  'The guard': guards,
  'What is not confirmed': queue,
  'The stream and L1': stream,
  'What is stale': stale,
  Tags: tags,
  'Late tags': lateTags,
  Snapshots: snapshots,
}

const nursery = new Nursery()
afterAll(() => nursery.close())

describe.each(Object.entries(themes))('%s', (_, protections) => {
  for (const { name, scenario, controls } of protections) {
    test(name, async () => {
      expect(await scenario(await shipped())).toBe('right')
    })
    test.each(controls)(`${name} — not without $without`, async ({ patches, reports }) => {
      expect(await scenario(await nursery.breed(patches))).toBe(reports)
    })
  }
})

describe('docs/protections.md', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/protections.md'), 'utf8')

  test('lists every scenario and what is taken out for it, in the same order', () => {
    const rows = page.split('\n').flatMap(line => {
      const cells = line.split(' | ')
      return cells.length === 3 && cells[0] !== '| the library' ? [[cells[0]!.slice(2), cells[1]]] : []
    })
    const scenarios = Object.values(themes).flat()
    expect(rows).toEqual(
      scenarios.map(({ name, controls }) => [name, controls.map(({ without }) => without).join('; or ')]),
    )
  })

  test('has a section for every theme', () => {
    const sections = [...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)
    expect(sections).toEqual(Object.keys(themes))
  })

  test('leaves no scenario without a control', () => {
    const uncontrolled = Object.values(themes)
      .flat()
      .filter(({ controls }) => controls.length === 0)
    expect(uncontrolled.map(({ name }) => name)).toEqual([])
  })
})
