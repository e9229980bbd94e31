import { describe, expect, test } from 'vitest'
import type { Tag } from '../../src/index.ts'
import { guardText, leaseText, stampText, valueText } from '../../src/shared/register.ts'
import type { StoreView } from '../../src/shared/shared-store.ts'
import { gate } from '../../src/testing/index.ts'
import { auditedKeyspace, reportText } from '../../src/verify/index.ts'
import { FakeFeed } from '../feed/fake-feed.ts'
import { type Spell, within } from '../world.ts'
import { auditWorld, found, GENERATION, tag, token, viewedBy } from './audit-world.ts'

const AUTHOR = tag('author:7')
const WRONG = { id: 4, name: 'spell 4', damage: 77 }

/** An audit of spells, each of which may be tagged with its author. */
async function taggedWorld() {
  const world = await auditWorld()
  await world.network.generation('author', GENERATION)
  return {
    ...world,
    /** Lets a tag stand, as the values hold it. */
    stamp: (name = AUTHOR.name) => world.plant(name, stampText(token(`of ${name}`))),
    /** The same table, read one row at a time, when the test says so. */
    slowly() {
      const query = gate<Spell>()
      const keyspace = auditedKeyspace('spell', { load: (_: string, { signal }) => query.wait(signal) })
      return { query, keyspaces: [keyspace] }
    },
  }
}
type World = Awaited<ReturnType<typeof taggedWorld>>

/** A look during which something happens, before the registers of these keys are told. */
const before = (world: World, key: string, happen: () => unknown) =>
  viewedBy(world.network, (view: StoreView) => ({
    ...view,
    peek: async keys => {
      if (keys.includes(key)) await happen()
      return view.peek(keys)
    },
  }))

describe('verify of a value whose tags all stand', () => {
  test('counts it as equal, with one tag, with several, and of an absent row', async () => {
    const world = await taggedWorld()
    await world.network.generation('class', GENERATION)
    for (const name of ['author:7', 'author:8', 'class:🔥']) world.stamp(name)
    world.plantSpell(1, undefined, { tags: [AUTHOR] })
    world.plantSpell(2, undefined, { tags: [AUTHOR, tag('author:8'), tag('class:🔥')] })
    world.plantSpell(77, undefined, { tags: [tag('class:🔥')] })
    world.plantSpell(3)
    const report = await world.verify()
    expect(report.findings).toEqual([])
    expect(report.total).toMatchObject({ checked: 4, equal: 4, orphaned: 0 })
  })

  test('finds it stale where it differs, and tells its tags', async () => {
    const world = await taggedWorld()
    world.stamp()
    world.stamp('author:8')
    world.plantSpell(4, WRONG, { tags: [AUTHOR, tag('author:8')] })
    const report = await world.verify()
    expect(report.findings).toMatchObject([
      { kind: 'stale', key: 'spell:4', tags: ['author:7', 'author:8'], behind: { by: -73 } },
    ])
    expect(reportText(report)).toContain('; its tags stand (author:7, author:8)\n')
  })

  test('tells which change it has missed, by a tag of it or by the keyspace of one', async () => {
    const world = await taggedWorld()
    world.stamp()
    for (const id of [1, 2]) world.plantSpell(id, { id, damage: 77 }, { tags: id === 1 ? [AUTHOR] : [] })
    const feed = new FakeFeed(world.clock, {
      wizard: { keys: row => [`author:${row.id}` as never], keyspaces: ['author'] },
    })
    const pending = Object.assign(feed, { pending: async () => [...feed.outbox] })
    feed.commit('wizard', [{ id: '7' }], 900)
    const withFeed = async () => (await world.verify({ feed: pending })).findings
    expect(await withFeed()).toEqual([
      expect.objectContaining({ key: 'spell:1', change: { id: '1', table: 'wizard', ageMs: 2_900 } }),
      expect.not.objectContaining({ change: expect.anything() }),
    ])
    feed.outbox.splice(0)
    feed.commit('wizard')
    expect((await withFeed())[0]).toMatchObject({ key: 'spell:1', change: { id: '2', table: 'wizard' } })
  })
})

