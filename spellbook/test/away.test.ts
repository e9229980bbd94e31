import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { createDatabase, type PostgresServer, startPostgres } from '../../test/services.ts'
import { type Problem, problem, type Spell } from '../src/api.ts'
import type { Database } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { migrate } from '../src/migrations.ts'
import { type Harness, serve } from './harness.ts'

describe('while the database is away', () => {
  let server: PostgresServer
  let database: Database
  let harness: Harness
  beforeAll(async () => {
    server = await startPostgres()
    const url = await createDatabase(server.url)
    database = openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000 }, () => {})
    await migrate(database)
    harness = await serve(database)
  })
  afterAll(async () => {
    await harness.close()
    await database.close()
    await server.stop()
  })

  const ask: Harness['ask'] = (...request) => harness.ask(...request)
  const status = async (...request: Parameters<Harness['ask']>) => (await ask(...request)).statusCode

  test('what is in the cache is still served, the rest is 503 for a while, and all is well afterwards', async () => {
    expect(await status('GET', '/spells/4')).toBe(200)
    expect(await status('GET', '/spells/99')).toBe(404)
    expect(await status('GET', '/spells')).toBe(200)
    expect(await status('POST', '/wizards', { name: 'Merlin' })).toBe(201)
    expect(await status('PUT', '/wizards/1/spells/4')).toBe(204)
    for (const url of ['/wizards/1', '/wizards/1', '/wizards']) expect(await status('GET', url)).toBe(200)
    await server.kill()

    expect((await ask('GET', '/spells/4')).json()).toMatchObject({ name: 'Earthquake' })
    expect(await status('GET', '/spells/99')).toBe(404)
    expect((await ask('GET', '/spells')).json()).toHaveLength(8)
    const failing: Parameters<Harness['ask']>[] = [
      ['GET', '/spells/5'],
      ['GET', '/spells?limit=3'],
      ['POST', '/spells', { name: 'Spark', damage: 1 }],
      ['PUT', '/spells/6', { damage: 1 }],
      ['PUT', '/spells/4', { damage: 1 }],
      ['DELETE', '/spells/4'],
      ['PUT', '/wizards/1', { name: 'Myrddin' }],
      ['PUT', '/wizards/1/spells/5'],
      ['DELETE', '/wizards/1/spells/4'],
      ['GET', '/health/ready'],
    ]
    for (const request of failing) {
      const response = await ask(...request)
      expect(response.statusCode).toBe(503)
      expect(Number(response.headers['retry-after'])).toBeGreaterThan(0)
      expect(problem.parse(response.json<Problem>()).detail).toBe('The database does not answer just now.')
    }
    expect(await status('GET', '/health/live')).toBe(200)
    // None of the writes reached the database, so none of them has ended what is cached.
    for (const [url, code] of Object.entries({
      '/spells/4': 200,
      '/spells/99': 404,
      '/spells': 200,
      '/wizards/1': 200,
      '/wizards': 200,
    })) {
      const response = await ask('GET', url)
      expect([url, response.statusCode]).toEqual([url, code])
      expect(response.headers['cache-status']).toContain('hit')
    }

    await server.restart()
    await vi.waitFor(async () => expect(await status('GET', '/health/ready')).toBe(200), PATIENCE)
    expect((await ask('GET', '/spells/5')).json()).toMatchObject({ name: 'Healing Light' })
    // Nothing had been sent, so no guard was left behind: what is written and read now is kept at once.
    expect((await ask('PUT', '/spells/6', { damage: 21 })).json<Spell>().damage).toBe(21)
    await ask('GET', '/spells/6')
    const response = await ask('GET', '/spells/6')
    expect(response.json<Spell>().damage).toBe(21)
    expect(response.headers['cache-status']).toContain('hit')
    expect((await ask('GET', '/spells')).json<Spell[]>().find(spell => spell.id === 6)?.damage).toBe(21)
  })
})
