import type { CacheEvent } from 'cacheaside'
import { type Gate, gate } from 'cacheaside/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import type { Spell } from '../src/api.ts'
import type { Database, Queryable } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { migrate } from '../src/migrations.ts'
import { spellTable } from '../src/spell-table.ts'
import { type Answer, type Page, type Spells, uncachedSpells } from '../src/spells.ts'
import { wizardTable } from '../src/wizard-table.ts'
import { CACHE, openSpells, reset } from './harness.ts'

let database: Database
beforeAll(async () => {
  const url = await createDatabase(sharedPostgresUrl())
  database = openPostgres({ kind: 'postgres', url, poolMax: 8, timeoutMs: 5_000 }, () => {})
  await migrate(database)
})
beforeEach(() => reset(database))
afterAll(() => database.close())

/** Where the next statement that begins with a text stops, after it has run and before its rows are handed out; `commit`: before it runs. */
interface Stop {
  readonly statement: string
  readonly at: Gate<void>
}

/** The database, with a place to stop at. A stop is used once. */
function stoppable(stops: Stop[]): Database {
  const watch =
    (at: Queryable): Queryable['query'] =>
    async (text, values, signal) => {
      const rows = await at.query<never>(text, values, signal)
      const i = stops.findIndex(stop => text.trim().startsWith(stop.statement))
      if (i !== -1) await stops.splice(i, 1)[0]!.at.wait()
      return rows
    }
  return {
    name: database.name,
    feedSource: database.feedSource,
    query: watch(database),
    transaction: work =>
      database.transaction(async transaction => {
        const inside = { query: watch(transaction), script: (text: string) => transaction.script(text) }
        const value = await work(inside)
        const i = stops.findIndex(stop => stop.statement === 'commit')
        if (i !== -1) await stops.splice(i, 1)[0]!.at.wait()
        return value
      }),
    close: async () => {},
  }
}

const stop = (statement: string): Stop => ({ statement, at: gate() })

/** Cache-aside as it is usually written: what all this is not. It must fail where the other must not. */
async function naiveSpells(db: Database): Promise<Spells> {
  const table = spellTable(db)
  const kept = new Map<string, unknown>()
  const read = async <T>(key: string, load: () => Promise<T>): Promise<Answer<T>> => {
    if (!kept.has(key)) kept.set(key, await load())
    const timings = { totalMs: 0, sharedMs: 0, loadMs: 0 }
    return {
      value: kept.get(key) as T,
      from: 'origin',
      why: 'off',
      kept: true,
      joined: false,
      ageMs: undefined,
      ttlMs: 1,
      timings,
    }
  }
  const drop = <T>(id: string, value: T): T => {
    kept.delete(id)
    for (const key of kept.keys()) if (/^(page|wizard)/.test(key)) kept.delete(key)
    return value
  }
  const plain = uncachedSpells(db)
  const { wizards } = plain
  return {
    wizards: {
      ...wizards,
      find: id => read(`wizard ${id}`, async () => (await wizards.find(id)).value),
      add: async (id, spellId) => drop(`wizard ${id}`, await wizards.add(id, spellId)),
      remove: async (id, spellId) => drop(`wizard ${id}`, await wizards.remove(id, spellId)),
    },
    find: id => read(id, () => table.find(id)),
    page: (after, limit) =>
      read(`page ${after} ${limit}`, async () => ({ spells: await table.page(after, limit), more: false })),
    create: async fields => {
      const created = await plain.create(fields)
      return drop(String(created.value.id), created)
    },
    update: async (id, change) => drop(id, await plain.update(id, change)),
    delete: async id => drop(id, await plain.delete(id)),
    close: async () => {},
  }
}

const KINDS = [
  ['the cache of Spellbook', (db: Database) => openSpells(db, CACHE), 'right'],
  ['a cache as it is usually written', naiveSpells, 'stale'],
] as const

/** A wizard with these spells in the book. */
async function withBook(spells: Spells, ...ids: string[]): Promise<void> {
  await spells.wizards.create({ name: 'Merlin' })
  for (const id of ids) await spells.wizards.add('1', id)
}

