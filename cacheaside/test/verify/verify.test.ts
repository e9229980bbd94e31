import { describe, expect, test } from 'vitest'
import { embeddedShared } from '../../src/index.ts'
import { guardText, leaseText } from '../../src/shared/register.ts'
import { gate } from '../../src/testing/index.ts'
import { auditedKeyspace, type VerifyOptions, verify } from '../../src/verify/index.ts'
import { FakeFeed } from '../feed/fake-feed.ts'
import { type Spell, within } from '../world.ts'
import { auditWorld, found, GENERATION, token, viewedBy } from './audit-world.ts'

describe('verify counts as equal', () => {
  test('what is what the origin holds, absent rows too, and finds nothing', async () => {
    const world = await auditWorld()
    for (const id of [1, 2, 3, 77]) world.plantSpell(id)
    const report = await world.verify()
    expect(report).toMatchObject({
      store: 'faulty embedded',
      startedAt: '2030-01-01T00:00:00.000Z',
      total: { checked: 4, equal: 4, stale: 0, unreadable: 0, orphaned: 0 },
      keyspaces: { spell: { checked: 4 } },
      findings: [],
      foreign: 0,
      notes: [],
    })
  })

  test('a value whose fields have another order', async () => {
    const world = await auditWorld()
    world.plantText('spell:4', '{"damage":4,"name":"spell 4","id":4}')
    expect((await world.verify()).total).toMatchObject({ equal: 1, stale: 0 })
  })

  test('dates, bytes, maps and errors by what they hold, and tells those that hold something else', async () => {
    const world = await auditWorld()
    const failed = new TypeError('no')
    const values = auditedKeyspace('value', {
      load: (at: string) => ({
        at: new Date(Number(at)),
        bytes: Buffer.from(at),
        tags: new Map([['a', 4n]]),
        failed,
      }),
      versionOf: ({ at }) => at,
    })
    await world.network.generation('value', GENERATION)
    const text = (at: number, bytes: string) =>
      `~{"tags":{"$Map":[["a",{"$bigint":"4"}]]},"bytes":{"$Buffer":"${bytes}"},"at":{"$Date":"${new Date(at).toISOString()}"},` +
      `"failed":{"$Error":["TypeError",{"message":"no"},{}]}}`
    world.plantText('value:4', text(4, 'NA=='))
    world.plantText('value:5', text(4, 'NQ=='))
    world.plantText('value:6', text(6, 'NQ=='))
    expect(found(await world.verify({ keyspaces: [values] }))).toEqual(['stale value:5', 'stale value:6'])
  })

  test('what the keyspace itself calls equal', async () => {
    const world = await auditWorld()
    world.plantSpell(4, { id: 4, name: 'SPELL 4', damage: 4 })
    world.plantSpell(3, { id: 3, name: 'another', damage: 3 })
    const keyspace = auditedKeyspace('spell', {
      load: (id: string) => world.table.find(Number(id)),
      equal: (cached, origin) => cached?.name.toLowerCase() === origin?.name,
    })
    expect(found(await world.verify({ keyspaces: [keyspace] }))).toEqual(['stale spell:3'])
  })

  test('values of a codec, a schema, a key function and composite ids, compared as readers get them', async () => {
    const world = await auditWorld()
    const days = auditedKeyspace('day', {
      load: ({ place }: { place: string; at: number }) => new Date(place.length),
      key: ({ place, at }) => [place, at],
      idFromKey: ([place, at]) => ({ place: place!, at: Number(at) }),
      codec: { encode: date => String(date.getTime()), decode: text => new Date(Number(text)) },
    })
    await world.network.generation('day', GENERATION)
    world.plantText('day:a%3Ab:1', '3')
    world.plantText('day:ab:2', '5')
    const report = await world.verify({ keyspaces: [days] })
    expect(found(report)).toEqual(['stale day:ab:2'])
    expect(report.total.equal).toBe(1)
  })
})

