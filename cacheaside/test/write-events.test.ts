/** What is told of writes and invalidations, and by which numbers it belongs together. */
import { describe, expect, test } from 'vitest'
import { type CacheEvent, rolledBack } from '../src/index.ts'
import { fireball, openWorld, passing, spellTable, within } from './world.ts'

async function open() {
  const { clock, process, network } = openWorld()
  const link = network()
  const { cache, events, eventsOf } = process({ unguarded: 'refuse' }, link)
  const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
  await clock.drain()
  link.delay(10)
  return { clock, link, cache, spells, events, eventsOf }
}

/** Those that say that they belong to this one. */
const belongingTo = (events: readonly CacheEvent[], id: number) =>
  events.filter(event => ('cause' in event && event.cause === id) || ('write' in event && event.write === id))

describe('a write event', () => {
  test('has the time of its steps, and its guards and releases have its number', async () => {
    const { clock, cache, spells, events, eventsOf } = await open()
    const commit = async ({ guard }: { guard: (key: never) => Promise<void> }) => {
      await passing(clock, 30)
      await guard(spells.key(6) as never)
    }
    await within(clock, 200, cache.write([spells.key(4), spells.key(5)], commit))
    const [write] = eventsOf('write')
    expect(write).toEqual({
      type: 'write',
      id: expect.any(Number),
      keys: ['spell:4', 'spell:5', 'spell:6'],
      outcome: 'committed',
      durationMs: 60,
      guardMs: 10,
      commitMs: 40,
      fenced: true,
      invalidation: 'applied',
    })
    expect(belongingTo(events, write!.id)).toMatchObject([
      { type: 'guard', key: 'spell:4', durationMs: 10 },
      { type: 'guard', key: 'spell:5', durationMs: 10 },
      { type: 'guard', key: 'spell:6', durationMs: 10 },
      { type: 'invalidation', key: 'spell:4', outcome: 'applied', durationMs: 10 },
      { type: 'invalidation', key: 'spell:5', outcome: 'applied', durationMs: 10 },
      { type: 'invalidation', key: 'spell:6', outcome: 'applied', durationMs: 10 },
    ])
  })

  test('of two writers who share a guard names each by its own number', async () => {
    const { clock, spells, eventsOf } = await open()
    await within(clock, 200, Promise.all([spells.write(4, () => {}), spells.write(4, () => {})]))
    const ids = eventsOf('write').map(({ id }) => id)
    expect(new Set(ids).size).toBe(2)
    const guards = eventsOf('guard').filter(({ outcome }) => outcome === 'confirmed')
    expect(guards.map(({ write }) => write).sort()).toEqual(ids.sort())
    expect(
      eventsOf('invalidation')
        .map(({ cause }) => cause)
        .sort(),
    ).toEqual(ids.sort())
  })

  test('tells that its function threw, that the commit is in doubt, and that a guard was refused', async () => {
    const { clock, link, cache, spells, eventsOf } = await open()
    const no = rolledBack(new Error('no'))
    await within(clock, 200, Promise.allSettled([spells.write(4, () => Promise.reject(no))]))
    const lost = Object.assign(new Error('gone'), { code: 'ECONNRESET' })
    await within(clock, 200, Promise.allSettled([spells.write(4, () => Promise.reject(lost))]))
    link.fail('guard')
    await within(clock, 200, Promise.allSettled([spells.write(5, () => {})]))
    expect(eventsOf('write')).toMatchObject([
      { outcome: 'failed', keys: ['spell:4'], error: no, guardMs: 10, commitMs: 0 },
      { outcome: 'in-doubt', keys: ['spell:4'], error: lost },
      { outcome: 'refused', keys: ['spell:5'], error: { code: 'UNGUARDED' }, commitMs: 0 },
    ])
    expect(eventsOf('write').some(event => 'fenced' in event)).toBe(false)
    expect(eventsOf('invalidation').find(({ outcome }) => outcome === 'in-doubt')).toMatchObject({
      cause: eventsOf('write')[1]!.id,
    })
    expect(cache.stats().writes).toEqual({ committed: 0, failed: 1, 'in-doubt': 1, refused: 1 })
    link.restore()
    await clock.advance(30_000)
  })

  test('is counted, and not made, where nobody listens', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.write(4, () => {})
    expect(cache.stats().writes).toEqual({ committed: 1, failed: 0, 'in-doubt': 0, refused: 0 })
  })
})

test('the invalidations of one call have a number in common', async () => {
  const { clock, cache, spells, eventsOf } = await open()
  await within(clock, 200, cache.invalidate([spells.key(4), spells.key(5)]))
  await within(clock, 200, spells.invalidateAll())
  const [four, five] = eventsOf('invalidation')
  expect(four).toMatchObject({ key: 'spell:4', durationMs: 10 })
  expect(five!.cause).toBe(four!.cause)
  const [whole] = eventsOf('keyspace-invalidation')
  expect(whole).toMatchObject({ outcome: 'applied', durationMs: 10, cause: expect.any(Number) })
  expect(whole!.cause).not.toBe(four!.cause)
})
