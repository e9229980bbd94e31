import { metrics } from '@opentelemetry/api'
import { DataPointType } from '@opentelemetry/sdk-metrics'
import { afterEach, describe, expect, test } from 'vitest'
import { type OpenTelemetryOptions, openTelemetryMetrics } from '../../src/opentelemetry/index.ts'
import { fireball, openWorld, passing, spellTable } from '../world.ts'
import { openTelemetry, openTelemetryNumbers } from './exported.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  metrics.disable()
  for (const end of ends.splice(0)) await end()
})

function open() {
  const { clock, process } = openWorld()
  const { cache } = process({ local: { maxEntries: 10 } })
  const table = spellTable(fireball)
  const spells = cache.keyspace('spell', {
    load: async (id: number) => {
      await passing(clock, 20)
      if (id === 13) throw new Error('the origin is away')
      return table.find(id)
    },
  })
  const telemetry = openTelemetry()
  ends.push(telemetry.close)
  return { clock, cache, spells, telemetry }
}

describe('openTelemetryMetrics', () => {
  test('records counters, amounts and gauges with the attributes of the cache', async () => {
    const { clock, cache, spells, telemetry } = open()
    openTelemetryMetrics(cache, { meter: telemetry.meter, name: 'spells' })
    await Promise.all([spells.get(4), clock.advance(30)])
    await spells.get(4)
    const collected = await telemetry.collect()
    const numbers = openTelemetryNumbers(collected)
    expect(numbers.get('cacheaside.reads{from="local",keyspace="spell",why="fresh"}')).toBe(1)
    expect(numbers.get('cacheaside.local.entries{}')).toBe(1)
    expect(numbers.get('cacheaside.shared.available{}')).toBe(1)
    const points = collected.flatMap(({ dataPoints }): readonly { attributes: object }[] => dataPoints)
    expect(points.length).toBeGreaterThan(50)
    expect(points.every(({ attributes }) => (attributes as never)['cacheaside.cache'] === 'spells')).toBe(
      true,
    )
  })

  test('records how long loads took, with error.type for those that did not succeed', async () => {
    const { clock, cache, spells, telemetry } = open()
    openTelemetryMetrics(cache, { meter: telemetry.meter })
    const failing = expect(spells.get(13)).rejects.toThrow('away')
    await Promise.all([failing, clock.advance(30)])
    await Promise.all([spells.get(4), clock.advance(30)])
    const found = (await telemetry.collect()).find(
      ({ descriptor }) => descriptor.name === 'cacheaside.load.duration',
    )
    if (found?.dataPointType !== DataPointType.HISTOGRAM) throw new Error('no histogram')
    expect(found.dataPoints.map(({ attributes }) => attributes)).toEqual([
      {
        'cacheaside.cache': 'default',
        'cacheaside.keyspace': 'spell',
        'cacheaside.outcome': 'failed',
        'error.type': 'failed',
      },
      { 'cacheaside.cache': 'default', 'cacheaside.keyspace': 'spell', 'cacheaside.outcome': 'loaded' },
    ])
    for (const { value } of found.dataPoints) {
      expect([value.count, value.sum]).toEqual([1, expect.closeTo(0.02)])
      expect(value.buckets.boundaries).toContain(0.025)
    }
  })

  test('records nothing more once it is closed', async () => {
    const { clock, cache, spells, telemetry } = open()
    const recording = openTelemetryMetrics(cache, { meter: telemetry.meter })
    recording.close()
    recording.close()
    await Promise.all([spells.get(4), clock.advance(30)])
    const numbers = openTelemetryNumbers(await telemetry.collect())
    expect([...numbers]).toEqual([])
  })

  test('takes the meter of the global provider if none is given, and does without a provider', async () => {
    const { cache, telemetry } = open()
    openTelemetryMetrics(cache).close()
    metrics.setGlobalMeterProvider({
      getMeter: name => (name === 'cacheaside' ? telemetry.meter : fail(name)),
    })
    openTelemetryMetrics(cache)
    expect(openTelemetryNumbers(await telemetry.collect()).get('cacheaside.faults{}')).toBe(0)
  })

  test.each<[unknown, string]>([
    [{ meter: 4 }, 'expected meter to be a Meter of @opentelemetry/api, got 4'],
    [{ name: 'a'.repeat(65) }, 'expected name to be a string of 1 to 64 characters'],
    [{ provider: 1 }, 'unknown option options.provider, known are: meter, name'],
  ])('refuses %j', (options, message) => {
    const { cache } = open()
    expect(() => openTelemetryMetrics(cache, options as OpenTelemetryOptions)).toThrow(message)
  })
})

function fail(name: string): never {
  throw new Error(`a meter called ${name} was asked for`)
}
