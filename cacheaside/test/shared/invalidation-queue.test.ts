import { describe, expect, test } from 'vitest'
import { type Clock, clockOver } from '../../src/base/clock.ts'
import { type CacheEvent, embeddedShared } from '../../src/index.ts'
import { InvalidationQueue } from '../../src/shared/invalidation-queue.ts'
import { SharedAccess } from '../../src/shared/shared-access.ts'
import { type FaultySharedStore, faultySharedStore, SimulatedClock } from '../../src/testing/index.ts'

/** How the library reads the time where the wall clock jumps. */
function readAsInAProcess(clock: SimulatedClock): Clock {
  const read = clockOver({ monotonicMs: () => clock.nowMs(), wallMs: () => clock.epochMs() })
  return {
    ...read,
    after: clock.after.bind(clock),
    random: clock.random.bind(clock),
    token: clock.token.bind(clock),
  }
}

function opened(maxKeys = 1_000) {
  const clock = new SimulatedClock()
  const store = embeddedShared({ clock })
  const link = faultySharedStore(store, { clock })
  const events: CacheEvent[] = []
  const access = new SharedAccess(link, 100, clock, () => {})
  const forgotten: string[] = []
  const queue = new InvalidationQueue(
    access,
    readAsInAProcess(clock),
    maxKeys,
    event => void events.push(event),
    keyspace => void forgotten.push(keyspace),
  )
  const close = () => {
    queue.close()
    access.close()
    expect(clock.describeTimers()).toBe('no timers')
  }
  return { clock, store, link, events, forgotten, queue, close }
}

const outcomes = (events: readonly CacheEvent[]) =>
  events.map(
    event =>
      `${'key' in event ? event.key : 'keyspace' in event && event.keyspace} ${'outcome' in event && event.outcome}`,
  )

const sent = (link: FaultySharedStore, operation: string) =>
  link.log.filter(one => one.operation === operation)

