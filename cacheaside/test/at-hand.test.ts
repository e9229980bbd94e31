import { describe, expect, test } from 'vitest'
import { type Codec, createCache, embeddedShared, type KeyspaceOptions } from '../src/index.ts'
import { SimulatedClock } from '../src/testing/index.ts'
import { heap } from './heap.ts'
import { quiet } from './heard-warnings.ts'

interface Row {
  readonly id: number
  readonly name: string
}

/** A cache on an embedded store, and a keyspace in it. */
function opened(options: Partial<KeyspaceOptions<number, Row>> = {}, maxBytes?: number) {
  const clock = new SimulatedClock()
  const shared = embeddedShared({ clock, ...(maxBytes === undefined ? {} : { maxBytes }) })
  const cache = createCache({ clock, shared, logger: quiet })
  const rows = cache.keyspace('row', {
    load: async id => ({ id, name: `row ${id}` }),
    ttlMs: 1_000,
    ttlJitter: 0,
    ...options,
  })
  return { clock, shared, cache, rows }
}

/** JSON, and how often it was read. */
function countingCodec() {
  const codec = {
    decoded: 0,
    encode: (row: Row) => JSON.stringify(row),
    decode(text: string) {
      codec.decoded++
      return JSON.parse(text) as Row
    },
  }
  return codec satisfies Codec<Row>
}