describe('verify finds orphaned, and not stale, a value with a tag that', () => {
  const fill = { generation: GENERATION, shape: 1, freshMs: 1, staleMs: 0, costMs: 1, text: '{}' }
  test.each<[string, (world: World) => unknown]>([
    ['is absent', () => {}],
    ['has another stamp', ({ plant }) => plant('author:7', stampText(token('another')))],
    ['is guarded', ({ network }) => network.guard('author:7', token('Anna'), 60_000, false)],
    ['is leased, as no tag is', ({ plant }) => plant('author:7', leaseText(token('of author:7')))],
    ['is a value, as no tag is', ({ plant }) => plant('author:7', valueText(token('x'), fill, 0))],
    ['is unreadable', ({ plant }) => plant('author:7', 'nothing like a register')],
    [
      'is of a keyspace that was invalidated as a whole',
      world => [world.stamp(), world.network.invalidateKeyspace('author', token('new'))],
    ],
  ])('%s', async (_name, plant) => {
    const world = await taggedWorld()
    await plant(world)
    // One differs from the origin, and one does not: no reader finds either.
    world.plantSpell(4, WRONG, { tags: [AUTHOR] })
    world.plantSpell(1, undefined, { tags: [AUTHOR] })
    const report = await world.verify()
    expect(report.findings.filter(({ key }) => key.startsWith('spell:'))).toEqual([
      { kind: 'orphaned', keyspace: 'spell', key: 'spell:4', reason: 'tag', tags: ['author:7'] },
      { kind: 'orphaned', keyspace: 'spell', key: 'spell:1', reason: 'tag', tags: ['author:7'] },
    ])
    expect(report.total).toMatchObject({ stale: 0, equal: 0 })
    // Its row need not be read.
    expect(world.table.asked).toEqual([])
  })

  test('is of a keyspace without a generation', async () => {
    const world = await taggedWorld()
    world.stamp('class:1')
    world.plantSpell(4, undefined, { tags: [tag('class:1')] })
    expect(found(await world.verify())).toEqual(['orphaned spell:4 tag'])
  })

  test('has fallen beside others that stand, and names those that have', async () => {
    const world = await taggedWorld()
    const names = ['1', '2', '3', '4', '5', '6'].map(id => `author:${id}`)
    world.stamp('author:4')
    world.plantSpell(4, WRONG, { tags: names.map(name => tag(name)) })
    const report = await world.verify()
    expect(report.findings).toMatchObject([{ tags: names.filter(name => name !== 'author:4') }])
    expect(reportText(report)).toContain(
      'orphaned spell:4: a tag that it was loaded under does not stand any more (author:1, author:2, author:3 and 2 more)\n',
    )
    expect(JSON.parse(JSON.stringify(report)).findings[0].tags).toHaveLength(5)
  })

  test('has fallen beside one of a later version', async () => {
    const world = await taggedWorld()
    world.plant('author:8', 'S~ of a later version')
    world.plantSpell(4, WRONG, { tags: [AUTHOR, tag('author:8')] })
    expect((await world.verify()).findings).toMatchObject([{ reason: 'tag', tags: ['author:7'] }])
  })
})

describe('verify of a keyspace with tags', () => {
  test('finds orphaned a value without a tag that its id has, and names it', async () => {
    const world = await taggedWorld()
    for (const name of ['author:1', 'author:3', 'author:4', 'author:7']) world.stamp(name)
    const pages = auditedKeyspace('spell', {
      load: (id: number) => world.table.find(id),
      idFromKey: ([id]) => Number(id),
      tags: id => [`author:${id}` as Tag, 'author:7' as Tag],
    })
    world.plantSpell(1, undefined, { tags: [tag('author:1'), AUTHOR] })
    world.plantSpell(2)
    world.plantSpell(3, { ...WRONG, id: 3 }, { tags: [tag('author:3')] })
    // More than those of its id: what its value names comes to it.
    world.plantSpell(4, undefined, { tags: [tag('author:3'), tag('author:4'), AUTHOR] })
    const report = await world.verify({ keyspaces: [pages] })
    expect(report.findings).toEqual([
      {
        kind: 'orphaned',
        keyspace: 'spell',
        key: 'spell:2',
        reason: 'names',
        tags: ['author:2', 'author:7'],
      },
      { kind: 'orphaned', keyspace: 'spell', key: 'spell:3', reason: 'names', tags: ['author:7'] },
    ])
    expect(report.total.equal).toBe(2)
  })

  test('finds orphaned a value without a tag that it names itself', async () => {
    const world = await taggedWorld()
    for (const name of ['author:1', 'author:7']) world.stamp(name)
    world.plantSpell(1, undefined, { tags: [tag('author:1')] })
    for (const id of [2, 3]) world.plantSpell(id, undefined, { tags: [AUTHOR] })
    const spells = auditedKeyspace('spell', {
      load: (id: number) => world.table.find(id),
      idFromKey: ([id]) => Number(id),
      tagsOf: (_, id) => (id === 3 ? expect.unreachable() : [`author:${id}` as Tag]),
    })
    const report = await world.verify({ keyspaces: [spells] })
    expect(report.findings).toEqual([
      { kind: 'orphaned', keyspace: 'spell', key: 'spell:2', reason: 'names', tags: ['author:2'] },
      { kind: 'orphaned', keyspace: 'spell', key: 'spell:3', reason: 'names' },
    ])
    expect(report.total.equal).toBe(1)
  })

  test('finds what its cache has stored equal, and orphaned once a tag of it is invalidated', async () => {
    const world = await taggedWorld()
    const { cache } = world.process()
    const author = cache.tags<number>('author')
    const options = {
      load: (id: number) => world.table.find(id),
      tags: (id: number) => [author.key(id)],
      tagsOf: (spell: Spell | undefined) => (spell === undefined ? [] : [author.key(spell.damage + 10)]),
    }
    const spells = cache.keyspace('spell', options)
    const audited = auditedKeyspace('spell', { ...options, idFromKey: ([id]) => Number(id) })
    const audit = () => world.verify({ keyspaces: [audited] })
    for (const id of [1, 2, 3, 4]) for (let i = 0; i < 2; i++) await spells.get(id)
    await world.clock.drain()
    expect(await audit()).toMatchObject({ findings: [], total: { equal: 4, skipped: { stamp: 8 } } })
    await author.invalidate(2)
    await author.invalidate(13)
    const report = await audit()
    expect(found(report)).toEqual(['orphaned spell:2 tag', 'orphaned spell:3 tag'])
    expect(report.total.equal).toBe(2)
  })
})

