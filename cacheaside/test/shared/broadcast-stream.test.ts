import { describe, expect, test } from 'vitest'
import { type CacheEvent, embeddedShared } from '../../src/index.ts'
import { BroadcastStream } from '../../src/shared/broadcast-stream.ts'
import { SharedAccess, UNCONFIRMED } from '../../src/shared/shared-access.ts'
import { faultySharedStore, SimulatedClock } from '../../src/testing/index.ts'
import { within } from '../world.ts'

const G = (letter: string) => letter.repeat(16)

async function opened(maxStaleMs = 2_000) {
  const clock = new SimulatedClock()
  const store = embeddedShared({ clock })
  const link = faultySharedStore(store, { clock })
  const events: CacheEvent[] = []
  const heard: string[] = []
  const emit = (event: CacheEvent) => void events.push(event)
  const access = new SharedAccess(link, 100, clock, () => {})
  const owner = {
    invalidated: (key: string) => void heard.push(key),
    keyspaceInvalidated: (keyspace: string) => void heard.push(`all of ${keyspace}`),
    interrupted: () => void heard.push('interrupted'),
  }
  const stream = new BroadcastStream(access, owner, clock, maxStaleMs, emit)
  const copy = stream.follow('spell')
  const close = () => {
    stream.close()
    access.close()
    expect(clock.describeTimers()).toBe('no timers')
  }
  const proven = () => stream.proven(clock.nowMs())
  return { clock, store, link, events, heard, stream, copy, proven, close }
}

describe('the broadcast stream', () => {
  test('is not proven before its own heartbeat was heard; then it is, and what began before is interrupted', async () => {
    const { clock, proven, events, heard, close } = await opened()
    expect(proven()).toBe(false)
    await clock.drain()
    expect(proven()).toBe(true)
    expect(heard).toEqual(['interrupted'])
    expect(events).toMatchObject([{ type: 'stream', state: 'proven' }])
    close()
  })

  test('sends four heartbeats in each bound', async () => {
    const { clock, link, close } = await opened(2_000)
    await clock.advance(10_000)
    expect(link.calls.heartbeat).toBe(21)
    close()
  })

  test('counts its proof from the moment of sending, not of hearing', async () => {
    const { clock, link, proven, close } = await opened(2_000)
    await clock.drain()
    link.delayStream(1_500)
    await clock.advance(10_000)
    expect(proven()).toBe(true)
    link.delayStream(2_100)
    await clock.advance(10_000)
    expect(proven()).toBe(false)
    link.restore()
    close()
  })

  test('needs the reply of the exchange as well as the message', async () => {
    const { clock, link, proven, close } = await opened(2_000)
    await clock.drain()
    link.loseReplies('heartbeat', 'silence')
    await clock.advance(3_000)
    expect(proven()).toBe(false)
    link.restore()
    await clock.advance(1_000)
    expect(proven()).toBe(true)
    close()
  })

  test('is lost once when it falls silent, and proven once when it is heard again', async () => {
    const { clock, link, events, heard, close } = await opened(1_000)
    await clock.drain()
    link.muteStream()
    await clock.advance(5_000)
    link.restore()
    await clock.advance(1_000)
    expect(events.map(event => event.type === 'stream' && event.state)).toEqual([
      'proven',
      'unproven',
      'proven',
    ])
    // At the first proof, when it fell silent, when it was found that heartbeats had been lost, and at the new proof.
    expect(heard).toEqual(Array(4).fill('interrupted'))
    close()
  })

  test('is taken for lost when a heartbeat was published and a later one is heard without it', async () => {
    const { clock, link, events, close } = await opened(2_000)
    await clock.drain()
    link.muteStream()
    await clock.advance(600)
    link.releaseStream()
    await clock.advance(600)
    expect(events.map(event => event.type === 'stream' && event.state)).toEqual(['proven', 'unproven'])
    await clock.advance(1_000)
    expect(events.at(-1)).toMatchObject({ state: 'proven' })
    close()
  })

  test('does not count what was sent before an interruption and is heard after it', async () => {
    const { clock, link, proven, stream, close } = await opened(2_000)
    link.delayStream(300)
    await clock.advance(100)
    link.interrupt('reconnected')
    await clock.advance(300)
    expect(proven()).toBe(false)
    await clock.advance(500)
    expect([proven(), stream.needsProof]).toEqual([true, true])
    link.restore()
    close()
  })

  test('may be asked by a listener for what it reports, and reports it once', async () => {
    const clock = new SimulatedClock()
    const link = faultySharedStore(embeddedShared({ clock }), { clock })
    const access = new SharedAccess(link, 100, clock, () => {})
    const states: string[] = []
    const stream: BroadcastStream = new BroadcastStream(
      access,
      { invalidated: () => {}, keyspaceInvalidated: () => {}, interrupted: () => {} },
      clock,
      2_000,
      event => {
        if (event.type !== 'stream') return
        states.push(event.state)
        stream.proven(clock.nowMs())
      },
    )
    await clock.advance(100)
    link.interrupt('reconnected')
    await clock.advance(1_000)
    expect(states).toEqual(['proven', 'unproven', 'proven'])
    stream.close()
    access.close()
  })

  test('hands on what is invalidated', async () => {
    const { clock, store, heard, close } = await opened()
    await clock.drain()
    heard.length = 0
    await store.invalidate('spell:4')
    await store.invalidateKeyspace('spell', G('n'))
    await store.invalidateKeyspace('unknown', G('n'))
    expect(heard).toEqual(['spell:4', 'all of spell'])
    close()
  })

  test('asks nothing of a store in this process but the time, once', async () => {
    const clock = new SimulatedClock()
    const store = embeddedShared({ clock })
    const access = new SharedAccess(store, 100, clock, () => {})
    const owner = { invalidated: () => {}, keyspaceInvalidated: () => {}, interrupted: () => {} }
    const stream = new BroadcastStream(access, owner, clock, 2_000, () => {})
    expect([stream.needsProof, stream.proven(clock.nowMs())]).toEqual([false, true])
    await clock.advance(60_000)
    expect([stream.proven(clock.nowMs()), clock.pendingTimers]).toEqual([true, 0])
    stream.close()
  })

  test('says and sends nothing after close', async () => {
    const { clock, store, link, heard, close } = await opened()
    await clock.advance(100)
    close()
    const sent = link.log.length
    heard.length = 0
    await store.invalidate('spell:4')
    link.interrupt('reconnected')
    await clock.advance(10_000)
    expect([heard, link.log.length]).toEqual([[], sent])
  })
})

