import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import pg from 'pg'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { LOCALHOST_CERTIFICATE, LOCALHOST_KEY } from '../../test/localhost-certificate.ts'
import { PATIENCE } from '../../test/patience.ts'
import { makeEmptyFolder } from '../../test/pglite.ts'
import { type RedisServer, startRedis, startRedisCluster } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl, startPostgres } from '../../test/services.ts'
import type { Spell, Wizard, WizardEntry } from '../src/api.ts'
import { endPrograms, endsInOrder, type Program, startProgram } from './program.ts'

/** What a test has started beside Spellbook, to be ended after it in reverse. */
const ends: (() => Promise<unknown>)[] = []
const toEnd = <T>(thing: T, end: (thing: T) => Promise<unknown>): T => {
  ends.push(() => end(thing))
  return thing
}
afterEach(async () => {
  await endPrograms()
  for (const end of ends.splice(0).reverse()) await end()
})

const openRedis = async (settings?: Record<string, string>): Promise<RedisServer> =>
  toEnd(await startRedis(settings), server => server.stop())

/** Another program's connection to the database, such as `psql` has. */
async function openPsql(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return toEnd(client, () => client.end())
}

const newDatabase = () => createDatabase(sharedPostgresUrl())

/** The port of `localhost` at which a server speaks TLS. */
async function encrypting({ port }: RedisServer): Promise<number> {
  const gateway = createServer({ key: LOCALHOST_KEY, cert: LOCALHOST_CERTIFICATE }, socket => {
    const inner = connect(port, '127.0.0.1')
    socket.pipe(inner).pipe(socket)
    for (const one of [socket, inner]) one.on('error', () => {})
    socket.on('close', () => inner.destroy())
  })
  toEnd(gateway, async () => void gateway.close())
  await once(gateway.listen(0, 'localhost'), 'listening')
  return (gateway.address() as AddressInfo).port
}

/** A Spellbook that serves, as its clients see it. */
interface Served {
  readonly program: Program
  readonly pid: number
  ask(method: string, path: string, body?: object): Promise<{ status: number; cache: string; json: never }>
  damage(id: number): Promise<number | undefined>
  /** Names and damages of the list. */
  list(): Promise<string[]>
  /** Asks until the answer comes from the cache. */
  hit(path: string): Promise<unknown>
  /** What the cache says of a request; asks again where Redis took longer to answer than Spellbook waits. */
  cacheStatus(path: string): Promise<string>
}

