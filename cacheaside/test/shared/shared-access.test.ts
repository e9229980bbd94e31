import { describe, expect, test } from 'vitest'
import type { CacheEvent, SharedStore } from '../../src/index.ts'
import { embeddedShared } from '../../src/index.ts'
import { SharedAccess, UNCONFIRMED } from '../../src/shared/shared-access.ts'
import { type FaultySharedStore, faultySharedStore, gate, SimulatedClock } from '../../src/testing/index.ts'
import { within } from '../world.ts'

function opened(wrap: (link: FaultySharedStore) => SharedStore = link => link) {
  const clock = new SimulatedClock()
  const link = faultySharedStore(embeddedShared({ clock }), { clock })
  const events: CacheEvent[] = []
  const access = new SharedAccess(wrap(link), 100, clock, event => void events.push(event))
  const states = () => events.map(event => (event.type === 'shared' ? event.state : event.type))
  return { clock, link, access, events, states }
}

describe('a store that may have come back with an older state', () => {
  test('is not read until identities have been compared; guards are sent', async () => {
    const { clock, access } = opened()
    const comparison = gate<void>()
    access.compare = () => comparison.wait()
    access.mayHaveFallenBack()
    expect([access.readable, access.available]).toEqual([false, true])
    comparison.open()
    await clock.drain()
    expect(access.readable).toBe(true)
  })

  test('may be one after every outage, and is read when all comparisons have ended', async () => {
    const { clock, access } = opened()
    const comparisons = [gate<void>(), gate<void>()]
    let begun = 0
    access.compare = () => comparisons[begun++]!.wait()
    await access.run(() => Promise.reject(new Error('no')))
    await clock.advance(10)
    expect([begun, access.available, access.readable]).toEqual([1, true, false])
    access.mayHaveFallenBack()
    comparisons[0]!.open()
    await clock.drain()
    expect(access.readable).toBe(false)
    comparisons[1]!.open()
    await clock.drain()
    expect(access.readable).toBe(true)
  })

  test('is read at once without a change feed', () => {
    const { access } = opened()
    access.mayHaveFallenBack()
    expect(access.readable).toBe(true)
  })
})

describe('run', () => {
  test('returns the reply, and leaves no timer', async () => {
    const { clock, access, states } = opened()
    expect(await access.run(async () => 4)).toBe(4)
    expect([access.available, states(), clock.pendingTimers]).toEqual([true, [], 0])
  })

  test.each<[string, () => Promise<number>]>([
    ['rejects', () => Promise.reject(new Error('no'))],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
  ])('returns UNCONFIRMED for what %s, and takes the store for unavailable', async (_, call) => {
    const { clock, access, events } = opened()
    expect(await access.run(call)).toBe(UNCONFIRMED)
    expect(access.available).toBe(false)
    expect(events).toEqual([{ type: 'shared', state: 'unavailable', error: new Error('no') }])
    await clock.advance(10)
    expect(access.available).toBe(true)
  })

  test('returns UNCONFIRMED after its limit, and hands what comes later to onLate', async () => {
    const { clock, access, states } = opened()
    const slow = gate<number>()
    const late: number[] = []
    const reply = await within(
      clock,
      102,
      access.run(
        () => slow.wait(),
        undefined,
        value => late.push(value),
      ),
    )
    expect(reply).toBe(UNCONFIRMED)
    slow.open(4)
    await clock.drain()
    expect(late).toEqual([4])
    expect(states()[0]).toBe('unavailable')
    await clock.advance(200)
    access.close()
    expect(clock.pendingTimers).toBe(0)
  })

  test('does not hand on a failure that comes late', async () => {
    const { clock, access } = opened()
    const slow = gate<number>()
    const reply = within(
      clock,
      102,
      access.run(
        () => slow.wait(),
        undefined,
        () => expect.unreachable(),
      ),
    )
    expect(await reply).toBe(UNCONFIRMED)
    slow.fail(new Error('late'))
    await clock.drain()
    access.close()
  })

  test('sees a reply that has arrived while the process stood still', async () => {
    const { clock, access, states } = opened()
    const slow = gate<number>()
    const running = access.run(() => slow.wait())
    clock.suspend(5_000)
    clock.after(1, () => slow.open(4))
    expect(await within(clock, 10, running)).toBe(4)
    expect(states()).toEqual([])
  })

  test('does not hold it against the store that a command had only the rest of another one’s time', async () => {
    const { clock, access, states } = opened()
    const slow = gate<number>()
    expect(
      await within(
        clock,
        31,
        access.run(() => slow.wait(), 30),
      ),
    ).toBe(UNCONFIRMED)
    expect([access.available, states()]).toEqual([true, []])
    slow.open(4)
  })

  test('does not hold it against a store that has recovered what was sent before', async () => {
    const { clock, access, states } = opened()
    const lost = gate<number>()
    const old = access.run(() => lost.wait())
    await clock.advance(50)
    await access.run(() => Promise.reject(new Error('no')))
    await clock.advance(20)
    expect(access.available).toBe(true)
    expect(await within(clock, 40, old)).toBe(UNCONFIRMED)
    expect(states()).toEqual(['unavailable', 'available'])
    lost.open(4)
  })

  test('sets no timer for a store in this process, and still counts its failures', async () => {
    const clock = new SimulatedClock()
    const access = new SharedAccess(embeddedShared({ clock }), 100, clock, () => {})
    const running = access.run(() => gate<number>().wait())
    expect(clock.pendingTimers).toBe(0)
    void running
    expect(await access.run(() => Promise.reject(new Error('no')))).toBe(UNCONFIRMED)
    expect(access.available).toBe(false)
    await clock.advance(10)
    expect(access.available).toBe(true)
  })
})

describe('a suspicion', () => {
  test('is reported once, however much fails', async () => {
    const { clock, access, link, states } = opened()
    link.fail()
    await Promise.all(Array.from({ length: 50 }, () => access.run(() => link.invalidate('spell:4'))))
    await clock.advance(5_000)
    expect(states()).toEqual(['unavailable'])
    link.restore()
    await clock.advance(1_000)
    expect(states()).toEqual(['unavailable', 'available'])
    access.close()
  })

  test('is probed at once, then at growing intervals of a second at most', async () => {
    const { clock, access, link } = opened()
    link.fail()
    await access.run(() => link.invalidate('spell:4'))
    await clock.advance(60_000)
    const at = link.log.filter(({ operation }) => operation === 'heartbeat').map(({ atMs }) => atMs)
    expect(at[0]).toBeLessThanOrEqual(1)
    const gaps = at.slice(1).map((ms, i) => ms - at[i]!)
    expect(gaps[0]).toBeLessThanOrEqual(100)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1_000)
    expect(Math.min(...gaps.slice(5))).toBeGreaterThanOrEqual(500)
    access.close()
  })

  test('is probed no more after close, and nothing is reported then', async () => {
    const { clock, access, link, states } = opened()
    link.fail()
    await access.run(() => link.invalidate('spell:4'))
    access.close()
    await clock.advance(5_000)
    expect([link.calls.heartbeat, clock.pendingTimers]).toEqual([0, 0])
    await access.run(() => link.invalidate('spell:4'))
    expect(states()).toEqual(['unavailable'])
  })

  test('ends in silence if the probe answers after close', async () => {
    const { clock, access, link, states } = opened()
    link.fail('invalidate')
    link.delay(40, 'heartbeat')
    await access.run(() => link.invalidate('spell:4'))
    await clock.advance(10)
    access.close()
    await clock.advance(100)
    expect([states(), clock.pendingTimers]).toEqual([['unavailable'], 0])
  })
})