describe('verify finds stale', () => {
  test('a value that differs, and tells its age and how far it is behind', async () => {
    const world = await auditWorld()
    world.plantSpell(4, { ...world.table.rows.get(4)!, damage: 1 }, { agoMs: 9_000 })
    const report = await world.verify({ graceMs: 1_500 })
    expect(report.findings).toEqual([
      {
        kind: 'stale',
        keyspace: 'spell',
        key: 'spell:4',
        ageMs: 10_500,
        staleMs: 1_500,
        behind: { cached: '1', origin: '4', by: 3, unit: 'versions' },
      },
    ])
    expect(report.total).toMatchObject({ checked: 1, equal: 0, stale: 1 })
  })

  test('a value of a row that is gone, and an absence of a row that is there', async () => {
    const world = await auditWorld()
    world.plantSpell(9, { id: 9, name: 'gone', damage: 1 })
    world.plantText('spell:4', undefined)
    const { findings } = await world.verify()
    expect(findings.map(finding => [finding.key, 'absent' in finding && finding.absent]).sort()).toEqual([
      ['spell:4', 'cached'],
      ['spell:9', 'origin'],
    ])
  })

  test('since when, where versions are times, but for no longer than it has been there', async () => {
    const world = await auditWorld()
    const beganMs = world.clock.epochMs()
    const changed: Record<string, number> = { a: -3_000, b: -300_000 }
    const pages = auditedKeyspace('page', {
      load: (id: string) => ({ at: new Date(beganMs + changed[id]!).toISOString() }),
      versionOf: page => page.at,
    })
    await world.network.generation('page', GENERATION)
    for (const id of ['a', 'b'])
      world.plantText(`page:${id}`, JSON.stringify({ at: new Date(beganMs - 400_000).toISOString() }), {
        agoMs: 8_000,
      })
    const { findings } = await world.verify({ keyspaces: [pages], graceMs: 2_000 })
    expect(findings).toMatchObject([
      { key: 'page:a', staleMs: 5_000, behind: { by: 397_000, unit: 'ms' } },
      { key: 'page:b', staleMs: 10_000, behind: { by: 100_000, unit: 'ms' } },
    ])
  })

  test('a value whose refresh is claimed', async () => {
    const world = await auditWorld()
    world.plantSpell(4, { id: 4, damage: 1 }, { nonce: token('nonce') })
    await world.network.claim('spell:4', token('nonce'), token('reader'), 30_000)
    expect(found(await world.verify())).toEqual(['stale spell:4'])
  })

  test('which change it has missed, the oldest, by its key or by its keyspace', async () => {
    const world = await auditWorld()
    for (const id of [1, 2, 3]) world.plantSpell(id, { id, damage: 77 })
    const feed = new FakeFeed(world.clock, {
      spell: { keys: row => [`spell:${row.id}` as never], keyspaces: ['wizard'] },
      book: { keys: () => [], keyspaces: ['spell'] },
    })
    const pending = Object.assign(feed, { pending: async () => [...feed.outbox] })
    feed.commit('spell', [{ id: '2' }], 100)
    feed.commit('spell', [{ id: '1' }], 900)
    feed.commit('spell', [{ id: '1' }], 300)
    expect((await world.verify({ feed: pending })).findings).toMatchObject([
      { key: 'spell:1', change: { id: '2', table: 'spell', ageMs: 2_900 } },
      { key: 'spell:2', change: { id: '1', table: 'spell', ageMs: 2_100 } },
      { key: 'spell:3' },
    ])
    feed.commit('book')
    const { findings } = await world.verify({ feed: pending })
    expect(findings[2]).toMatchObject({ key: 'spell:3', change: { id: '4', table: 'book' } })
  })
})

