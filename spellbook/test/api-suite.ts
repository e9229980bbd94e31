import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import type { Problem, Spell } from '../src/api.ts'
import type { CacheConfig } from '../src/config.ts'
import type { Database } from '../src/database/database.ts'
import { migrate } from '../src/migrations.ts'
import { conditionsSuite } from './conditions-suite.ts'
import { CACHE, type Harness, reset, serve, serveUncached } from './harness.ts'
import { type Surroundings, wizardSuite } from './wizard-suite.ts'

const SEEDS = [
  ['Fireball', 30],
  ['Ice Shard', 25],
  ['Thunderbolt', 35],
  ['Earthquake', 40],
  ['Healing Light', -25],
  ['Arcane Missile', 20],
  ['Poison Cloud', 15],
  ['Chain Lightning', 45],
] as const

const MAX_INT8 = '9223372036854775807'

/**
 * The API, the same on every database and every shared store.
 *
 * @param open - Opens the database.
 * @param emptyCache - The configuration of a cache that holds nothing; asked for before each start.
 */
export function apiSuite(
  name: string,
  open: () => Promise<Database>,
  emptyCache: () => Promise<CacheConfig> = async () => CACHE,
): void {
  describe(name, () => {
    let database: Database
    let harness: Harness
    beforeAll(async () => {
      database = await open()
      await migrate(database)
      return () => database.close()
    })
    beforeEach(async () => {
      await reset(database)
      harness = await serve(database, await emptyCache())
    })
    afterEach(() => harness.close())

    const ask: Harness['ask'] = (...request) => harness.ask(...request)
    const names = async (url = '/spells') => (await ask('GET', url)).json<Spell[]>().map(spell => spell.name)
    const cacheStatus = async (url: string) => (await ask('GET', url)).headers['cache-status']

    describe('GET /spells', () => {
      test('lists the eight spells in the order of their ids', async () => {
        const response = await ask('GET', '/spells')
        expect(response.statusCode).toBe(200)
        expect(response.headers['content-type']).toBe('application/json; charset=utf-8')
        const spells = response.json<Spell[]>()
        expect(spells.map(({ id, name, damage }) => [id, name, damage])).toEqual(
          SEEDS.map(([name, damage], i) => [i + 1, name, damage]),
        )
        expect(Object.keys(spells[0]!)).toEqual(['id', 'name', 'damage', 'created_at', 'updated_at'])
      })

      test('shows at most limit spells with an id greater than after', async () => {
        expect(await names('/spells?after=2&limit=3')).toEqual(['Thunderbolt', 'Earthquake', 'Healing Light'])
        expect(await names('/spells?after=6')).toEqual(['Poison Cloud', 'Chain Lightning'])
        expect(await names('/spells?limit=1')).toEqual(['Fireball'])
        expect(await names('/spells?after=8')).toEqual([])
        expect(await names(`/spells?after=${MAX_INT8}&limit=100`)).toEqual([])
      })

      test('links to the next page as long as there is one', async () => {
        const walked: string[] = []
        let url: string | undefined = '/spells?limit=3'
        while (url !== undefined) {
          const response = await ask('GET', url)
          walked.push(...response.json<Spell[]>().map(spell => spell.name))
          url = /^<([^>]+)>; rel="next"$/.exec(String(response.headers.link))?.[1]
        }
        expect(walked).toEqual(SEEDS.map(([name]) => name))
        expect((await ask('GET', '/spells?limit=8')).headers.link).toBeUndefined()
        expect((await ask('GET', '/spells?limit=7')).headers.link).toBe(
          '</spells?after=7&limit=7>; rel="next"',
        )
      })

      test('shows twenty spells if no limit is given', async () => {
        for (let i = 0; i < 14; i++) await ask('POST', '/spells', { name: `Spark ${i}`, damage: i })
        expect(await names()).toHaveLength(20)
        expect(await names('/spells?limit=100')).toHaveLength(22)
      })
    })

    describe('GET /spells/{id}', () => {
      test('shows a spell, with times in ISO 8601', async () => {
        const response = await ask('GET', '/spells/4')
        expect(response.statusCode).toBe(200)
        const spell = response.json<Spell>()
        expect(spell).toEqual({
          id: 4,
          name: 'Earthquake',
          damage: 40,
          created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
          updated_at: spell.created_at,
        })
        expect(Math.abs(Date.now() - Date.parse(spell.created_at))).toBeLessThan(600_000)
      })

      test.each(['99', MAX_INT8])('answers 404 for the unknown id %s', async id => {
        const response = await ask('GET', `/spells/${id}`)
        expect(response.statusCode).toBe(404)
        expect(response.headers['content-type']).toContain('application/problem+json')
        expect(response.json()).toEqual({
          type: 'about:blank',
          title: 'Not Found',
          status: 404,
          detail: `There is no spell ${id}.`,
          instance: `/spells/${id}`,
        })
      })

      test('is the same from the cache as from the database, byte for byte', async () => {
        for (const url of ['/spells/4', '/spells', '/spells/99']) {
          const first = await ask('GET', url)
          const second = await ask('GET', url)
          expect(first.headers['cache-status']).toContain('fwd=miss')
          expect(second.headers['cache-status']).toContain('hit')
          expect(second.rawPayload).toEqual(first.rawPayload)
        }
      })
    })

    test('HEAD answers as GET does, without the body', async () => {
      for (const url of ['/spells', '/spells/4', '/spells/99']) {
        const get = await ask('GET', url)
        const head = await ask('HEAD', url)
        expect(head.statusCode).toBe(get.statusCode)
        expect(head.payload).toBe('')
        expect(head.headers['content-length']).toBe(get.headers['content-length'])
        expect(head.headers['cache-status']).toContain('hit')
      }
    })

    describe('POST /spells', () => {
      test('adds a spell, says where it is, and gives it the next id', async () => {
        const response = await ask('POST', '/spells', { name: 'Frost Nova', damage: 28 })
        expect(response.statusCode).toBe(201)
        expect(response.headers.location).toBe('/spells/9')
        expect(response.json()).toMatchObject({ id: 9, name: 'Frost Nova', damage: 28 })
        expect((await ask('GET', '/spells/9')).json()).toEqual(response.json())
        expect((await ask('POST', '/spells', { name: 'Frost Nova', damage: 28 })).json()).toMatchObject({
          id: 10,
        })
      })

      test.each([
        ['one character', 'x'],
        ['255 characters', 'x'.repeat(255)],
        ['255 characters of two UTF-16 units each', '🔥'.repeat(255)],
        ['quotes and SQL', `'; drop table spell; --"`],
        ['markup', '<script>alert(1)</script>'],
        ['control characters other than NUL', 'a\tb\nc\u0001\u007f'],
        ['a right-to-left mark and a combining accent', '\u200fe\u0301'],
      ])('keeps a name of %s as it is', async (_what, name) => {
        const response = await ask('POST', '/spells', { name, damage: 0 })
        expect(response.statusCode).toBe(201)
        expect((await ask('GET', response.headers.location as string)).json<Spell>().name).toBe(name)
      })

      test.each([-2_147_483_648, 0, 2_147_483_647])('keeps a damage of %d', async damage => {
        const response = await ask('POST', '/spells', { name: 'Edge', damage })
        expect(response.json<Spell>().damage).toBe(damage)
      })

      test('ends a remembered absence of the new id', async () => {
        expect((await ask('GET', '/spells/9')).statusCode).toBe(404)
        expect(await cacheStatus('/spells/9')).toMatch(/^spellbook; hit;/)
        await ask('POST', '/spells', { name: 'Frost Nova', damage: 28 })
        expect((await ask('GET', '/spells/9')).json()).toMatchObject({ name: 'Frost Nova' })
      })
    })

    describe('PUT /spells/{id}', () => {
      test('changes the damage, and the time of the change', async () => {
        const before = (await ask('GET', '/spells/4')).json<Spell>()
        const response = await ask('PUT', '/spells/4', { damage: 41 })
        expect(response.statusCode).toBe(200)
        const after = response.json<Spell>()
        expect(after).toEqual({ ...before, damage: 41, updated_at: after.updated_at })
        expect(Date.parse(after.updated_at)).toBeGreaterThan(Date.parse(before.updated_at))
        expect((await ask('GET', '/spells/4')).json()).toEqual(after)
      })

      test('changes the name too if one is given', async () => {
        const response = await ask('PUT', '/spells/4', { damage: 41, name: 'Landslide' })
        expect(response.json()).toMatchObject({ id: 4, name: 'Landslide', damage: 41 })
        expect(await names()).toContain('Landslide')
      })

      test('answers 404 for an unknown id, and creates nothing', async () => {
        expect((await ask('PUT', '/spells/99', { damage: 1 })).statusCode).toBe(404)
        expect((await ask('GET', '/spells/99')).statusCode).toBe(404)
      })

      test('leaves the new spell in the cache if it is told to write through', async () => {
        await harness.close()
        harness = await serve(database, { ...(await emptyCache()), writeThrough: true })
        await ask('PUT', '/spells/4', { damage: 41 })
        const response = await ask('GET', '/spells/4')
        expect(response.headers['cache-status']).toMatch(/^spellbook; hit;/)
        expect(response.json()).toMatchObject({ damage: 41 })
      })
    })

    describe('DELETE /spells/{id}', () => {
      test('removes a spell, once', async () => {
        expect((await ask('GET', '/spells/4')).statusCode).toBe(200)
        const response = await ask('DELETE', '/spells/4')
        expect([response.statusCode, response.payload]).toEqual([204, ''])
        expect((await ask('GET', '/spells/4')).statusCode).toBe(404)
        expect((await ask('DELETE', '/spells/4')).statusCode).toBe(404)
        expect(await names()).not.toContain('Earthquake')
      })

      test('does not mind a content type without content', async () => {
        const response = await harness.app.inject({
          method: 'DELETE',
          url: '/spells/4',
          headers: { 'content-type': 'application/json' },
        })
        expect(response.statusCode).toBe(204)
      })
    })

    describe('the list', () => {
      test('is cached, and shows every write that came before', async () => {
        const statuses: unknown[] = []
        const read = async () => {
          const response = await ask('GET', '/spells?after=7')
          statuses.push(response.headers['cache-status'])
          return response.json<Spell[]>().map(({ name, damage }) => `${name} ${damage}`)
        }
        expect(await read()).toEqual(['Chain Lightning 45'])
        expect(await read()).toEqual(['Chain Lightning 45'])
        await ask('POST', '/spells', { name: 'Spark', damage: 1 })
        expect(await read()).toEqual(['Chain Lightning 45', 'Spark 1'])
        await ask('PUT', '/spells/8', { damage: 46 })
        expect(await read()).toEqual(['Chain Lightning 46', 'Spark 1'])
        await ask('DELETE', '/spells/8')
        expect(await read()).toEqual(['Spark 1'])
        const fromDatabase = expect.stringMatching(/^spellbook; fwd=miss/)
        expect(statuses).toEqual([
          expect.stringMatching(/^spellbook; fwd=miss; stored/),
          expect.stringMatching(/^spellbook; hit/),
          ...Array(3).fill(fromDatabase),
        ])
        // On Redis the process also hears of its own write a moment later, and stores nothing that it read before.
        await vi.waitFor(async () => {
          expect(await read()).toEqual(['Spark 1'])
          expect(statuses.at(-1)).toContain('hit')
        }, PATIENCE)
      })
    })

    describe('a read', () => {
      test('says where it came from, in its headers and in the log', async () => {
        const before = harness.log.length
        expect(await cacheStatus('/spells/4')).toMatch(/^spellbook; fwd=miss; stored; ttl=[56]\d\d$/)
        expect(await cacheStatus('/spells/4')).toMatch(/^spellbook; hit; ttl=[56]\d\d; detail=shared$/)
        await ask('GET', '/spells')
        await ask('GET', '/spells')
        const reads = harness.log.slice(before).filter(line => line.level === 30)
        expect(reads.map(line => line.msg)).toEqual([
          'spell 4 from database',
          'spell 4 from cache',
          'spells from database',
          'spells from cache',
        ])
      })

      test('says how long it took, in its headers and, as every request, in the log', async () => {
        const response = await ask('GET', '/spells/4')
        expect(response.headers['server-timing']).toMatch(
          /^total;dur=\d+\.\d{3}, cache;dur=\d+\.\d{3}, database;dur=\d+\.\d{3}$/,
        )
        await ask('DELETE', '/spells/99')
        const requests = harness.log.filter(line => line.level === 20)
        expect(requests.map(line => [line.method, line.url, line.status])).toEqual([
          ['GET', '/spells/4', 200],
          ['DELETE', '/spells/99', 404],
        ])
        for (const line of requests) expect(line.ms).toBeGreaterThan(0)
      })

      test('goes to the database every time if there is no cache', async () => {
        await harness.close()
        harness = await serveUncached(database)
        for (let i = 0; i < 2; i++) {
          expect(await cacheStatus('/spells/4')).toBe('spellbook; fwd=bypass; detail=off')
          expect(await cacheStatus('/spells')).toBe('spellbook; fwd=bypass; detail=off')
        }
        expect((await ask('POST', '/spells', { name: 'Spark', damage: 1 })).json()).toMatchObject({ id: 9 })
        expect((await ask('PUT', '/spells/9', { damage: 2 })).json()).toMatchObject({ damage: 2 })
        expect((await ask('DELETE', '/spells/9')).statusCode).toBe(204)
        expect(await names()).toHaveLength(8)
        expect(harness.log.filter(line => line.msg.endsWith('from cache'))).toEqual([])
      })

      test('is kept in the background too', async () => {
        await harness.close()
        harness = await serve(database, { ...(await emptyCache()), fill: 'background' })
        await ask('GET', '/spells/4')
        await vi.waitFor(async () => expect(await cacheStatus('/spells/4')).toContain('hit'), PATIENCE)
      })
    })

    describe('health', () => {
      test('is alive and ready', async () => {
        expect((await ask('GET', '/health/live')).json()).toEqual({ status: 'alive' })
        expect((await ask('GET', '/health/ready')).json()).toEqual({ status: 'ready' })
      })
    })

    const surroundings: Surroundings = {
      harness: () => harness,
      database: () => database,
      emptyCache,
      async replace(make) {
        await harness.close()
        harness = await make()
      },
    }
    wizardSuite(surroundings)
    conditionsSuite(surroundings)

    test.each([
      ['a NUL in the name', { name: 'a\0b', damage: 1 }],
      ['half a surrogate pair', { name: 'a\ud800', damage: 1 }],
      ['a damage beyond an int4', { name: 'x', damage: 2_147_483_648 }],
      ['256 characters', { name: 'é'.repeat(256), damage: 1 }],
    ])('POST and PUT refuse %s before the database sees it', async (_what, body) => {
      for (const response of [await ask('POST', '/spells', body), await ask('PUT', '/spells/1', body)]) {
        expect(response.statusCode).toBe(400)
        expect(response.json<Problem>().errors).toHaveLength(1)
      }
      expect(await names()).toHaveLength(8)
    })
  })
}
