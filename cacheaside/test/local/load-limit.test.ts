import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Abort } from '../../src/base/abort.ts'
import { LoadLimit } from '../../src/local/load-limit.ts'
import { LoadRun } from '../../src/local/load-run.ts'

/** A load that no other waits for. */
const load = (limit: LoadLimit, abort = new Abort()) => new LoadRun(limit, [], abort, undefined)

describe('enter', () => {
  test('returns at once while there is room, and a promise for those who have to wait', () => {
    const limit = new LoadLimit(2, 1)
    expect(limit.enter(load(limit))).toBeUndefined()
    expect(limit.enter(load(limit))).toBeUndefined()
    expect(limit.enter(load(limit))).toBeInstanceOf(Promise)
    expect([limit.running, limit.queued]).toEqual([2, 1])
  })

  test('refuses with OVERLOADED when the queue is full, and changes nothing', async () => {
    const limit = new LoadLimit(1, 1)
    limit.enter(load(limit))
    void limit.enter(load(limit))
    await expect(limit.enter(load(limit))).rejects.toMatchObject({ code: 'OVERLOADED' })
    expect([limit.running, limit.queued]).toEqual([1, 1])
  })

  test('refuses those who have given up already', async () => {
    const limit = new LoadLimit(1, 1)
    const abort = new Abort()
    abort.abort('gone')
    await expect(limit.enter(load(limit, abort))).rejects.toBe('gone')
    expect([limit.running, limit.queued]).toEqual([0, 0])
  })

  test('lets a place go from hand to hand, without a moment in which a newcomer could take it', async () => {
    const limit = new LoadLimit(1, 2)
    const first = load(limit)
    limit.enter(first)
    const waiting = limit.enter(load(limit))
    limit.leave(first)
    expect([limit.running, limit.queued]).toEqual([1, 0])
    expect(limit.enter(load(limit))).toBeInstanceOf(Promise)
    await waiting
  })
})

test('a turn takes no longer, however many wait and have waited', async () => {
  const limit = new LoadLimit(1, 1_000_000)
  const abort = new Abort()
  const loads = Array.from({ length: 1_000_001 }, () => load(limit, abort))
  let last: unknown
  for (const one of loads) last = limit.enter(one)
  // Minutes, if each of them had to step over those before it.
  for (let i = 0; i < 1_000_000; i++) limit.leave(loads[i]!)
  await last
  expect([limit.running, limit.queued]).toEqual([1, 0])
})

test('the limit and the order hold for any sequence of coming, leaving and giving up', async () => {
  const step = fc.constantFrom('enter', 'enter', 'leave', 'give up')
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 0, max: 4 }),
      fc.array(step),
      async (most, queue, steps) => {
        const limit = new LoadLimit(most, queue)
        let running = 0
        const waiting: LoadRun[] = []
        const admitted: LoadRun[] = []
        const inside: LoadRun[] = []
        for (const what of steps) {
          if (what === 'enter') {
            const one = load(limit)
            const full = running === most && waiting.length === queue
            const turn = limit.enter(one)
            if (running < most) {
              running++
              inside.push(one)
            } else if (!full) waiting.push(one)
            turn?.then(
              () => admitted.push(one),
              () => {},
            )
          } else if (what === 'leave' && running > 0) {
            const next = waiting.shift()
            limit.leave(inside.shift()!)
            if (next !== undefined) inside.push(next)
            await new Promise(resolve => setImmediate(resolve))
            if (next === undefined) running--
            else expect(admitted.at(-1)).toBe(next)
          } else if (what === 'give up') {
            waiting.splice(waiting.length >> 1, 1)[0]?.abort.abort('gone')
          }
          expect([limit.running, limit.queued]).toEqual([running, waiting.length])
          expect(limit.running).toBeLessThanOrEqual(most)
        }
      },
    ),
    { numRuns: 200 },
  )
})