describe('a generation', () => {
  test('is read and remembered, and re-read with every heartbeat', async () => {
    const { clock, store, stream, copy, heard, close } = await opened()
    await clock.drain()
    const first = await stream.readGeneration('spell')
    expect(copy.value).toBe(first)
    // Another process's invalidation of which the message was lost.
    copy.value = G('x')
    heard.length = 0
    await clock.advance(500)
    expect(copy.value).toBe(await store.generation('spell', G('y')))
    expect(heard).toEqual(['all of spell'])
    close()
  })

  test('is not remembered from an answer that was under way when the keyspace was invalidated', async () => {
    const { clock, store, link, stream, copy, close } = await opened()
    await clock.drain()
    const first = await stream.readGeneration('spell')
    link.delay(40, 'generation')
    const reading = stream.readGeneration('spell')
    await clock.advance(25)
    await store.invalidateKeyspace('spell', G('n'))
    expect(copy.value).toBeUndefined()
    expect(await within(clock, 30, reading)).toBe(first)
    expect(copy.value).toBeUndefined()
    expect(await within(clock, 50, stream.readGeneration('spell'))).toBe(G('n'))
    expect(copy.value).toBe(G('n'))
    close()
  })

  test('is not remembered from a heartbeat either that was under way then', async () => {
    const { clock, store, link, stream, copy, close } = await opened()
    await clock.drain()
    await stream.readGeneration('spell')
    link.delay(40, 'heartbeat')
    await clock.advance(525)
    await store.invalidateKeyspace('spell', G('n'))
    await clock.advance(30)
    expect(copy.value).toBeUndefined()
    link.restore()
    await clock.advance(1_000)
    expect(copy.value).toBe(G('n'))
    close()
  })

  test('is forgotten at an interruption: the store may be another one', async () => {
    const { clock, link, stream, copy, close } = await opened()
    await clock.drain()
    await stream.readGeneration('spell')
    link.interrupt('reconnected')
    expect(copy.value).toBeUndefined()
    await clock.advance(10)
    close()
  })

  test('is UNCONFIRMED where the store does not answer', async () => {
    const { clock, link, stream, copy, close } = await opened()
    await clock.drain()
    link.hang('generation')
    expect(await within(clock, 105, stream.readGeneration('spell'))).toBe(UNCONFIRMED)
    expect(copy.value).toBeUndefined()
    link.restore()
    await clock.advance(10)
    close()
  })
})

describe("the store's time", () => {
  test('is learned from the heartbeats, whatever the wall clock here says', async () => {
    const { clock, stream, link, close } = await opened()
    await clock.advance(10)
    const before = stream.storesFromOurs(clock.nowMs())
    clock.jumpWall(-3_600_000)
    await clock.advance(1_000)
    expect(Math.abs(stream.storesFromOurs(clock.nowMs()) - before - 1_000)).toBeLessThanOrEqual(1)
    expect(stream.oursFromStores(stream.storesFromOurs(clock.nowMs()))).toBeCloseTo(clock.nowMs(), 6)
    link.restore()
    close()
  })

  test('is the wall clock’s for as long as nothing was heard', async () => {
    const clock = new SimulatedClock()
    const link = faultySharedStore(embeddedShared({ clock }), { clock })
    link.fail()
    const access = new SharedAccess(link, 100, clock, () => {})
    const owner = { invalidated: () => {}, keyspaceInvalidated: () => {}, interrupted: () => {} }
    const stream = new BroadcastStream(access, owner, clock, 2_000, () => {})
    await clock.advance(10)
    expect(stream.storesFromOurs(clock.nowMs())).toBe(clock.epochMs())
    expect(stream.oursFromStores(clock.epochMs())).toBe(clock.nowMs())
    stream.close()
    access.close()
  })
})
