import { describe, expect, test } from 'vitest'
import { Abort } from '../src/base/abort.ts'
import { Tracing } from '../src/base/tracing.ts'
import type { CacheEvent } from '../src/index.ts'
import { callLoader } from '../src/load.ts'
import { Flight } from '../src/local/flight.ts'
import { LoadLimit } from '../src/local/load-limit.ts'
import { LoadRun } from '../src/local/load-run.ts'
import { gate, SimulatedClock } from '../src/testing/index.ts'
import { passing, within } from './world.ts'

/** What is told of each of these loads. */
const TOLD = {
  type: 'load',
  keyspace: 'spell',
  keys: ['spell:4'],
  id: expect.any(Number),
  flights: [expect.any(Number)],
  waitMs: 0,
} as const

function framed(maxLoads = 1) {
  const clock = new SimulatedClock()
  const limit = new LoadLimit(maxLoads, 10)
  const events: CacheEvent[] = []
  const abort = new Abort()
  const frame = {
    clock,
    limit,
    emit: (event: CacheEvent) => void events.push(event),
    isHeard: () => true,
    tracing: new Tracing(),
    keyspace: 'spell',
    flights: [new Flight('spell:4', 'spell', 0, false)],
    timeoutMs: 1_000,
    abort,
  }
  const nothingLeft = () =>
    expect([limit.running, limit.queued, clock.describeTimers()]).toEqual([0, 0, 'no timers'])
  /** A load that is not looked at. */
  const another = () => new LoadRun(limit, [], new Abort(), undefined)
  return { clock, limit, events, abort, frame, another, nothingLeft }
}

describe('load', () => {
  test('calls the loader in the same turn, and tells what it cost', async () => {
    const { clock, frame, events, nothingLeft } = framed()
    let called = false
    const loading = callLoader(frame, async () => {
      called = true
      await passing(clock, 40)
      return 'Fireball'
    })
    expect(called).toBe(true)
    expect(await within(clock, 40, loading)).toMatchObject({ result: 'Fireball', costMs: 40 })
    expect(events).toEqual([{ ...TOLD, outcome: 'loaded', costMs: 40 }])
    nothingLeft()
  })

  test.each<[string, () => never | Promise<never>]>([
    ['rejects', () => Promise.reject('no')],
    [
      'throws',
      () => {
        throw 'no'
      },
    ],
  ])('rejects with what a loader that %s gives, and reports it', async (_, call) => {
    const { frame, events, nothingLeft } = framed()
    await expect(callLoader(frame, call)).rejects.toBe('no')
    expect(events).toMatchObject([{ outcome: 'failed', error: 'no' }])
    nothingLeft()
  })

  test('ends when it is aborted, and its place is free when the loader has settled', async () => {
    const { clock, limit, frame, abort, events, nothingLeft } = framed()
    const query = gate<string>()
    const loading = expect(callLoader(frame, () => query.wait())).rejects.toBe('gone')
    await clock.advance(30)
    abort.abort('gone')
    await loading
    expect(limit.running).toBe(1)
    query.open('Fireball')
    await clock.drain()
    expect(events).toEqual([{ ...TOLD, outcome: 'aborted', costMs: 30, error: 'gone' }])
    nothingLeft()
  })

  test('never calls the loader for who was aborted before', async () => {
    const { frame, abort, events, nothingLeft } = framed()
    abort.abort('gone')
    await expect(callLoader(frame, () => expect.unreachable())).rejects.toBe('gone')
    expect(events).toMatchObject([{ outcome: 'aborted', costMs: 0 }])
    nothingLeft()
  })

  test('passes its turn on if it was aborted in the very moment in which it came', async () => {
    const { clock, limit, frame, abort, another, nothingLeft } = framed()
    const first = another()
    limit.enter(first)
    const loading = expect(callLoader(frame, () => expect.unreachable())).rejects.toBe('gone')
    limit.leave(first)
    abort.abort('gone')
    await loading
    await clock.drain()
    nothingLeft()
  })

  test('counts its time limit from before its turn, and reports a cost of nothing if it never came', async () => {
    const { clock, limit, frame, events, another, nothingLeft } = framed()
    const first = another()
    limit.enter(first)
    const loading = expect(callLoader(frame, () => expect.unreachable())).rejects.toMatchObject({
      code: 'LOAD_TIMEOUT',
    })
    await clock.advance(1_000)
    await loading
    expect(events).toMatchObject([{ outcome: 'timed-out', costMs: 0 }])
    limit.leave(first)
    nothingLeft()
  })

  test('sees an answer that has arrived while the process stood still', async () => {
    const { clock, frame, events, nothingLeft } = framed()
    const query = gate<string>()
    const loading = callLoader(frame, () => query.wait())
    clock.suspend(5_000)
    clock.after(1, () => query.open('Fireball'))
    expect(await within(clock, 1, loading)).toMatchObject({ result: 'Fireball', costMs: 5_001 })
    expect(events).toMatchObject([{ outcome: 'loaded' }])
    nothingLeft()
  })

  test('shows the signal as a member of its own, which a spread copies, and makes it only for those who look', async () => {
    const { frame, nothingLeft } = framed()
    const answer = await callLoader(frame, context => {
      const { signal } = context
      return {
        keys: Object.keys(context),
        copied: { ...context, more: 1 }.signal === signal,
        assigned: Object.assign({}, context).signal === signal,
        rest: (({ ...rest }) => rest)(context).signal === signal,
        own: Object.hasOwn(context, 'signal') && 'signal' in context,
        isSignal: signal instanceof AbortSignal,
      }
    })
    expect(answer.result).toEqual({
      keys: ['signal'],
      copied: true,
      assigned: true,
      rest: true,
      own: true,
      isSignal: true,
    })
    nothingLeft()
  })

  test('gives the loader one signal, which tells why it was aborted', async () => {
    const { clock, frame, nothingLeft } = framed()
    const loading = expect(
      callLoader(frame, context => {
        expect(context.signal).toBe(context.signal)
        return new Promise((_, reject) => {
          context.signal.addEventListener('abort', () => reject(context.signal.reason))
        })
      }),
    ).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
    await clock.advance(1_000)
    await loading
    await clock.drain()
    nothingLeft()
  })
})
