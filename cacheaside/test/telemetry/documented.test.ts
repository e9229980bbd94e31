/** docs/telemetry.md says of every metric, span, channel and event what is told, and lists all of them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataPointType, InstrumentType } from '@opentelemetry/sdk-metrics'
import { expect, test } from 'vitest'
import { LOAD_DURATION } from '../../src/telemetry/metrics.ts'
import { SimulatedFeed } from '../../src/testing/index.ts'
import { openWorld } from '../world.ts'
import { everything, FOLLOWED, messagesOf } from './everything.ts'
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

/** What is said of what, sorted: `of` by `name`. */
const said = (pairs: Iterable<readonly [name: string, of: string]>): string[] =>
  [...new Set([...pairs].map(([name, of]) => `${name} of ${of}`))].sort()

test('docs/telemetry.md lists every span and every attribute, with what has it', async () => {
  const { spans } = await everything()
  const operationOf = (name: string) => name.split(' ')[0]!
  const rows = rowsUnder('| span | from | to | below |')
  const found = new Set(spans.map(({ name }) => operationOf(name)))
  expect(rows.map(([name = '']) => words(name)[0]).sort()).toEqual([...found].sort())
  const all = FOLLOWED.map(operation => `cacheaside.${operation}`)
  const listed = rowsUnder('| attribute | of | unit | meaning |').flatMap(([name = '', of = '']) => {
    const attribute = words(name)[0]!
    if (attribute === 'error.type') return []
    const named = words(of).map(word => `cacheaside.${word}`)
    const having = of.startsWith('all') ? all.filter(one => !named.includes(one)) : named
    return having.map(operation => [attribute, operation] as const)
  })
  const recorded = spans.flatMap(({ name, attributes }) =>
    Object.keys(attributes)
      .filter(attribute => attribute !== 'error.type')
      .map(attribute => [attribute, operationOf(name)] as const),
  )
  expect(said(recorded)).toEqual(said(listed))
  const failed = spans.filter(({ status }) => status.code === 2)
  expect(failed.length).toBeGreaterThan(0)
  expect(failed.every(({ attributes }) => typeof attributes['error.type'] === 'string')).toBe(true)
})

test('docs/telemetry.md lists every channel, with the fields of its messages', async () => {
  const { messages } = await everything()
  const rows = rowsUnder('| channel | fields at the start | fields at the end |')
  const told = messagesOf(messages)
  const listed = rows.flatMap(([name = '', start = '', end = '']) => {
    const channel = words(name)[0]!
    const later = words(end).filter(field => field !== 'read')
    return [
      ...words(start).map(field => [`${field} at the start`, channel] as const),
      ...later.map(field => [field, channel] as const),
    ]
  })
  const found = told.flatMap(({ channel, start, end }) => [
    ...start.map(field => [`${field} at the start`, channel] as const),
    ...end.map(field => [field, channel] as const),
  ])
  expect(said(found)).toEqual(
    said(listed.filter(([field, of]) => `${field} ${of}` !== 'events cacheaside:read')),
  )
})

test('docs/telemetry.md lists every event, and every field with the events that have it', () => {
  const source = readFileSync(join(import.meta.dirname, '../../src/base/events.ts'), 'utf8')
  const fields = fieldsOfEvents(source)
  const rows = rowsUnder('| event | one for |').map(([name = '']) => words(name)[0])
  expect(rows.sort()).toEqual([...new Set(fields.map(([, of]) => of))].sort())
  const listed = rowsUnder('| field | of | unit | meaning |').flatMap(([name = '', of = '', unit]) => {
    const field = words(name)[0]!
    expect(unit === 'milliseconds', field).toBe(field.endsWith('Ms'))
    return words(of).map(event => [field, event] as const)
  })
  expect(said(listed)).toEqual(said(fields.filter(([field]) => field !== 'type')))
})

/** The fields of each event, as its types have them. */
function fieldsOfEvents(source: string): (readonly [field: string, event: string])[] {
  const code = source.replaceAll(/\/\*\*[\s\S]*?\*\//g, '')
  const bodies = [...code.matchAll(/interface (\w+)(?: extends (\w+))? \{\n([\s\S]*?)\n\}/g)]
  const bodyOf = (name: string | undefined) => bodies.find(([, one]) => one === name)?.[3] ?? ''
  return bodies
    .filter(([, name = '']) => name.endsWith('Event'))
    .flatMap(([, , base, own = '']) => {
      const body = `${bodyOf(base)}\n${own}`
      const type = /readonly type: '([\w-]+)'/.exec(body)?.[1] ?? 'none'
      return [...body.matchAll(/readonly (\w+)\??:/g)].map(([, field = '']) => [field, type] as const)
    })
}
