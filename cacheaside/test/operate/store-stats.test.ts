import { describe, expect, test } from 'vitest'
import { embeddedShared } from '../../src/index.ts'
import { storeStats } from '../../src/operate/index.ts'
import { markedToken } from '../../src/shared/key-mark.ts'
import { guardText, leaseText, valueText } from '../../src/shared/register.ts'
import { plantableShared, SimulatedClock } from '../../src/testing/index.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'
import { within } from '../world.ts'

const token = (name: string): string => name.padEnd(16, '_').slice(0, 16)
const keyspaces = [auditedKeyspace('spell', { load: async (id: string) => id })]

describe('storeStats', () => {
  test('counts registers by keyspace and by what they hold, and changes nothing', async () => {
    const clock = new SimulatedClock()
    const { store: shared, plant } = plantableShared({ clock })
    await shared.invalidateKeyspace('spell', token('now'))
    await shared.invalidateKeyspace('wizard', token('wizard'))
    const value = (generation: string, text: string | undefined, freshMs = 60_000) =>
      valueText(
        markedToken('k', clock.token()),
        { generation, shape: 1, freshMs, staleMs: 0, costMs: 1, text },
        clock.epochMs() - 1_000,
      )
    plant('spell:1', value(token('now'), '1'))
    plant('spell:2', value(token('now'), undefined))
    plant('spell:3', value(token('old'), '3'))
    plant('spell:4', value(token('now'), '4', 500))
    plant('spell:5', leaseText(clock.token()))
    plant('spell:6', guardText(false, [{ token: clock.token(), deadlineMs: clock.epochMs() + 1_000 }]))
    plant('spell:7', 'x')
    plant('wizard:1', value(token('wizard'), '1'))
    plant('session:1', 'of another program')
    plant('no keyspace', 'x')
    const met: number[] = []
    const found = await within(
      clock,
      10_000,
      storeStats({ shared, keyspaces, clock }, { onProgress: keys => met.push(keys) }),
    )
    expect(found).toMatchObject({
      store: 'embedded',
      nodes: [],
      foreign: 2,
      processes: [],
      notes: [expect.stringContaining('this store is embedded')],
      keyspaces: {
        spell: {
          registers: 7,
          sampled: 7,
          isKnown: true,
          generation: token('now'),
          states: { value: 4, lease: 1, guard: 1, unreadable: 1, stamp: 0, later: 0, gone: 0 },
          absentRows: 1,
          oldGeneration: 1,
          stale: 1,
          largest: { key: expect.stringMatching(/^spell:[134]$/), characters: expect.any(Number) },
        },
        wizard: { registers: 1, isKnown: false },
      },
    })
    expect(Object.keys(found.keyspaces)).toEqual(['spell', 'wizard'])
    expect(met.at(-1)).toBe(10)
  })

  test('knows the tags that the file names', async () => {
    const shared = embeddedShared()
    for (const name of ['school', 'stranger']) await shared.generation(name, token(name))
    await shared.lease('school:1', token('reader'), 10_000)
    await shared.lease('stranger:1', token('reader'), 10_000)
    const { keyspaces: held } = await storeStats({ shared, keyspaces, tags: ['school'] })
    expect(held).toMatchObject({ school: { isKnown: true, registers: 1 }, stranger: { isKnown: false } })
  })

  test('reads no more than a sample, and names a keyspace without stored values', async () => {
    const shared = embeddedShared()
    for (let id = 0; id < 50; id++) await shared.lease(`spell:${id}`, token('reader'), 10_000)
    const { keyspaces: held } = await storeStats({ shared, keyspaces }, { sample: 8 })
    expect(held.spell).toMatchObject({ registers: 50, sampled: 8, states: { lease: 8 } })
    const empty = await storeStats({ shared: embeddedShared(), keyspaces })
    expect(empty.keyspaces.spell).toMatchObject({ registers: 0, sampled: 0 })
    expect(empty.keyspaces.spell).not.toHaveProperty('generation')
  })
})
