import { setImmediate } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { eventually, type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { type CacheEvent, type CacheOptions, createCache } from '../../src/index.ts'
import { SHORT_BYTES, ValueSizes } from '../../src/redis/value-sizes.ts'
import { parseRegister } from '../../src/shared/register.ts'
import { TOO_LARGE } from '../../src/shared/shared-store.ts'
import { notingLogger, quiet } from '../heard-warnings.ts'
import { IOREDIS } from './clients.ts'
import { LONG_MS, openStore, put, spell, token } from './harness.ts'

describe('ValueSizes', () => {
  it('lets as many keys of a keyspace be asked for as its values allow', () => {
    const sizes = new ValueSizes(2 ** 20)
    expect(sizes.keysAtOnce('page')).toBe(500)
    sizes.saw('page:1', 'x'.repeat(2 ** 20))
    expect(sizes.keysAtOnce('page')).toBe(8)
    expect(sizes.keysAtOnce('spell')).toBe(500)
    sizes.saw('page:1', 'x'.repeat(2 ** 24))
    expect(sizes.keysAtOnce('page')).toBe(1)
  })

  it('forgets sizes of long ago', () => {
    const sizes = new ValueSizes(2 ** 20)
    const [long, short] = [100_000, 10].map(length => 'x'.repeat(length))
    for (let i = 0; i < 1_000; i++) sizes.saw('page:1', long)
    expect(sizes.keysAtOnce('page')).toBeLessThan(100)
    for (let i = 0; i < 20_000; i++) sizes.saw('page:1', short)
    expect(sizes.keysAtOnce('page')).toBe(500)
  })

  it('lets only short registers come behind as much as comes in time', () => {
    const sizes = new ValueSizes(2 ** 20, 'shop:')
    const names = Array.from({ length: 20 }, (_, id) => `shop:page:${id}`)
    expect(sizes.fitting(names, 0)).toBe(20)
    sizes.saw(names[0]!, 'x'.repeat(2 ** 20))
    expect([0, 8, 16].map(from => sizes.fitting(names, from))).toEqual([8, 8, 4])
    const whole = sizes.ask(names.slice(0, 7))
    const last = sizes.ask(names.slice(7, 15))
    expect([whole, last].map(({ mostBytes }) => mostBytes)).toEqual([
      sizes.maxRegisterBytes,
      sizes.maxRegisterBytes,
    ])
    for (const name of [names[15]!, 'shop:spell:1']) expect(sizes.ask([name]).mostBytes).toBe(SHORT_BYTES)
    last.end!()
    expect(sizes.ask(['shop:spell:1']).mostBytes).toBe(sizes.maxRegisterBytes)
  })

  it('lets no more be stored at once than comes in time, and one value always', () => {
    const sizes = new ValueSizes(2 ** 20)
    const half = 'x'.repeat(sizes.togetherBytes / 2)
    const ends = [sizes.send(half), sizes.send(half)]
    expect(sizes.send('x')).toBeUndefined()
    ends[0]!()
    expect(sizes.send('x')).toBeTypeOf('function')
    ends[1]!()
    expect(new ValueSizes(1).send('x'.repeat(2 ** 24))).toBeTypeOf('function')
  })
})

describe('on a server', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis({ maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' })
  })
  afterAll(() => server.stop())
  afterEach(async () => void (await server.command('FLUSHALL')))

  const open = (maxValueBytes?: number) =>
    openStore({
      client: IOREDIS.single(server.port),
      ...(maxValueBytes === undefined ? {} : { maxValueBytes }),
    })
  const cacheOn = (maxValueBytes?: number, options: Partial<CacheOptions> = {}) => {
    const shared = open(maxValueBytes)
    const events: CacheEvent[] = []
    const cache = createCache({
      shared,
      sharedTimeoutMs: 1500,
      onEvent: event => void events.push(event),
      logger: quiet,
      ...options,
    })
    onTestFinished(() => cache.close())
    return { cache, shared, events }
  }
  const register = (key: string) => server.command('GET', key)
  /** Register, header and tags included, that no store with a bound of 1000 bytes hands out. */
  const LARGE = 200_000

  it('a value larger than maxValueBytes is answered, kept nowhere, and warned of once for its keyspace', async () => {
    const logger = notingLogger()
    const { cache, events } = cacheOn(1_000, { logger, local: { maxEntries: 10 } })
    // In UTF-8 the smaller has 1000 bytes with its quotes, and the larger 1001.
    const pages = cache.keyspace('page', { load: async (id: number) => 'é'.repeat(499) + 'x'.repeat(id) })
    await eventually(async () => {
      await pages.get(0)
      return pages.peek(0) !== undefined
    }, 'a fill')
    for (let i = 0; i < 2; i++) expect(await pages.read(1)).toMatchObject({ from: 'origin', why: 'missing' })
    expect((await pages.read(2)).value).toHaveLength(501)
    await eventually(async () => (await register('page:1')) === null, 'the lease to be given back')
    expect(pages.peek(1)).toBeUndefined()
    expect(await register('page:0')).toContain('é')
    expect(logger.heard.filter(([, code]) => code === 'LARGE_VALUE')).toEqual([
      ['warn', 'LARGE_VALUE', expect.stringContaining('for example page:1 with 1001 bytes')],
    ])
    expect(events.filter(({ type }) => type === 'fill').at(-1)).toMatchObject({
      outcome: 'too-large',
      bytes: 1_002,
    })
    expect(cache.stats().keyspaces.page?.fills['too-large']).toBe(3)
  })

  it('a write of a value larger than maxValueBytes removes the old value, is fenced, and stores nothing', async () => {
    const { cache, events } = cacheOn(1_000)
    let row = 'old'
    const pages = cache.keyspace('page', { load: async (_id: number) => row })
    await eventually(async () => {
      await pages.get(1)
      return String(await register('page:1')).startsWith('V')
    }, 'a fill')
    const commit = async () => {
      row = 'x'.repeat(2_000)
      return row
    }
    expect(await pages.write(1, commit, { writeThrough: true })).toMatchObject({
      invalidation: 'applied',
      fenced: true,
    })
    expect(await register('page:1')).toBeNull()
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'fill', outcome: 'too-large', bytes: 2_002 }),
    )
    expect(await pages.get(1)).toBe(row)
  })

  it('what a process with a larger bound has stored is not sent to one with a smaller, and stays', async () => {
    const wide = cacheOn()
    const narrow = cacheOn(1_000)
    const load = async (id: number) => (id === 1 ? 'x'.repeat(LARGE) : 'small')
    const [pages, others] = [wide, narrow].map(({ cache }) => cache.keyspace('page', { load })) as [
      ReturnType<typeof wide.cache.keyspace<number, string>>,
      ReturnType<typeof wide.cache.keyspace<number, string>>,
    ]
    await eventually(
      async () => (await pages.getMany([1, 2])) && (await pages.read(1)).from === 'shared',
      'a fill',
    )
    for (let i = 0; i < 2; i++)
      expect(await others.read(1)).toMatchObject({ from: 'origin', why: 'too-large' })
    expect((await others.getMany([1, 2])).get(1)).toHaveLength(LARGE)
    expect(narrow.cache.stats().keyspaces.page?.why['too-large']).toBe(3)
    expect((await pages.read(1)).from).toBe('shared')
    // A look brings it once. Then this is known, and the next do not.
    const { shared } = narrow
    const output = async () =>
      Number(/total_net_output_bytes:(\d+)/.exec(String(await server.command('INFO', 'stats')))![1])
    for (const keys of [['page:1'], ['page:2', 'page:1']]) {
      expect((await shared.look(keys)).at(-1)).toBe(TOO_LARGE)
      const before = await output()
      expect((await shared.look(keys)).at(-1)).toBe(TOO_LARGE)
      expect((await output()) - before).toBeLessThan(LARGE)
    }
    await server.command('DEL', 'page:1')
    expect(await shared.look(['page:1'])).toEqual([null])
  })

  it('a long text that is no register is replaced, and not sent back to be compared', async () => {
    const { cache, shared } = cacheOn(1_000)
    const pages = cache.keyspace('page', { load: async (_id: number) => 'small' })
    await pages.get(1)
    for (const look of [() => pages.get(2), () => shared.look(['page:2'])]) {
      await server.command('SET', 'page:2', 'x'.repeat(LARGE))
      await look()
      await eventually(async () => {
        await pages.get(2)
        return parseRegister(String(await register('page:2'))).state === 'value'
      }, 'a fill')
    }
  })

  it('a script answers with no more than comes in time, and takes no lease for what it leaves out', async () => {
    const shared = open(2 ** 22)
    const keys = [1, 2, 3, 4].map(id => `page:${id}`)
    for (const key of keys.slice(0, 3)) await put(shared, key, 'x'.repeat(2 ** 22))
    const requests = keys.map(key => ({ key, token: token('Anna') }))
    const replies = await shared.leaseMany(requests, LONG_MS)
    expect(replies.map(reply => typeof reply)).toEqual(['string', 'string', 'symbol', 'symbol'])
    expect(await register('page:4')).toBeNull()
    expect(shared.keysAtOnce!('page')).toBe(1)
  })

  it('single reads beyond what comes in time bring only short registers, and leases', async () => {
    const shared = open()
    const pages = Array.from({ length: 10 }, (_, id) => `page:${id}`)
    for (const key of pages) await put(shared, key, 'x'.repeat(2 ** 20 - 2))
    await put(shared, 'spell:1')
    const kinds = (replies: unknown[]) => {
      const of = (kind: string) => replies.filter(reply => typeof reply === kind).length
      return [of('string'), of('symbol')]
    }
    const look = async (key: string): Promise<unknown> => (await shared.look([key]))[0]
    const lease = (key: string): Promise<unknown> => shared.lease(key, token('Anna'), LONG_MS)
    for (const ask of [look, lease]) {
      const [small, absent, ...replies] = await Promise.all(['spell:1', 'page:x', ...pages].map(ask))
      expect([typeof small, absent, ...kinds(replies)]).toEqual(['string', null, 7, 3])
      await server.command('DEL', 'page:x')
    }
    const behind = await Promise.all([...pages, 'spell:1', 'page:x'].map(lease))
    expect([typeof behind.at(-2), behind.at(-1)]).toEqual(['string', null])
    expect(kinds(await Promise.all(pages.slice(0, 8).map(look)))).toEqual([8, 0])
  })

  it('single reads with tags do not make values seem shorter', async () => {
    const shared = open()
    await put(shared, 'page:1', 'x'.repeat(2 ** 20 - 2))
    await shared.look(['page:1', 'author:1', 'author:2'])
    expect(shared.keysAtOnce!('page')).toBeLessThan(9)
  })

  it('fills beyond what comes in time are refused, and their leases can be given back', async () => {
    const shared = open(2 ** 22)
    const names = [1, 2, 3].map(id => `page:${id}`)
    for (const key of names) await shared.lease(key, token('Anna'), LONG_MS)
    const value = spell('x'.repeat(2 ** 22))
    const filled = await Promise.all(names.map(key => shared.fill(key, `L${token('Anna')}`, value)))
    expect(filled).toEqual([true, true, false])
    expect(await shared.drop('page:3', { prefix: `L${token('Anna')}` })).toBe(true)
  })

  it('getMany of many keys reads them in pieces, each with one call of loadMany, and in between others get their turn', async () => {
    const { cache, events } = cacheOn()
    const asked: number[] = []
    const spells = cache.keyspace('spell', {
      load: async (id: number) => ({ id }),
      loadMany: async ids => {
        asked.push(ids.length)
        return new Map(ids.map(id => [id, { id }]))
      },
    })
    await spells.get(-1)
    const ids = Array.from({ length: 1_200 }, (_, id) => id)
    const many = await spells.getMany(ids)
    expect([many.size, asked]).toEqual([1_200, [500, 500, 200]])
    const reads = events.filter(event => event.type === 'read' && event.batch !== undefined)
    expect(new Set(reads.map(read => 'batch' in read && read.batch)).size).toBe(1)
    const tags = cache.tags('author')
    const books = cache.keyspace('book', {
      tags: id => [tags.key(id)],
      load: async (id: number) => id,
      loadMany: async ids => {
        asked.push(ids.length)
        return new Map(ids.map(id => [id, id]))
      },
    })
    await books.getMany(ids.slice(0, 150))
    expect(asked.slice(3)).toEqual([100, 50])
  })

  it('getMany in pieces ends with its signal, and begins no piece after that or after a failure', async () => {
    const { cache } = cacheOn()
    const asked: number[] = []
    const abort = new AbortController()
    const spells = cache.keyspace('spell', {
      loadMany: async (ids: readonly number[]) => {
        asked.push(ids[0]!)
        if (ids[0] === 0) abort.abort(new Error('enough'))
        if (ids[0] === -1) throw new Error('down')
        return new Map(ids.map(id => [id, id]))
      },
    })
    const ids = Array.from({ length: 600 }, (_, id) => id)
    await expect(spells.getMany(ids, { signal: abort.signal })).rejects.toThrow('enough')
    await expect(spells.getMany([-1, ...ids.map(id => id + 1_000)])).rejects.toThrow('down')
    await setImmediate()
    expect(asked).toEqual([0, -1])
  })

  it('a snapshot of more than comes in time is read by its load at once', async () => {
    const { cache } = cacheOn()
    let loads = 0
    const spells = cache.keyspace('spell', {
      load: async (id: number) => {
        loads++
        return id
      },
    })
    const ids = Array.from({ length: 501 }, (_, id) => id)
    const load = async (all: readonly number[]) => new Map(all.map(id => [id, id]))
    expect((await spells.getMany(ids, { consistency: 'snapshot', load })).size).toBe(501)
    expect(loads).toBe(0)
  })
})