describe('get of a value in the embedded store', () => {
  test('decodes it once, and gives all readers the same', async () => {
    const codec = countingCodec()
    const { rows } = opened({ codec })
    await rows.get(1)
    const [first, loaded] = [await rows.get(1), codec.decoded]
    expect(await rows.get(1)).toBe(first)
    expect((await rows.read(1)).value).toBe(first)
    expect((await rows.getMany([1])).get(1)).toBe(first)
    expect(codec.decoded).toBe(loaded)
  })

  test('reports it as one found in the shared store, for which no flight was needed', async () => {
    const { rows, cache, clock } = opened()
    await rows.get(1)
    await clock.advance(400)
    const events: unknown[] = []
    cache.listen(event => events.push(event))
    expect(await rows.read(1)).toMatchObject({ from: 'shared', why: 'fresh', ageMs: 400, ttlMs: 600 })
    expect(events).toMatchObject([{ type: 'read', from: 'shared', why: 'fresh', joined: false, sharedMs: 0 }])
    expect(events[0]).not.toHaveProperty('flight')
    expect(cache.stats().keyspaces.row?.reads).toEqual({ local: 0, shared: 1, origin: 1 })
  })

  test('opens it for each cache by its own codec and schema', async () => {
    const { rows, shared, clock } = opened()
    await rows.get(1)
    await rows.get(1)
    const upper = createCache({ clock, shared, logger: quiet }).keyspace('row', {
      load: async (id: number) => ({ id, name: '' }),
      codec: {
        encode: (row: Row) => JSON.stringify(row),
        decode: text => ({ ...(JSON.parse(text) as Row), name: 'ROW' }),
      },
    })
    await upper.get(2)
    expect((await upper.get(1))?.name).toBe('ROW')
    expect((await rows.get(1))?.name).toBe('row 1')
    expect((await upper.get(1))?.name).toBe('ROW')
  })

  test('loads it when it has expired, and finds what a write has committed', async () => {
    const { rows, clock } = opened()
    const first = await rows.get(1)
    expect(await rows.get(1)).toStrictEqual(first)
    await rows.write(1, () => ({ id: 1, name: 'written' }), { writeThrough: true })
    expect((await rows.get(1))?.name).toBe('written')
    expect((await rows.get(1))?.name).toBe('written')
    await clock.advance(1_000)
    expect(await rows.read(1)).toMatchObject({ from: 'origin', value: { name: 'row 1' } })
  })

  test('gives a copy to each reader where freezing does not protect it', async () => {
    const { cache } = opened()
    const dates = cache.keyspace('date', { load: async () => ({ at: new Date(0) }) })
    for (let i = 0; i < 3; i++) {
      const got = await dates.get(1)
      expect(got).toStrictEqual({ at: new Date(0) })
      got!.at.setTime(1)
    }
  })

  test('finds an absent row, and leaves what cannot be read to a load', async () => {
    const { rows, cache } = opened({ load: async () => undefined })
    expect(await rows.get(1)).toBeUndefined()
    expect(await rows.get(1)).toBeUndefined()
    expect(cache.stats().keyspaces.row).toMatchObject({ absent: 2, reads: { shared: 1 } })
  })

  test('begins a refresh ahead of the expiry', async () => {
    let loads = 0
    const { rows, clock, cache } = opened({
      refreshAhead: 1_000,
      load: async id => ({ id, name: `load ${++loads}` }),
    })
    const slow = cache.keyspace('slow', {
      refreshAhead: 1_000,
      ttlMs: 1_000,
      ttlJitter: 0,
      load: async (id: number) => {
        await new Promise<void>(resolve => clock.after(100, resolve))
        return { id, name: `load ${++loads}` }
      },
    })
    const reading = slow.get(1)
    await clock.advance(100)
    await reading
    for (let i = 0; i < 20 && loads === 1; i++) {
      await slow.get(1)
      await clock.advance(100)
    }
    expect(loads).toBeGreaterThan(1)
    expect(await rows.get(1)).toBeDefined()
  })

  test('finds a value with tags without a flight, until one of them is invalidated', async () => {
    const { cache, clock } = opened()
    const authors = cache.tags<number>('author')
    let version = 1
    const load = async (id: number) => ({ id, author: 7, version })
    const books = cache.keyspace('book', { load, tags: () => [authors.key(1)], ttlMs: 1_000, ttlJitter: 0 })
    const posts = cache.keyspace('post', { load, tagsOf: post => [authors.key(post?.author ?? 0)] })
    for (const kind of [books, posts]) {
      for (let i = 0; i < 2; i++) {
        await kind.get(4)
        await clock.drain()
      }
    }
    const events: unknown[] = []
    cache.listen(event => events.push(event))
    const readAll = async () => [(await books.get(4))?.version, (await posts.get(4))?.version]
    expect(await readAll()).toEqual([1, 1])
    expect(events).toMatchObject([{ from: 'shared' }, { from: 'shared' }])
    for (const event of events) expect(event).not.toHaveProperty('flight')
    version = 2
    await authors.invalidate(7)
    expect(await readAll()).toEqual([1, 2])
    await authors.invalidate(1)
    expect(await readAll()).toEqual([2, 2])
    await clock.advance(1_000)
    expect(await books.read(4)).toMatchObject({ from: 'origin' })
  })

  test('judges a value with tags for itself in each cache: another one may name more of them', async () => {
    const { shared, clock } = opened()
    const load = async (id: number) => ({ id })
    const [one, other] = [0, 1].map(() => createCache({ clock, shared, logger: quiet }))
    const plain = one!.tags<number>('author')
    const further = other!.tags<number>('author')
    const few = one!.keyspace('book', { load, tags: () => [plain.key(1)] })
    const more = other!.keyspace('book', { load, tags: () => [further.key(1), further.key(2)] })
    for (let i = 0; i < 3; i++) await few.get(4)
    expect(await more.read(4)).toMatchObject({ from: 'origin', why: 'names' })
    expect(await more.read(4)).toMatchObject({ from: 'shared' })
    expect(await few.read(4)).toMatchObject({ from: 'shared' })
  })

  test('does not find a value without tags where the keyspace names some', async () => {
    const { shared, clock } = opened()
    const load = async (id: number) => ({ id })
    const [one, other] = [0, 1].map(() => createCache({ clock, shared, logger: quiet }))
    const untagged = one!.keyspace('book', { load })
    const authors = other!.tags<number>('author')
    const books = other!.keyspace('book', { load, tags: () => [authors.key(1)] })
    await books.get(5) // learns the generation
    for (let i = 0; i < 3; i++) await untagged.get(4)
    expect(await books.read(4)).toMatchObject({ from: 'origin', why: 'names' })
    expect(await books.read(4)).toMatchObject({ from: 'shared' })
    expect(await books.read(4)).toMatchObject({ from: 'shared' })
  })

  test('keeps what it has opened in a quarter of the room, and charges it', async () => {
    const { rows, shared } = opened({}, 60_000)
    for (let id = 0; id < 100; id++) await rows.get(id)
    const texts = shared.stats().bytes
    for (let turn = 0; turn < 2; turn++) for (let id = 0; id < 100; id++) await rows.get(id)
    const charged = shared.stats().bytes - texts
    expect(charged).toBeGreaterThan(14_000)
    expect(charged).toBeLessThanOrEqual(15_000)
    expect(shared.stats()).toMatchObject({ entries: 100, evictions: 0 })
    for (let id = 0; id < 100; id++) await rows.invalidate(id)
    expect(shared.stats()).toMatchObject({ entries: 0, bytes: 0 })
    for (let id = 0; id < 10; id++) await rows.get(id)
    const again = shared.stats().bytes
    await rows.get(1)
    expect(shared.stats().bytes).toBeGreaterThan(again)
  })

  test('charges for the tags of what it has opened about what they take on the heap', async () => {
    const shared = embeddedShared({ maxBytes: 2 ** 30 })
    const cache = createCache({ shared, fill: 'blocking', logger: quiet })
    const authors = cache.tags<number>('author')
    const load = async (id: number) => ({ id })
    const tags = (id: number) => Array.from({ length: 8 }, (_, i) => authors.key((id + 31 * i) % 500))
    const books = cache.keyspace('book', { load, tags })
    const ids = Array.from({ length: 3_000 }, (_, id) => id)
    await books.getMany(ids)
    const [taken, charged] = [await heap(), shared.stats().bytes]
    for (const id of ids) await books.get(id)
    const ratio = ((await heap()) - taken) / (shared.stats().bytes - charged)
    expect(ratio).toBeGreaterThan(0.8)
    expect(ratio).toBeLessThan(1.2)
    await cache.close()
  })
})
