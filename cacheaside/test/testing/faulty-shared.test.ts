import { describe, expect, it } from 'vitest'
import { embeddedShared } from '../../src/memory/embedded-shared.ts'
import {
  faultySharedStore,
  SHARED_OPERATIONS,
  SimulatedClock,
  sharedStoreContract,
} from '../../src/testing/index.ts'
import { openEmbedded } from '../memory/embedded-harness.ts'

const LONG_MS = 600_000
const READER = 'reader__________'
const WRITER = 'writer__________'

function faulty() {
  const clock = new SimulatedClock()
  const inner = embeddedShared({ clock })
  const store = faultySharedStore(inner, { clock })
  const heard: string[] = []
  const stop = store.subscribe({
    invalidated: key => heard.push(key),
    keyspaceInvalidated: keyspace => heard.push(`keyspace ${keyspace}`),
    heartbeat: text => heard.push(`heartbeat ${text}`),
    interrupted: reason => heard.push(`interrupted: ${reason}`),
  })
  return { clock, inner, store, heard, stop }
}

/** What has become of a promise so far. */
function watch<T>(promise: Promise<T>): { outcome: string } {
  const watched = { outcome: 'waiting' }
  promise.then(
    value => {
      watched.outcome = `answered ${JSON.stringify(value)}`
    },
    (error: Error) => {
      watched.outcome = `rejected: ${error.message}`
    },
  )
  return watched
}

describe('faultySharedStore without a fault keeps the contract of a shared store', () => {
  sharedStoreContract(
    { describe, it },
    { open: () => openEmbedded((inner, clock) => faultySharedStore(inner, { clock })) },
  )
})

describe('faultySharedStore with a slow stream keeps the contract of a shared store', () => {
  sharedStoreContract(
    { describe, it },
    {
      open: () =>
        openEmbedded((inner, clock) => {
          const store = faultySharedStore(inner, { clock })
          store.delayStream(25)
          return store
        }),
    },
  )
})

