import { trace } from '@opentelemetry/api'
import { describe, expect, test } from 'vitest'
import type { CacheEvent } from '../src/index.ts'
import { openTelemetryTraces } from '../src/opentelemetry/index.ts'
import { hostileErrors } from './hostile-errors.ts'
import { openTracing } from './telemetry/spans.ts'
import { openWorld } from './world.ts'

/** What a promise has come to, by identity: nothing may be asked of a hostile error. */
const thrownBy = (work: Promise<unknown>) =>
  work.then(
    () => ({ isRejected: false, error: undefined }),
    (error: unknown) => ({ isRejected: true, error }),
  )

describe.each(Object.keys(hostileErrors))('where %s is thrown', name => {
  const thrown = hostileErrors[name]
  const throwIt = () => {
    throw thrown
  }

  test('by a loader, readers get it and the cache goes on', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: { maxEntries: 10 } })
    const rows = cache.keyspace<number, number>('row', { load: throwIt })
    const many = cache.keyspace<number, number>('many', { loadMany: throwIt })
    for (const work of [rows.get(1), rows.read(1), rows.getMany([1]), many.getMany([1, 2])]) {
      const { isRejected, error } = await thrownBy(work)
      expect([isRejected, error === thrown]).toEqual([true, true])
    }
    expect(cache.stats().keyspaces.row!.failedReads.failed).toBe(3)
  })

  test('by a loader, the old value is served in its place', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    let isBroken = false
    const rows = cache.keyspace<number, number>('row', {
      load: () => (isBroken ? throwIt() : 1),
      ttlMs: 1_000,
      ttlJitter: 0,
      staleIfErrorMs: 60_000,
      staleMs: 5_000,
    })
    await rows.get(1)
    await clock.drain()
    isBroken = true
    for (const ms of [2_000, 10_000]) {
      await clock.advance(ms)
      expect(await rows.get(1)).toBe(1)
      await clock.drain()
    }
  })

  test('by a write, it rejects with it, and the cache can be closed', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const rows = cache.keyspace<number, number>('row', { load: async id => id })
    const { isRejected, error } = await thrownBy(rows.write(1, throwIt))
    expect([isRejected, error === thrown]).toEqual([true, true])
    await clock.advance(60_000)
    await cache.close()
  })

  test('by what a write is told, the committed value is returned', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const rows = cache.keyspace<number, number>('row', { load: async id => id })
    const options = { writeThrough: throwIt, commitInDoubt: throwIt }
    expect(await cache.write([rows.key(1)], () => 7, options)).toMatchObject({ value: 7, fenced: true })
    expect(eventsOf('fault')).toHaveLength(1)
  })

  test('by a codec, the value is answered and not kept', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const codec = { encode: throwIt, decode: throwIt }
    const rows = cache.keyspace<number, number>('row', { load: async id => id, codec })
    expect(await rows.get(1)).toBe(1)
    expect(await rows.write(1, async () => 2, { writeThrough: true })).toMatchObject({ value: 2 })
    expect(eventsOf('fill').map(({ outcome }) => outcome)).toEqual(['unencodable', 'unencodable'])
  })

  test('by a listener or a logger, reads and writes go on', async () => {
    const { process } = openWorld()
    const logger = { info: throwIt, warn: throwIt, error: throwIt }
    const { cache } = process({ onEvent: throwIt, logger })
    cache.listen(async () => throwIt())
    const rows = cache.keyspace<number, number>('row', { load: async id => id })
    expect(await rows.get(1)).toBe(1)
    expect(await rows.write(1, () => 2)).toMatchObject({ fenced: true })
  })

  test('by the shared store, reads go to the origin', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({}, link)
    const rows = cache.keyspace<number, number>('row', { load: async id => id })
    await clock.advance(1_000)
    link.fail(undefined, thrown as Error)
    expect(await rows.get(1)).toBe(1)
    expect(await rows.write(1, () => 2)).toMatchObject({ fenced: false })
    link.restore()
    await clock.advance(3_000)
  })

  test('by a loader, a traced read has ended', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const tracing = openTracing()
    openTelemetryTraces(cache, { tracer: tracing.tracer })
    const rows = cache.keyspace<number, number>('row', { load: throwIt })
    expect((await thrownBy(rows.get(1))).error === thrown).toBe(true)
    expect(tracing.named('cacheaside.read row')).toHaveLength(1)
    await tracing.close()
    trace.disable()
  })
})

describe('a clock that throws where a warning is timed', () => {
  test('breaks no write', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const heard: CacheEvent[] = []
    cache.listen(event => void heard.push(event))
    const rows = cache.keyspace<number, number>('row', { load: async id => id })
    const { nowMs } = clock
    const writeThrough = () => {
      clock.nowMs = () => {
        clock.nowMs = nowMs
        throw new Error('the clock')
      }
      throw new Error('no entries')
    }
    expect(await cache.write([rows.key(1)], () => 7, { writeThrough })).toMatchObject({ value: 7 })
  })
})
