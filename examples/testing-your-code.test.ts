import { type Cache, createCache, embeddedShared } from 'cacheaside'
import {
  type FaultyChangeFeed,
  type FaultySharedStore,
  faultyChangeFeed,
  faultySharedStore,
  gate,
  SimulatedClock,
  SimulatedFeed,
} from 'cacheaside/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Spell, spellService } from './spell-service.ts'

const earthquake: Spell = { id: 4, name: 'Earthquake', damage: 40 }

/** A table in memory; a query sees the rows as they are when it begins, as a statement of a database does. */
class FakeTable {
  readonly rows = new Map([[4, earthquake]])
  /** What a query waits for after it has seen its rows, and before it answers. */
  beforeAnswer: () => Promise<void> = async () => {}
  queries = 0

  async find(id: number): Promise<Spell | undefined> {
    this.queries++
    const seen = this.rows.get(id)
    await this.beforeAnswer()
    return seen
  }

  async setDamage(id: number, damage: number): Promise<Spell> {
    const row = { ...this.rows.get(id)!, damage }
    this.rows.set(id, row)
    return row
  }
}

let clock: SimulatedClock
let table: FakeTable
let store: FaultySharedStore
let changes: SimulatedFeed
let feed: FaultyChangeFeed
let cache: Cache
let service: ReturnType<typeof spellService>

beforeEach(async () => {
  clock = new SimulatedClock()
  table = new FakeTable()
  store = faultySharedStore(embeddedShared({ clock }), { clock })
  changes = new SimulatedFeed({ clock, tables: { spell: row => [service.keyOf(row.id)] } })
  feed = faultyChangeFeed(changes, { clock })
  cache = createCache({ clock, shared: store, feed, local: { maxEntries: 100 } })
  service = spellService(cache, table)
  await clock.advance(1) // the cache has found its store and its feed
})

afterEach(async () => {
  const closing = cache.close()
  await clock.advance(20_000) // whatever it still waits for gets its time
  await closing
  expect(clock.describeTimers()).toBe('no timers')
})

test('find asks the table again after ten minutes, and not before', async () => {
  await service.find(4)
  await clock.advance(9 * 60_000) // a time to live is shortened at random, by a tenth at most
  await service.find(4)
  expect(table.queries).toBe(1)
  await clock.advance(60_000)
  await service.find(4)
  expect(table.queries).toBe(2)
})

test('setDamage is seen by everybody, although a query that had begun before it answers after it', async () => {
  const slow = gate()
  table.beforeAnswer = () => slow.wait()
  const early = service.find(4) // its query sees 40 …
  await slow.reached
  await service.setDamage(4, 41) // … and is overtaken here
  slow.open()
  expect((await early)?.damage).toBe(40) // it began earlier, so this is right
  await clock.drain() // what is stored behind the answer has been tried
  expect((await service.find(4))?.damage).toBe(41)
})

test('find answers from the table when the store hangs, after a tenth of a second', async () => {
  store.hang()
  const found = service.find(4)
  await clock.advance(101) // sharedTimeoutMs, and one more turn of the event loop
  expect(await found).toEqual(earthquake)
  expect(await service.find(4)).toEqual(earthquake) // known to be away: no delay any more
  store.restore()
})

test('find waits for a store that is slow, but not too slow', async () => {
  store.delay(80)
  const found = service.find(4)
  await clock.advance(80) // one round trip; the value is stored behind the answer
  expect(await found).toEqual(earthquake)
  await clock.advance(80)
  const again = service.find(4)
  await clock.advance(80)
  expect(await again).toEqual(earthquake)
  expect(table.queries).toBe(1)
  store.restore()
})

test('find answers with the old spell while the table is down', async () => {
  await service.find(4)
  table.beforeAnswer = () => Promise.reject(new Error('the database is down'))
  await clock.advance(11 * 60_000)
  expect(await service.find(4)).toEqual(earthquake) // staleIfErrorMs
  await clock.advance(60 * 60_000)
  await expect(service.find(4)).rejects.toThrow('the database is down')
})

test('setDamage tells that the store could not be told, and makes up for it', async () => {
  await service.find(4)
  store.fail(undefined, new Error('NOAUTH Authentication required.'))
  const { invalidation, fenced } = await service.setDamage(4, 41)
  expect({ invalidation, fenced }).toEqual({ invalidation: 'queued', fenced: false })
  expect((await service.find(4))?.damage).toBe(41) // this process bypasses the cache meanwhile
  store.restore()
  await clock.advance(2_000)
  expect(cache.stats().now.queuedInvalidations).toBe(0)
})

test('find sees what another program has changed as soon as the feed tells', async () => {
  await service.find(4)
  table.rows.set(4, { ...earthquake, damage: 99 }) // somebody with psql …
  changes.commit('spell', [{ id: 4 }]) // … and the trigger
  await clock.advance(feed.pollMs)
  expect((await service.find(4))?.damage).toBe(99)
})

test('find sees it later, and does not miss it, when the feed is cut off', async () => {
  await service.find(4)
  feed.cut()
  await clock.advance(1)
  table.rows.set(4, { ...earthquake, damage: 99 })
  changes.commit('spell', [{ id: 4 }])
  await clock.advance(10_000)
  expect((await service.find(4))?.damage).toBe(40)
  feed.restore()
  await clock.advance(5_000)
  expect((await service.find(4))?.damage).toBe(99)
})

test('the map of changes does no harm when a change is told twice', async () => {
  feed.repeat()
  changes.commit('spell', [{ id: 4 }])
  await clock.advance(2 * feed.pollMs)
  expect(cache.stats().feed.applied).toBe(2)
  expect(changes.waiting).toEqual([])
  expect(await service.find(4)).toEqual(earthquake)
})
