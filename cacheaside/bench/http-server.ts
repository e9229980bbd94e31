/** One server of the bench, in a process of its own: `http-server.ts KIND`. It tells its port, and its CPU time when asked. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fastify } from 'fastify'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import type { Spell } from '../../spellbook/src/api.ts'
import { createApp, type Service } from '../../spellbook/src/app.ts'
import type { CacheConfig } from '../../spellbook/src/config.ts'
import type { Database } from '../../spellbook/src/database/database.ts'
import { parseRedisUrl, type RedisServers } from '../../spellbook/src/redis-url.ts'
import { openSharedStore } from '../../spellbook/src/shared-store.ts'
import { cachedSpells } from '../../spellbook/src/spells.ts'
import type { Told } from './http.ts'

const spellOf = (id: number): Spell => ({
  id,
  name: `Earthquake ${id}`,
  damage: 40,
  created_at: '2026-11-23T00:02:09.966Z',
  updated_at: '2026-11-23T00:02:09.966Z',
})

const SPELL_SCHEMA = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    name: { type: 'string' },
    damage: { type: 'integer' },
    created_at: { type: 'string' },
    updated_at: { type: 'string' },
  },
}
const PATH_SCHEMA = { type: 'object', properties: { id: { type: 'string', pattern: '^[1-9]\\d{0,18}$' } } }
const NO_QUERY = { type: 'object', additionalProperties: false }
const SCHEMA = { params: PATH_SCHEMA, querystring: NO_QUERY, response: { 200: SPELL_SCHEMA } }

/** What one writes by hand: a route with its schemas, by Fastify's own compilers, that answers one constant. */
async function plain(headers: Readonly<Record<string, string>>): Promise<number> {
  const app = fastify()
  const constant = spellOf(4)
  app.get('/spells/:id', { schema: SCHEMA }, async (_request, reply) => {
    if (Object.keys(headers).length > 0) reply.headers(headers)
    return constant
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** The least that Node's own server takes for this head and this body: no route, no check, no row. */
async function bare(headers: Readonly<Record<string, string>>): Promise<number> {
  const body = JSON.stringify(spellOf(4))
  const head = Object.entries({
    ...headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
  }).flat()
  const server = createServer((_request, response) => {
    response.writeHead(200, head)
    response.end(body)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** What one writes by hand: the text of a GET is the answer. */
async function plainOnRedis(url: string): Promise<number> {
  const app = fastify()
  const redis = new Redis(url)
  for (let id = 1; id <= 100; id++) await redis.set(`plain:${id}`, JSON.stringify(spellOf(id)))
  const { params, querystring } = SCHEMA
  app.get<{ Params: { id: string } }>(
    '/spells/:id',
    { schema: { params, querystring } },
    async (request, reply) => {
      const text = await redis.get(`plain:${request.params.id}`)
      reply.header('content-type', 'application/json; charset=utf-8')
      return text
    },
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** Rows without a database: every one is there. Only what is asked for once, and then cached, is asked of it. */
const DATABASE = {
  name: 'constant rows',
  feedSource: { pglite: { exec: async () => [] } },
  query: async (_text: string, [id]: readonly [string]) => [spellOf(Number(id))],
  close: async () => {},
} as unknown as Database

async function spellbook(shared: CacheConfig['shared'], localMaxBytes?: number): Promise<number> {
  const log = pino({ level: 'info' }, pino.destination({ dest: '/dev/null', sync: true }))
  const config: CacheConfig = {
    shared,
    localMaxBytes,
    feed: false,
    fill: 'background',
    ttlMs: 600_000,
    flushOnStart: false,
    writeThrough: false,
  }
  const spells = await cachedSpells(DATABASE, await openSharedStore(shared, log), config, undefined, log)
  const service: Service = { spells, ping: async () => {} }
  const app = await createApp({ log, service: () => service, hosts: [] })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

const embedded: CacheConfig['shared'] = { kind: 'embedded', policy: 's3-fifo', maxBytes: 64 * 2 ** 20 }
const [kind = '', argument = ''] = process.argv.slice(2)
const tell = (told: Told) => process.send!(told)

const KINDS: Readonly<Record<string, () => Promise<number>>> = {
  plain: () => plain({}),
  'plain with headers': () => plain(JSON.parse(argument)),
  'bare Node with headers': () => bare(JSON.parse(argument)),
  'plain on Redis': () => plainOnRedis(argument),
  spellbook: () => spellbook(embedded),
  'spellbook with L1': () => spellbook(embedded, 16 * 2 ** 20),
  'spellbook on Redis': () =>
    spellbook({ kind: 'redis', ...(parseRedisUrl(argument) as RedisServers), policy: undefined }),
}

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  tell({ cpuUs: user + system })
})
process.on('disconnect', () => process.exit())
tell({ port: await KINDS[kind]!() })
