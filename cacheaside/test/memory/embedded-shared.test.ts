import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { EVICTION_POLICIES } from '../../src/eviction/bounded-map.ts'
import { embeddedShared } from '../../src/memory/embedded-shared.ts'
import { REGISTER_OVERHEAD_BYTES } from '../../src/memory/registers.ts'
import { type Fill, REFUSED, type SharedStore } from '../../src/shared/shared-store.ts'
import { SimulatedClock, sharedStoreContract } from '../../src/testing/index.ts'
import { heap } from '../heap.ts'
import { openEmbedded } from './embedded-harness.ts'

const LONG_MS = 600_000
const token = (name: string) => name.padEnd(16, '_').slice(0, 16)
const spell = (text: string): Fill => ({
  generation: token('generation'),
  shape: 1,
  freshMs: LONG_MS,
  staleMs: 0,
  costMs: 1,
  text,
})
const embedded = (options: Parameters<typeof embeddedShared>[0] = {}) => {
  const clock = new SimulatedClock()
  return { clock, store: embeddedShared({ clock, ...options }) }
}

/** Whether the value was taken. */
async function put(store: SharedStore, key: string, text = 'x'): Promise<boolean> {
  if ((await store.lease(key, token('reader'), LONG_MS)) !== null) return false
  return store.fill(key, `L${token('reader')}`, spell(text))
}

describe('embeddedShared keeps the contract of a shared store', () => {
  sharedStoreContract({ describe, it }, { open: () => openEmbedded() })
})

describe.each(EVICTION_POLICIES)('embeddedShared that is full, under %s,', policy => {
  it('never evicts a guard, whatever comes in', async () => {
    const { store } = embedded({ policy, maxEntries: 100, maxBytes: 40_000 })
    for (let i = 0; i < 50; i++) await store.guard(`guarded:${i}`, token('writer'), LONG_MS, false)
    for (let i = 0; i < 1000; i++) await put(store, `spell:${i}`, 'x'.repeat(i % 300))
    for (let i = 0; i < 50; i++) {
      expect(store.inspect(`guarded:${i}`)?.startsWith(`W0${token('writer')}`)).toBe(true)
      const reply = await store.release(`guarded:${i}`, token('writer'))
      expect(reply).toEqual({ held: true, stored: false })
    }
  })

  it('keeps within its limits', async () => {
    const { store } = embedded({ policy, maxEntries: 100, maxBytes: 40_000 })
    for (let i = 0; i < 1000; i++) {
      await put(store, `spell:${i}`, 'x'.repeat(i % 300))
      expect(store.stats().entries).toBeLessThanOrEqual(100)
      expect(store.stats().bytes).toBeLessThanOrEqual(40_000)
    }
    expect(store.stats().entries).toBeGreaterThan(60)
  })

  it('guards and invalidates beyond its limits, and refuses leases while guards fill it', async () => {
    const { store } = embedded({ policy, maxEntries: 10 })
    await put(store, 'spell:0')
    for (let i = 0; i < 20; i++) {
      expect(await store.guard(`guarded:${i}`, token('writer'), LONG_MS, false)).toBe('new')
    }
    expect(store.stats().entries).toBeGreaterThanOrEqual(20)
    expect(await store.lease('spell:1', token('reader'), LONG_MS)).toBe(REFUSED)
    expect(await store.leaseMany([{ key: 'spell:2', token: token('reader') }], LONG_MS)).toEqual([REFUSED])
    const stamps = ['author:1', 'guarded:1'].map(key => ({ key, token: token('reader') }))
    expect(await store.stampMany(stamps, LONG_MS)).toEqual([REFUSED, store.inspect('guarded:1')])
    expect(await store.lease('guarded:1', token('reader'), LONG_MS)).toBe(store.inspect('guarded:1'))
    expect(await store.guard('guarded:1', token('writer'), LONG_MS, true)).toBe('renewed')
    await store.invalidate('guarded:2')
    expect(store.inspect('guarded:2')?.startsWith('W1')).toBe(true)
    await store.invalidate('spell:0')
    expect(store.inspect('spell:0')).toBeUndefined()
    for (let i = 0; i < 20; i++) await store.release(`guarded:${i}`, token('writer'))
    expect(store.stats()).toMatchObject({ entries: 0, bytes: 0 })
    expect(await store.lease('spell:1', token('reader'), LONG_MS)).toBeNull()
  })

  it('refuses a fill that does not fit, keeps the lease, and evicts nothing for it', async () => {
    const { store } = embedded({ policy, maxBytes: 2000 })
    await put(store, 'spell:1')
    await store.lease('spell:2', token('reader'), LONG_MS)
    expect(await store.fill('spell:2', `L${token('reader')}`, spell('x'.repeat(2000)))).toBe(false)
    expect(store.inspect('spell:2')).toBe(`L${token('reader')}`)
    expect(store.inspect('spell:1')?.endsWith('= x')).toBe(true)
    expect(await store.drop('spell:2', { exactly: `L${token('reader')}` })).toBe(true)
  })

  it('releases plainly what it has no room to write through', async () => {
    const { store } = embedded({ policy, maxBytes: 2000 })
    await store.guard('spell:1', token('writer'), LONG_MS, false)
    const reply = await store.release('spell:1', token('writer'), spell('x'.repeat(2000)))
    expect(reply).toEqual({ held: true, stored: false })
    expect(store.inspect('spell:1')).toBeUndefined()
    expect(store.stats()).toMatchObject({ entries: 0, bytes: 0 })
  })

  it('remembers the generations of its keyspaces', async () => {
    const { store } = embedded({ policy, maxEntries: 2 })
    await store.generation('spell', token('first'))
    await store.invalidateKeyspace('wizard', token('second'))
    for (let i = 0; i < 100; i++) await put(store, `spell:${i}`)
    expect(await store.generation('spell', token('other'))).toBe(token('first'))
    expect(await store.generation('wizard', token('other'))).toBe(token('second'))
  })
})

