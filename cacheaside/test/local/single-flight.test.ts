import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { Flight } from '../../src/local/flight.ts'
import { QueuedFlight } from '../../src/local/queued-flight.ts'
import { SingleFlight } from '../../src/local/single-flight.ts'

const YOUNG = Number.NEGATIVE_INFINITY

function tracked(key = 'spell:4', options: { beganAtMs?: number; background?: boolean } = {}) {
  const flights = new SingleFlight<string>()
  const begin = (ofKey = key, { beganAtMs = 0, background = false } = options) => {
    const flight = new Flight<string>(ofKey, ofKey.split(':')[0]!, beganAtMs, background)
    flights.begin(flight)
    return flight
  }
  return { flights, begin }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

describe('a flight', () => {
  test('answers all who wait, and those who wait later', async () => {
    const flight = new Flight<string>('spell:4', 'spell', 0, false)
    const early = flight.wait(undefined)
    flight.resolve('Fireball')
    flight.resolve('Ice Shard')
    flight.reject(new Error('too late'))
    expect(await early).toBe('Fireball')
    expect(await flight.wait(new AbortController().signal)).toBe('Fireball')
  })

  test('rejects everybody with the very error', async () => {
    const flight = new Flight<string>('spell:4', 'spell', 0, false)
    const waiting = [flight.wait(undefined), flight.wait(new AbortController().signal)]
    const boom = new Error('boom')
    flight.reject(boom)
    for (const one of waiting) await expect(one).rejects.toBe(boom)
  })

  test('that nobody waits for may be rejected without harm', async () => {
    new Flight<string>('spell:4', 'spell', 0, false).reject(new Error('boom'))
    await new Promise(resolve => setImmediate(resolve))
  })

  test('is doomed and aborted when the last who waits gives up, and not before', async () => {
    const flight = new Flight<string>('spell:4', 'spell', 0, false)
    const callers = [new AbortController(), new AbortController()]
    const waiting = callers.map(({ signal }) => flight.wait(signal))
    const ended = waiting.map((one, i) => expect(one).rejects.toThrow(`caller ${i}`))
    callers[0]!.abort(new Error('caller 0'))
    expect([flight.doomed, flight.abort.aborted]).toEqual([false, false])
    const last = new Error('caller 1')
    callers[1]!.abort(last)
    expect([flight.doomed, flight.abort.aborted, flight.abort.reason]).toEqual([true, true, last])
    await Promise.all(ended)
  })

  test('is never aborted while somebody without a signal waits', async () => {
    const flight = new Flight<string>('spell:4', 'spell', 0, false)
    const caller = new AbortController()
    void flight.wait(undefined)
    const ended = expect(flight.wait(caller.signal)).rejects.toThrow('gone')
    caller.abort(new Error('gone'))
    await ended
    expect([flight.doomed, flight.abort.aborted]).toEqual([false, false])
  })

  test('is not aborted any more once it has answered', async () => {
    const flight = new Flight<string>('spell:4', 'spell', 0, false)
    const caller = new AbortController()
    const waiting = flight.wait(caller.signal)
    flight.resolve('Fireball')
    caller.abort()
    expect([flight.doomed, flight.abort.aborted]).toEqual([false, false])
    await waiting.catch(() => {})
  })

  test('is left alone by a caller who had given up before', async () => {
    const flight = new Flight<string>('spell:4', 'spell', 0, false)
    await expect(flight.wait(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
    expect([flight.doomed, flight.abort.aborted]).toEqual([false, false])
    flight.resolve('Fireball')
    expect(await flight.wait(undefined)).toBe('Fireball')
  })

  test.each<[string, (flight: Flight<string>) => void]>([
    ['answered', flight => flight.resolve('Fireball')],
    ['rejected', flight => flight.reject(new Error('boom'))],
    ['doomed', flight => flight.doom()],
  ])('is over once it is %s, and says so once', (_, end) => {
    const flight = new Flight<string>('spell:4', 'spell', 0, false)
    let told = 0
    flight.whenOver(() => told++)
    expect(flight.over).toBe(false)
    end(flight)
    flight.doom()
    expect([flight.over, told]).toEqual([true, 1])
  })
})

describe('single-flight', () => {
  test('lets a reader join the flight under way, until it ends', () => {
    const { flights, begin } = tracked()
    expect(flights.joinable('spell:4', YOUNG)).toBeUndefined()
    const flight = begin()
    expect(flights.joinable('spell:4', YOUNG)).toBe(flight)
    expect(flights.joinable('spell:5', YOUNG)).toBeUndefined()
    flights.end(flight)
    expect(flights.joinable('spell:4', YOUNG)).toBeUndefined()
    expect(flights.size).toBe(0)
  })

  test('keeps all flights where it forgets keys that have none', () => {
    const { flights, begin } = tracked()
    const underWay = begin('spell:0')
    const doomed = begin('spell:1')
    flights.doom('spell:1')
    const lost: string[] = []
    for (let id = 2; id < 20_000; id++) {
      const key = `spell:${id}`
      flights.joinable(key, YOUNG)
      const flight = begin(key)
      if (flights.joinable(key, YOUNG) !== flight) lost.push(key)
      flights.end(flight)
    }
    const again = begin('spell:1')
    flights.end(doomed)
    expect(lost).toEqual([])
    expect(flights.joinable('spell:0', YOUNG)).toBe(underWay)
    expect(flights.joinable('spell:1', YOUNG)).toBe(again)
    expect(flights.size).toBe(2)
  })

  test('lets nobody join a flight that is doomed, too old, or in the background', () => {
    const { flights, begin } = tracked()
    const flight = begin('spell:4', { beganAtMs: 100 })
    expect(flights.joinable('spell:4', 100)).toBe(flight)
    expect(flights.joinable('spell:4', 101)).toBeUndefined()
    begin('spell:4', { beganAtMs: 200, background: true })
    expect(flights.joinable('spell:4', 100)).toBe(flight)
    flight.doom()
    expect(flights.joinable('spell:4', 0)).toBeUndefined()
  })

  test('removes only the flight that ends, in whatever order they end', () => {
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]
    for (const order of orders) {
      const { flights, begin } = tracked()
      const chain = [begin(), begin(), begin()]
      const left = new Set(chain)
      for (const i of order) {
        flights.end(chain[i]!)
        left.delete(chain[i]!)
        expect(flights.joinable('spell:4', YOUNG)).toBe([...left].at(-1))
        flights.end(chain[i]!)
      }
      expect(flights.size).toBe(0)
    }
  })

  test('does not let the end of a doomed flight remove the one that took its place', () => {
    const { flights, begin } = tracked()
    const old = begin()
    flights.doom('spell:4')
    const next = begin()
    flights.end(old)
    expect(flights.joinable('spell:4', YOUNG)).toBe(next)
    flights.end(next)
    expect(flights.size).toBe(0)
  })

  test('dooms all flights of a key, of a keyspace, or all there are', () => {
    const { flights, begin } = tracked()
    const all = [begin('spell:4'), begin('spell:4', { background: true }), begin('spell:5'), begin('name:4')]
    const doomed = () => all.map(flight => flight.doomed)
    flights.doom('spell:4')
    expect(doomed()).toEqual([true, true, false, false])
    flights.doomAll('spell')
    expect(doomed()).toEqual([true, true, true, false])
    flights.doomAll()
    expect(doomed()).toEqual([true, true, true, true])
    expect(flights.size).toBe(0)
  })

  test('knows whether a refresh of a key is under way', () => {
    const { flights, begin } = tracked()
    const refresh = begin('spell:4', { background: true })
    begin('spell:4')
    expect([flights.refreshing('spell:4'), flights.refreshing('spell:5')]).toEqual([true, false])
    flights.end(refresh)
    expect(flights.refreshing('spell:4')).toBe(false)
  })

  test('gives strong readers one flight that begins when the one before it is over', async () => {
    const { flights, begin } = tracked()
    const before = begin()
    const led: Flight<string>[] = []
    const lead = () => {
      led.push(begin())
      return led.at(-1)!
    }
    const one = flights.next('spell:4', lead)
    const other = flights.next('spell:4', lead)
    expect([one.joined, other.joined, led.length, flights.size]).toEqual([false, true, 0, 2])
    const answers = Promise.all([one.flight.wait(undefined), other.flight.wait(undefined)])
    before.resolve('Fireball')
    await turn()
    expect(led).toHaveLength(1)
    // Who comes now came after that one began.
    expect(flights.next('spell:4', lead)).toMatchObject({ joined: false })
    led[0]!.resolve('Ice Shard')
    expect(await answers).toEqual(['Ice Shard', 'Ice Shard'])
    flights.end(before)
    flights.end(led[0]!)
  })

  test('lets no strong flight begin that nobody waits for any more', async () => {
    const { flights, begin } = tracked()
    const before = begin()
    const leave = new AbortController()
    const { flight } = flights.next('spell:4', () => expect.unreachable())
    const waiting = expect(flight.wait(leave.signal)).rejects.toThrow('gone')
    await expect(flight.wait(AbortSignal.abort('gone before'))).rejects.toBe('gone before')
    leave.abort(new Error('gone'))
    await waiting
    before.resolve('Fireball')
    await turn()
    flights.end(before)
    expect([flights.size, getEventListeners(leave.signal, 'abort').length]).toEqual([0, 0])
  })

  test.each<[string, (flight: Flight<string>) => void]>([
    ['is answered', flight => flight.resolve('Fireball')],
    ['fails', flight => flight.reject(new Error('boom'))],
    ['is doomed', flight => flight.doom()],
  ])('lets the next strong flight begin when the one before it %s', async (_, end) => {
    const { flights, begin } = tracked()
    const before = begin()
    const begun: Flight<string>[] = []
    const { flight } = flights.next('spell:4', () => {
      begun.push(begin())
      return begun[0]!
    })
    flight.wait(undefined)
    end(before)
    await turn()
    expect(begun).toHaveLength(1)
    expect(flights.next('spell:4', () => begin()).flight).toBeInstanceOf(QueuedFlight)
  })

  test('leads a strong flight at once where only a refresh is under way, or the one before is over', () => {
    const { flights, begin } = tracked()
    begin('spell:4', { background: true })
    expect(flights.next('spell:4', () => begin()).flight).toBeInstanceOf(Flight)
    const other = begin('spell:5')
    other.resolve('Ice Shard')
    expect(flights.next('spell:5', () => begin('spell:5')).flight).toBeInstanceOf(Flight)
  })

  test('lets the queued flight of a key that is doomed begin, and does not doom it', async () => {
    const { flights, begin } = tracked()
    begin()
    const begun: Flight<string>[] = []
    const { flight } = flights.next('spell:4', () => {
      begun.push(begin())
      return begun[0]!
    })
    flight.wait(undefined)
    flights.doomAll()
    await turn()
    expect(begun[0]!.doomed).toBe(false)
    expect(flights.joinable('spell:4', YOUNG)).toBe(begun[0])
    flights.end(begun[0]!)
    expect(flights.size).toBe(0)
  })
})
