import { describe, expect, it } from 'vitest'
import type { Batch, ChangeFeed, FeedOpening, FeedSession } from '../../src/index.ts'
import { changeFeedContract, SimulatedClock, SimulatedFeed } from '../../src/testing/index.ts'
import { openedInMemory } from './change-feed-harness.ts'

/** A feed that differs from one that is right. */
type Flaw = (inner: SimulatedFeed) => ChangeFeed

/** The sentences of the contract that a feed breaks. */
async function broken(flaw: Flaw): Promise<string[]> {
  const tests: [name: string, run: () => Promise<void>][] = []
  const runner = {
    describe: (_: string, body: () => void) => body(),
    it: (name: string, body: () => Promise<void>) => tests.push([name, body]),
  }
  changeFeedContract(runner, {
    async open() {
      const clock = new SimulatedClock()
      const feed = new SimulatedFeed({ clock, tables: { spell: () => [] } })
      return openedInMemory(flaw(feed), clock, (table, rows) => feed.commit(table, rows))
    },
  })
  const names: string[] = []
  for (const [name, run] of tests) await run().catch(() => names.push(name))
  return names
}

/** The feed with other sessions. */
const withSessions =
  (change: (session: FeedSession, opening: FeedOpening) => Partial<FeedSession>, opening = {}): Flaw =>
  inner => ({
    name: inner.name,
    tables: inner.tables,
    pollMs: inner.pollMs,
    timeoutMs: inner.timeoutMs,
    async open(given) {
      const session = await inner.open({ ...given, ...opening })
      const same: FeedSession = {
        origin: session.origin,
        mayTakeBack: session.mayTakeBack,
        take: after => session.take(after),
        settle: applied => session.settle(applied),
        remembered: () => session.remembered(),
        remember: (...given) => session.remember(...given),
        close: () => session.close(),
        abandon: () => session.abandon(),
      }
      return { ...same, ...change(session, given) }
    },
  })

const withBatches = (change: (batch: Batch) => Batch): Flaw =>
  withSessions(session => ({ take: async after => change(await session.take(after)) }))

describe('changeFeedContract', () => {
  it('finds nothing wrong with a feed that is right', async () => {
    expect(await broken(withSessions(() => ({})))).toEqual([])
  })

  let lives = 0
  const flaws: readonly [flaw: string, feed: Flaw, sentence: string][] = [
    [
      'marks changes as applied when they are taken',
      withSessions(session => ({
        async take(after) {
          const batch = await session.take(after)
          await session.settle(batch.changes)
          return batch
        },
      })),
      'take hands out again what was not settled as applied',
    ],
    [
      'takes any settlement for one of the whole batch',
      withSessions(session => {
        let last: Batch['changes'] = []
        return {
          async take(after) {
            const batch = await session.take(after)
            last = batch.changes
            return batch
          },
          settle: applied => session.settle(applied.length > 0 ? last : []),
        }
      }),
      'take hands out again what was left of a batch that was settled in part',
    ],
    [
      'never forgets what was applied',
      withSessions(session => ({ settle: () => session.settle([]) })),
      'take ends with nothing left when everything was settled',
    ],
    [
      'tells only of the row as it is',
      withBatches(batch => ({
        ...batch,
        changes: batch.changes.map(change => Object.assign({}, change, { rows: change.rows?.slice(-1) })),
      })),
      'take hands out both ids of a row whose id was changed',
    ],
    [
      'does not see TRUNCATE',
      withBatches(batch => ({ ...batch, changes: batch.changes.filter(({ rows }) => rows !== undefined) })),
      'take hands out a change of the whole table',
    ],
    [
      'reads numbers as numbers',
      withBatches(batch => ({
        ...batch,
        changes: batch.changes.map(change =>
          Object.assign({}, change, { rows: change.rows?.map(row => ({ ...row, level: 4 })) }),
        ),
      })),
      'take hands out every row that was changed, by table and id',
    ],
    [
      'always says that nothing is left',
      withSessions(session => ({
        take: async () => ({ ...(await session.take(undefined)), drained: true }),
      })),
      'take tells nobody that nothing is left while another one holds a change',
    ],
    [
      'has sessions with private stores share the work',
      withSessions(() => ({}), { isPrivate: false }),
      'take hands each of them every change since it was opened',
    ],
    [
      'forgets what was committed while nobody looked',
      withSessions(() => ({}), { isPrivate: true }),
      'open hands a later session what was committed while there was none',
    ],
    [
      'remembers for each session',
      withSessions(() => {
        const own = new Map<string, string>()
        return {
          remembered: async () => own,
          remember: async (keyspaces, identity) => {
            for (const name of keyspaces) own.set(name, identity)
          },
        }
      }),
      'remember is for all sessions, and for later ones',
    ],
    [
      'takes every session for one with another origin',
      withSessions(() => ({ origin: `life ${++lives}` })),
      'open tells the same origin for as long as the origin is the same',
    ],
    [
      'calls a session lost that was ended',
      withSessions((session, opening) => ({
        abandon() {
          session.abandon()
          opening.lost(new Error('ended'))
        },
      })),
      'close and abandon end a session without calling it lost',
    ],
  ]

  it.each(flaws)('finds a feed that %s', async (_, feed, sentence) => {
    expect(await broken(feed)).toContain(sentence)
  })
})