describe('verify accuses no value of which a tag', () => {
  test('is of a later version, so that it cannot be told whether readers find it', async () => {
    const world = await taggedWorld()
    world.plant('author:7', 'S~ of a later version')
    world.plantSpell(4, WRONG, { tags: [AUTHOR] })
    expect(await world.verify()).toMatchObject({
      findings: [],
      total: { checked: 0, skipped: { version: 2 } },
    })
  })

  test.each<[string, (world: World) => Promise<unknown>]>([
    ['is guarded, and released after the commit,', ({ network }) => writeUnder(network)],
    ['is invalidated', ({ network }) => network.invalidate('author:7')],
    ['falls with its keyspace', ({ network }) => network.invalidateKeyspace('author', token('new'))],
    [
      'falls, and stands again under another stamp,',
      async world => {
        await world.network.invalidate('author:7')
        await world.network.stampMany([{ key: 'author:7', token: token('next') }], 60_000)
      },
    ],
  ])('%s while its row is read', async (_name, happen) => {
    const world = await taggedWorld()
    world.stamp()
    world.plantSpell(4, undefined, { tags: [AUTHOR] })
    const { query, keyspaces } = world.slowly()
    const verifying = world.begin({ keyspaces })
    await query.reached
    await happen(world)
    query.open({ ...WRONG, damage: 5 })
    expect(await within(world.clock, 10_000, verifying)).toMatchObject({
      findings: [],
      total: { checked: 0, skipped: { changed: 1 } },
    })
  })

  test('falls within the grace', async () => {
    const world = await taggedWorld()
    world.stamp()
    world.plantSpell(4, WRONG, { tags: [AUTHOR] })
    const verifying = world.begin({ graceMs: 3_000 })
    await world.clock.advance(2_000)
    await world.network.invalidate('author:7')
    expect(await within(world.clock, 10_000, verifying)).toMatchObject({
      findings: [],
      total: { skipped: { changed: 1 } },
    })
  })

  test('is guarded while its row is read a second time', async () => {
    // As with its own guard: 1. the row is changed and changed back, and the value is suspect; 2. it is looked at again,
    // and as it was; 3. a writer guards the tag and commits; 4. the row is read, and differs once more.
    const world = await taggedWorld()
    world.stamp()
    world.plantSpell(4, undefined, { tags: [AUTHOR] })
    const queries = [gate<Spell>(), gate<Spell>()]
    let loads = 0
    const keyspace = auditedKeyspace('spell', { load: (_: string) => queries[loads++]!.wait() })
    const verifying = world.begin({ keyspaces: [keyspace], graceMs: 1_000 })
    queries[0]!.open({ ...WRONG, damage: 5 })
    await world.clock.advance(1_100)
    await queries[1]!.reached
    await world.network.guard('author:7', token('Anna'), 1_000, false)
    queries[1]!.open({ ...WRONG, damage: 6 })
    expect((await within(world.clock, 2_000, verifying)).total).toMatchObject({
      stale: 0,
      skipped: { changed: 1 },
    })
  })

  test('falls between the look at the value and that at the tag, if the value was loaded again', async () => {
    // Read the other way round, the tag would be older than the value: 1. the stamp is read; 2. it falls; 3. a value is
    // read that was loaded under the next one, and looks like one whose tag has fallen.
    for (const key of ['spell:4', 'author:7']) {
      const world = await taggedWorld()
      world.stamp()
      world.plantSpell(4, undefined, { tags: [AUTHOR] })
      const next = tag('author:7', { token: token('next') })
      let happened = false
      const shared = before(world, key, async () => {
        if (happened) return
        happened = true
        await world.network.invalidate('author:7')
        await world.network.stampMany([{ key: 'author:7', token: next.token }], 60_000)
        world.plantSpell(4, undefined, { tags: [next] })
      })
      const { findings, total } = await world.verify({ shared })
      expect(findings).toEqual([])
      expect(total).toMatchObject(key === 'spell:4' ? { equal: 1 } : { skipped: { changed: 1 } })
    }
  })

  test('falls between the look at the value and that at the tag, and nobody loads it: it is orphaned', async () => {
    const world = await taggedWorld()
    world.stamp()
    world.plantSpell(4, undefined, { tags: [AUTHOR] })
    const shared = before(world, 'author:7', () => world.network.invalidate('author:7'))
    expect(found(await world.verify({ shared }))).toEqual(['orphaned spell:4 tag'])
  })
})