const bookOf = async (spells: Spells) =>
  (await spells.wizards.find('1')).value!.spells.map(({ name, damage }) => `${name} ${damage}`)

const names = (page: Answer<Page>) => page.value.spells.map(spell => spell.name)

describe.each(KINDS)('in %s', (_name, make, verdict) => {
  test(`a page that a write overtook is ${verdict} afterwards`, async () => {
    const loading = stop('select')
    const spells = await make(stoppable([loading]))
    const early = spells.page('7', 9)
    await loading.at.reached
    await spells.create({ name: 'Spark', damage: 1 })
    loading.at.open()
    expect(names(await early)).toEqual(['Chain Lightning'])
    const late = names(await spells.page('7', 9))
    expect(late).toEqual(verdict === 'right' ? ['Chain Lightning', 'Spark'] : ['Chain Lightning'])
    await spells.close()
  })

  test(`a spell whose update overtook its load is ${verdict} afterwards`, async () => {
    const loading = stop('select')
    const spells = await make(stoppable([loading]))
    const early = spells.find('4')
    await loading.at.reached
    await spells.update('4', { damage: 41 })
    loading.at.open()
    await early
    expect((await spells.find('4')).value?.damage).toBe(verdict === 'right' ? 41 : 40)
    await spells.close()
  })

  test(`an absence that was found before the spell was created is ${verdict} afterwards`, async () => {
    const loading = stop('select')
    const spells = await make(stoppable([loading]))
    const early = spells.find('9')
    await loading.at.reached
    await spells.create({ name: 'Spark', damage: 1 })
    loading.at.open()
    await early
    expect((await spells.find('9')).value?.name).toBe(verdict === 'right' ? 'Spark' : undefined)
    await spells.close()
  })
})

describe.each(KINDS)('in %s', (_name, make, verdict) => {
  const changes: [string, string[], (spells: Spells) => Promise<unknown>, string[]][] = [
    ['changed', ['4'], spells => spells.update('4', { damage: 41 }), ['Earthquake 41']],
    ['deleted', ['4', '5'], spells => spells.delete('4'), ['Healing Light -25']],
    ['added', ['4'], spells => spells.wizards.add('1', '5'), ['Earthquake 40', 'Healing Light -25']],
    ['removed', ['4'], spells => spells.wizards.remove('1', '4'), []],
  ]
  test.each(changes)(
    `a book of which a spell was %s during its load is ${verdict} afterwards`,
    async (_what, ids, change, now) => {
      // With and without a memory of what was in the book the last time.
      for (const isRead of [false, true]) {
        await reset(database)
        const loading = stop('select id, name,')
        const stops: Stop[] = []
        const spells = await make(stoppable(stops))
        await withBook(spells, ...ids)
        const before = await bookOf(uncachedSpells(database))
        if (isRead) {
          await bookOf(spells)
          await spells.wizards.update('1', { name: 'Myrddin' })
          if (verdict === 'stale') continue
        }
        stops.push(loading)
        const early = bookOf(spells)
        await loading.at.reached
        await change(spells)
        loading.at.open()
        expect(await early).toEqual(before)
        expect(await bookOf(spells)).toEqual(verdict === 'right' ? now : before)
        await spells.close()
      }
    },
  )
})