async function serve(env: Record<string, string>, npm = false): Promise<Served> {
  const program = startProgram({ env, npm })
  const { url, pid } = await program.ready()
  const ask: Served['ask'] = async (method, path, body) => {
    const response = await fetch(url + path, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
    const text = await response.text()
    return {
      status: response.status,
      cache: response.headers.get('cache-status') ?? '',
      json: (text === '' ? undefined : JSON.parse(text)) as never,
    }
  }
  return {
    program,
    pid,
    ask,
    damage: async id => ((await ask('GET', `/spells/${id}`)).json as Partial<Spell>).damage,
    list: async () =>
      ((await ask('GET', '/spells')).json as Spell[]).map(({ name, damage }) => `${name} ${damage}`),
    hit: path =>
      vi.waitFor(async () => {
        const { cache, json } = await ask('GET', path)
        expect(cache).toMatch(/^spellbook; hit/)
        return json
      }, PATIENCE),
    cacheStatus: path =>
      vi.waitFor(async () => {
        const { cache } = await ask('GET', path)
        expect(cache).not.toContain('unavailable')
        return cache
      }, PATIENCE),
  }
}

/** How old a default read may be, of what had been applied: the library's default. */
const LOCAL_MAX_STALE_MS = 2_000

/** Waits for what the feed carries; how long it may take at most is counted in `trials/foreign-change.test.ts`. */
const soon = <T>(condition: () => Promise<T>) => vi.waitFor(condition, PATIENCE)

const warnings = ({ program }: Served) => program.log.filter(line => line.level === 40).map(line => line.msg)

const endsWell = ({ program, pid }: Served): Promise<void> =>
  endsInOrder(program, () => process.kill(pid, 'SIGTERM'))

describe('two processes on one Redis and one PostgreSQL', () => {
  test('show at once what the other wrote, and soon what psql did, and leave no connection behind', async () => {
    const redis = await openRedis()
    await redis.command('ACL', 'SETUSER', 'merlin', 'on', '>hunter2', '~*', '&*', '+@all')
    const database = await newDatabase()
    const env = { DATABASE_URL: database, REDIS_URL: `redis://merlin:hunter2@127.0.0.1:${redis.port}/2` }
    const both = await Promise.all([serve(env, true), serve(env, true)])
    const [first, second] = both

    for (let damage = 100; damage < 110; damage++) {
      const [writer, reader] = damage % 2 === 0 ? both : both.toReversed()
      await Promise.all(both.map(one => one.damage(4)))
      expect((await writer!.ask('PUT', '/spells/4', { damage })).status).toBe(200)
      expect(await reader!.list()).toContain(`Earthquake ${damage}`)
      expect(await reader!.damage(4)).toBe(damage)
    }
    expect((await first.ask('GET', '/spells/9')).status).toBe(404)
    expect((await second.ask('POST', '/spells', { name: 'Spark', damage: 1 })).status).toBe(201)
    expect(await first.list()).toContain('Spark 1')
    expect(await first.damage(9)).toBe(1)
    expect((await first.ask('DELETE', '/spells/9')).status).toBe(204)
    expect(await second.list()).not.toContain('Spark 1')
    expect((await second.ask('GET', '/spells/9')).status).toBe(404)

    await first.hit('/spells/4')
    const read = "redis.call('SELECT', 2) return redis.call('GET', 'spell:4')"
    const stored = String(await redis.command('EVAL', read, 0))
    expect(stored).toMatch(
      /^V.*\{"id":4,"name":"Earthquake","damage":109,"created_at":"[^"]+","updated_at":"[^"]+"\}$/,
    )

    const psql = await openPsql(database)
    const seenByBoth = (check: (one: Served) => Promise<void>) => soon(() => Promise.all(both.map(check)))
    /** Has the cache full of what is about to change, then changes it. */
    const change = async (sql: string, check: (one: Served) => Promise<void>) => {
      for (const path of ['/spells/5', '/spells/50', '/spells']) await first.hit(path)
      await psql.query(sql)
      await seenByBoth(check)
    }
    await change('update spell set damage = -26 where id = 5', async one => {
      expect(await one.damage(5)).toBe(-26)
      expect(await one.list()).toContain('Healing Light -26')
    })
    await change("insert into spell (id, name, damage) values (50, 'Meteor', 99)", async one => {
      expect(await one.damage(50)).toBe(99)
      expect(await one.list()).toContain('Meteor 99')
    })
    await change('delete from spell where id = 5', async one => {
      expect((await one.ask('GET', '/spells/5')).status).toBe(404)
      expect(await one.list()).not.toContain('Healing Light -26')
    })
    await change('truncate spell', async one => {
      expect((await one.ask('GET', '/spells/50')).status).toBe(404)
      expect(await one.list()).toEqual([])
    })

    for (const one of both) {
      await endsWell(one)
      // On a machine that is busy Redis may take longer now and then than Spellbook waits, and that is said.
      const others = warnings(one).filter(text => !/no answer within|is not applied yet/.test(text))
      expect(others).toEqual([expect.stringContaining('maxmemory of 127.0.0.1')])
      expect(JSON.stringify([one.program.log, one.program.said()])).not.toContain('hunter2')
      expect(JSON.stringify(one.program.log)).not.toContain(new URL(database).password)
    }
    await vi.waitFor(async () => {
      expect(
        String(await redis.command('CLIENT', 'LIST'))
          .trim()
          .split('\n'),
      ).toHaveLength(1)
      const others =
        "select from pg_stat_activity where application_name like 'spellbook%' and datname = current_database()"
      expect((await psql.query(others)).rowCount).toBe(0)
    }, PATIENCE)
  })

  test.each([
    ['with copies of their own', String(2 ** 20)],
    ['without copies of their own', ''],
  ])(
    'show what the other one and psql change of a wizard, a book and the spells in it, %s',
    async (_how, copies) => {
      const redis = await openRedis()
      const database = await newDatabase()
      const env = { DATABASE_URL: database, REDIS_URL: redis.url, CACHE_LOCAL_MAX_BYTES: copies }
      const both = await Promise.all([serve(env), serve(env)])
      const [first, second] = both
      const psql = await openPsql(database)
      for (const name of ['Merlin', 'Morgana']) await first.ask('POST', '/wizards', { name })
      for (const path of ['1/spells/4', '1/spells/5', '2/spells/5'])
        await first.ask('PUT', `/wizards/${path}`)
      const PATHS = ['/wizards/1', '/wizards/2', '/wizards']
      /** Each wizard with its book, and the list. */
      const seen = async (one: Served) => {
        const [merlin, morgana, list] = await Promise.all(
          PATHS.map(async path => (await one.ask('GET', path)).json),
        )
        const bookOf = (wizard: Wizard) =>
          [
            wizard.name ?? 'none',
            ...(wizard.spells ?? []).map(({ name, damage }) => `${name} ${damage}`),
          ].join(', ')
        return [
          bookOf(merlin!),
          bookOf(morgana!),
          (list! as WizardEntry[]).map(({ name }) => name).join(', '),
        ]
      }
      /** Has both full of what is about to change, changes it, and waits until both show it. */
      const change = async (make: () => Promise<unknown>, ...now: string[]) => {
        for (const one of both) for (const path of PATHS) if (!now.includes('none')) await one.hit(path)
        await make()
        await soon(async () => {
          for (const one of both) expect(await seen(one)).toEqual(now)
        })
      }
      const by = (sql: string) => () => psql.query(sql)
      const E = 'Merlin, Earthquake'
      const H = 'Healing Light'
      const all = 'Merlin, Morgana'
      await change(
        () => second.ask('PUT', '/spells/5', { damage: -26 }),
        `${E} 40, ${H} -26`,
        `Morgana, ${H} -26`,
        all,
      )
      await change(by('update spell set damage = damage - 1'), `${E} 39, ${H} -27`, `Morgana, ${H} -27`, all)
      await change(
        by('delete from wizard_spell where wizard_id = 1 and spell_id = 5'),
        `${E} 39`,
        `Morgana, ${H} -27`,
        all,
      )
      await change(
        by('insert into wizard_spell values (2, 4)'),
        `${E} 39`,
        `Morgana, Earthquake 39, ${H} -27`,
        all,
      )
      await change(
        by('update wizard_spell set wizard_id = 1 where spell_id = 5'),
        `${E} 39, ${H} -27`,
        'Morgana, Earthquake 39',
        all,
      )
      await change(
        by("update wizard set name = 'Morgause' where id = 2"),
        `${E} 39, ${H} -27`,
        'Morgause, Earthquake 39',
        'Merlin, Morgause',
      )
      await change(by('delete from spell where id = 4'), `Merlin, ${H} -27`, 'Morgause', 'Merlin, Morgause')
      await change(by('delete from wizard where id = 1'), 'none', 'Morgause', 'Morgause')
      expect((await psql.query('select from wizard_spell where wizard_id = 1')).rowCount).toBe(0)
      for (const one of both) await endsWell(one)
    },
  )

  test('are right with copies of their own, too', async () => {
    const redis = await openRedis()
    const env = {
      DATABASE_URL: await newDatabase(),
      REDIS_URL: redis.url,
      CACHE_LOCAL_MAX_BYTES: String(2 ** 20),
      CACHE_WRITE_THROUGH: 'on',
    }
    const both = await Promise.all([serve(env), serve(env)])
    for (let damage = 100; damage < 105; damage++) {
      const [writer, reader] = damage % 2 === 0 ? both : both.toReversed()
      for (const one of both) {
        await vi.waitFor(
          async () => expect((await one.ask('GET', '/spells/4')).cache).toContain('detail=local'),
          PATIENCE,
        )
        await one.hit('/spells')
      }
      await writer!.ask('PUT', '/spells/4', { damage })
      expect(await writer!.damage(4)).toBe(damage)
      expect(await reader!.list()).toContain(`Earthquake ${damage}`)
      await soon(async () => expect(await reader!.damage(4)).toBe(damage))
    }
  })

  test('leave nothing stale when one is killed as its commit waits for the database', async () => {
    const redis = await openRedis()
    const database = await newDatabase()
    const env = { DATABASE_URL: database, REDIS_URL: redis.url }
    const [first, second] = await Promise.all([serve(env), serve(env)])
    await second.hit('/spells/4')
    await second.hit('/spells')
    const psql = await openPsql(database)
    // A commit waits for what it still has to do: here for a lock that we hold.
    await psql.query(`
      create function wait() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock_shared(4); return null; end $$;
      create constraint trigger waits after update on spell deferrable initially deferred
        for each row execute function wait()`)
    await psql.query('select pg_advisory_lock(4)')
    const cut = expect(first.ask('PUT', '/spells/4', { damage: 41 })).rejects.toThrow()
    await vi.waitFor(async () => {
      const waiting =
        "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
      expect((await psql.query(waiting)).rowCount).toBe(1)
    }, PATIENCE)
    process.kill(first.pid, 'SIGKILL')
    await cut
    expect(await second.damage(4)).toBe(40)
    // The server does not know that the writer has died, and commits for it.
    await psql.query('select pg_advisory_unlock(4)')
    await soon(async () => expect(await second.damage(4)).toBe(41))
    expect(await second.list()).toContain('Earthquake 41')
    // When the dead writer's guard has run out, it is kept again: the new one.
    expect(await second.hit('/spells/4')).toMatchObject({ damage: 41 })
    expect(await second.hit('/spells')).toContainEqual(expect.objectContaining({ id: 4, damage: 41 }))
    await endsWell(second)
  })
})

describe('a Redis', () => {
  test('that stops leaves everything to the database, and its old values are dropped when it comes back with them', async () => {
    const redis = await openRedis()
    const database = await newDatabase()
    const env = { DATABASE_URL: database, REDIS_URL: redis.url }
    const both = await Promise.all([serve(env), serve(env)])
    const [first, second] = both
    /** Old values that were found when none may be any more. */
    const seenLate: string[] = []
    const now = ['4: 41', '5: -26', '6: 21', 'Earthquake 41', 'Healing Light -26', 'Arcane Missile 21']
    for (const path of ['/spells/4', '/spells/5', '/spells/6', '/spells']) await first.hit(path)
    await redis.command('SAVE')
    const psql = await openPsql(database)
    // Invalidated in the Redis that is killed; the snapshot has the value, and nobody has a reason to name it again.
    expect((await second.ask('PUT', '/spells/6', { damage: 21 })).status).toBe(200)
    await soon(async () => expect((await psql.query('select from cacheaside.outbox')).rowCount).toBe(0))
    await redis.kill()
    expect(await first.damage(4)).toBe(40)
    expect((await first.ask('PUT', '/spells/4', { damage: 41 })).status).toBe(200)
    for (const one of both) {
      expect(await one.damage(4)).toBe(41)
      expect(await one.list()).toContain('Earthquake 41')
    }
    await psql.query('update spell set damage = -26 where id = 5')
    expect(await second.damage(5)).toBe(-26)
    const logged = new Map(both.map(({ program }) => [program, program.log.length]))
    await redis.restart()
    /** The feed has noticed, in this process, that this is another Redis than before. */
    const hasNoticed = ({ program }: Served) => {
      const lines = program.log.slice(logged.get(program)).map(({ msg }) => msg)
      const told = lines.map(msg => /^all cached values of ([^:]*) are invalid now: /.exec(msg)?.[1] ?? '')
      const keyspaces = told.flatMap(names => names.split(', '))
      return ['spell', 'list', 'wizard', 'shown'].every(name => keyspaces.includes(name))
    }
    let noticedMs: number | undefined
    await Promise.all(
      both.map(async one => {
        await vi.waitFor(async () => {
          // What is promised counts for a read from its beginning: in the process that noticed from then on, in the
          // other one as soon as its copy of the generation can be that old at most.
          if (noticedMs === undefined && both.some(hasNoticed)) noticedMs = performance.now()
          const isSure =
            hasNoticed(one) ||
            (noticedMs !== undefined && performance.now() - noticedMs >= LOCAL_MAX_STALE_MS)
          const found = [
            `4: ${await one.damage(4)}`,
            `5: ${await one.damage(5)}`,
            `6: ${await one.damage(6)}`,
            ...(await one.list()).filter(text => /^(Earthquake|Healing Light|Arcane Missile) /.test(text)),
          ]
          if (isSure) seenLate.push(...found.filter(text => !now.includes(text)))
          expect(noticedMs).toBeDefined()
          expect(found).toEqual(now)
          for (const path of ['/spells/4', '/spells/5', '/spells/6', '/spells'])
            expect((await one.ask('GET', path)).cache).toContain('hit')
        }, PATIENCE)
      }),
    )
    expect(seenLate).toEqual([])
    for (const one of both) expect(await one.damage(4)).toBe(41)
    for (const one of both) {
      expect(warnings(one).filter(text => text.includes('the shared store is unavailable'))).not.toEqual([])
      await endsWell(one)
    }
  })

  test('that is away at the start costs one warning, and is used when it is there', async () => {
    const redis = await openRedis({ maxmemory: '64mb', 'maxmemory-policy': 'allkeys-lru' })
    await redis.kill()
    const one = await serve({
      DATABASE_URL: await newDatabase(),
      REDIS_URL: redis.url,
      CACHE_FLUSH_ON_START: 'true',
    })
    expect(await one.damage(4)).toBe(40)
    expect((await one.ask('PUT', '/spells/4', { damage: 41 })).status).toBe(200)
    expect(await one.damage(4)).toBe(41)
    const about = warnings(one).filter(text => text.includes('shared store'))
    expect(about).toEqual([
      expect.stringMatching(
        /^the shared store is unavailable, reads go to the origin: no connection to 127\.0\.0\.1:\d+: connect ECONNREFUSED/,
      ),
    ])
    await redis.restart()
    expect(await one.hit('/spells/4')).toMatchObject({ damage: 41 })
    await one.program.logged('the shared store is available again')
    await endsWell(one)
  })

  test('that hangs at the start does not keep Spellbook from it, nor from ending', async () => {
    const redis = await openRedis()
    redis.suspend()
    const one = await serve({ DATABASE_URL: await newDatabase(), REDIS_URL: redis.url })
    expect(await one.damage(4)).toBe(40)
    await endsWell(one)
    redis.resume()
  })

  test('that would evict guards ends the start with one line, unless it is told another policy', async () => {
    const redis = await openRedis({ maxmemory: '64mb', 'maxmemory-policy': 'volatile-ttl' })
    const env = { DATABASE_URL: await newDatabase(), REDIS_URL: redis.url }
    const refused = startProgram({ env })
    expect(await refused.exit).toEqual({ code: 1, signal: null })
    expect(refused.said()).toMatch(
      /^spellbook: maxmemory-policy volatile-ttl of 127\.0\.0\.1:\d+ evicts first [^\n]+\n$/,
    )

    const one = await serve({ ...env, CACHE_POLICY: 'allkeys-lru' })
    expect(await redis.command('CONFIG', 'GET', 'maxmemory-policy')).toContain('allkeys-lru')
    await one.program.logged('the cache is on redis')
    expect(warnings(one)).toEqual([])
  })

  test('that comes back as one that would evict guards is not used, and the log says why', async () => {
    const redis = await openRedis({ maxmemory: '64mb', 'maxmemory-policy': 'allkeys-lru' })
    const one = await serve({ DATABASE_URL: await newDatabase(), REDIS_URL: redis.url })
    await one.hit('/spells/4')
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl')
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await one.program.logged('the shared store is not used: maxmemory-policy volatile-ttl')
    expect(await one.damage(4)).toBe(40)
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    await one.hit('/spells/4')
  })

  test('whose password is wrong is as good as away, and no password is shown', async () => {
    const redis = await openRedis()
    await redis.command('ACL', 'SETUSER', 'merlin', 'on', '>hunter2', '~*', '&*', '+@all')
    const REDIS_URL = `redis://merlin:hunter3@127.0.0.1:${redis.port}`
    const one = await serve({ DATABASE_URL: await newDatabase(), REDIS_URL, LOG_LEVEL: 'trace' })
    expect(await one.damage(4)).toBe(40)
    expect(warnings(one)).toEqual([expect.stringContaining('WRONGPASS')])
    const { err } = one.program.log.find(line => line.level === 40) as unknown as { err: Error }
    expect(err.message.match(/WRONGPASS/g)).toHaveLength(1)
    expect(JSON.stringify([one.program.log, one.program.said()])).not.toContain('hunter3')
  })

  test('may be a Cluster', async () => {
    const cluster = toEnd(await startRedisCluster(), it => it.stop())
    const hosts = cluster.nodes.map(({ host, port }) => `${host}:${port}`)
    const DATABASE_URL = await newDatabase()
    const [first, second] = await Promise.all([
      serve({ DATABASE_URL, REDIS_URL: `redis://${hosts.join(',')}` }),
      serve({ DATABASE_URL, REDIS_URL: `redis://${hosts[0]}?cluster=true` }),
    ])
    for (let id = 1; id <= 8; id++) {
      await first.hit(`/spells/${id}`)
      await second.ask('PUT', `/spells/${id}`, { damage: 7 })
      expect(await first.damage(id)).toBe(7)
    }
    expect((await first.list()).every(text => text.endsWith(' 7'))).toBe(true)
    for (const one of [first, second]) await endsWell(one)
  })

  test('keeps what is cached while no process runs, and the change feed what changes meanwhile', async () => {
    const redis = await openRedis()
    const env = { DATABASE_URL: await newDatabase(), REDIS_URL: redis.url }
    const first = await serve(env)
    await first.program.logged('the change feed is open')
    for (const id of [3, 4]) await first.hit(`/spells/${id}`)
    await endsWell(first)
    await (await openPsql(env.DATABASE_URL)).query('update spell set damage = 41 where id = 4')
    const second = await serve(env)
    await soon(async () => expect(await second.damage(4)).toBe(41))
    expect(await second.cacheStatus('/spells/3')).toContain('hit')
  })

  test('goes with an embedded database, too, keeps what is cached when Spellbook ends, and is flushed if that is asked for', {
    timeout: 120_000,
  }, async () => {
    const redis = await openRedis()
    const folder = mkdtempSync(join(tmpdir(), 'spellbook-servers-'))
    ends.push(async () => rmSync(folder, { recursive: true, force: true }))
    await makeEmptyFolder(folder)
    const env = { DATA_DIR: folder, REDIS_URL: redis.url }
    const first = await serve(env)
    await first.program.logged('the change feed is open')
    await first.hit('/spells/4')
    const kept = () => Promise.all(['spell:4', '@generation:spell'].map(key => redis.command('GET', key)))
    const before = await kept()
    await endsWell(first)
    expect(await kept()).toEqual(before)
    const second = await serve({ ...env, CACHE_FEED: 'off' })
    expect(await second.cacheStatus('/spells/4')).toContain('hit')
    await endsWell(second)
    const third = await serve({ ...env, CACHE_FEED: 'off', CACHE_FLUSH_ON_START: 'true' })
    expect(await third.cacheStatus('/spells/4')).toContain('detail=generation')
    await endsWell(third)
  })
})

test('processes with caches of their own on one PostgreSQL soon show what another one wrote', async () => {
  const env = { DATABASE_URL: await newDatabase() }
  const [first, second] = await Promise.all([serve(env), serve(env)])
  await second.program.logged('the change feed is open')
  const { msg } = await second.program.logged('without a REDIS_URL this process has a cache of its own')
  expect(msg).toContain('it sees what others write by the change feed, some 250 ms later')
  await second.hit('/spells/4')
  await second.hit('/spells')
  await first.ask('PUT', '/spells/4', { damage: 41 })
  await soon(async () => {
    expect(await second.damage(4)).toBe(41)
    expect(await second.list()).toContain('Earthquake 41')
  })
})

test('while PostgreSQL is away what is on Redis is still served, the rest is 503, and all is well afterwards', async () => {
  const redis = await openRedis()
  const postgres = toEnd(await startPostgres(), server => server.stop())
  const database = await createDatabase(postgres.url)
  const one = await serve({ DATABASE_URL: database, REDIS_URL: redis.url, DATABASE_TIMEOUT_MS: '1000' })
  await one.program.logged('the change feed is open')
  await one.hit('/spells/4')
  await one.hit('/spells')
  await postgres.kill()
  await one.hit('/spells/4')
  expect(await one.hit('/spells')).toHaveLength(8)
  expect((await one.ask('GET', '/spells/5')).status).toBe(503)
  expect((await one.ask('PUT', '/spells/6', { damage: 1 })).status).toBe(503)
  await one.program.logged('the change feed is lost')
  await postgres.restart()
  await vi.waitFor(async () => expect(await one.damage(5)).toBe(-25), PATIENCE)
  await (await openPsql(database)).query('update spell set damage = 41 where id = 4')
  await vi.waitFor(async () => expect(await one.damage(4)).toBe(41), PATIENCE)
  await endsWell(one)
})

test('Redis by rediss:// is used if its certificate is trusted, and otherwise the log says why it is not', async () => {
  const folder = toEnd(mkdtempSync(join(tmpdir(), 'spellbook-tls-')), async path =>
    rmSync(path, { recursive: true }),
  )
  const authority = join(folder, 'ca.crt')
  writeFileSync(authority, LOCALHOST_CERTIFICATE)
  const redis = await openRedis()
  const env = {
    DATABASE_URL: await newDatabase(),
    REDIS_URL: `rediss://localhost:${await encrypting(redis)}`,
  }
  const [trusting, doubting] = await Promise.all([
    serve({ ...env, NODE_EXTRA_CA_CERTS: authority }),
    serve(env),
  ])
  await trusting.hit('/spells/4')
  expect(String(await redis.command('GET', 'spell:4'))).toContain('"name":"Earthquake"')
  expect(await doubting.damage(4)).toBe(40)
  await vi.waitFor(() => expect(warnings(doubting).join()).toMatch(/NODE_EXTRA_CA_CERTS/), PATIENCE)
  await Promise.all([trusting, doubting].map(endsWell))
})