describe('verify passes by tags', () => {
  test('under the keys of an audited keyspace, which was one of tags, and counts them apart', async () => {
    const world = await taggedWorld()
    world.plantSpell(1)
    world.plant('spell:2', stampText(token('of spell:2')))
    const report = await world.verify()
    expect(report).toMatchObject({
      findings: [],
      total: { checked: 1, unreadable: 0, skipped: { stamp: 1 } },
    })
    expect(reportText(report)).toMatch(/\n0 stale of 1 checked, 1 tags passed by$/)
  })

  test('of other keyspaces, whatever their state, and not what is left over there', async () => {
    const world = await taggedWorld()
    world.plantSpell(1)
    for (const id of [1, 2, 3]) world.stamp(`author:${id}`)
    world.plant(
      'author:4',
      guardText(false, [{ token: token('Anna'), deadlineMs: world.clock.epochMs() + 90_000 }]),
    )
    world.plantText('author:5', '"a value"')
    world.plant('author:6', 'nothing like a register')
    world.plantText('author:7', '"a value with tags"', { tags: [tag('author:1')] })
    const report = await world.verify()
    expect(found(report)).toEqual([
      'orphaned author:5 keyspace',
      'orphaned author:6 keyspace',
      'orphaned author:7 keyspace',
    ])
    expect(report.keyspaces.author).toMatchObject({
      checked: 3,
      orphaned: 3,
      skipped: { stamp: 3, guarded: 1 },
    })
  })

  test('which are all guarded, or gone, at the moment, without calling them orphaned', async () => {
    const world = await taggedWorld()
    await world.network.guard('author:7', token('Anna'), 90_000, false)
    world.stamp('author:8')
    const shared = before(world, 'author:8', () => world.network.invalidate('author:8'))
    expect(await world.verify({ shared })).toMatchObject({
      findings: [],
      keyspaces: { author: { skipped: { guarded: 1, gone: 1, stamp: 0 } } },
    })
    await world.network.release('author:7', token('Anna'))
  })

  test('of which there are more than it remembers', async () => {
    const world = await taggedWorld()
    for (let id = 0; id < 250; id++) world.stamp(`author:${id}`)
    for (const maxFindings of [0, 120, 1_000])
      expect(await world.verify({ maxFindings })).toMatchObject({
        findings: [],
        total: { checked: 0, skipped: { stamp: 250 } },
      })
  })
})

test('verify looks up no value whose tag has fallen, where it asks what is reachable', async () => {
  const world = await taggedWorld()
  const list = auditedKeyspace('list', { load: () => 'v2' })
  const pages = auditedKeyspace('page', {
    load: () => 'new',
    idFromKey: ([version, page]) => [version!, page!] as const,
    isReachable: async ([version], lookup) => version === (await lookup('list', 'version')),
  })
  for (const name of ['page', 'list']) await world.network.generation(name, GENERATION)
  world.stamp()
  world.plantText('list:version', '"v2"', { tags: [AUTHOR] })
  world.plantText('page:v2:0', '"new"')
  const audit = async () => found(await world.verify({ keyspaces: [list, pages] }))
  expect(await audit()).toEqual([])
  await world.network.invalidate('author:7')
  expect(await audit()).toEqual(['orphaned list:version tag', 'orphaned page:v2:0 unreachable'])
})

/** A writer of the tag, from its guard to its release. */
async function writeUnder(network: World['network']): Promise<void> {
  await network.guard('author:7', token('Anna'), 9_000, false)
  await network.release('author:7', token('Anna'))
}