describe('cachedSpells', () => {
  test('find and page go to the database and keep nothing while a spell is being created', async () => {
    const committing = stop('commit')
    const spells = await openSpells(stoppable([committing]), CACHE)
    // Both are remembered before: the list, and that there is no spell 9.
    await spells.page('7', 9)
    await spells.find('9')
    const creating = spells.create({ name: 'Spark', damage: 1 })
    await committing.at.reached
    const page = await spells.page('7', 9)
    const absent = await spells.find('9')
    expect([page.why, page.kept, names(page)]).toEqual(['guarded', false, ['Chain Lightning']])
    expect([absent.why, absent.kept, absent.value]).toEqual(['guarded', false, undefined])
    committing.at.open()
    await creating
    expect(names(await spells.page('7', 9))).toEqual(['Chain Lightning', 'Spark'])
    expect((await spells.find('9')).value?.name).toBe('Spark')
    await spells.close()
  })

  test.each<[string, (spells: Spells) => Promise<unknown>, string[]]>([
    ['update of a spell', spells => spells.update('4', { damage: 41 }), ['spell', 'list', 'wizard']],
    ['update under a condition', spells => spells.update('4', { damage: 41 }, () => true), ['spell', 'list']],
    ['delete of a spell', spells => spells.delete('4'), ['spell', 'list', 'wizard']],
    ['update of a wizard', ({ wizards }) => wizards.update('1', { name: 'Myrddin' }), ['wizard', 'wizards']],
    ['delete of a wizard', ({ wizards }) => wizards.delete('1'), ['wizard', 'wizards']],
    ['add to a book', ({ wizards }) => wizards.add('1', '5'), ['wizard']],
    ['remove from a book', ({ wizards }) => wizards.remove('1', '4'), ['wizard']],
  ])(
    '%s has guarded what it ends before it commits, and it is current afterwards',
    async (_what, change, ended) => {
      const stops: Stop[] = []
      const spells = await openSpells(stoppable(stops), CACHE)
      await withBook(spells, '4')
      const reads: Record<string, () => Promise<Answer<unknown>>> = {
        spell: () => spells.find('4'),
        list: () => spells.page('0', 9),
        wizard: () => spells.wizards.find('1'),
        wizards: () => spells.wizards.page('0', 9),
      }
      const readAll = async () =>
        Object.fromEntries(
          await Promise.all(Object.entries(reads).map(async ([name, read]) => [name, await read()] as const)),
        )
      // What is not in the cache is told as missing, also under a guard.
      await vi.waitFor(async () => {
        for (const { from } of Object.values(await readAll())) expect(from).toBe('shared')
      }, 30_000)
      const committing = stop('commit')
      stops.push(committing)
      const changing = change(spells)
      await committing.at.reached
      const during = await readAll()
      for (const name of ended) expect([name, during[name]!.why]).toEqual([name, 'guarded'])
      committing.at.open()
      await changing
      const after = await readAll()
      const plain = uncachedSpells(database)
      expect(after.spell!.value).toEqual((await plain.find('4')).value)
      expect(after.list!.value).toEqual((await plain.page('0', 9)).value)
      expect(after.wizard!.value).toEqual((await plain.wizards.find('1')).value)
      expect(after.wizards!.value).toEqual((await plain.wizards.page('0', 9)).value)
      await spells.close()
    },
  )

  test('update leaves other spells in the cache', async () => {
    const spells = await openSpells(database, CACHE)
    await Promise.all(['3', '4'].map(id => spells.find(id)))
    await spells.update('4', { damage: 41 })
    expect([(await spells.find('3')).from, (await spells.find('4')).from]).toEqual(['shared', 'origin'])
    await spells.close()
  })

  test('find answers many at once from one load', async () => {
    const loading = stop('select')
    let loads = 0
    const watched = stoppable([loading])
    const query: Database['query'] = (...statement) => {
      loads++
      return watched.query(...statement)
    }
    const spells = await openSpells({ ...watched, query }, CACHE)
    const readers = Array.from({ length: 50 }, () => spells.find('4'))
    await loading.at.reached
    loading.at.open()
    const answers = await Promise.all(readers)
    expect(answers.map(answer => answer.value?.name)).toEqual(Array(50).fill('Earthquake'))
    expect(answers.filter(answer => !answer.joined)).toHaveLength(1)
    expect(loads).toBe(1)
    await spells.close()
  })

  test('find and page answer with what cannot be changed', async () => {
    const spells = await openSpells(database, CACHE)
    for (let i = 0; i < 2; i++) {
      const { value } = await spells.find('4')
      expect(() => Object.assign(value!, { damage: 0 })).toThrow(TypeError)
      const page = await spells.page('0', 9)
      expect(() => (page.value.spells as Spell[]).pop()).toThrow(TypeError)
    }
    await spells.close()
  })

  test('create that fails leaves reads right', async () => {
    const spells = await openSpells(database, CACHE)
    await spells.page('7', 9)
    await expect(spells.create({ name: 'x'.repeat(256), damage: 1 })).rejects.toThrow('too long')
    expect(names(await spells.page('7', 9))).toEqual(['Chain Lightning'])
    // Whether the name was refused before an id was taken depends on PostgreSQL's plan.
    expect((await spells.create({ name: 'Spark', damage: 1 })).value.id).toBeGreaterThan(8)
    expect(names(await spells.page('7', 9))).toEqual(['Chain Lightning', 'Spark'])
    await spells.close()
  })

  test('begins with new generations if it is told to flush', async () => {
    const events: CacheEvent[] = []
    const spells = await openSpells(database, { ...CACHE, flushOnStart: true }, event => events.push(event))
    const flushed = events.filter(event => event.type === 'keyspace-invalidation')
    expect(flushed.map(event => event.keyspace).sort()).toEqual([
      'spell',
      'spell-page',
      'wizard',
      'wizard-page',
    ])
    expect((await spells.find('4')).value?.name).toBe('Earthquake')
    await spells.close()
  })

  test('close lets what is under way finish, and refuses what comes later', async () => {
    const loading = stop('select')
    const spells = await openSpells(stoppable([loading]), CACHE)
    const reading = spells.find('4')
    await loading.at.reached
    const closing = spells.close()
    loading.at.open()
    expect((await reading).value?.name).toBe('Earthquake')
    await closing
    await expect(spells.find('4')).rejects.toMatchObject({ code: 'CLOSED' })
  })
})

