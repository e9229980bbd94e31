/**
 * What a cache does whose test has taken the globals away: the same in Vitest, Jest and `node:test`. Plain JavaScript, because
 * each of these runs it as it is.
 */
import assert from 'node:assert/strict'
import { performance } from 'node:perf_hooks'

const TTL_MS = 20
const SLICE_MS = 5
const cell = new Int32Array(new SharedArrayBuffer(4))

const { now } = Object.getPrototypeOf(performance)

/** Node's own, whatever has been done to the global. */
const { setImmediate } = process.getBuiltinModule('node:timers')
const turn = () => new Promise(resolve => setImmediate(resolve))

/** Lets real time pass, and the event loop turn, by nothing that is faked here. */
async function pass(ms) {
  const untilMs = now.call(performance) + ms
  while (now.call(performance) < untilMs) {
    Atomics.wait(cell, 0, 0, SLICE_MS)
    await turn()
  }
  // What has fallen due in the last slice runs in the next turn.
  await turn()
  await turn()
}

/** A cache with an L1, and how often it has loaded. */
function open({ createCache }, options = {}) {
  const cache = createCache({ local: { maxEntries: 9 }, ...options })
  let loads = 0
  const values = cache.keyspace('value', { load: () => ++loads, ttlMs: TTL_MS, ttlJitter: 0 })
  return { cache, values, hour: cache.keyspace('hour', { load: () => ++loads, ttlMs: 3_600_000 }) }
}

async function expires({ values }) {
  await values.get(1)
  const first = await values.get(1)
  await pass(TTL_MS * 3)
  assert.notEqual(await values.get(1), first, 'it has not expired in real time')
}

export async function timePassesBeforeDuringAndAfter(library, fakes) {
  const early = open(library)
  await expires(early)
  fakes.use()
  try {
    await expires(early)
    const late = open(library)
    await expires(late)
    await late.cache.close()
    await early.values.get(2)
  } finally {
    fakes.restore()
  }
  await expires(early)
  await expires(open(library))
  await early.cache.close()
}

export async function limitsHoldWhileFaked(library, fakes) {
  fakes.use()
  try {
    const limits = { sharedTimeoutMs: 5, busyWaitMs: 10, loadTimeoutMs: 40 }
    const cache = library.createCache(limits)
    const never = cache.keyspace('never', { load: () => new Promise(() => {}) })
    await assert.rejects(never.get(1), { code: 'LOAD_TIMEOUT' })
    // A strong reader that comes behind another waits for the next flight.
    const { values } = open(library)
    const strong = { consistency: 'strong' }
    await Promise.all([values.get(1, strong), values.get(1, strong), values.get(1, strong)])
    await cache.close()
  } finally {
    fakes.restore()
  }
}

export async function dateForwardExpires(library, fakes) {
  fakes.use()
  try {
    const { cache, hour } = open(library)
    const first = await hour.get(1)
    assert.equal(await hour.get(1), first)
    fakes.setDateForward?.(3_700_000)
    await pass(5)
    assert.notEqual(await hour.get(1), first, 'a Date set forward by an hour is an hour')
    await cache.close()
  } finally {
    fakes.restore()
  }
}

/**
 * @param {typeof import('cacheaside')} library
 * @param {typeof import('cacheaside/testing')} testing
 * @param {Fakes} fakes
 */
export async function fakeableClockFollows(library, testing, fakes) {
  fakes.use()
  try {
    const { cache, hour } = open(library, { clock: testing.fakeableClock() })
    const first = await hour.get(1)
    await pass(5)
    assert.equal(await hour.get(1), first)
    await fakes.advance?.(3_700_000)
    assert.notEqual(await hour.get(1), first, 'advancing the fake timers by an hour is an hour')
    await cache.close()
  } finally {
    fakes.restore()
  }
}
