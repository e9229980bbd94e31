/** docs/telemetry.md says of every metric what is exported, and lists all of them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataPointType, InstrumentType } from '@opentelemetry/sdk-metrics'
import { expect, test } from 'vitest'
import { LOAD_DURATION } from '../../src/telemetry/metrics.ts'
import { SimulatedFeed } from '../../src/testing/index.ts'
import { openWorld } from '../world.ts'
import { exportBothWays } from './exported.ts'

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../../docs/telemetry.md'), 'utf8')

/** The cells of the rows of the table that has these columns. */
function rowsUnder(head: string): string[][] {
  const table = DOCUMENT.split(`${head}\n`)[1]?.split('\n\n')[0] ?? ''
  return table
    .trim()
    .split('\n')
    .slice(1)
    .map(line =>
      line
        .slice(2, -2)
        .split(' | ')
        .map(cell => cell.trim()),
    )
}

const words = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!)
const METRIC_ROWS = rowsUnder('| name | Prometheus | kind | unit | labels | meaning |')
const LABEL_ROWS = rowsUnder('| label | of | words |')
const KINDS: Record<string, string> = { amount: 'gauge' }
const UNITS: Record<string, string> = { seconds: 's', bytes: 'By', '1 or 0': '' }

/** A cache of which everything is exported: it has a keyspace, a feed, and has loaded once. */
async function exported() {
  const { clock, process } = openWorld()
  const { cache } = process({ feed: new SimulatedFeed({ clock, tables: {} }) })
  const spells = cache.keyspace('spell', { load: async (id: number) => id })
  const both = exportBothWays(cache)
  await Promise.all([spells.get(1), clock.advance(10)])
  const prometheus = await both.registry.getMetricsAsJSON()
  const openTelemetry = await both.telemetry.collect()
  await both.close()
  await cache.close()
  return { prometheus, openTelemetry }
}

test('docs/telemetry.md lists every metric of Prometheus, with its kind and labels', async () => {
  const { prometheus } = await exported()
  const labelsOf = (values: readonly { labels: object }[]) =>
    Object.keys(values[0]?.labels ?? {}).filter(label => label !== 'cache' && label !== 'le')
  const found = prometheus.map(metric => {
    const { name, type, values } = metric as unknown as {
      name: string
      type: string
      values: { labels: object }[]
    }
    return [name, type, ...labelsOf(values).sort()].join(' ')
  })
  const told = METRIC_ROWS.map(([, name = '', kind = '', , labels = '']) =>
    [words(name)[0], KINDS[kind] ?? kind, ...words(labels).sort()].join(' '),
  )
  expect(told.sort()).toEqual(found.sort())
})

test('docs/telemetry.md lists every metric of OpenTelemetry, with its kind, unit and meaning', async () => {
  const { openTelemetry } = await exported()
  const kinds: Partial<Record<InstrumentType, string>> = {
    [InstrumentType.OBSERVABLE_COUNTER]: 'counter',
    [InstrumentType.OBSERVABLE_UP_DOWN_COUNTER]: 'amount',
    [InstrumentType.OBSERVABLE_GAUGE]: 'gauge',
  }
  const found = openTelemetry.map(metric => {
    const { name, unit, description } = metric.descriptor
    const kind =
      metric.dataPointType === DataPointType.HISTOGRAM
        ? 'histogram'
        : kinds[(metric.descriptor as unknown as { type: InstrumentType }).type]
    return [name, kind, unit, description].join(' ')
  })
  const told = METRIC_ROWS.map(([name = '', , kind, unit = '', , meaning]) =>
    [`cacheaside.${words(name)[0]}`, kind, UNITS[unit] ?? `{${unit}}`, `${meaning}.`].join(' '),
  )
  expect(told.sort()).toEqual(found.sort())
})

test('docs/telemetry.md lists every word that a label can have', async () => {
  const { prometheus } = await exported()
  const found = new Map<string, Set<string>>()
  for (const metric of prometheus) {
    const { name, values } = metric as unknown as {
      name: string
      values: readonly { labels: Record<string, string> }[]
    }
    const row = METRIC_ROWS.find(([, prometheusName]) => prometheusName === `\`${name}\``)
    const short = words(row?.[0] ?? '')[0]
    if (short === undefined || short === LOAD_DURATION.name) continue
    for (const { labels } of values)
      for (const [label, word] of Object.entries(labels)) {
        if (label === 'cache' || label === 'keyspace') continue
        const at = `${label} of ${short}`
        found.set(at, (found.get(at) ?? new Set()).add(word))
      }
  }
  const told = LABEL_ROWS.filter(([, of]) => of !== `\`${LOAD_DURATION.name}\``).map(
    ([label = '', of = '', all = '']) =>
      [`${words(label)[0]} of ${words(of)[0]}`, new Set(words(all))] as const,
  )
  expect(new Map(told)).toEqual(found)
  const wordsOf = (name: string) =>
    words(LABEL_ROWS.find(([label, of]) => label === '`outcome`' && of === `\`${name}\``)?.[2] ?? '')
  // The histogram has a series when there is something in it.
  expect(wordsOf(LOAD_DURATION.name)).toEqual(wordsOf('loads').filter(word => word !== 'overloaded'))
})
