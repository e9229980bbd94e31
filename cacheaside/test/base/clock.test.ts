import { setImmediate as setRealImmediate } from 'node:timers'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { afterThisTurn, clockOver, isAfterThisTurn, systemClock, TOKEN_LENGTH } from '../../src/base/clock.ts'

/** Two clocks that a test moves: the monotonic one, and the wall clock in its whole milliseconds. */
function scripted() {
  let monotonicMs = 5000.25
  let wallMs = 1_700_000_000_000.75
  const clock = clockOver({ monotonicMs: () => monotonicMs, wallMs: () => Math.floor(wallMs) })
  return {
    clock,
    pass(ms: number) {
      monotonicMs += ms
      wallMs += ms
    },
    /** The machine sleeps: the monotonic clock of Linux stands still. */
    sleep(ms: number) {
      wallMs += ms
    },
    /** The process is stopped with a wall clock that stands still, as in some virtual machines. */
    freezeWall(ms: number) {
      monotonicMs += ms
    },
    setWall(byMs: number) {
      wallMs += byMs
    },
  }
}

const theNextTurn = () => new Promise(resolve => setRealImmediate(resolve))

describe('clockOver', () => {
  it('counts ordinary time', () => {
    const { clock, pass } = scripted()
    const before = clock.nowMs()
    for (let i = 0; i < 100; i++) pass(37)
    expect(clock.nowMs() - before).toBeGreaterThanOrEqual(3700)
    expect(clock.nowMs() - before).toBeLessThan(3702)
  })

  it('never goes back, whatever the wall clock does', () => {
    const { clock, pass, setWall } = scripted()
    let last = clock.nowMs()
    for (const jump of [-1, -3_600_000, 10, -500, 86_400_000, -86_400_000, -999, 0, -1001]) {
      for (let i = 0; i < 5; i++) {
        pass(i * 100)
        const now = clock.nowMs()
        expect(now).toBeGreaterThanOrEqual(last)
        last = now
      }
      setWall(jump)
      expect(clock.nowMs()).toBeGreaterThanOrEqual(last)
    }
  })

  it('never goes back when the wall clock takes back a step that was counted', () => {
    const { clock, setWall, pass } = scripted()
    setWall(500)
    const counted = clock.nowMs()
    setWall(-500)
    expect(clock.nowMs()).toBe(counted)
    pass(100)
    expect(clock.nowMs()).toBeGreaterThanOrEqual(counted)
  })

  it.each([30, 500, 990, 5_000])('does not stand still when a step of %i ms is taken back', ms => {
    const { clock, pass, setWall } = scripted()
    setWall(ms)
    const counted = clock.nowMs()
    setWall(-ms)
    pass(100)
    expect(clock.nowMs() - counted).toBeGreaterThanOrEqual(100 - 1e-6)
  })

  it('ceilingMs is never before nowMs, and at most a millisecond after it, whatever the clocks do', () => {
    const { clock, pass, sleep, setWall, freezeWall } = scripted()
    const moves = [
      () => pass(0.3),
      () => pass(0.9),
      () => pass(40),
      () => sleep(5_000),
      () => setWall(-3_000),
      () => setWall(700),
      () => pass(0),
    ]
    for (let i = 0; i < 500; i++) {
      moves[(i * 7 + (i >> 3)) % moves.length]!()
      const ceiling = clock.ceilingMs()
      const now = clock.nowMs()
      expect(ceiling).toBeGreaterThanOrEqual(now)
      expect(ceiling).toBeLessThanOrEqual(now + 1)
    }
    freezeWall(5_000)
    const before = clock.nowMs()
    sleep(1)
    expect(clock.ceilingMs()).toBeGreaterThanOrEqual(before)
  })

  it('ceilingMs reads the monotonic clock once in a millisecond of the wall clock, if that is real', () => {
    let [wallMs, read, isReal] = [1_000, 0, true]
    const monotonicMs = () => ++read
    const clock = clockOver({ monotonicMs, wallMs: () => wallMs, isWallReal: () => isReal })
    clock.ceilingMs()
    read = 0
    for (let i = 0; i < 10; i++) clock.ceilingMs()
    expect(read).toBe(0)
    wallMs++
    for (let i = 0; i < 10; i++) clock.ceilingMs()
    expect(read).toBe(1)
    isReal = false
    for (let i = 0; i < 10; i++) clock.ceilingMs()
    expect(read).toBe(11)
  })

  it('lets time pass by the monotonic clock where the wall clock shows no time', () => {
    let monotonicMs = 0
    let wallMs = Number.NaN
    const clock = clockOver({ monotonicMs: () => monotonicMs, wallMs: () => wallMs })
    for (const shown of [Number.NaN, Number.POSITIVE_INFINITY, 5, Number.NEGATIVE_INFINITY, Number.NaN, 7]) {
      wallMs = shown
      const before = clock.nowMs()
      monotonicMs += 1_500
      expect(clock.nowMs() - before).toBe(1_500)
    }
  })

  it('never lets less time pass than the monotonic clock does, even when the wall clock is set back', () => {
    const { clock, pass, setWall } = scripted()
    const before = clock.nowMs()
    for (let i = 0; i < 100; i++) {
      pass(100)
      setWall(-50)
      expect(clock.nowMs() - before).toBeGreaterThanOrEqual((i + 1) * 100 - 1e-6)
    }
  })

  it('counts sleep that only the wall clock has seen', () => {
    const { clock, pass, sleep } = scripted()
    const before = clock.nowMs()
    pass(400)
    sleep(60_000)
    expect(clock.nowMs() - before).toBeGreaterThanOrEqual(60_400 - 1)
    pass(10)
    expect(clock.nowMs() - before).toBeGreaterThanOrEqual(60_410 - 2)
  })

  it('counts time that only the monotonic clock has seen', () => {
    const { clock, freezeWall } = scripted()
    const before = clock.nowMs()
    freezeWall(2500)
    expect(clock.nowMs() - before).toBe(2500)
  })

  it('counts sleep that comes after the wall clock stood still', () => {
    const { clock, freezeWall, sleep } = scripted()
    const before = clock.nowMs()
    freezeWall(10_000)
    clock.nowMs()
    sleep(5000)
    expect(clock.nowMs() - before).toBeGreaterThanOrEqual(15_000 - 1)
  })

  it('counts sleep that comes after the wall clock was set back', () => {
    const { clock, pass, setWall, sleep } = scripted()
    const before = clock.nowMs()
    pass(5000)
    clock.nowMs()
    setWall(-3_600_000)
    clock.nowMs()
    pass(50)
    clock.nowMs()
    sleep(10_000)
    expect(clock.nowMs() - before).toBeGreaterThanOrEqual(15_050 - 2)
  })

  it('does not run fast when it is read often', () => {
    const { clock, pass } = scripted()
    const before = clock.nowMs()
    for (let i = 0; i < 200_000; i++) {
      pass(0.1)
      clock.nowMs()
    }
    const elapsed = clock.nowMs() - before
    expect(elapsed).toBeGreaterThanOrEqual(20_000 - 1e-3)
    // At most a rounding of the wall clock, a millisecond, per second.
    expect(elapsed).toBeLessThan(20_000 + 25)
  })

  it('tells the wall time as it is', () => {
    const { clock, setWall } = scripted()
    expect(clock.epochMs()).toBe(1_700_000_000_000)
    setWall(-60_000)
    expect(clock.epochMs()).toBe(1_699_999_940_000)
  })
})

