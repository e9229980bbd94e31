import { afterEach, beforeEach, expect, onTestFinished } from 'vitest'
import type { Cache, EmbeddedShared } from '../src/index.ts'
import type { SimulatedClock } from '../src/testing/index.ts'

/** What a test has opened, and has to leave as clean as it found it. */
export interface Opened {
  readonly clock: SimulatedClock
  readonly caches: readonly Cache[]
  readonly store: EmbeddedShared
  /** Keys that a lease, a claim or a guard was ever asked for. */
  readonly touched: ReadonlySet<string>
}

const opened: Opened[] = []
const rejections: unknown[] = []
const onRejection = (reason: unknown) => void rejections.push(reason)

/** Takes part in the check after the test that is running. */
export function watch(one: Opened): void {
  opened.push(one)
}

beforeEach(() => {
  process.on('unhandledRejection', onRejection)
  onTestFinished(() => void process.off('unhandledRejection', onRejection))
})

/**
 * After every test: nothing is under way, nothing waits, nothing is leased or guarded in the store, no timer is set,
 * and nothing was rejected without anybody to hear it. Heartbeats and retries of an empty queue end with `close`.
 */
afterEach(async () => {
  const worlds = opened.splice(0)
  for (const { clock, caches, store, touched } of worlds) {
    await clock.drain()
    for (const cache of caches) {
      const { now } = cache.stats()
      // What a closed cache could not tell the store any more is lost with it, by design.
      const queuedInvalidations = (await isOpen(cache)) ? 0 : now.queuedInvalidations
      const nothing = { flights: 0, loads: 0, queuedLoads: 0, queuedInvalidations }
      expect(now, 'what is still under way after the test').toMatchObject(nothing)
    }
    const held = [...touched].filter(key => /^[LW]/.test(store.inspect(key) ?? ''))
    expect(held, 'keys that are still leased or guarded after the test').toEqual([])
    await Promise.all(caches.map(cache => cache.close()))
    expect(clock.describeTimers(), 'timers that are still set after the test').toBe('no timers')
  }
  await new Promise(resolve => setImmediate(resolve))
  expect(rejections.splice(0), 'rejections that nobody handled').toEqual([])
})

const isOpen = (cache: Cache): Promise<boolean> =>
  cache.invalidate([]).then(
    () => true,
    () => false,
  )
