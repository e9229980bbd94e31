import type { ChangeFeed, FeedRow } from '../../src/index.ts'
import type { OpenedChangeFeed, SimulatedClock } from '../../src/testing/index.ts'

/**
 * A feed of one table without a database, as the contract suite wants it.
 *
 * @param commit - Commits a change of these rows of the table, or of the whole table.
 */
export function openedInMemory(
  feed: ChangeFeed,
  clock: SimulatedClock,
  commit: (table: string, rows?: readonly FeedRow[]) => void,
  close: () => void = () => {},
): OpenedChangeFeed {
  return {
    feed,
    table: 'spell',
    clock,
    commit: async (...ids) => {
      for (const id of ids) commit('spell', [{ id }])
    },
    rename: async (from, to) => commit('spell', [{ id: from }, { id: to }]),
    commitAll: async () => commit('spell'),
    advance: ms => clock.advance(ms),
    close: async () => close(),
  }
}
