import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApp } from '../src/app.ts'
import type { Database } from '../src/database/database.ts'
import { openPGlite } from '../src/database/pglite.ts'
import { metricsOf } from '../src/metrics-route.ts'
import { migrate } from '../src/migrations.ts'
import type { Spells } from '../src/spells.ts'
import { openSpells } from './harness.ts'

const silent = pino({ level: 'silent' })
let database: Database
let spells: Spells
let app: Awaited<ReturnType<typeof createApp>>
beforeAll(async () => {
  database = await openPGlite({ kind: 'pglite', folder: undefined })
  await migrate(database)
  spells = await openSpells(database)
  const metrics = metricsOf(spells.cache)
  app = await createApp({
    log: silent,
    service: () => ({ spells, ping: () => database.query('select 1'), metrics }),
  })
})
afterAll(async () => {
  await app?.close()
  await spells?.close()
  await database?.close()
})

describe('GET /metrics', () => {
  test('tells this machine what the cache and the process have done', async () => {
    for (const _ of [1, 2]) await app.inject('/spells/4')
    const { statusCode, headers, payload } = await app.inject('/metrics')
    expect(statusCode).toBe(200)
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(headers['cache-control']).toBe('no-store')
    expect(payload).toContain(
      'cacheaside_loads_total{cache="spellbook",keyspace="spell",outcome="loaded"} 1\n',
    )
    expect(payload).toMatch(
      /\ncacheaside_reads_total\{cache="spellbook",keyspace="spell",from="shared",why="fresh"\} 1\n/,
    )
    expect(payload).toMatch(/\nprocess_resident_memory_bytes \d+/)
  })

  test('passes over parameters, which a scraper may be told to send', async () => {
    expect((await app.inject('/metrics?collect=all')).statusCode).toBe(200)
  })

  test('is not in the description of the interface', async () => {
    const { payload } = await app.inject('/openapi.json')
    expect(payload).not.toContain('/metrics')
  })

  test('is answered before there is anything to tell as all else is', async () => {
    const starting = await createApp({ log: silent, service: () => undefined })
    expect((await starting.inject('/metrics')).statusCode).toBe(503)
    await starting.close()
  })

  test('tells all who have the ADMIN_TOKEN, and nobody else once there is one', async () => {
    const guarded = await createApp({
      log: silent,
      service: () => ({
        spells,
        ping: async () => {},
        metrics: { contentType: 'text/plain', text: async () => 'a 1' },
      }),
      adminToken: 'abracadabra-of-sixteen',
    })
    const ask = (headers: Record<string, string>) =>
      guarded.inject({ url: '/metrics', remoteAddress: '192.0.2.7', headers })
    expect((await ask({ authorization: 'Bearer abracadabra-of-sixteen' })).payload).toBe('a 1')
    const refused = await ask({})
    expect([refused.statusCode, refused.headers['www-authenticate']]).toEqual([401, 'Bearer'])
    expect((await ask({ authorization: 'Bearer abracadabra-of-seventeen' })).statusCode).toBe(401)
    await guarded.close()
  })

  test.each<[string, object]>([
    ['another machine', { remoteAddress: '192.0.2.7' }],
    [
      'another machine that claims a name of the loopback',
      { remoteAddress: '192.0.2.7', headers: { host: 'localhost' } },
    ],
    ['a name that was made to point here', { headers: { host: 'evil.example' } }],
    ['a page of another site', { headers: { origin: 'https://evil.example' } }],
    ['a proxy for somebody', { headers: { 'x-forwarded-for': '192.0.2.7' } }],
  ])('tells nothing to %s', async (_, request) => {
    const { statusCode, payload } = await app.inject({ url: '/metrics', ...request })
    expect(statusCode).toBe(403)
    expect(payload).not.toContain('cacheaside_')
  })
})