describe('verify accuses nobody of', () => {
  test('what is guarded, leased or gone', async () => {
    const world = await auditWorld()
    world.plant(
      'spell:1',
      guardText(false, [{ token: token('Anna'), deadlineMs: world.clock.epochMs() + 9_000 }]),
    )
    world.plant('spell:2', leaseText(token('reader')))
    world.plantSpell(3, { id: 3, damage: 77 })
    const keys = {
      async *[Symbol.asyncIterator]() {
        yield ['spell:1', 'spell:2', 'spell:3']
      },
    }
    const shared = viewedBy(world.network, view => ({
      ...view,
      keys: () => keys,
      peek: async wanted => {
        await world.network.invalidate('spell:3')
        return view.peek(wanted)
      },
    }))
    const { total } = await world.verify({ shared })
    expect(total).toMatchObject({ checked: 0, skipped: { guarded: 1, leased: 1, gone: 1, changed: 0 } })
    world.plant('spell:1', 'x', 1)
    world.plant('spell:2', 'x', 1)
  })

  test('a value that is invalidated while its row is read', async () => {
    const world = await auditWorld()
    world.plantSpell(4)
    const query = gate<Spell>()
    const keyspace = auditedKeyspace('spell', { load: (_: string, { signal }) => query.wait(signal) })
    const verifying = world.begin({ keyspaces: [keyspace] })
    await query.reached
    await world.network.guard('spell:4', token('Anna'), 9_000, false)
    await world.network.release('spell:4', token('Anna'))
    query.open({ id: 4, name: 'spell 4', damage: 5 })
    const { total } = await within(world.clock, 10_000, verifying)
    expect(total).toMatchObject({ checked: 0, skipped: { changed: 1 } })
  })

  test('a value that another has replaced while its row was read', async () => {
    // 1. The old value is read. 2. The row is changed and read. 3. The new value is filled. 4. It changes again, so that
    // the second value differs from the row that was read: but it was not there then.
    const world = await auditWorld()
    world.plantSpell(4)
    const query = gate<Spell>()
    const keyspace = auditedKeyspace('spell', { load: (_: string, { signal }) => query.wait(signal) })
    const verifying = world.begin({ keyspaces: [keyspace], graceMs: 0 })
    await query.reached
    world.plantSpell(4, { id: 4, name: 'spell 4', damage: 6 })
    query.open({ id: 4, name: 'spell 4', damage: 5 })
    expect((await within(world.clock, 10_000, verifying)).total).toMatchObject({
      stale: 0,
      skipped: { changed: 1 },
    })
  })

  test.each<[string, (world: Awaited<ReturnType<typeof auditWorld>>) => unknown, object]>([
    ['invalidated', ({ network }) => network.invalidate('spell:4'), { skipped: { changed: 1 } }],
    [
      'guarded',
      ({ network }) => network.guard('spell:4', token('Anna'), 100, false),
      { skipped: { changed: 1 } },
    ],
    ['filled again', world => world.plantSpell(4), { equal: 1 }],
    [
      'filled again with what is stale, too',
      world => world.plantSpell(4, { id: 4, damage: 76 }),
      { skipped: { changed: 1 } },
    ],
    [
      'of an old generation',
      ({ network }) => network.invalidateKeyspace('spell', token('new')),
      { skipped: { changed: 1 } },
    ],
    ['right again', ({ table }) => table.rows.set(4, { id: 4, name: 'spell 4', damage: 77 }), { equal: 1 }],
  ])('a value that is %s within the grace', async (_name, happen, expected) => {
    const world = await auditWorld()
    world.plantSpell(4, { id: 4, name: 'spell 4', damage: 77 })
    const verifying = world.begin({ graceMs: 3_000 })
    await world.clock.advance(2_000)
    await happen(world)
    const { total, findings } = await within(world.clock, 10_000, verifying)
    expect(findings).toEqual([])
    expect(total).toMatchObject({ stale: 0, ...expected })
    await world.clock.advance(100)
  })

  test('a value that is guarded while its row is read a second time', async () => {
    // 1. Somebody changes the row and changes it back, which the feed is slow to tell: the value is suspect. 2. It is
    // looked at again, and is as it was. 3. A writer guards it and commits. 4. The row is read, and differs once more.
    const world = await auditWorld()
    world.plantSpell(4)
    const queries = [gate<Spell>(), gate<Spell>()]
    let loads = 0
    const keyspace = auditedKeyspace('spell', { load: (_: string) => queries[loads++]!.wait() })
    const verifying = world.begin({ keyspaces: [keyspace], graceMs: 1_000 })
    queries[0]!.open({ id: 4, name: 'spell 4', damage: 5 })
    await world.clock.advance(1_100)
    await queries[1]!.reached
    await world.network.guard('spell:4', token('Anna'), 1_000, false)
    queries[1]!.open({ id: 4, name: 'spell 4', damage: 6 })
    expect((await within(world.clock, 2_000, verifying)).total).toMatchObject({
      stale: 0,
      skipped: { changed: 1 },
    })
  })

  test('an unreadable register that somebody overwrites', async () => {
    const world = await auditWorld()
    world.plant('spell:3', 'unreadable')
    world.plantText('spell:4', '{')
    const shared = viewedBy(world.network, view => ({
      ...view,
      peek: async keys => {
        const texts = await view.peek(keys)
        for (const id of [3, 4]) world.plantSpell(id)
        return texts
      },
    }))
    expect((await world.verify({ shared })).total).toMatchObject({ checked: 0, skipped: { changed: 2 } })
  })

  test('an old generation where a new one was given between its two reads', async () => {
    // Read the other way round, the generation would be older than the register: 1. the generation is read; 2. the
    // keyspace is invalidated; 3. the register is read, filled under the new one.
    const world = await auditWorld()
    const shared = viewedBy(world.network, view => ({
      ...view,
      peek: async keys => {
        if (keys.includes('spell:4')) {
          await world.network.invalidateKeyspace('spell', token('new'))
          world.plantSpell(4, undefined, { generation: token('new') })
        }
        return view.peek(keys)
      },
    }))
    world.plantSpell(4)
    world.table.rows.delete(4)
    expect((await world.verify({ shared })).total).toMatchObject({ equal: 1, orphaned: 0 })
  })
})

