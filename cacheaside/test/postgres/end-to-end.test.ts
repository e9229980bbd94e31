import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { timed } from '../../../test/timed.ts'
import {
  type Cache,
  type CacheEvent,
  type CacheOptions,
  createCache,
  embeddedShared,
  type FeedRow,
  type Keyspace,
  type SharedStore,
  systemClock,
} from '../../src/index.ts'
import { installFeed, postgresFeed } from '../../src/postgres/index.ts'
import { faultySharedStore } from '../../src/testing/index.ts'
import { until } from './conditions.ts'
import { openPGlite, openPostgres, type TestDatabase } from './databases.ts'

/** A process, as far as one can be played: a cache of its own on the database. */
interface Program {
  readonly cache: Cache
  readonly spells: Keyspace<number, string>
  readonly count: Keyspace<string, number>
  readonly events: CacheEvent[]
  readonly loads: { count: number }
}

describe.each([
  ['PostgreSQL', openPostgres],
  ['PGlite', openPGlite],
])('a cache with a change feed on %s', (_name, open) => {
  let database: TestDatabase
  let programs: Program[]

  beforeAll(async () => {
    database = await open()
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    programs = []
    await database.reset()
    await database.sql(`CREATE TABLE spell (id bigint PRIMARY KEY, name text);
      INSERT INTO spell VALUES (1, 'Fireball'), (2, 'Ice Shard')`)
    await installFeed(database.sql, { tables: ['spell'] })
    await database.sql('DELETE FROM cacheaside.outbox')
  })
  afterEach(async () => {
    await Promise.all(programs.map(({ cache }) => cache.close()))
  })

  async function start(
    options: CacheOptions & { hasFeed?: boolean; pollMs?: number } = {},
  ): Promise<Program> {
    const { hasFeed = true, pollMs, ...rest } = options
    const events: CacheEvent[] = []
    const loads = { count: 0 }
    const feed = postgresFeed({
      ...database.driver,
      ...(pollMs === undefined ? {} : { pollMs }),
      tables: { spell: row => [spells.key(row.id), count.key('all')] },
    })
    const cache = createCache({
      local: { maxEntries: 1_000 },
      onEvent: event => events.push(event),
      ...(hasFeed ? { feed } : {}),
      ...rest,
    })
    const spells = cache.keyspace<number, string>('spell', {
      load: async id => {
        loads.count++
        const [row] = await database.sql(`SELECT name FROM spell WHERE id = ${id}`)
        return row?.name as string | undefined
      },
    })
    const count = cache.keyspace<string, number>('spell-count', {
      load: async () => Number((await database.sql('SELECT count(*)::int AS n FROM spell'))[0]!.n),
    })
    const program = { cache, spells, count, events, loads }
    programs.push(program)
    // A new generation at the start would make the first loads count twice.
    if (hasFeed) await until('the feed to be open', () => cache.stats().feed.open)
    return program
  }

  /** What every program finds for this spell, settled: until two looks in a row agree with the expectation. */
  const everybodyFinds = (id: number, name: string | undefined) =>
    until(`everybody to find ${name}`, async () => {
      const found = await Promise.all(programs.map(({ spells }) => spells.get(id)))
      return found.every(each => each === name)
    })

  it('sees what a stranger changes, within the time between two polls', async () => {
    const { spells, cache, events } = await start()
    const lags: number[] = []
    for (let i = 0; i < 10; i++) {
      expect(await spells.get(1)).toBeDefined()
      await database.sql(`UPDATE spell SET name = 'version ${i}' WHERE id = 1`)
      const isNew = async () => (await spells.get(1)) === `version ${i}`
      lags.push((await timed(() => until('the new version', isNew))).tookMs)
    }
    expect(Math.max(...lags)).toBeLessThan(2_000)
    expect(lags.sort((a, b) => a - b)[5]).toBeLessThan(400)
    expect(cache.stats().feed.applied).toBe(10)
    expect(events.filter(({ type }) => type === 'fault')).toEqual([])
  })

  it('without it stays stale for as long as the time to live', async () => {
    const blind = await start({ hasFeed: false })
    const seeing = await start()
    for (const { spells } of programs) expect(await spells.get(1)).toBe('Fireball')
    await database.sql(`UPDATE spell SET name = 'Meteor' WHERE id = 1`)
    await until('the feed', async () => (await seeing.spells.get(1)) === 'Meteor')
    expect(await blind.spells.get(1)).toBe('Fireball')
  })

  it('finds a row that was absent and that a stranger has inserted; and one that was deleted absent', async () => {
    const { spells, count } = await start()
    expect(await spells.get(9)).toBeUndefined()
    expect(await count.get('all')).toBe(2)
    await database.sql(`INSERT INTO spell VALUES (9, 'Earthquake'); DELETE FROM spell WHERE id = 1`)
    await everybodyFinds(9, 'Earthquake')
    await everybodyFinds(1, undefined)
    await until('the count', async () => (await count.get('all')) === 2)
    await database.sql('TRUNCATE spell')
    await everybodyFinds(9, undefined)
    await until('the count', async () => (await count.get('all')) === 0)
  })

  it('goes without the map, and says so, while a column is not recorded that it names', async () => {
    const errors: unknown[] = []
    const tables = {
      spell: {
        columns: ['id', 'name'],
        keys: (row: FeedRow) => (row.name ? [named.key(row.name)] : []),
        keyspaces: ['named'],
      },
    }
    const cache = createCache({
      feed: postgresFeed({ ...database.driver, tables }),
      onEvent: event => event.type === 'fault' && errors.push(event.error),
    })
    const named = cache.keyspace<string, string>('named', {
      load: async name =>
        (await database.sql(`SELECT id::text FROM spell WHERE name = '${name}'`))[0]?.id as string,
    })
    try {
      await until('the feed to be open', () => cache.stats().feed.open)
      expect(await named.get('Fireball')).toBe('1')
      await database.sql('UPDATE spell SET id = 7 WHERE id = 1')
      await until('the new id', async () => (await named.get('Fireball')) === '7')
      expect(String(errors[0])).toContain('the feed does not record the column name of the table spell')

      errors.length = 0
      await installFeed(database.sql, { tables })
      await database.sql('UPDATE spell SET id = 8 WHERE id = 7')
      await until('the newest id', async () => (await named.get('Fireball')) === '8')
      expect(errors).toEqual([])
    } finally {
      await cache.close()
    }
  })

  it('finds a row under both of its keys when its key was changed', async () => {
    const { spells } = await start()
    expect(await spells.get(1)).toBe('Fireball')
    expect(await spells.get(7)).toBeUndefined()
    await database.sql('UPDATE spell SET id = 7 WHERE id = 1')
    await everybodyFinds(7, 'Fireball')
    await everybodyFinds(1, undefined)
  })

  it('loads once more for each change, and not for each look', async () => {
    const { spells, loads } = await start()
    await spells.get(2)
    await spells.get(1)
    for (let i = 0; i < 5; i++) {
      await database.sql(`UPDATE spell SET name = '${i}' WHERE id = 1`)
      await everybodyFinds(1, String(i))
    }
    await spells.get(2)
    expect(loads.count).toBeGreaterThanOrEqual(7)
    expect(loads.count).toBeLessThanOrEqual(7)
  })

  it('is coherent with others that have a store of their own', async () => {
    const first = await start()
    const second = await start()
    for (const { spells } of programs) expect(await spells.get(1)).toBe('Fireball')
    await first.spells.write(1, () => database.sql(`UPDATE spell SET name = 'Meteor' WHERE id = 1`))
    expect(await first.spells.get(1)).toBe('Meteor')
    await until('the other', async () => (await second.spells.get(1)) === 'Meteor')
  })

  it('is coherent with others that share its store, and shares the work with them', async () => {
    const store = embeddedShared()
    const shared = () => faultySharedStore(store, { clock: systemClock })
    await start({ shared: shared() })
    await start({ shared: shared() })
    await database.sql('INSERT INTO spell SELECT n, n::text FROM generate_series(100, 299) AS n')
    await Promise.all(
      programs.map(({ spells }) => spells.getMany(Array.from({ length: 200 }, (_, i) => 100 + i))),
    )
    await database.sql(`UPDATE spell SET name = 'x' WHERE id >= 100`)
    for (let id = 100; id < 300; id++) await everybodyFinds(id, 'x')
    const applied = () => programs.map(({ cache }) => cache.stats().feed.applied)
    await until('all changes to be applied', () => applied()[0]! + applied()[1]! >= 400)
    expect(applied()[0]! + applied()[1]!).toBe(400)
  })

  it('looks at the outbox at once after a write of its own', async () => {
    const { spells, cache } = await start({ pollMs: 60_000 })
    await spells.write(1, () => database.sql(`UPDATE spell SET name = 'Meteor' WHERE id = 1`))
    await until('the change', () => cache.stats().feed.applied === 1)
    expect(cache.stats().feed.lagMs).toBeLessThan(30_000)
  })

  it('applies what a writer that died has committed and not released', async () => {
    const store = embeddedShared()
    const writersLink = faultySharedStore(store, { clock: systemClock })
    const writer = await start({ hasFeed: false, shared: writersLink })
    const reader = await start({ shared: faultySharedStore(store, { clock: systemClock }) })
    expect(await reader.spells.get(1)).toBe('Fireball')
    // It cannot guard either: the value stays, as if nothing had been written.
    writersLink.cut()
    await writer.spells.write(1, () => database.sql(`UPDATE spell SET name = 'Meteor' WHERE id = 1`))
    await until('the feed', async () => (await reader.spells.get(1)) === 'Meteor')
    expect(writer.cache.stats().now.queuedInvalidations).toBe(1)
  })

  it('applies, when the store is back, what was changed while it was away', async () => {
    const link = faultySharedStore(embeddedShared(), { clock: systemClock })
    const { spells, cache } = await start({ shared: link })
    expect(await spells.get(1)).toBe('Fireball')
    link.cut()
    await database.sql(`UPDATE spell SET name = 'Meteor' WHERE id = 1`)
    await until('an attempt', () => cache.stats().feed.retained > 0)
    expect(await database.sql('SELECT count(*)::int AS n FROM cacheaside.outbox')).toEqual([{ n: 1 }])
    expect(cache.stats().now.queuedInvalidations, 'nothing of it dies with the process').toBe(0)
    link.restore()
    await until('the change to be applied', () => cache.stats().feed.applied === 1)
    expect(await spells.get(1, { consistency: 'strong' })).toBe('Meteor')
  })

  it.each([true, false])(
    'when the store has restarted from a snapshot finds no old value (feed: %s)',
    async hasFeed => {
      const snapshot = embeddedShared()
      const server = { store: snapshot as SharedStore, run: 'run 1' }
      // One address, behind which the server changes.
      const address = new Proxy({} as SharedStore, {
        get(_, name: keyof SharedStore) {
          if (name === 'identity') return async () => server.run
          const member = server.store[name]
          return typeof member === 'function' ? member.bind(server.store) : member
        },
      })
      const link = faultySharedStore(address, { clock: systemClock })
      const { spells, cache } = await start({ shared: link, hasFeed })
      const found = () => spells.get(1, { consistency: 'strong' })
      await until('the value to be stored', async () => {
        expect(await found()).toBe('Fireball')
        return snapshot.inspect('spell:1')?.startsWith('V') === true
      })
      // From here on the snapshot is not written to: the invalidation reaches only what will be lost.
      server.store = embeddedShared()
      await spells.write(1, () => database.sql(`UPDATE spell SET name = 'Meteor' WHERE id = 1`))
      if (hasFeed) await until('the change to be applied', () => cache.stats().feed.applied === 1)
      link.cut()
      server.store = snapshot
      server.run = 'run 2'
      link.restore()
      if (!hasFeed) return expect(await found(), 'the old value is there again').toBe('Fireball')
      await until('new generations', async () => (await found()) === 'Meteor')
      expect(cache.stats().feed.distrusted).toBeGreaterThan(0)
      return undefined
    },
  )

  it('close leaves no session behind, and what it had not applied to the next one', async () => {
    const link = faultySharedStore(embeddedShared(), { clock: systemClock })
    const first = await start({ shared: link })
    link.cut()
    await database.sql(`UPDATE spell SET name = 'Meteor' WHERE id = 1`)
    await until('an attempt', () => first.cache.stats().feed.retained > 0)
    await first.cache.close()
    const second = await start({ shared: faultySharedStore(embeddedShared(), { clock: systemClock }) })
    await until('the change', () => second.cache.stats().feed.applied === 1)
  })
})
