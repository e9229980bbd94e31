import { describe, expect, test } from 'vitest'
import type { CacheEvent } from '../../src/index.ts'
import { stampText } from '../../src/shared/register.ts'
import { gate } from '../../src/testing/index.ts'
import { auditedKeyspace, type Finding, type SamplingOptions, startSampling } from '../../src/verify/index.ts'
import type { Spell } from '../world.ts'
import { auditWorld, GENERATION, tag, token } from './audit-world.ts'

/** An audited world with a process that samples. */
async function samplingWorld(options: Partial<SamplingOptions> = {}) {
  const world = await auditWorld()
  const { cache, eventsOf } = world.process({ maxLoads: 2 }, world.network)
  const findings: Finding[] = []
  const start = () =>
    startSampling(cache, { keyspaces: [world.spells], onFinding: one => void findings.push(one), ...options })
  const verified = () => eventsOf('verified').map(({ key, outcome }) => `${key} ${outcome}`)
  return { ...world, cache, eventsOf, findings, start, verified }
}

describe('startSampling', () => {
  test('compares every value once per walk, again and again, and adds it up in the statistics', async () => {
    const world = await samplingWorld({ everyMs: 1_000, keys: 2 })
    for (const id of [1, 2, 3, 4]) world.plantSpell(id)
    world.plantText('wizard:1', '{}')
    const sampler = world.start()
    await world.clock.advance(2_000)
    expect(world.verified().sort()).toEqual([1, 2, 3, 4].map(id => `spell:${id} equal`))
    await world.clock.advance(10_000)
    for (const id of [1, 2, 3, 4])
      expect(world.verified().filter(line => line === `spell:${id} equal`).length).toBeGreaterThanOrEqual(3)
    expect(world.verified().every(line => line.endsWith(' equal'))).toBe(true)
    const counted = world.eventsOf('verified').length
    expect(world.cache.stats().keyspaces.spell!.verified).toMatchObject({
      equal: counted,
      stale: 0,
      maxStaleMs: 0,
    })
    await sampler.stop()
  })

  test('measures staleness, and tells what it finds', async () => {
    const world = await samplingWorld({ everyMs: 500, graceMs: 2_000 })
    world.plantSpell(1)
    world.plantSpell(2, { id: 2, damage: 77 })
    world.plantSpell(3, undefined, { generation: token('old') })
    world.plant('spell:4', 'unreadable')
    const sampler = world.start()
    await world.clock.advance(500)
    expect(world.verified().sort()).toEqual(['spell:1 equal', 'spell:3 orphaned', 'spell:4 unreadable'])
    await world.clock.advance(2_000)
    expect(world.verified()).toContain('spell:2 stale')
    expect(world.findings.find(({ kind }) => kind === 'stale')).toMatchObject({
      key: 'spell:2',
      staleMs: 2_000,
    })
    const { verified } = world.cache.stats().keyspaces.spell!
    expect(verified.maxStaleMs).toBe(2_000)
    expect(verified.stale).toBeGreaterThan(0)
    await sampler.stop()
  })

  test('reads a value after a change as equal or not at all', async () => {
    const world = await samplingWorld({ everyMs: 100, graceMs: 1_000 })
    const spells = world.cache.keyspace('spell', { load: (id: number) => world.table.find(id) })
    const sampler = world.start()
    for (let damage = 10; damage < 60; damage++) {
      await spells.get(4)
      await spells.write(4, () => world.table.update(4, damage))
      await spells.get(4)
      await world.clock.advance(70)
    }
    await world.clock.advance(5_000)
    const { verified } = world.cache.stats().keyspaces.spell!
    expect(verified).toMatchObject({ stale: 0, orphaned: 0, unreadable: 0 })
    expect(verified.equal).toBeGreaterThan(30)
    await sampler.stop()
  })

  test('counts a value whose tag has fallen as orphaned, and a tag as skipped', async () => {
    const world = await samplingWorld({ everyMs: 1_000 })
    await world.network.generation('author', GENERATION)
    world.plant('author:7', stampText(token('of author:7')))
    world.plant('spell:3', stampText(token('of spell:3')))
    world.plantSpell(1, undefined, { tags: [tag('author:7')] })
    world.plantSpell(2, { id: 2, damage: 77 }, { tags: [tag('author:7'), tag('author:8')] })
    const sampler = world.start()
    await world.clock.advance(1_000)
    await sampler.stop()
    expect(world.verified().sort()).toEqual(['spell:1 equal', 'spell:2 orphaned', 'spell:3 skipped'])
    expect(world.cache.stats().keyspaces.spell?.verified).toMatchObject({ equal: 1, orphaned: 1, skipped: 1 })
  })

  test('leaves the store as it is, and the counts of loads and reads', async () => {
    const world = await samplingWorld()
    world.plantSpell(1, { id: 1, damage: 77 })
    const before = world.inspect('spell:1')
    const sampler = world.start()
    await world.clock.advance(10_000)
    await sampler.stop()
    expect(world.inspect('spell:1')).toBe(before)
    const { loads, reads } = world.cache.stats().keyspaces.spell!
    expect([loads.loaded, reads.origin]).toEqual([0, 0])
    expect(world.network.log.some(({ operation }) => ['lease', 'fill', 'drop'].includes(operation))).toBe(
      false,
    )
  })

  test('takes a place under the load limit, and none that readers have left no room for', async () => {
    const world = await samplingWorld({ everyMs: 1_000 })
    const query = gate<Spell>()
    const slow = world.cache.keyspace('slow', { load: (_: number, { signal }) => query.wait(signal) })
    world.plantSpell(1)
    const sampler = world.start()
    const reads = [slow.get(1), slow.get(2)]
    await world.clock.advance(3_000)
    expect(world.cache.stats().now.loads).toBe(2)
    expect(world.verified()).toEqual([])
    query.open({ id: 1, name: 'slow', damage: 1 })
    await Promise.all(reads)
    await world.clock.advance(3_000)
    expect(world.verified()).toContain('spell:1 equal')
    await sampler.stop()
  })

  test('reports trouble once, until things go well again', async () => {
    const world = await samplingWorld({ everyMs: 1_000, timeoutMs: 300 })
    world.plantSpell(1)
    const sampler = world.start()
    await world.clock.advance(1_000)
    world.network.hang('view')
    await world.clock.advance(5_000)
    expect(world.eventsOf('fault')).toMatchObject([
      { during: 'sampling', error: { message: 'the shared store did not answer within 300 ms' } },
    ])
    world.network.restore('view')
    const before = world.verified().length
    await world.clock.advance(3_000)
    expect(world.verified().length).toBeGreaterThan(before)
    world.network.fail('view')
    await world.clock.advance(3_000)
    expect(world.eventsOf('fault')).toHaveLength(2)
    world.network.restore('view')
    await sampler.stop()
  })

  test.each<[string, (id: string) => Promise<never>, string]>([
    ['fails', () => Promise.reject(new Error('the database is away')), 'the database is away'],
  ])('reports a loader that %s, and rejects nowhere', async (_name, load, message) => {
    const keyspaces = [auditedKeyspace('spell', { load })]
    const world = await samplingWorld({ keyspaces, timeoutMs: 300 })
    world.plantSpell(1)
    const sampler = world.start()
    await world.clock.advance(5_000)
    expect(world.eventsOf('fault')).toMatchObject([{ during: 'sampling', error: { message } }])
    await sampler.stop()
  })

  test('gives a loader up that hangs, and asks for nothing more until it has really ended', async () => {
    const query = gate<Spell | undefined>()
    let loads = 0
    const load = (id: string) => (++loads === 1 ? query.wait() : world.table.find(Number(id)))
    const world = await samplingWorld({ keyspaces: [auditedKeyspace('spell', { load })], timeoutMs: 300 })
    world.plantSpell(1)
    const sampler = world.start()
    await world.clock.advance(5_000)
    const message = 'the loader of spell did not answer within 300 ms'
    expect(world.eventsOf('fault')).toMatchObject([{ during: 'sampling', error: { message } }])
    expect([loads, world.cache.stats().now.loads]).toEqual([1, 1])
    query.open(undefined)
    await world.clock.advance(3_000)
    expect(world.verified()).toContain('spell:1 equal')
    expect(world.cache.stats().now.loads).toBe(0)
    await sampler.stop()
  })

  test('survives a listener that throws', async () => {
    const world = await samplingWorld({
      onFinding: () => {
        throw new Error('a listener')
      },
    })
    world.plant('spell:1', 'unreadable')
    const sampler = world.start()
    await world.clock.advance(3_000)
    expect(world.verified().length).toBeGreaterThan(1)
    expect(world.eventsOf('fault')).toEqual([])
    await sampler.stop()
  })

  test('passes by what is not audited, a bounded number of pages at a time', async () => {
    const world = await samplingWorld({ everyMs: 1_000, keys: 1 })
    for (let i = 0; i < 5_000; i++) world.plantText(`wizard:${i}`, undefined)
    world.plantSpell(1)
    const asked = () => world.network.calls.view
    const sampler = world.start()
    const before = asked()
    await world.clock.advance(1_000)
    expect(asked() - before).toBeLessThan(30)
    await world.clock.advance(3_000)
    expect(world.verified()).toEqual(['spell:1 equal'])
    await sampler.stop()
  })

  const ends: [
    string,
    (
      world: Awaited<ReturnType<typeof samplingWorld>>,
      abort: AbortController,
      stop: () => Promise<void>,
    ) => unknown,
  ][] = [
    ['it is stopped', (_world, _abort, stop) => stop()],
    ['its signal aborts', (_world, abort) => abort.abort()],
    ['the cache is closed', ({ cache }) => cache.close()],
  ]
  test.each(ends)(
    'ends when %s, also in the middle of a round, and leaves nothing behind',
    async (_name, end) => {
      const query = gate<Spell>()
      const abort = new AbortController()
      const keyspaces = [auditedKeyspace('spell', { load: (_: string) => query.wait() })]
      const world = await samplingWorld({ keyspaces, signal: abort.signal })
      world.plantSpell(1)
      const sampler = world.start()
      await world.clock.advance(1_000)
      await query.reached
      const ending = end(world, abort, () => sampler.stop())
      query.open(world.table.rows.get(1)!)
      await ending
      await sampler.stop()
      const rounds = query.arrivals
      await world.clock.advance(10_000)
      expect(query.arrivals).toBe(rounds)
    },
  )

  test('does not begin with a signal that is aborted, or on a cache that is closed', async () => {
    const world = await samplingWorld({ signal: AbortSignal.abort() })
    world.plantSpell(1)
    await world.start().stop()
    await world.clock.advance(5_000)
    expect(world.verified()).toEqual([])
    await world.cache.close()
    expect(() => startSampling(world.cache, { keyspaces: [world.spells] })).toThrow(
      'the cache has been closed',
    )
  })

  test.each<[object, string]>([
    [{ keyspaces: [] }, 'expected keyspaces to be one or more of auditedKeyspace()'],
    [{ everyMs: 0 }, 'expected everyMs to be a whole number from 1'],
    [{ keys: 0.5 }, 'expected keys to be a whole number from 1'],
    [{ rate: 5 }, 'unknown option options.rate, known are: '],
    [{ onFinding: 5 }, 'expected onFinding to be a function, got 5'],
  ])('refuses the options %o', async (options, message) => {
    const world = await samplingWorld(options as SamplingOptions)
    expect(() => world.start()).toThrow(message)
  })
})

test('a round under way is not counted twice when nobody listens: statistics are the same as events', async () => {
  const world = await samplingWorld()
  for (const id of [1, 2]) world.plantSpell(id)
  const heard: CacheEvent[] = []
  world.cache.listen(event => void heard.push(event))
  const sampler = world.start()
  await world.clock.advance(4_000)
  await sampler.stop()
  const { equal } = world.cache.stats().keyspaces.spell!.verified
  expect(heard.filter(({ type }) => type === 'verified')).toHaveLength(equal)
})