describe('verify tells apart', () => {
  test('a value under a key that is not that of its row, which no reader takes, by the idOf of the keyspace', async () => {
    const world = await auditWorld()
    const options = {
      load: (id: string) => world.table.find(Number(id)),
      idOf: (row: Spell) => String(row.id),
    }
    const row = world.table.rows.get(4)
    world.plantSpell(4)
    world.plantText('spell:04', JSON.stringify(row))
    world.plantText('spell:+4', JSON.stringify({ ...row, damage: 1 }))
    world.plantText('spell:077', undefined)
    const report = await world.verify({ keyspaces: [auditedKeyspace('spell', options)] })
    expect(found(report)).toEqual(['orphaned spell:+4 alias', 'orphaned spell:04 alias'])
    expect(report.total).toMatchObject({ equal: 2, orphaned: 2 })
  })

  test('and says so if idOf cannot tell, instead of accusing every value', async () => {
    const world = await auditWorld()
    world.plantSpell(4)
    const idOf = ([id]: string[]) => id
    const options = { load: (id: string) => world.table.find(Number(id)), idOf: idOf as never }
    await expect(world.verify({ keyspaces: [auditedKeyspace('spell', options)] })).rejects.toThrow(
      'spell.idOf: expected a function from a value to its id (idFromKey is the one from the parts of a key)',
    )
  })

  test('stale, unreadable, orphaned and foreign, and exactly what was planted', async () => {
    const world = await auditWorld()
    const schema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          typeof (value as Spell)?.damage === 'number'
            ? { value: value as Spell }
            : { issues: [{ message: 'no damage' }] },
      },
    }
    const spells = auditedKeyspace('spell', {
      load: (id: number) => world.table.find(id),
      idFromKey: ([id]) => Number(id),
      schema,
    })
    await world.network.generation('wizard', GENERATION)
    world.plantSpell(1)
    world.plantSpell(2, { ...world.table.rows.get(2)!, damage: 77 })
    world.plantText('spell:3', '{"damage"')
    world.plantText('spell:4', '{"damage":"much"}')
    world.plant('spell:5', 'nothing like a value')
    world.plant('spell:9', 'V but of a later version')
    world.plantSpell(6, undefined, { generation: token('old') })
    world.plantSpell(7, undefined, { shape: 2 })
    world.plantText('spell:08', '{}')
    world.plantText('spell:a:b', '{}')
    world.plantText('wizard:1', '{}')
    world.plantText('session:1', '{}')
    world.plant('plain', 'of somebody else')
    const report = await world.verify({ keyspaces: [spells] })
    expect(found(report)).toEqual([
      'orphaned spell:08 id',
      'orphaned spell:6 generation',
      'orphaned spell:7 shape',
      'orphaned spell:a:b id',
      'orphaned wizard:1 keyspace',
      'stale spell:2',
      'unreadable spell:3 codec',
      'unreadable spell:4 schema',
      'unreadable spell:5 register',
    ])
    expect(report.total).toMatchObject({ checked: 10, equal: 1, stale: 1, unreadable: 3, orphaned: 5 })
    expect(report.total.skipped.version).toBe(1)
    expect(report.keyspaces.wizard).toMatchObject({ checked: 1, orphaned: 1 })
    expect(report.foreign).toBe(2)
  })

  test('a value of a keyspace without a generation, which nobody can find', async () => {
    const world = await auditWorld()
    world.plantText('page:1', '"old"')
    const pages = auditedKeyspace('page', { load: () => 'new' })
    expect(found(await world.verify({ keyspaces: [pages] }))).toEqual(['orphaned page:1 generation'])
    expect(await world.network.generation('page', token('first'))).toBe(token('first'))
  })

  test('a value that nobody asks for any more from a stale one, by looking up another', async () => {
    const world = await auditWorld()
    const list = auditedKeyspace('list', { load: () => 'any', equal: () => true })
    const pages = auditedKeyspace('page', {
      load: () => 'new',
      idFromKey: ([version, page]) => [version!, page!] as const,
      isReachable: async ([version], lookup) => version === (await lookup('list', 'version')),
    })
    const pagesOf = async () => found(await world.verify({ keyspaces: [list, pages] }))
    await world.network.generation('page', GENERATION)
    await world.network.generation('list', GENERATION)
    world.plantText('list:version', '"v2"')
    for (const key of ['page:v1:0', 'page:v2:0']) world.plantText(key, '"old"')
    world.plantText('page:v2:1', '"new"')
    expect(await pagesOf()).toEqual(['orphaned page:v1:0 unreachable', 'stale page:v2:0'])
    await world.network.invalidate('list:version')
    expect(await pagesOf()).toEqual(
      ['page:v1:0', 'page:v2:0', 'page:v2:1'].map(key => `orphaned ${key} unreachable`),
    )
  })

  test('rows that cannot be read from those that can', async () => {
    const world = await auditWorld()
    for (const id of [1, 2, 3]) world.plantSpell(id)
    const spells = auditedKeyspace('spell', {
      load: (id: string) => {
        if (id === '2') throw new Error('no such luck')
        return world.table.find(Number(id))
      },
    })
    expect((await world.verify({ keyspaces: [spells] })).total).toMatchObject({
      equal: 2,
      skipped: { failed: 1 },
    })
  })
})