/** One step of a history; `of` chooses among few spells, so that steps meet. */
type Step = {
  readonly what: 'find' | 'page' | 'create' | 'update' | 'delete' | 'book' | 'add' | 'remove'
  readonly of: number
}

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom(
    ...(['find', 'find', 'find', 'page', 'page', 'book', 'book'] as const),
    ...(['create', 'update', 'update', 'delete', 'add', 'remove'] as const),
  ),
  of: fc.integer({ min: 1, max: 10 }),
})

/** What several clients do, each one thing after another; and how slowly the rows of each statement arrive. */
const histories = fc.record({
  clients: fc.array(fc.array(step, { minLength: 5, maxLength: 15 }), { minLength: 4, maxLength: 8 }),
  delays: fc.array(fc.nat(3), { minLength: 10, maxLength: 10 }),
})

/** The database, whose rows arrive some round trips late. */
function late(delays: readonly number[]): Database {
  let statements = 0
  const query: Database['query'] = async (...statement) => {
    const rows = await database.query<never>(...statement)
    for (let i = delays[statements++ % delays.length]!; i > 0; i--) await database.query('select 1')
    return rows
  }
  return { ...database, query }
}

describe('cachedSpells, with everything at once', () => {
  /**
   * Lets all clients do their steps. Every update of a spell writes a larger damage than any before it, so whatever a
   * read finds must be at least what had been written when the read began; what had been created must be there, and
   * what had been deleted must not.
   */
  async function run(spells: Spells, clients: readonly (readonly Step[])[]): Promise<void> {
    const known = new Map<number, { damage: number; deleted: boolean }>()
    for (let id = 1; id <= 8; id++) known.set(id, { damage: -1000, deleted: false })
    const turns = new Map<number, Promise<unknown>>()
    const deleting = new Set<number>()
    let damage = 1000
    const snapshot = () => new Map([...known].map(([id, { damage, deleted }]) => [id, { damage, deleted }]))
    const check = (id: number, found: Spell | undefined, before: ReturnType<typeof snapshot>) => {
      const then = before.get(id)
      if (then === undefined) return
      if (then.deleted) expect(found).toBeUndefined()
      else if (found !== undefined) expect(found.damage).toBeGreaterThanOrEqual(then.damage)
      else expect(deleting).toContain(id)
    }
    /** Writes of one spell take turns, so that the order of their damages is the order of their commits. */
    const inTurn = (id: number, write: () => Promise<void>) => {
      const turn = (turns.get(id) ?? Promise.resolve()).then(write)
      turns.set(id, turn)
      return turn
    }
    /** Whether a spell is in the book; and how often a change has begun or ended: while it is odd, one is being made. */
    const inBook = new Map<number, { isIn: boolean; changes: number }>()
    const changeBook = (id: number, write: () => Promise<boolean>) =>
      inTurn(-id, async () => {
        const { isIn, changes } = inBook.get(id) ?? { isIn: false, changes: 0 }
        inBook.set(id, { isIn, changes: changes + 1 })
        inBook.set(id, { isIn: await write(), changes: changes + 2 })
      })
    const perform: Record<Step['what'], (id: number) => Promise<unknown>> = {
      async book() {
        const before = snapshot()
        const then = new Map(inBook)
        const found = new Map((await wizards.find('1')).value!.spells.map(spell => [spell.id, spell]))
        for (const spell of found.values()) check(spell.id, spell, before)
        for (const [id, { isIn, changes }] of then) {
          if (changes % 2 === 1 || inBook.get(id)?.changes !== changes) continue
          if (!isIn) expect([...found.keys()]).not.toContain(id)
          else if (!deleting.has(id)) expect([...found.keys()]).toContain(id)
        }
      },
      add: id => changeBook(id, async () => (await wizards.add('1', String(id))).value === 'added'),
      remove: id =>
        changeBook(id, async () => {
          await wizards.remove('1', String(id))
          return false
        }),
      async find(id) {
        const before = snapshot()
        check(id, (await spells.find(String(id))).value, before)
      },
      async page() {
        const before = snapshot()
        const page = await spells.page('0', 100)
        const found = new Map(page.value.spells.map(spell => [spell.id, spell]))
        for (const id of before.keys()) check(id, found.get(id), before)
      },
      async create() {
        const { value: spell } = await spells.create({ name: 'Spark', damage: 0 })
        known.set(spell.id, { damage: 0, deleted: false })
      },
      update: id =>
        inTurn(id, async () => {
          const written = damage++
          if ((await spells.update(String(id), { damage: written })).value !== undefined) {
            known.set(id, { damage: written, deleted: false })
          }
        }),
      delete: id =>
        inTurn(id, async () => {
          deleting.add(id)
          if ((await spells.delete(String(id))).value) known.set(id, { damage: 0, deleted: true })
        }),
    }
    const { wizards } = spells
    await wizards.create({ name: 'Merlin' })
    await Promise.all(
      clients.map(async steps => {
        for (const { what, of } of steps) await perform[what](of)
      }),
    )
    // And when all is quiet, cache and database say the same.
    const rows = await spellTable(database).page('0', 1000)
    const merlin = await wizardTable(database).find('1')
    for (let i = 0; i < 2; i++) {
      expect((await spells.page('0', 1000)).value.spells).toEqual(rows)
      for (const row of rows) expect((await spells.find(String(row.id))).value).toEqual(row)
      expect((await wizards.find('1')).value).toEqual(merlin)
    }
  }

  test.each([
    ['', CACHE],
    [', filling in the background', { ...CACHE, fill: 'background' }],
    [', writing through', { ...CACHE, writeThrough: true }],
    [
      ', evicting all the time',
      { ...CACHE, shared: { kind: 'embedded', policy: 's3-fifo', maxBytes: 2_000 } },
    ],
  ] as const)('no read is older than what was written before it%s', async (_how, config) => {
    await fc.assert(
      fc.asyncProperty(histories, async ({ clients, delays }) => {
        await reset(database)
        const spells = await openSpells(late(delays), config)
        await run(spells, clients)
        await spells.close()
      }),
      { numRuns: 40, endOnFailure: true },
    )
  })

  test('the check itself finds the cache as it is usually written stale', async () => {
    const search = fc.check(
      fc.asyncProperty(histories, async ({ clients, delays }) => {
        await reset(database)
        await run(await naiveSpells(late(delays)), clients)
      }),
      { numRuns: 200, endOnFailure: true },
    )
    const { failed } = await search
    expect(failed).toBe(true)
  })
})