describe('clockOver with timers', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('coarseMs remembers one reading until the event loop turns', async () => {
    const { clock, pass } = scripted()
    const first = clock.coarseMs()
    pass(50)
    await undefined
    expect(clock.coarseMs()).toBe(first)
    expect(clock.nowMs()).toBeGreaterThan(first)
    await theNextTurn()
    expect(clock.coarseMs()).toBeGreaterThanOrEqual(first + 50)
    await theNextTurn()
    pass(50)
    expect(clock.coarseMs()).toBeGreaterThanOrEqual(first + 100)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('coarseMs sees time pass also where the event loop does not turn', () => {
    const { clock, pass } = scripted()
    const first = clock.coarseMs()
    pass(50)
    for (let i = 0; i < 64; i++) clock.coarseMs()
    expect(clock.coarseMs()).toBeGreaterThanOrEqual(first + 50)
  })

  it('coarseMs shares a reading more often while its uses are quick, and 1,024 times at most', () => {
    const { clock, pass } = scripted()
    for (let i = 0; i < 4_200; i++) clock.coarseMs()
    const first = clock.coarseMs()
    pass(50)
    let uses = 0
    for (; uses < 2_000 && clock.coarseMs() === first; uses++);
    expect(uses).toBeGreaterThan(64)
    expect(uses).toBeLessThanOrEqual(1_024)
    // These were slow.
    const second = clock.coarseMs()
    pass(50)
    for (let i = 0; i < 64; i++) clock.coarseMs()
    expect(clock.coarseMs()).toBeGreaterThanOrEqual(second + 50)
  })

  it('after runs once, not before its time, unless it is cancelled', () => {
    const { clock } = scripted()
    const ran: string[] = []
    clock.after(100, () => ran.push('kept'))
    const cancelled = clock.after(50, () => ran.push('cancelled'))
    vi.advanceTimersByTime(49)
    cancelled.cancel()
    vi.advanceTimersByTime(50)
    expect(ran).toEqual([])
    vi.advanceTimersByTime(1000)
    expect(ran).toEqual(['kept'])
    cancelled.cancel()
  })
})

describe('systemClock', () => {
  it('gives tokens of 96 bits that never repeat, in characters that any key may hold', () => {
    const tokens = Array.from({ length: 20_000 }, () => systemClock.token())
    expect(new Set(tokens).size).toBe(tokens.length)
    for (const token of tokens) expect(token).toMatch(/^[\w-]+$/)
    expect(new Set(tokens.map(token => token.length))).toEqual(new Set([TOKEN_LENGTH]))
    // Every bit is set in about half of them: no byte of the pool is used twice or left out.
    for (let bit = 0; bit < 96; bit++) {
      const set = tokens.filter(token => Buffer.from(token, 'base64url')[bit >> 3]! & (1 << (bit & 7))).length
      expect(Math.abs(set - 10_000)).toBeLessThan(600)
    }
  })

  it('tells the time of the machine', () => {
    expect(Math.abs(systemClock.epochMs() - Date.now())).toBeLessThan(1000)
    const before = systemClock.nowMs()
    expect(systemClock.nowMs()).toBeGreaterThanOrEqual(before)
    expect(systemClock.random()).toBeLessThan(1)
    expect(systemClock.random()).toBeGreaterThanOrEqual(0)
  })
})

describe('afterThisTurn', () => {
  it('runs when microtasks and what they have set off are done, and says so while it runs', async () => {
    const order: string[] = []
    const note = (what: string) => order.push(`${what}: ${isAfterThisTurn()}`)
    afterThisTurn(() => note('end'))
    const hops = async () => {
      for (let hop = 0; hop < 5; hop++) await null
      note('microtask')
    }
    await Promise.all([hops(), theNextTurn()])
    note('next turn')
    expect(order).toEqual(['microtask: false', 'end: true', 'next turn: false'])
  })

  it('says that it has ended after what it runs has thrown', async () => {
    const caught = vi.fn()
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException').once('uncaughtException', caught)
    afterThisTurn(() => {
      throw new Error('thrown at the end')
    })
    await theNextTurn()
    for (const listener of others) process.on('uncaughtException', listener)
    expect(caught).toHaveBeenCalledOnce()
    expect(isAfterThisTurn()).toBe(false)
  })
})