describe('faultySharedStore', () => {
  it('hangs until it is restored, and applies then, late and in order', async () => {
    const { store, inner, clock } = faulty()
    store.hang()
    const lease = watch(store.lease('spell:1', READER, LONG_MS))
    const guard = watch(store.guard('spell:1', WRITER, LONG_MS, false))
    await clock.advance(10_000)
    expect([lease.outcome, guard.outcome]).toEqual(['waiting', 'waiting'])
    expect(inner.inspect('spell:1')).toBeUndefined()
    store.restore()
    await clock.drain()
    expect([lease.outcome, guard.outcome]).toEqual(['answered null', 'answered "new"'])
    expect(inner.inspect('spell:1')?.startsWith('W')).toBe(true)
  })

  it('restores one operation and leaves the others hanging', async () => {
    const { store, clock } = faulty()
    store.hang()
    const lease = watch(store.lease('spell:1', READER, LONG_MS))
    const guard = watch(store.guard('spell:2', WRITER, LONG_MS, false))
    store.restore('lease')
    await clock.drain()
    expect([lease.outcome, guard.outcome]).toEqual(['answered null', 'waiting'])
    store.restore()
    await clock.drain()
    expect(guard.outcome).toBe('answered "new"')
  })

  it('loses what hangs when it is cut', async () => {
    const { store, inner, clock } = faulty()
    store.hang('guard')
    const guard = watch(store.guard('spell:1', WRITER, LONG_MS, false))
    expect(await store.lease('spell:2', READER, LONG_MS)).toBeNull()
    store.cut()
    store.restore()
    await clock.drain()
    expect(guard.outcome).toMatch(/^rejected: .*lost/)
    expect(inner.inspect('spell:1')).toBeUndefined()
  })

  it('fails one operation or all, with the error it is given, and applies nothing', async () => {
    const { store, inner } = faulty()
    store.fail('guard', new Error('NOREPLICAS'))
    await expect(store.guard('spell:1', WRITER, LONG_MS, false)).rejects.toThrow('NOREPLICAS')
    expect(await store.lease('spell:1', READER, LONG_MS)).toBeNull()
    store.fail()
    await expect(store.invalidate('spell:1')).rejects.toThrow('refused')
    expect(inner.inspect('spell:1')).toBe(`L${READER}`)
    store.restore('invalidate')
    await store.invalidate('spell:1')
    expect(inner.inspect('spell:1')).toBeUndefined()
    await expect(store.heartbeat('1', [])).rejects.toThrow('refused')
  })

  it('delays: applied half-way, answered at the end', async () => {
    const { store, inner, clock } = faulty()
    store.delay(100, 'lease')
    const lease = watch(store.lease('spell:1', READER, LONG_MS))
    await clock.advance(49)
    expect(inner.inspect('spell:1')).toBeUndefined()
    await clock.advance(1)
    expect(inner.inspect('spell:1')).toBe(`L${READER}`)
    await clock.advance(49)
    expect(lease.outcome).toBe('waiting')
    await clock.advance(1)
    expect(lease.outcome).toBe('answered null')
    expect(clock.pendingTimers).toBe(0)
  })

  it.each([
    ['before it arrives', 10, undefined],
    ['after it was applied', 60, `L${READER}`],
  ])('loses a delayed operation that is cut %s', async (_when, ms, left) => {
    const { store, inner, clock } = faulty()
    store.delay(100)
    const lease = watch(store.lease('spell:1', READER, LONG_MS))
    await clock.advance(ms)
    store.cut()
    await clock.advance(1000)
    expect(lease.outcome).toMatch(/^rejected/)
    expect(inner.inspect('spell:1')).toBe(left)
    expect(clock.pendingTimers).toBe(0)
  })

  it('loses a delayed operation that is cut while it is being applied', async () => {
    const { store: near, inner, clock } = faulty()
    const far = faultySharedStore(near, { clock })
    near.hang()
    far.delay(100)
    const lease = watch(far.lease('spell:1', READER, LONG_MS))
    await clock.advance(60)
    far.cut()
    near.restore()
    await clock.drain()
    expect(lease.outcome).toMatch(/^rejected/)
    expect(inner.inspect('spell:1')).toBe(`L${READER}`)
    expect(clock.pendingTimers).toBe(0)
  })

  it('loses replies: applied, and answered by an error', async () => {
    const { store, inner } = faulty()
    store.loseReplies('lease')
    await expect(store.lease('spell:1', READER, LONG_MS)).rejects.toThrow('lost')
    expect(inner.inspect('spell:1')).toBe(`L${READER}`)
  })

  it('loses replies in silence until the connection is restored', async () => {
    const { store, inner, clock } = faulty()
    store.loseReplies('lease', 'silence')
    const lease = watch(store.lease('spell:1', READER, LONG_MS))
    await clock.advance(10_000)
    expect(lease.outcome).toBe('waiting')
    expect(inner.inspect('spell:1')).toBe(`L${READER}`)
    store.restore()
    await clock.drain()
    expect(lease.outcome).toMatch(/^rejected/)
  })

  it('cuts: refuses everything, loses messages, and says so on both ends of the gap', async () => {
    const { store, inner, heard } = faulty()
    store.cut()
    await expect(store.lease('spell:1', READER, LONG_MS)).rejects.toThrow('lost')
    await inner.invalidate('spell:2')
    store.restore()
    await inner.invalidate('spell:3')
    expect(heard).toEqual(['interrupted: connection lost', 'interrupted: reconnected', 'spell:3'])
    expect(await store.lease('spell:1', READER, LONG_MS)).toBeNull()
  })

  it('mutes the stream without anybody noticing', async () => {
    const { store, inner, heard } = faulty()
    store.muteStream()
    await inner.invalidate('spell:1')
    await store.invalidate('spell:2')
    store.releaseStream()
    await inner.invalidate('spell:3')
    expect(heard).toEqual(['spell:3'])
  })

  it('holds messages back and lets them go in order', async () => {
    const { store, inner, heard } = faulty()
    store.holdStream()
    await inner.invalidate('spell:1')
    await inner.invalidateKeyspace('spell', WRITER)
    await inner.heartbeat('7', [])
    expect(heard).toEqual([])
    store.releaseStream()
    await inner.invalidate('spell:2')
    expect(heard).toEqual(['spell:1', 'keyspace spell', 'heartbeat 7', 'spell:2'])
  })

  it('delays messages, and lets none overtake another when the delay ends', async () => {
    const { store, inner, heard, clock } = faulty()
    store.delayStream(100)
    await inner.invalidate('spell:1')
    await clock.advance(60)
    await inner.invalidate('spell:2')
    await clock.advance(39)
    expect(heard).toEqual([])
    await clock.advance(1)
    expect(heard).toEqual(['spell:1'])
    store.releaseStream()
    await inner.invalidate('spell:3')
    expect(heard).toEqual(['spell:1', 'spell:2', 'spell:3'])
    expect(clock.pendingTimers).toBe(0)
  })

  it('keeps delayed messages back while the stream is held, and loses them when it is muted', async () => {
    const { store, inner, heard, clock } = faulty()
    store.delayStream(100)
    await inner.invalidate('spell:1')
    store.holdStream()
    await clock.advance(1000)
    expect(heard).toEqual([])
    store.muteStream()
    store.releaseStream()
    expect(heard).toEqual([])
  })

  it('interrupts with the reason it is given, whatever the state of the stream', async () => {
    const { store, heard } = faulty()
    store.muteStream()
    store.interrupt('another server')
    expect(heard).toEqual(['interrupted: another server'])
  })

  it('tells nothing more to a listener that has left, nor after close', async () => {
    const { store, inner, heard, stop, clock } = faulty()
    store.delayStream(100)
    await inner.invalidate('spell:1')
    stop()
    expect(clock.pendingTimers).toBe(0)
    store.releaseStream()
    await clock.advance(1000)
    expect(heard).toEqual([])
    const again: string[] = []
    store.subscribe({
      invalidated: key => again.push(key),
      keyspaceInvalidated: () => {},
      heartbeat: () => {},
      interrupted: () => {},
    })
    await inner.invalidate('spell:2')
    await store.close()
    await inner.invalidate('spell:3')
    expect(again).toEqual(['spell:2'])
    expect(await inner.lease('spell:1', READER, LONG_MS)).toBeNull()
  })

  it('counts and logs everything that is sent, whatever becomes of it', async () => {
    const { store, clock } = faulty()
    await store.lease('spell:1', READER, LONG_MS)
    await clock.advance(5)
    store.cut()
    await store.lease('spell:2', READER, LONG_MS).catch(() => {})
    await store.drop('spell:1', { exactly: 'x' }).catch(() => {})
    expect(store.calls).toEqual({
      ...Object.fromEntries(SHARED_OPERATIONS.map(operation => [operation, 0])),
      lease: 2,
      drop: 1,
    })
    expect(store.log).toEqual([
      { operation: 'lease', arguments: ['spell:1', READER, LONG_MS], atMs: 0 },
      { operation: 'lease', arguments: ['spell:2', READER, LONG_MS], atMs: 5 },
      { operation: 'drop', arguments: ['spell:1', { exactly: 'x' }], atMs: 5 },
    ])
  })
})