describe('embeddedShared under noeviction', () => {
  it('refuses leases and fills when it is full, but never a read, a guard or an invalidation', async () => {
    const { store } = embedded({ policy: 'noeviction', maxEntries: 3 })
    for (let i = 0; i < 3; i++) expect(await put(store, `spell:${i}`, `value ${i}`)).toBe(true)
    expect(await store.lease('spell:3', token('reader'), LONG_MS)).toBe(REFUSED)
    for (let i = 0; i < 3; i++) {
      expect(await store.lease(`spell:${i}`, token('reader'), LONG_MS)).toBe(store.inspect(`spell:${i}`))
      expect(store.inspect(`spell:${i}`)?.endsWith(`= value ${i}`)).toBe(true)
    }
    expect(await store.guard('spell:9', token('writer'), LONG_MS, false)).toBe('new')
    await store.release('spell:9', token('writer'))
    await store.invalidate('spell:0')
    expect(await put(store, 'spell:3')).toBe(true)
    expect(store.stats()).toMatchObject({ entries: 3, evictions: 0 })
  })

  it('has room again when something expires', async () => {
    const { store, clock } = embedded({ policy: 'noeviction', maxEntries: 1 })
    await store.lease('spell:1', token('reader'), 100)
    expect(await store.lease('spell:2', token('reader'), 100)).toBe(REFUSED)
    await clock.advance(100)
    expect(await store.lease('spell:2', token('reader'), 100)).toBeNull()
    expect(store.stats()).toMatchObject({ entries: 1, evictions: 0, expirations: 1 })
  })
})

