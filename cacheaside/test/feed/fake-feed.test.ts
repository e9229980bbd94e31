import { describe, expect, it } from 'vitest'
import { changeFeedContract, SimulatedClock } from '../../src/testing/index.ts'
import { openedInMemory } from '../testing/change-feed-harness.ts'
import { FakeFeed } from './fake-feed.ts'

describe('the feed that relays are tested with keeps the contract of a change feed', () => {
  changeFeedContract(
    { describe, it },
    {
      async open() {
        const clock = new SimulatedClock()
        const feed = new FakeFeed(clock, { spell: { keys: () => [] } })
        const commit: FakeFeed['commit'] = (table, rows) => feed.commit(table, rows)
        return openedInMemory(feed, clock, commit, () => expect(feed.living).toEqual([]))
      },
    },
  )
})
