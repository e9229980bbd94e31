import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isSame, keptValues } from './kept-values.ts'
import { openWorld } from './world.ts'

const L1 = { maxEntries: 100 } as const
const TTL_MS = 1_000

test('get answers on every level with the value that load returned, of any kind', async () => {
  const { clock, process } = openWorld()
  const rows = new Map<number, unknown>()
  const options = {
    load: async (id: number): Promise<unknown> => rows.get(id),
    ttlMs: TTL_MS,
    ttlJitter: 0,
    staleMs: TTL_MS,
  }
  const here = process({ local: L1 }).cache.keyspace('value', options)
  const there = process({ local: L1 }).cache.keyspace('value', { ...options, refreshAhead: 1 })
  let id = 0
  const answered = async (value: unknown): Promise<Record<string, unknown>> => {
    const at = ++id
    rows.set(at, value)
    const answers: Record<string, unknown> = { loaded: await here.get(at) }
    await clock.drain()
    answers.local = await here.get(at)
    answers.peeked = here.peek(at)?.value
    answers.shared = await there.get(at)
    answers.batched = (await there.getMany([at])).get(at)
    answers.strong = await here.get(at, { consistency: 'strong' })
    await clock.advance(TTL_MS + 1)
    const stale = await here.read(at)
    expect(stale).toMatchObject({ from: 'shared', why: 'stale' })
    answers.stale = stale.value
    await clock.drain()
    answers.refreshed = await there.get(at)
    await here.write(at, () => value, { writeThrough: true })
    await clock.drain()
    const written = await there.read(at)
    expect(written).toMatchObject({ from: 'shared', why: 'fresh' })
    answers.written = written.value
    return answers
  }
  await fc.assert(
    fc.asyncProperty(keptValues, async value => {
      const answers = await answered({ value })
      for (const [level, answer] of Object.entries(answers))
        expect(isSame(answer, { value }), `${level}: ${fc.stringify(answer)}`).toBe(true)
    }),
    { numRuns: 100 },
  )
})