describe('embeddedShared', () => {
  it('counts a lease that finds a value as an access, and inspect as none', async () => {
    const { store, clock } = embedded({ policy: 'allkeys-lru', maxEntries: 3, samples: 10 })
    for (const key of ['a', 'b', 'c']) {
      await put(store, key)
      await clock.advance(10)
    }
    await store.lease('a', token('reader'), LONG_MS)
    store.inspect('b')
    await clock.advance(10)
    await put(store, 'd')
    const left = ['a', 'b', 'c', 'd'].filter(key => store.inspect(key) !== undefined)
    expect(left).toEqual(['a', 'c', 'd'])
    expect(store.stats()).toMatchObject({ entries: 3, evictions: 1 })
  })

  it('charges key and text by the byte, and a constant for each', async () => {
    const { store } = embedded()
    await store.lease('spell:ä🔥', token('reader'), LONG_MS)
    expect(store.stats()).toMatchObject({ entries: 1, bytes: 6 + 2 + 4 + 17 + REGISTER_OVERHEAD_BYTES })
    await store.fill('spell:ä🔥', `L${token('reader')}`, spell('火'))
    const prefix = store.inspect('spell:ä🔥')!.length - 1
    expect(store.stats().bytes).toBe(12 + prefix + 3 + REGISTER_OVERHEAD_BYTES)
    await store.release('spell:ä🔥', token('writer'))
    expect(store.stats()).toMatchObject({ entries: 0, bytes: 0 })
  })

  it('charges about what it takes on the heap', async () => {
    const store = embeddedShared({ maxBytes: 2 ** 30 })
    const before = await heap()
    for (let i = 0; i < 50_000; i++)
      await put(store, `spell:${i}`, `{"id":${i},"name":"${'x'.repeat(i % 100)}"}`)
    const taken = (await heap()) - before
    expect(taken / store.stats().bytes).toBeGreaterThan(0.8)
    expect(taken / store.stats().bytes).toBeLessThan(1.2)
  })

  it('keeps its own time when the wall clock jumps', async () => {
    const { store, clock } = embedded()
    await store.guard('spell:1', token('writer'), 1000, false)
    const { timeMs } = await store.heartbeat('1', [])
    clock.jumpWall(-3_600_000)
    await clock.advance(400)
    expect((await store.heartbeat('2', [])).timeMs).toBe(timeMs + 400)
    clock.jumpWall(7_200_000)
    await clock.advance(400)
    expect((await store.heartbeat('3', [])).timeMs).toBe(timeMs + 800)
    expect(store.inspect('spell:1')).toBeDefined()
    await clock.advance(200)
    expect(store.inspect('spell:1')).toBeUndefined()
  })

  it('works on the clock of the machine when it is given none', async () => {
    const store = embeddedShared()
    const before = systemClock.epochMs()
    const { timeMs } = await store.heartbeat('1', [])
    expect(Math.abs(timeMs - before)).toBeLessThan(10_000)
    expect(await put(store, 'spell:1', 'x')).toBe(true)
    await store.close()
  })

  it('has an identity of its own', async () => {
    const clock = new SimulatedClock()
    const [store, other] = [embeddedShared({ clock }), embeddedShared({ clock })]
    const identity = await store.identity()
    expect(identity).not.toBe('')
    expect(await other.identity()).not.toBe(identity)
    expect(await store.identity()).toBe(identity)
  })

  it('forgets everything when it is closed, tells the listeners, and confirms nothing any more', async () => {
    const { store } = embedded()
    const heard: string[] = []
    store.subscribe({
      invalidated: key => heard.push(key),
      keyspaceInvalidated: keyspace => heard.push(keyspace),
      heartbeat: text => heard.push(text),
      interrupted: reason => heard.push(reason),
    })
    await put(store, 'spell:1')
    await store.generation('spell', token('first'))
    await store.guard('spell:2', token('writer'), LONG_MS, false)
    heard.length = 0
    await store.close()
    await store.close()
    expect(heard).toEqual(['the embedded store was closed'])
    expect(store.inspect('spell:1')).toBeUndefined()
    expect(store.stats()).toMatchObject({ entries: 0, bytes: 0 })
    const closed = { code: 'CLOSED', message: 'the embedded store was closed' }
    await expect(store.invalidate('spell:1')).rejects.toMatchObject(closed)
    await expect(store.fill('spell:1', '', spell('x'))).rejects.toMatchObject(closed)
    await expect(store.renewStamp('tag:1', token('stamp'), LONG_MS)).rejects.toMatchObject(closed)
    await expect(store.view!()).rejects.toMatchObject(closed)
    expect(heard).toHaveLength(1)
  })

  it.each([
    [{ maxBytes: 0 }, /maxBytes/],
    [{ maxBytes: 1.5 }, /maxBytes/],
    [{ maxBytes: { valueOf: () => Symbol('no number') } } as never, /maxBytes/],
    [{ maxEntries: -1 }, /maxEntries/],
    [{ policy: 'lru' as never }, /policy/],
    [{ samples: 0 }, /samples/],
    [{ maxByte: 1024 } as never, /^unknown option options.maxByte, known are: maxBytes, maxEntries, policy/],
    [null as never, /^expected options to be an object, got null/],
  ])('throws INVALID_OPTIONS for %j', (options, named) => {
    expect(() => embeddedShared(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(named) }),
    )
  })
})