describe('verify leaves alone', () => {
  test('the store: it only looks, and makes neither lease nor generation', async () => {
    const world = await auditWorld()
    for (const id of [1, 2, 3]) world.plantSpell(id, { id, damage: 77 })
    world.plant('spell:5', 'unreadable')
    world.plantText('wizard:1', '{}')
    const keys = ['spell:1', 'spell:2', 'spell:3', 'spell:4', 'spell:5', 'wizard:1']
    const before = keys.map(key => world.inspect(key))
    const sent = world.network.log.length
    const { total } = await world.verify()
    expect(total).toMatchObject({ stale: 3, unreadable: 1 })
    expect(keys.map(key => world.inspect(key))).toEqual(before)
    expect(new Set(world.network.log.slice(sent).map(({ operation }) => operation))).toEqual(
      new Set(['view']),
    )
  })

  test('the origin, for a limited number of values per second', async () => {
    const world = await auditWorld()
    for (let id = 100; id < 300; id++) world.plantText(`spell:${id}`, undefined)
    const verifying = world.begin({ rate: 10 })
    await world.clock.advance(10_000)
    expect(world.table.asked.length).toBeGreaterThan(90)
    expect(world.table.asked.length).toBeLessThanOrEqual(103)
    expect((await within(world.clock, 12_000, verifying)).total.equal).toBe(200)
  })

  test('rows that need not be read, and reads the others by loadMany where there is one', async () => {
    const world = await auditWorld()
    for (const id of [1, 2, 3, 4, 77]) world.plantSpell(id)
    world.plantText('spell:5', '{}', { generation: token('old') })
    const spells = auditedKeyspace('spell', {
      loadMany: (ids: readonly number[]) => world.table.findMany(ids),
      idFromKey: ([id]) => Number(id),
    })
    expect((await world.verify({ keyspaces: [spells] })).total.equal).toBe(5)
    expect(world.table.asked).toEqual([[1, 2, 3, 4, 77]])
  })
})