describe('the invalidation queue', () => {
  test('holds a key until it is applied, and then no timer is left', async () => {
    const { clock, events, queue, close } = opened()
    queue.add('spell:4')
    expect([queue.holds('spell:4'), queue.holds('spell:5'), queue.size]).toEqual([true, false, 1])
    await clock.advance(10)
    expect([queue.holds('spell:4'), queue.size, clock.pendingTimers]).toEqual([false, 0, 0])
    expect(outcomes(events)).toEqual(['spell:4 late'])
    close()
  })

  test('releases guards with their tokens, all of them, once', async () => {
    const { clock, store, link, queue, close } = opened()
    await store.guard('spell:4', 'A'.repeat(16), 60_000, false)
    await store.guard('spell:4', 'B'.repeat(16), 60_000, false)
    for (const letter of 'ABAB') queue.add('spell:4', letter.repeat(16))
    await clock.advance(10)
    expect(store.inspect('spell:4')).toBeUndefined()
    expect(sent(link, 'release')).toHaveLength(2)
    expect(sent(link, 'invalidate')).toHaveLength(0)
    close()
  })

  test('sends no confirmed release again, even if others were not confirmed', async () => {
    const { clock, store, link, queue, close } = opened()
    const [confirmed, lost] = ['A'.repeat(16), 'B'.repeat(16)]
    const release = store.release.bind(store)
    let isFirst = true
    store.release = async (key, token, through) => {
      if (token === confirmed || !isFirst) return release(key, token, through)
      isFirst = false
      throw new Error('connection lost')
    }
    queue.add('spell:4', confirmed)
    queue.add('spell:4', lost)
    await clock.advance(1_000)
    expect(sent(link, 'release').map(({ arguments: [, token] }) => token)).toEqual([confirmed, lost, lost])
    expect(queue.size).toBe(0)
    close()
  })

  test('forgets a keyspace before it lets its keys go', async () => {
    const { clock, link, forgotten, queue, close } = opened()
    link.delay(40)
    queue.addKeyspace('spell')
    await clock.advance(39)
    expect([queue.holds('spell:4'), forgotten]).toEqual([true, []])
    await clock.advance(10)
    expect([queue.holds('spell:4'), forgotten]).toEqual([false, ['spell']])
    close()
  })

  test('does nothing of what is due later, but holds its key', async () => {
    const { clock, link, queue, close } = opened()
    queue.addLater('spell:4', 5_000)
    await clock.advance(4_999)
    expect([link.log.length, queue.holds('spell:4')]).toEqual([0, true])
    await clock.advance(10)
    expect([sent(link, 'invalidate').length, queue.holds('spell:4')]).toEqual([1, false])
    close()
  })

  test('leaves the guard of a commit in doubt to run out by the clock of the store', async () => {
    const { clock, store, link, queue, close } = opened()
    await store.guard('spell:4', 'A'.repeat(16), 5_100, false)
    queue.addLater('spell:4', 5_000)
    await clock.advance(5_010)
    expect([sent(link, 'release').length, queue.size]).toEqual([0, 0])
    expect(store.inspect('spell:4')).toMatch(/^W1/)
    await clock.advance(100)
    expect(store.inspect('spell:4')).toBeUndefined()
    close()
  })

  test('applies at once what is due now, although the same key is in doubt until later', async () => {
    const { clock, store, link, queue, close } = opened()
    await store.guard('spell:4', 'A'.repeat(16), 5_000, false)
    queue.add('spell:4')
    queue.addLater('spell:4', 5_000)
    await clock.advance(10)
    expect(sent(link, 'invalidate')).toHaveLength(1)
    expect(store.inspect('spell:4')).toMatch(/^W1/)
    expect(queue.holds('spell:4')).toBe(true)
    await clock.advance(5_000)
    expect([store.inspect('spell:4'), queue.size]).toEqual([undefined, 0])
    close()
  })

  test('waits for a commit in doubt by a timer, whatever the wall clock says', async () => {
    const { clock, link, queue, close } = opened()
    queue.addLater('spell:4', 5_000)
    await clock.advance(1_000)
    clock.jumpWall(60_000)
    queue.add('spell:4')
    await clock.advance(1_000)
    expect([sent(link, 'invalidate').length, queue.holds('spell:4')]).toEqual([1, true])
    clock.jumpWall(-120_000)
    await clock.advance(2_990)
    expect(sent(link, 'invalidate')).toHaveLength(1)
    await clock.advance(20)
    expect([sent(link, 'invalidate').length, queue.holds('spell:4')]).toEqual([2, false])
    close()
  })

  test('invalidates at the end of a doubt, and once more for those that came meanwhile', async () => {
    const { clock, link, queue, close } = opened()
    for (let i = 0; i < 4; i++) {
      queue.addLater('spell:4', 5_000)
      await clock.advance(1_000)
    }
    expect(clock.pendingTimers).toBe(1)
    await clock.advance(6_100)
    expect(sent(link, 'invalidate').map(({ atMs }) => Math.round(atMs / 10) * 10)).toEqual([5_000, 10_000])
    expect(queue.size).toBe(0)
    close()
  })

  test('asks once more for a doubt that ends while an attempt is under way', async () => {
    const { clock, link, queue, close } = opened()
    link.delay(50)
    queue.addLater('spell:4', 1_000)
    await clock.advance(980)
    queue.add('spell:4')
    await clock.advance(60)
    expect([sent(link, 'invalidate').length, queue.holds('spell:4')]).toEqual([1, true])
    await clock.advance(1_000)
    expect([sent(link, 'invalidate').length, queue.holds('spell:4')]).toEqual([2, false])
    close()
  })

  test('does not take out what was added while an attempt was under way', async () => {
    const { clock, link, queue, close } = opened()
    link.delay(50)
    queue.add('spell:4')
    await clock.advance(20)
    queue.add('spell:4')
    await clock.advance(40)
    expect(queue.holds('spell:4')).toBe(true)
    await clock.advance(200)
    expect(queue.holds('spell:4')).toBe(false)
    expect(sent(link, 'invalidate')).toHaveLength(2)
    close()
  })

  test('does not lose what is added while it works on other keys', async () => {
    const { clock, link, queue, close } = opened()
    link.delay(50)
    queue.add('spell:1')
    await clock.advance(20)
    queue.add('spell:2')
    await clock.advance(500)
    expect(queue.size).toBe(0)
    close()
  })

  test('retries at intervals that grow to a second at most, and shrink again', async () => {
    const { clock, link, queue, close } = opened()
    link.fail('invalidate')
    queue.add('spell:4')
    await clock.advance(60_000)
    const at = sent(link, 'invalidate').map(({ atMs }) => atMs)
    const gaps = at.slice(1).map((ms, i) => ms - at[i]!)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1_000)
    expect(Math.min(...gaps.slice(8))).toBeGreaterThanOrEqual(500)
    expect(gaps[0]).toBeLessThanOrEqual(100)
    link.restore()
    await clock.advance(1_000)
    link.fail('invalidate')
    const before = sent(link, 'invalidate').length
    queue.add('spell:4')
    await clock.advance(100)
    expect(sent(link, 'invalidate').length - before).toBeGreaterThan(1)
    link.restore()
    await clock.advance(1_000)
    close()
  })

  test('sends no more than sixty-four at once', async () => {
    const { clock, link, queue, close } = opened()
    link.hang()
    for (let id = 0; id < 500; id++) queue.add(`spell:${id}`)
    await clock.advance(90)
    expect(link.log.length).toBe(64)
    link.restore()
    await clock.advance(5_000)
    expect(queue.size).toBe(0)
    close()
  })

  test('is not held up by keys that cannot be applied, such as those of a shard that is away', async () => {
    const clock = new SimulatedClock()
    const store = embeddedShared({ clock })
    const away = (key: string) => Number(key.split(':')[1]) < 200
    const invalidate = (key: string) =>
      away(key) ? Promise.reject(new Error('CLUSTERDOWN')) : store.invalidate(key)
    const half = Object.assign(Object.create(store), {
      synchronous: false,
      invalidate,
      heartbeat: store.heartbeat.bind(store),
    })
    const access = new SharedAccess(half, 100, clock, () => {})
    const queue = new InvalidationQueue(
      access,
      clock,
      1_000,
      () => {},
      () => {},
    )
    for (let id = 0; id < 300; id++) queue.add(`spell:${id}`)
    await clock.advance(10_000)
    expect(queue.size).toBe(200)
    for (let id = 200; id < 300; id++) expect(queue.holds(`spell:${id}`)).toBe(false)
    queue.close()
    access.close()
  })

  test('collapses the keys of one keyspace when it is full, and counts what was under way once', async () => {
    const { clock, link, events, queue, close } = opened(2)
    link.delay(50)
    queue.add('spell:1')
    queue.add('spell:2')
    await clock.advance(20)
    queue.add('spell:3')
    expect(queue.size).toBe(1)
    for (const key of ['spell:1', 'spell:2', 'spell:3', 'spell:99']) expect(queue.holds(key)).toBe(true)
    expect(queue.holds('name:1')).toBe(false)
    await clock.advance(1_000)
    expect(outcomes(events)).toEqual([
      'spell:1 collapsed',
      'spell:2 collapsed',
      'spell:3 collapsed',
      'spell queued',
      'spell late',
    ])
    expect(queue.size).toBe(0)
    close()
  })

  test('collapses a newcomer alone where the others are of another keyspace', async () => {
    const { clock, link, events, queue, close } = opened(2)
    link.fail()
    queue.add('name:1')
    queue.add('name:2')
    queue.add('spell:3')
    expect([queue.size, queue.holds('name:1'), queue.holds('spell:4')]).toEqual([3, true, true])
    expect(outcomes(events)).toEqual(['spell:3 collapsed', 'spell queued'])
    link.restore()
    await clock.advance(3_000)
    expect(queue.size).toBe(0)
    close()
  })

  test('keeps a doubt of its own where the keyspace collapses meanwhile', async () => {
    const { clock, link, events, queue, close } = opened(1)
    queue.addLater('spell:1', 5_000)
    queue.add('spell:2')
    queue.add('spell:3')
    await clock.advance(10)
    expect(sent(link, 'invalidateKeyspace')).toHaveLength(1)
    expect([queue.holds('spell:1'), queue.holds('spell:2'), queue.size]).toEqual([true, false, 1])
    await clock.advance(5_000)
    expect(sent(link, 'invalidate').map(({ arguments: [key] }) => key)).toEqual(['spell:1'])
    expect(outcomes(events).at(-1)).toBe('spell:1 late')
    expect(queue.size).toBe(0)
    close()
  })

  test('makes doubts for which there is no room one of their keyspace, and invalidates it at once and then', async () => {
    const { clock, link, events, queue, close } = opened(1)
    queue.addLater('spell:1', 5_000)
    queue.addLater('spell:2', 5_000)
    queue.addLater('spell:3', 5_000)
    queue.addLater('name:1', 5_000)
    await clock.advance(10)
    expect(sent(link, 'invalidateKeyspace').map(({ arguments: [name] }) => name)).toEqual(['spell', 'name'])
    expect([queue.holds('spell:4'), queue.holds('name:4'), queue.size]).toEqual([true, true, 3])
    expect(outcomes(events)).toEqual([
      'spell:2 collapsed',
      'spell queued',
      'name:1 collapsed',
      'name queued',
      'spell late',
      'name late',
    ])
    await clock.advance(5_000)
    expect(sent(link, 'invalidate')).toHaveLength(1)
    expect(sent(link, 'invalidateKeyspace')).toHaveLength(4)
    await clock.advance(5_000) // the doubt of spell:3 began when that of spell:2 had ended
    expect(sent(link, 'invalidateKeyspace')).toHaveLength(5)
    expect(queue.size).toBe(0)
    close()
  })

  test('tries once more when it is flushed, and nothing after it was closed', async () => {
    const { clock, link, queue, close } = opened()
    link.fail('invalidate')
    queue.add('spell:4')
    await clock.advance(10)
    const tries = link.calls.invalidate
    await queue.flush()
    expect(link.calls.invalidate).toBe(tries + 1)
    queue.addLater('spell:4', 5_000)
    close()
    await clock.advance(60_000)
    expect(link.calls.invalidate).toBe(tries + 1)
    queue.add('spell:5')
    queue.addLater('spell:6', 5_000)
    expect(clock.pendingTimers).toBe(0)
  })
})
