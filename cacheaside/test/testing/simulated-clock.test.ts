import { describe, expect, it } from 'vitest'
import { SimulatedClock } from '../../src/testing/index.ts'

describe('SimulatedClock', () => {
  it('advance runs due timers in order, each at its own time', async () => {
    const clock = new SimulatedClock()
    const ran: string[] = []
    const note = (name: string) => () => ran.push(`${name} at ${clock.nowMs()}`)
    clock.after(30, note('c'))
    clock.after(10, note('a'))
    clock.after(10, note('b'))
    clock.after(50, note('d'))
    await clock.advance(30)
    expect(ran).toEqual(['a at 10', 'b at 10', 'c at 30'])
    expect(clock.nowMs()).toBe(30)
    await clock.advance(19)
    expect(ran).toHaveLength(3)
    await clock.advance(1)
    expect(ran[3]).toBe('d at 50')
  })

  it('advance drains promise jobs before the first timer and between any two', async () => {
    const clock = new SimulatedClock()
    const ran: string[] = []
    void (async () => {
      for (let i = 0; i < 20; i++) await null
      clock.after(5, () => ran.push(`set late, ran at ${clock.nowMs()}`))
    })()
    clock.after(10, async () => {
      ran.push('first timer')
      for (let i = 0; i < 20; i++) await null
      ran.push('its promises')
      clock.after(1, () => ran.push(`its own timer at ${clock.nowMs()}`))
    })
    clock.after(10, () => ran.push('second timer'))
    await clock.advance(11)
    expect(ran).toEqual([
      'set late, ran at 5',
      'first timer',
      'its promises',
      'second timer',
      'its own timer at 11',
    ])
  })

  it('cancel stops a timer, before or after it ran, and no other', async () => {
    const clock = new SimulatedClock()
    const ran: string[] = []
    const first = clock.after(10, () => ran.push('first'))
    const second = clock.after(10, () => ran.push('second'))
    const third = clock.after(20, () => ran.push('third'))
    first.cancel()
    first.cancel()
    await clock.advance(10)
    second.cancel()
    expect(ran).toEqual(['second'])
    expect(clock.pendingTimers).toBe(1)
    third.cancel()
    expect(clock.pendingTimers).toBe(0)
    await clock.advance(100)
    expect(ran).toEqual(['second'])
  })

  it('after waits for at least a millisecond, and a timer that sets itself again comes to an end', async () => {
    const clock = new SimulatedClock()
    let turns = 0
    const again = () => {
      turns++
      clock.after(0, again)
    }
    clock.after(-5, again)
    await clock.advance(10)
    expect(turns).toBe(10)
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31])('after refuses a delay of %s', delayMs => {
    expect(() => new SimulatedClock().after(delayMs, () => {})).toThrow(RangeError)
  })

  it.each([Number.NaN, -1])('advance refuses %s', async ms => {
    await expect(new SimulatedClock().advance(ms)).rejects.toThrow(RangeError)
  })

  it('advance rejects with what a timer throws, and goes on afterwards', async () => {
    const clock = new SimulatedClock()
    const error = new Error('thrown by a timer')
    clock.after(10, () => {
      throw error
    })
    let later = false
    clock.after(20, () => {
      later = true
    })
    await expect(clock.advance(100)).rejects.toBe(error)
    expect(clock.nowMs()).toBe(10)
    await clock.advance(10)
    expect(later).toBe(true)
  })

  it('advance refuses to run inside itself', async () => {
    const clock = new SimulatedClock()
    const advancing = clock.advance(10)
    await expect(clock.advance(10)).rejects.toThrow('already')
    await advancing
    expect(clock.nowMs()).toBe(10)
  })

  it('describeTimers names what is pending and when it is due', () => {
    const clock = new SimulatedClock()
    expect(clock.describeTimers()).toBe('no timers')
    clock.after(300, () => {})
    clock.after(40, function renewGuard() {})
    expect(clock.describeTimers()).toBe('renewGuard in 40 ms, a timer in 300 ms')
  })

  it('suspend lets time pass at once, and overdue timers run late, in order', async () => {
    const clock = new SimulatedClock({ startEpochMs: 1000 })
    const ran: string[] = []
    clock.after(20, () => ran.push(`b at ${clock.nowMs()}`))
    clock.after(10, () => ran.push(`a at ${clock.nowMs()}`))
    clock.suspend(500)
    await clock.drain()
    expect(ran).toEqual([])
    expect([clock.nowMs(), clock.coarseMs(), clock.epochMs()]).toEqual([500, 500, 1500])
    await clock.advance(0)
    expect(ran).toEqual(['a at 500', 'b at 500'])
  })

  it('jumpWall moves the wall clock, and nothing else', async () => {
    const clock = new SimulatedClock({ startEpochMs: 1_000_000 })
    await clock.advance(10)
    clock.jumpWall(-5000)
    expect([clock.nowMs(), clock.epochMs()]).toEqual([10, 995_010])
    clock.jumpWall(60_000)
    await clock.advance(5)
    expect([clock.nowMs(), clock.epochMs()]).toEqual([15, 1_055_015])
  })

  it('random and token repeat under the same seed, and differ under another', () => {
    const draw = (seed?: number) => {
      const clock = new SimulatedClock(seed === undefined ? {} : { seed })
      return [clock.random(), clock.token(), clock.random(), clock.token()]
    }
    expect(draw(7)).toEqual(draw(7))
    expect(draw()).toEqual(draw(1))
    const seeds = [0, 1, 2, 7, -1, 2 ** 32, 2 ** 33, 2 ** 40 + 1]
    expect(new Set(seeds.map(seed => draw(seed).join())).size).toBe(seeds.length)
  })

  it('random is even, and tokens are as the real clock makes them', () => {
    const clock = new SimulatedClock({ seed: 3 })
    const counts = new Array<number>(10).fill(0)
    for (let i = 0; i < 100_000; i++) counts[Math.floor(clock.random() * 10)]!++
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500)
    const tokens = Array.from({ length: 10_000 }, () => clock.token())
    expect(new Set(tokens).size).toBe(10_000)
    expect(tokens.every(token => /^[\w-]{16}$/.test(token))).toBe(true)
    const letters = new Set(tokens.join(''))
    expect(letters.size).toBe(64)
  })
})