describe('verify looks at', () => {
  test('a sample, if one is asked for: the given number of keys, each once, and other keys the next time', async () => {
    const world = await auditWorld()
    for (let id = 100; id < 1_000; id++) world.plantText(`spell:${id}`, undefined)
    const sampled = new Set<number>()
    for (let i = 0; i < 10; i++) {
      const before = world.table.asked.length
      const report = await world.verify({ sample: 50 })
      expect(report).toMatchObject({ sampled: 50, total: { checked: 50, equal: 50 } })
      const ids = world.table.asked.slice(before).flat()
      expect(new Set(ids).size).toBe(50)
      for (const id of ids) sampled.add(id)
    }
    // Of 900, each is missed by all ten samples with a probability of 0.57.
    expect(sampled.size).toBeGreaterThan(300)
    expect(sampled.size).toBeLessThan(470)
    expect(Math.max(...sampled) - Math.min(...sampled)).toBeGreaterThan(850)
  })

  test('everything, where the sample is larger than that', async () => {
    const world = await auditWorld()
    for (const id of [1, 2]) world.plantSpell(id)
    expect(await world.verify({ sample: 50 })).toMatchObject({ sampled: 2, total: { checked: 2 } })
  })

  test('some keyspaces only, if that is asked for', async () => {
    const world = await auditWorld()
    const wizards = auditedKeyspace('wizard', { load: () => 1 })
    await world.network.generation('wizard', GENERATION)
    world.plantSpell(1)
    world.plantText('wizard:1', '2')
    const options = { keyspaces: [world.spells, wizards] }
    expect((await world.verify({ ...options, only: ['spell'] })).total).toMatchObject({
      checked: 1,
      equal: 1,
    })
    expect((await world.verify({ ...options, only: ['wizard', 'spell'] })).total).toMatchObject({
      equal: 1,
      stale: 1,
    })
  })

  test('keys that a walk tells twice, and finds them once', async () => {
    const world = await auditWorld()
    for (const id of [1, 2]) world.plantSpell(id, { id, damage: 77 })
    const shared = viewedBy(world.network, view => ({
      ...view,
      async *keys() {
        yield* view.keys()
        yield* view.keys()
      },
    }))
    const report = await world.verify({ shared })
    expect(found(report)).toEqual(['stale spell:1', 'stale spell:2'])
    expect(report.total.stale).toBe(2)
  })

  test('everything, and lists no more than it is asked to', async () => {
    const world = await auditWorld()
    await world.network.generation('wizard', GENERATION)
    for (let id = 10; id < 40; id++) world.plantSpell(id, { id })
    for (let id = 10; id < 40; id++) world.plantText(`wizard:${id}`, '{}')
    const report = await world.verify({ maxFindings: 5 })
    expect(report.total).toMatchObject({ stale: 30, orphaned: 30 })
    expect(report.findings).toHaveLength(5)
  })

  test('and tells how far it is', async () => {
    const world = await auditWorld()
    for (let id = 100; id < 250; id++) world.plantText(`spell:${id}`, undefined)
    const progress: string[] = []
    await world.verify({ onProgress: ({ done, of }) => progress.push(`${done}/${of}`) })
    expect(progress).toEqual(['50/150', '100/150', '150/150'])
  })
})

