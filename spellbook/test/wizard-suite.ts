import { describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import type { Problem, Wizard, WizardEntry } from '../src/api.ts'
import type { CacheConfig } from '../src/config.ts'
import type { Database } from '../src/database/database.ts'
import { type Harness, serve, serveUncached } from './harness.ts'

const MAX_INT8 = '9223372036854775807'

/** What a suite is run in: a Spellbook with the eight spells, no wizards and an empty cache for each test. */
export interface Surroundings {
  harness(): Harness
  database(): Database
  /** Serves another one instead, which is closed after the test. */
  replace(make: () => Promise<Harness>): Promise<void>
  emptyCache(): Promise<CacheConfig>
}

/** The wizards and their books, as a part of the API. */
export function wizardSuite({ harness, database, replace, emptyCache }: Surroundings): void {
  const ask: Harness['ask'] = (...request) => harness().ask(...request)
  const wizard = async (id: number) => (await ask('GET', `/wizards/${id}`)).json<Wizard>()
  const book = async (id: number) => (await wizard(id)).spells.map(({ name, damage }) => `${name} ${damage}`)
  const cacheStatus = async (url: string) => (await ask('GET', url)).headers['cache-status']
  const isCached = (url: string) =>
    vi.waitFor(async () => expect(await cacheStatus(url)).toMatch(/^spellbook; hit/), PATIENCE)

  /** Makes a wizard with these spells in the book. */
  async function make(name: string, ...spells: number[]): Promise<number> {
    const { id } = (await ask('POST', '/wizards', { name })).json<WizardEntry>()
    for (const spell of spells)
      expect((await ask('PUT', `/wizards/${id}/spells/${spell}`)).statusCode).toBe(204)
    return id
  }

  describe('POST /wizards', () => {
    test('adds a wizard with an empty book, says where, and gives the next id', async () => {
      const response = await ask('POST', '/wizards', { name: 'Merlin' })
      expect(response.statusCode).toBe(201)
      expect(response.headers.location).toBe('/wizards/1')
      expect(Object.keys(response.json())).toEqual(['id', 'name', 'created_at', 'updated_at'])
      const found = await wizard(1)
      expect(Object.keys(found)).toEqual(['id', 'name', 'spells', 'created_at', 'updated_at'])
      expect(found).toEqual({ ...response.json<WizardEntry>(), spells: [] })
      expect(await make('Morgana')).toBe(2)
    })

    test('ends a remembered absence of the new id', async () => {
      expect((await ask('GET', '/wizards/1')).statusCode).toBe(404)
      expect(await cacheStatus('/wizards/1')).toMatch(/^spellbook; hit;/)
      await make('Merlin')
      expect(await wizard(1)).toMatchObject({ name: 'Merlin' })
    })

    test.each([
      ['no name', {}],
      ['an empty name', { name: '' }],
      ['a NUL in the name', { name: 'a\0b' }],
      ['256 characters', { name: 'é'.repeat(256) }],
      ['an unknown field', { name: 'x', spells: [] }],
    ])('and PUT refuse %s', async (_what, body) => {
      await make('Merlin')
      for (const response of [await ask('POST', '/wizards', body), await ask('PUT', '/wizards/1', body)]) {
        expect(response.statusCode).toBe(400)
        expect(response.json<Problem>().errors).toHaveLength(1)
      }
      expect((await ask('GET', '/wizards')).json()).toHaveLength(1)
      expect(await wizard(1)).toMatchObject({ name: 'Merlin' })
    })
  })

  describe('GET /wizards', () => {
    test('lists wizards in the order of their ids, without their books, page by page', async () => {
      for (const name of ['Merlin', 'Morgana', 'Circe']) await make(name, 1)
      const walked: WizardEntry[] = []
      let url: string | undefined = '/wizards?limit=2'
      while (url !== undefined) {
        const response = await ask('GET', url)
        walked.push(...response.json<WizardEntry[]>())
        url = /^<([^>]+)>; rel="next"$/.exec(String(response.headers.link))?.[1]
      }
      expect(walked.map(({ id, name }) => `${id} ${name}`)).toEqual(['1 Merlin', '2 Morgana', '3 Circe'])
      expect(Object.keys(walked[0]!)).toEqual(['id', 'name', 'created_at', 'updated_at'])
      expect((await ask('GET', '/wizards?after=3')).json()).toEqual([])
    })

    test('is cached, shows every write that came before, and does not mind changes of books and spells', async () => {
      const names = async () => (await ask('GET', '/wizards')).json<WizardEntry[]>().map(({ name }) => name)
      expect(await names()).toEqual([])
      await make('Merlin', 1)
      expect(await names()).toEqual(['Merlin'])
      await ask('PUT', '/wizards/1', { name: 'Myrddin' })
      expect(await names()).toEqual(['Myrddin'])
      await isCached('/wizards')
      await ask('PUT', '/wizards/1/spells/2')
      await ask('PUT', '/spells/2', { damage: 1 })
      expect(await cacheStatus('/wizards')).toMatch(/^spellbook; hit/)
      await ask('DELETE', '/wizards/1')
      expect(await names()).toEqual([])
    })
  })

  describe('GET /wizards/{id}', () => {
    test('shows the spells of the book in the order of their ids, as they are shown themselves', async () => {
      await make('Merlin', 4, 1)
      const spells = await Promise.all([1, 4].map(async id => (await ask('GET', `/spells/${id}`)).json()))
      expect((await wizard(1)).spells).toEqual(spells)
    })

    test('is the same from the cache as from the database, byte for byte', async () => {
      await make('Merlin', 4, 1)
      for (const url of ['/wizards/1', '/wizards', '/wizards/99']) {
        const first = await ask('GET', url)
        expect(first.headers['cache-status']).toContain('fwd=miss')
        await isCached(url)
        expect((await ask('GET', url)).rawPayload).toEqual(first.rawPayload)
      }
    })

    test.each(['99', MAX_INT8])('answers 404 for the unknown id %s', async id => {
      const response = await ask('GET', `/wizards/${id}`)
      expect(response.statusCode).toBe(404)
      expect(response.json()).toMatchObject({ status: 404, detail: `There is no wizard ${id}.` })
    })

    test.each([
      ['/wizards/0', 'id'],
      ['/wizards/x', 'id'],
      ['/wizards/1?x=1', 'x'],
      ['/wizards?limit=0', 'limit'],
    ])('refuses %s', async (url, parameter) => {
      const response = await ask('GET', url)
      expect(response.statusCode).toBe(400)
      expect(response.json<Problem>().errors).toEqual([expect.objectContaining({ parameter })])
    })

    test('says where it came from, in its headers and in the log', async () => {
      await make('Merlin', 1)
      const before = harness().log.length
      const response = await ask('GET', '/wizards/1')
      expect(response.headers['cache-status']).toMatch(/^spellbook; fwd=miss/)
      expect(response.headers['server-timing']).toMatch(/^total;dur=/)
      await ask('GET', '/wizards')
      const reads = harness()
        .log.slice(before)
        .filter(line => line.level === 30)
      expect(reads.map(line => line.msg)).toEqual(['wizard 1 from database', 'wizards from database'])
    })
  })

  describe('a book', () => {
    test('that is cached shows every change of itself', async () => {
      await make('Merlin', 1)
      await isCached('/wizards/1')
      await ask('PUT', '/wizards/1/spells/4')
      expect(await book(1)).toEqual(['Fireball 30', 'Earthquake 40'])
      await isCached('/wizards/1')
      expect((await ask('DELETE', '/wizards/1/spells/1')).statusCode).toBe(204)
      expect(await book(1)).toEqual(['Earthquake 40'])
      await isCached('/wizards/1')
      await ask('PUT', '/wizards/1', { name: 'Myrddin' })
      expect(await wizard(1)).toMatchObject({ name: 'Myrddin' })
    })

    test('that is cached shows every change of a spell in it', async () => {
      await make('Merlin', 1, 4)
      await make('Morgana', 4, 5)
      for (const id of [1, 2]) await isCached(`/wizards/${id}`)
      await ask('PUT', '/spells/4', { damage: 41, name: 'Landslide' })
      expect(await book(1)).toEqual(['Fireball 30', 'Landslide 41'])
      expect(await book(2)).toEqual(['Landslide 41', 'Healing Light -25'])
      for (const id of [1, 2]) await isCached(`/wizards/${id}`)
      await ask('DELETE', '/spells/4')
      expect(await book(1)).toEqual(['Fireball 30'])
      expect(await book(2)).toEqual(['Healing Light -25'])
    })

    test('stays in the cache when a spell changes that is in another one, or in none', async () => {
      await make('Merlin', 1)
      await make('Morgana', 4)
      await isCached('/wizards/1')
      await ask('PUT', '/spells/4', { damage: 41 })
      await ask('PUT', '/spells/5', { damage: 1 })
      await ask('POST', '/spells', { name: 'Spark', damage: 1 })
      await ask('DELETE', '/wizards/2')
      expect(await cacheStatus('/wizards/1')).toMatch(/^spellbook; hit/)
    })

    test('forgets nothing when a spell is added twice, and says so when one is removed twice', async () => {
      await make('Merlin', 1, 1)
      expect(await book(1)).toEqual(['Fireball 30'])
      expect((await ask('DELETE', '/wizards/1/spells/1')).statusCode).toBe(204)
      const again = await ask('DELETE', '/wizards/1/spells/1')
      expect(again.statusCode).toBe(404)
      expect(again.json<Problem>().detail).toBe('There is no spell 1 in the book of a wizard 1.')
    })

    test('takes only spells that there are, of a wizard that there is', async () => {
      await make('Merlin')
      const details = []
      for (const url of ['/wizards/1/spells/99', '/wizards/9/spells/1', '/wizards/9/spells/99']) {
        const response = await ask('PUT', url)
        expect(response.statusCode).toBe(404)
        details.push(response.json<Problem>().detail)
      }
      expect(details).toEqual(['There is no spell 99.', 'There is no wizard 9.', 'There is no wizard 9.'])
      expect((await ask('PUT', '/wizards/1/spells/0')).statusCode).toBe(400)
      expect(await book(1)).toEqual([])
    })

    test('has room for fifty spells, also if many come at once', async () => {
      await make('Merlin')
      const spells = Array.from({ length: 44 }, (_, i) =>
        ask('POST', '/spells', { name: `Spark ${i}`, damage: i }),
      )
      await Promise.all(spells)
      const added = Array.from({ length: 52 }, (_, i) => ask('PUT', `/wizards/1/spells/${i + 1}`))
      const statuses = (await Promise.all(added)).map(({ statusCode }) => statusCode)
      expect(statuses.filter(status => status === 204)).toHaveLength(50)
      expect(statuses.filter(status => status === 409)).toHaveLength(2)
      expect(await book(1)).toHaveLength(50)
      await isCached('/wizards/1')
      const [first] = (await wizard(1)).spells
      expect((await ask('PUT', `/wizards/1/spells/${first!.id}`)).statusCode).toBe(204)
    })

    test('goes with its wizard, and the spells stay', async () => {
      await make('Merlin', 1)
      await isCached('/wizards/1')
      const response = await ask('DELETE', '/wizards/1')
      expect([response.statusCode, response.payload]).toEqual([204, ''])
      expect((await ask('GET', '/wizards/1')).statusCode).toBe(404)
      expect((await ask('DELETE', '/wizards/1')).statusCode).toBe(404)
      expect((await ask('PUT', '/wizards/1', { name: 'Merlin' })).statusCode).toBe(404)
      expect((await ask('DELETE', '/wizards/1/spells/1')).statusCode).toBe(404)
      expect((await ask('GET', '/spells/1')).statusCode).toBe(200)
      expect(await database().query('select wizard_id from wizard_spell')).toEqual([])
    })
  })

  test.each([
    ['PUT', '/wizards/1', { name: 'x' }],
    ['DELETE', '/wizards/1', undefined],
    ['PUT', '/wizards/1/spells/1', undefined],
    ['DELETE', '/wizards/1/spells/1', undefined],
  ] as const)('%s %s refuses a condition that cannot hold', async (method, url, payload) => {
    await make('Merlin', 1)
    const response = await harness().app.inject({
      method,
      url,
      headers: { 'if-match': '"1"' },
      ...(payload === undefined ? {} : { payload }),
    })
    expect(response.statusCode).toBe(412)
    expect(await wizard(1)).toMatchObject({ name: 'Merlin', spells: [{ id: 1 }] })
  })

  test.each([
    ['POST', '/wizards/1', 'GET, HEAD, PUT, DELETE'],
    ['GET', '/wizards/1/spells/1', 'PUT, DELETE'],
    ['DELETE', '/wizards', 'GET, HEAD, POST'],
  ] as const)('%s %s is told what is possible: %s', async (method, url, allow) => {
    const response = await ask(method, url)
    expect([response.statusCode, response.headers.allow]).toEqual([405, allow])
  })

  test('wizards go to the database every time if there is no cache', async () => {
    await replace(() => serveUncached(database()))
    await make('Merlin', 1)
    for (let i = 0; i < 2; i++) {
      expect(await cacheStatus('/wizards/1')).toBe('spellbook; fwd=bypass; detail=off')
      expect(await cacheStatus('/wizards')).toBe('spellbook; fwd=bypass; detail=off')
    }
    await ask('PUT', '/wizards/1', { name: 'Myrddin' })
    await ask('DELETE', '/wizards/1/spells/1')
    expect(await wizard(1)).toMatchObject({ name: 'Myrddin', spells: [] })
    expect((await ask('DELETE', '/wizards/1')).statusCode).toBe(204)
  })

  test('wizards are kept in the background, too', async () => {
    await replace(async () => serve(database(), { ...(await emptyCache()), fill: 'background' }))
    await make('Merlin', 1)
    await ask('GET', '/wizards/1')
    await isCached('/wizards/1')
  })
}
