import { createCache } from 'cacheaside'
import { changeFeedContract, SimulatedClock } from 'cacheaside/testing'
import { describe, expect, it } from 'vitest'
import { Journal, journalFeed } from './your-own-feed.ts'

describe('journalFeed keeps the contract of a change feed', () => {
  changeFeedContract(
    { describe, it },
    {
      async open() {
        const clock = new SimulatedClock()
        const journal = new Journal()
        return {
          feed: journalFeed(journal, { spell: () => [] }),
          table: 'spell',
          clock,
          commit: async (...ids) => {
            for (const id of ids) journal.append('spell', [{ id }], clock.nowMs())
          },
          rename: async (from, to) => journal.append('spell', [{ id: from }, { id: to }], clock.nowMs()),
          commitAll: async () => journal.append('spell', undefined, clock.nowMs()),
          advance: ms => clock.advance(ms),
          close: async () => {},
        }
      },
    },
  )
})

describe('journalFeed', () => {
  it('has what was changed read again', async () => {
    const clock = new SimulatedClock()
    const journal = new Journal()
    const damages = new Map([[4, 40]])
    const feed = journalFeed(journal, { spell: row => [spells.key(row.id)] })
    const cache = createCache({ clock, feed })
    const spells = cache.keyspace('spell', { load: (id: number) => damages.get(id) })
    await clock.advance(1)
    expect(await spells.get(4)).toBe(40)

    damages.set(4, 41)
    journal.append('spell', [{ id: '4' }], clock.nowMs())
    await clock.advance(feed.pollMs)
    expect(await spells.get(4)).toBe(41)
    await cache.close()
  })
})
