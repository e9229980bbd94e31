import { Counter, Registry, register } from 'prom-client'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { createCache } from '../../src/index.ts'
import { type PrometheusOptions, prometheusMetrics } from '../../src/prometheus/index.ts'
import { fireball, openWorld, passing, spellTable } from '../world.ts'
import { prometheusNumbers } from './exported.ts'

afterEach(() => register.clear())

function open() {
  const { clock, process, network } = openWorld()
  const link = network()
  const { cache } = process({ local: { maxEntries: 10 } }, link)
  const table = spellTable(fireball)
  const load = async (id: number) => {
    await passing(clock, 20)
    return table.find(id)
  }
  return { clock, link, cache, table, spells: cache.keyspace('spell', { load }) }
}

describe('prometheusMetrics', () => {
  test('exports what the cache has done since it was made, and durations of loads since the call', async () => {
    const { clock, cache, spells } = open()
    const registry = new Registry()
    await clock.advance(2_000)
    await Promise.all([spells.get(4), clock.advance(100)])
    prometheusMetrics(cache, { registry })
    await Promise.all([spells.get(4), clock.advance(30)])
    await Promise.all([spells.get(5), clock.advance(30)])
    const numbers = await prometheusNumbers(registry)
    expect(numbers.get('cacheaside_reads_total{from="origin",keyspace="spell",why="missing"}')).toBe(2)
    expect(numbers.get('cacheaside_reads_total{from="local",keyspace="spell",why="fresh"}')).toBe(1)
    expect(numbers.get('cacheaside_reads_absent_total{keyspace="spell"}')).toBe(1)
    expect(numbers.get('cacheaside_loads_total{keyspace="spell",outcome="loaded"}')).toBe(2)
    const durations = 'cacheaside_load_duration_seconds'
    expect(numbers.get(`${durations}_count{keyspace="spell",outcome="loaded"}`)).toBe(1)
    expect(numbers.get(`${durations}_sum{keyspace="spell",outcome="loaded"}`)).toBeCloseTo(0.02)
    expect(numbers.get(`${durations}_bucket{keyspace="spell",le="0.01",outcome="loaded"}`)).toBe(0)
    expect(numbers.get(`${durations}_bucket{keyspace="spell",le="0.025",outcome="loaded"}`)).toBe(1)
  })

  test('counts the keys of each committed write that was not fenced, and none of a write that threw', async () => {
    const { clock, link, cache, spells } = open()
    const registry = new Registry()
    prometheusMetrics(cache, { registry })
    const unfenced = async () =>
      (await prometheusNumbers(registry)).get('cacheaside_unfenced_writes_total{keyspace="spell"}')
    expect(await spells.write(4, () => 1)).toMatchObject({ fenced: true })
    expect(await unfenced()).toBe(0)
    link.fail()
    const failing = spells.write(5, () => {
      throw Object.assign(new Error('refused'), { code: '23505' })
    })
    await Promise.all([expect(failing).rejects.toThrow('refused'), clock.advance(5_000)])
    expect(await unfenced()).toBe(0)
    const writing = cache.write([spells.key(4), spells.key(5)], () => 1)
    await clock.advance(5_000)
    expect(await writing).toMatchObject({ fenced: false })
    expect(await unfenced()).toBe(2)
    link.restore()
    await clock.advance(30_000)
  })

  test('tells when the store is suspect, what is queued, and when both are over', async () => {
    const { clock, link, cache, spells } = open()
    const registry = new Registry()
    prometheusMetrics(cache, { registry })
    await clock.advance(2_000)
    const told = async () => {
      const numbers = await prometheusNumbers(registry)
      return ['shared_available', 'invalidations_queued', 'commits_in_doubt', 'stream_proven'].map(name =>
        numbers.get(`cacheaside_${name}{}`),
      )
    }
    expect(await told()).toEqual([1, 0, 0, 1])
    link.fail()
    link.muteStream()
    await Promise.all([spells.invalidate(4), clock.advance(20_000)])
    expect(await told()).toEqual([0, 1, 0, 0])
    link.restore()
    await clock.advance(30_000)
    expect(await told()).toEqual([1, 0, 0, 1])
    const doubtful = spells.write(4, () => {
      throw new Error('the connection broke')
    })
    await Promise.all([expect(doubtful).rejects.toThrow('broke'), clock.advance(1)])
    expect(await told()).toEqual([1, 0, 1, 1])
    await clock.advance(60_000)
    expect(await told()).toEqual([1, 0, 0, 1])
  })

  test('tells a read of the registry the numbers of one moment', async () => {
    const { cache, spells } = open()
    const registry = new Registry()
    let asked = 0
    const stats = cache.stats.bind(cache)
    cache.stats = () => {
      asked++
      return stats()
    }
    prometheusMetrics(cache, { registry })
    void spells
    await registry.metrics()
    expect(asked).toBe(1)
    await registry.metrics()
    expect(asked).toBe(2)
  })

  test('needs no event of a hit in L1', async () => {
    const cache = createCache()
    onTestFinished(() => cache.close())
    prometheusMetrics(cache, { registry: new Registry() })
    expect(cache.measurable.isHeard).toBe(false)
    const stop = cache.listen(() => {})
    expect(cache.measurable.isHeard).toBe(true)
    stop()
  })

  test('has no key in any label, and no series that a key adds', async () => {
    const { clock, cache, spells } = open()
    const registry = new Registry()
    prometheusMetrics(cache, { registry })
    await Promise.all([spells.get(987_654), clock.advance(30)])
    const before = await prometheusNumbers(registry)
    for (let id = 987_655; id < 987_700; id++) await Promise.all([spells.get(id), clock.advance(30)])
    await Promise.all([spells.invalidate(987_655), clock.advance(30)])
    const after = await prometheusNumbers(registry)
    expect([...after.keys()]).toEqual([...before.keys()])
    expect(await registry.metrics()).not.toContain('9876')
  })

  test('names each of several caches on one registry, and takes one off without the others', async () => {
    const [one, other] = [open(), open()]
    const registry = new Registry()
    const first = prometheusMetrics(one.cache, { registry, name: 'one' })
    const second = prometheusMetrics(other.cache, { registry, name: 'other' })
    await Promise.all([one.spells.get(4), one.clock.advance(30)])
    await Promise.all([other.spells.getMany([4, 5]), other.clock.advance(30)])
    const text = await registry.metrics()
    for (const [cache, reads] of [
      ['one', 1],
      ['other', 2],
    ])
      expect(text).toContain(
        `cacheaside_reads_total{cache="${cache}",keyspace="spell",from="origin",why="missing"} ${reads}`,
      )
    expect(() => prometheusMetrics(open().cache, { registry, name: 'one' })).toThrow(
      'expected name to be one that no other cache on this registry has, got "one"',
    )
    first.close()
    first.close()
    const rest = await registry.metrics()
    expect(rest).not.toContain('cache="one"')
    expect(rest).toContain('cache="other"')
    second.close()
    expect(await registry.metrics()).toBe('\n')
    prometheusMetrics(one.cache, { registry, name: 'one' })
    expect(await registry.metrics()).toContain('cache="one"')
  })

  test('keeps the numbers of a cache that has been closed until another one is registered', async () => {
    const registry = new Registry()
    const cache = createCache()
    prometheusMetrics(cache, { registry })
    await cache.keyspace('spell', { load: async (id: number) => id }).get(1)
    await cache.close()
    expect(await registry.metrics()).toContain('cacheaside_reads_total{cache="default",keyspace="spell"')
    const next = createCache()
    onTestFinished(() => next.close())
    prometheusMetrics(next, { registry })
    const text = await registry.metrics()
    expect(text).toContain('cacheaside_shared_available{cache="default"} 1')
    expect(text).not.toContain('keyspace="spell"')
  })

  test('registers again on a registry that was cleared', async () => {
    const { cache } = open()
    const registry = new Registry()
    const before = prometheusMetrics(cache, { registry })
    registry.clear()
    prometheusMetrics(cache, { registry })
    before.close()
    expect(await registry.metrics()).toContain('cacheaside_shared_available{cache="default"} 1')
  })

  test('takes the default registry if none is given', async () => {
    const { cache } = open()
    prometheusMetrics(cache)
    expect(await register.metrics()).toContain('cacheaside_faults_total{cache="default"} 0')
  })

  test('is read in the format of OpenMetrics too', async () => {
    const { cache } = open()
    const registry: Registry = new Registry()
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
    prometheusMetrics(cache, { registry })
    const twice = [await registry.metrics(), await registry.metrics()]
    for (const text of twice) expect(text).toContain('\ncacheaside_faults_total{cache="default"} 0\n')
  })

  test('leaves a registry as it was whose names are taken', async () => {
    const { cache } = open()
    const registry = new Registry()
    new Counter({ name: 'cacheaside_faults_total', help: 'Of another.', registers: [registry] })
    expect(() => prometheusMetrics(cache, { registry })).toThrow(
      'expected registry to be without another metric called cacheaside_faults_total',
    )
    expect(registry.getMetricsAsArray()).toHaveLength(1)
  })

  test.each<[unknown, string]>([
    [{ registry: 4 }, 'expected registry to be a Registry of prom-client, got 4'],
    [{ name: '' }, 'expected name to be a string of 1 to 64 characters, got ""'],
    [{ nmae: 'a' }, 'unknown option options.nmae, known are: registry, name'],
    [null, 'expected options to be an object, got null'],
  ])('refuses %j', (options, message) => {
    const { cache } = open()
    expect(() => prometheusMetrics(cache, options as PrometheusOptions)).toThrow(message)
  })

  test('refuses what is no cache', () => {
    expect(() => prometheusMetrics({} as never)).toThrow('expected cache to be a cache made by createCache')
  })
})