describe('verify rejects', () => {
  test('with the reason, where the origin cannot be read', async () => {
    const world = await auditWorld()
    for (const id of [1, 2, 3]) world.plantSpell(id)
    const failing = auditedKeyspace('spell', {
      load: (_: string) => Promise.reject(new Error('the database is away')),
    })
    const error = 'the origin cannot be read: the database is away'
    await expect(world.verify({ keyspaces: [failing] })).rejects.toThrow(error)
    const many = auditedKeyspace('spell', {
      loadMany: (_: readonly string[]) => Promise.reject(new Error('the database is away')),
    })
    await expect(world.verify({ keyspaces: [many] })).rejects.toThrow(error)
  })

  test('soon, where it cannot be read any more', async () => {
    const world = await auditWorld()
    for (let id = 100; id < 900; id++) world.plantText(`spell:${id}`, undefined)
    let asked = 0
    const failing = auditedKeyspace('spell', {
      load: (_: string) => (++asked > 60 ? Promise.reject(new Error('gone')) : undefined),
    })
    await expect(world.verify({ keyspaces: [failing] })).rejects.toThrow('gone')
    expect(asked).toBeLessThan(200)
  })

  test('when a loader hangs, whose signal is aborted', async () => {
    const world = await auditWorld()
    world.plantSpell(4)
    let aborted: unknown
    const hanging = auditedKeyspace('spell', {
      load: (_: string, { signal }) => {
        signal.addEventListener('abort', () => (aborted = signal.reason))
        return new Promise<never>(() => {})
      },
    })
    const error = 'the loader of spell did not answer within 500 ms'
    await expect(world.verify({ keyspaces: [hanging], timeoutMs: 500 })).rejects.toThrow(error)
    expect(aborted).toMatchObject({ message: error })
  })

  test.each<[string, (network: Awaited<ReturnType<typeof auditWorld>>['network']) => void, string]>([
    ['hangs', network => network.hang(), 'the shared store did not answer within 500 ms'],
    ['is away', network => network.cut(), 'the connection to the shared store was lost'],
    ['refuses', network => network.fail('view', new Error('NOPERM')), 'NOPERM'],
  ])('when the store %s, from the beginning or later', async (_name, fail, error) => {
    const world = await auditWorld()
    world.plantSpell(4)
    fail(world.network)
    await expect(world.verify({ timeoutMs: 500 })).rejects.toThrow(error)
    world.network.restore()
    const query = gate<Spell>()
    const spells = auditedKeyspace('spell', { load: (_: string, { signal }) => query.wait(signal) })
    const verifying = world.begin({ keyspaces: [spells], timeoutMs: 500 })
    await query.reached
    fail(world.network)
    query.open({ id: 4, name: 'another', damage: 1 })
    await expect(within(world.clock, 10_000, verifying)).rejects.toThrow(error)
    world.network.restore()
  })

  test('with the reason of its signal', async () => {
    const world = await auditWorld()
    for (const id of [1, 2, 3]) world.plantSpell(id, { id })
    const reason = new Error('enough')
    await expect(world.verify({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const abort = new AbortController()
    const verifying = world.begin({ signal: abort.signal })
    await world.clock.advance(1_000)
    abort.abort(reason)
    await expect(verifying).rejects.toBe(reason)
  })

  test.each<[object, string]>([
    [{ shared: undefined }, 'expected shared to be a shared store, got undefined'],
    [
      { shared: { ...embeddedShared(), lease() {}, name: 'mine' } },
      'expected shared to be a store that can be looked at',
    ],
    [{ keyspaces: [] }, 'expected keyspaces to be one or more of auditedKeyspace()'],
    [{ keyspaces: [{ name: 'spell' }] }, 'expected keyspaces to be one or more of auditedKeyspace()'],
    [{ only: ['wizard'] }, 'expected only to be among spell, got "wizard"'],
    [{ only: 'spell' }, 'expected only to be an array of names, got "spell"'],
    [{ clock: {} }, 'expected clock to be a clock, got [object Object]'],
    [{ onProgress: true }, 'expected onProgress to be a function, got true'],
    [{ feed: {} }, 'expected feed to be a change feed'],
    [{ rate: 0 }, 'expected rate to be a whole number from 1'],
    [{ sample: 1.5 }, 'expected sample to be a whole number from 1'],
    [{ graceMs: -1 }, 'expected graceMs to be a whole number from 0'],
    [{ grace: 1 }, 'unknown option options.grace, known are: '],
  ])('the options %o', async (more, message) => {
    const world = await auditWorld()
    const options = {
      shared: world.network,
      keyspaces: [world.spells],
      clock: world.clock,
      ...more,
    } as VerifyOptions
    await expect(verify(options)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(message),
    })
  })

  test('a keyspace that is named twice', async () => {
    const { spells, verify } = await auditWorld()
    await expect(verify({ keyspaces: [spells, spells] })).rejects.toThrow(
      "expected a keyspace's name to be named once",
    )
  })
})

test.each<[string, object, string]>([
  ['spell', { load: 4 }, 'expected spell.load to be a function'],
  ['spell', {}, 'expected spell.load to be a function'],
  ['spell', { load() {}, equal: true }, 'expected spell.equal to be a function'],
  ['spell', { load() {}, versionof() {} }, 'unknown option spell.versionof, known are: '],
  ['a:b', { load() {} }, "expected a keyspace's name to be 1 to 64"],
])('auditedKeyspace refuses %s with %o', (name, options, message) => {
  expect(() => auditedKeyspace(name, options as never)).toThrow(message)
})

test('auditedKeyspace takes the options of a cache with longer time limits than the default', () => {
  expect(
    auditedKeyspace('spell', { load: (id: string) => id, loadTimeoutMs: 3_600_000, staleMs: 1 }).name,
  ).toBe('spell')
})
