import assert from 'node:assert/strict'
import type { Clock } from '../base/clock.ts'
import type { Batch, Change, ChangeFeed, FeedSession } from '../feed/change-feed.ts'
import type { ContractRunner } from './contract/stage.ts'

/** Gives the contract suite the feed that it tests. */
export interface ChangeFeedHarness {
  /** Opens a new feed, with no changes waiting. Called once for every test. */
  open(): Promise<OpenedChangeFeed>
  /**
   * Whether the feed's origin has transactions that a test can hold open beside the feed's own sessions. If so,
   * {@link OpenedChangeFeed.begin} is called.
   *
   * @defaultValue false
   */
  readonly transactions?: boolean
}

/** A feed under test, and what the suite must be able to do beside it. */
export interface OpenedChangeFeed {
  readonly feed: ChangeFeed
  /** The name of the only table it watches, whose rows have an `id`. */
  readonly table: string
  /** The clock by which sessions count time. */
  readonly clock: Clock
  /** Changes the rows with these ids in one transaction and commits, without the feed's help. */
  commit(...ids: string[]): Promise<void>
  /** Changes the id of one row and commits. */
  rename(from: string, to: string): Promise<void>
  /** Changes the whole table at once, as TRUNCATE does, and commits. */
  commitAll(): Promise<void>
  /** Changes the row with this id, and does not commit yet. */
  begin?(id: string): Promise<{ commit(): Promise<void>; rollback(): Promise<void> }>
  /** Lets at least `ms` milliseconds pass for the feed. */
  advance(ms: number): Promise<void>
  /** Closes everything that was opened for it. Sessions that are still open have been abandoned. */
  close(): Promise<void>
}

/**
 * What every change feed must do, as a suite of tests: each sentence of the `ChangeFeed` contract.
 *
 * It uses nothing but `describe` and `it` of the runner it is given (Vitest, `node:test`, Jest …) and
 * `node:assert/strict`. A feed may hand out a change late: the suite asks again, a hundred times with `pollMs` in
 * between, before it says that one is missing. It may also hand out whole tables where rows were changed.
 *
 * @example
 * ```ts
 * import { describe, it } from 'vitest'
 *
 * changeFeedContract({ describe, it }, {
 *   async open() {
 *     const clock = new SimulatedClock()
 *     const feed = new SimulatedFeed({ clock, tables: { spell: () => [] } })
 *     return {
 *       feed,
 *       table: 'spell',
 *       clock,
 *       commit: async (...ids) => { for (const id of ids) feed.commit('spell', [{ id }]) },
 *       rename: async (from, to) => feed.commit('spell', [{ id: from }, { id: to }]),
 *       commitAll: async () => feed.commit('spell'),
 *       advance: ms => clock.advance(ms),
 *       close: async () => {},
 *     }
 *   },
 * })
 * ```
 */
export function changeFeedContract(runner: ContractRunner, harness: ChangeFeedHarness): void {
  const on: FeedStage = (name, play) => {
    runner.it(name, async () => {
      const opened = await harness.open()
      const scene = new FeedScene(opened)
      try {
        await play(scene)
      } finally {
        scene.abandonAll()
        await opened.close()
      }
    })
  }
  runner.describe('what a feed says of itself', () => about(on))
  runner.describe('what is handed out', () => handedOut(on))
  if (harness.transactions) runner.describe('transactions', () => transactions(on))
  runner.describe('at least once', () => atLeastOnce(on))
  runner.describe('sessions that share the work', () => sharing(on))
  runner.describe('sessions with a store of their own', () => observing(on))
  runner.describe('what is remembered', () => remembering(on))
}

type FeedStage = (name: string, play: (scene: FeedScene) => Promise<void>) => void

const MOST_LOOKS = 100

/** Whether a change is about the row with this id: a change of the whole table is about every row. */
const covers = (change: Change, id: string): boolean =>
  change.rows === undefined || change.rows.some(row => row.id === id)

/** What one test works with. */
class FeedScene {
  readonly opened: OpenedChangeFeed
  readonly losses: unknown[] = []
  readonly #sessions: FeedSession[] = []

  constructor(opened: OpenedChangeFeed) {
    this.opened = opened
  }

  /** Opens a session, which the test may leave open. */
  async open(isPrivate = false): Promise<FeedSession> {
    const session = await this.opened.feed.open({
      clock: this.opened.clock,
      guardMs: 10_000,
      isPrivate,
      lost: error => this.losses.push(error),
      warn: () => {},
      mended: () => {},
    })
    this.#sessions.push(session)
    return session
  }

  abandonAll(): void {
    for (const session of this.#sessions) session.abandon()
  }

  /** Takes batches until every one of these rows was in one, settling `applied` of each. */
  async takeAll(
    session: FeedSession,
    ids: readonly string[],
    applied: (batch: Batch) => readonly Change[] = batch => batch.changes,
  ): Promise<Change[]> {
    const changes: Change[] = []
    let missing = ids
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      const batch = await session.take(undefined)
      changes.push(...batch.changes)
      if (batch.changes.length > 0) await session.settle(applied(batch))
      missing = missing.filter(id => !batch.changes.some(change => covers(change, id)))
      if (missing.length === 0) return changes
      if (batch.changes.length === 0) await this.opened.advance(this.opened.feed.pollMs)
    }
    return assert.fail(`never handed out: the change of ${missing.join(', ')}`)
  }

  /** Takes until a batch is not empty. The test then settles it. */
  async takeSome(session: FeedSession, after?: string): Promise<Batch> {
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      const batch = await session.take(after)
      if (batch.changes.length > 0) return batch
      await this.opened.advance(this.opened.feed.pollMs)
    }
    return assert.fail('never handed out: what was changed')
  }

  /** Takes and settles until the feed says that nothing is left. */
  async drain(session: FeedSession): Promise<Change[]> {
    const changes: Change[] = []
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      const batch = await session.take(undefined)
      changes.push(...batch.changes)
      if (batch.changes.length > 0) await session.settle(batch.changes)
      else if (batch.drained) return changes
      else await this.opened.advance(this.opened.feed.pollMs)
    }
    return assert.fail('never drained, although everything was settled')
  }
}

function about(on: FeedStage): void {
  on('it has a name, a table and two times', async ({ opened }) => {
    const { name, tables, pollMs, timeoutMs } = opened.feed
    assert.match(name, /\S/)
    assert.equal(typeof tables.get(opened.table)?.keys, 'function')
    assert.ok(pollMs > 0 && Number.isFinite(pollMs), `pollMs is ${pollMs}`)
    assert.ok(timeoutMs > 0 && Number.isFinite(timeoutMs), `timeoutMs is ${timeoutMs}`)
  })

  on('open tells the same origin for as long as the origin is the same', async scene => {
    const first = await scene.open()
    const second = await scene.open()
    assert.equal(typeof first.origin, 'string')
    assert.doesNotMatch(first.origin, /\p{Cc}/u)
    assert.equal(second.origin, first.origin)
    assert.equal(second.server, first.server)
    assert.equal(typeof first.mayTakeBack, 'boolean')
  })

  on('take says that nothing is left where nothing was changed', async scene => {
    const batch = await (await scene.open()).take(undefined)
    assert.deepEqual(batch.changes, [])
    assert.equal(batch.drained, true)
  })

  on('close and abandon end a session without calling it lost', async scene => {
    const closed = await scene.open()
    const abandoned = await scene.open()
    await closed.close()
    abandoned.abandon()
    abandoned.abandon()
    await scene.opened.advance(scene.opened.feed.pollMs)
    assert.deepEqual(scene.losses, [])
  })
}

function handedOut(on: FeedStage): void {
  on('take hands out every row that was changed, by table and id', async scene => {
    const session = await scene.open()
    await scene.opened.commit('1', '2')
    await scene.opened.commit('3')
    const changes = await scene.takeAll(session, ['1', '2', '3'])
    for (const { id, table, rows, ageMs } of changes) {
      assert.match(id, /\S/)
      assert.equal(table, scene.opened.table)
      assert.ok(Number.isFinite(ageMs) && ageMs >= 0, `ageMs is ${ageMs}`)
      const values = (rows ?? []).flatMap(row => Object.values(row))
      assert.ok(values.every(value => value === null || typeof value === 'string'))
    }
  })

  on('take hands out both ids of a row whose id was changed', async scene => {
    const session = await scene.open()
    await scene.opened.commit('1')
    await scene.drain(session)
    await scene.opened.rename('1', '7')
    await scene.takeAll(session, ['1', '7'])
  })

  on('take hands out a change of the whole table', async scene => {
    const session = await scene.open()
    await scene.opened.commitAll()
    const changes = await scene.takeAll(session, ['any row'])
    assert.ok(changes.some(({ rows }) => rows === undefined))
  })

  on('take hands out many changes, however many batches that takes', async scene => {
    const session = await scene.open()
    const ids = Array.from({ length: 1_201 }, (_, i) => String(i + 1))
    await scene.opened.commit(...ids)
    await scene.takeAll(session, ids)
  })
}

function transactions(on: FeedStage): void {
  const begin = (scene: FeedScene, id: string) => {
    assert.ok(scene.opened.begin, 'a harness with transactions has begin')
    return scene.opened.begin(id)
  }

  for (const isPrivate of [false, true]) {
    const who = isPrivate ? 'a private session' : 'a shared session'
    on(`take hands ${who} nothing before it is committed, and then what was committed late`, async scene => {
      const session = await scene.open(isPrivate)
      const transaction = await begin(scene, '1')
      await scene.opened.commit('2')
      const early = await scene.takeAll(session, ['2'])
      assert.ok(!early.some(change => covers(change, '1')))
      await transaction.commit()
      await scene.takeAll(session, ['1'])
    })
  }

  on('take hands out nothing of what was rolled back', async scene => {
    const session = await scene.open()
    await (await begin(scene, '1')).rollback()
    await scene.opened.commit('2')
    const changes = await scene.drain(session)
    assert.ok(!changes.some(change => covers(change, '1')))
    assert.ok(changes.some(change => covers(change, '2')))
  })
}

function atLeastOnce(on: FeedStage): void {
  on('take hands out again what was not settled as applied', async scene => {
    const session = await scene.open()
    await scene.opened.commit('1', '2')
    await scene.takeAll(session, ['1', '2'], () => [])
    await scene.takeAll(session, ['1', '2'])
  })

  on('take hands out again what was left of a batch that was settled in part', async scene => {
    const session = await scene.open()
    await scene.opened.commit('1', '2', '3')
    await scene.takeAll(session, ['1', '2', '3'], ({ changes }) =>
      changes.filter(change => !covers(change, '2')),
    )
    await scene.takeAll(session, ['2'])
  })

  on('take ends with nothing left when everything was settled', async scene => {
    const session = await scene.open()
    await scene.opened.commit('1', '2')
    await scene.drain(session)
    const batch = await session.take(undefined)
    assert.deepEqual(batch.changes, [])
    assert.equal(batch.drained, true)
  })

  on('take after an id hands out what came later, and from the beginning what came before', async scene => {
    const session = await scene.open()
    await scene.opened.commit('1')
    const [first] = await scene.takeAll(session, ['1'], () => [])
    await scene.opened.commit('2')
    const batch = await scene.takeSome(session, first!.id)
    assert.ok(batch.changes.some(change => covers(change, '2')))
    await session.settle([])
    await scene.takeAll(session, ['1', '2'])
  })

  on('open hands a later session what was committed while there was none', async scene => {
    await (await scene.open()).close()
    await scene.opened.commit('1')
    await scene.takeAll(await scene.open(), ['1'])
  })

  on('close and abandon leave what was not settled to a later session', async scene => {
    await scene.opened.commit('1')
    const closed = await scene.open()
    await scene.takeAll(closed, ['1'], () => [])
    await closed.close()
    const abandoned = await scene.open()
    await scene.takeSome(abandoned)
    abandoned.abandon()
    await scene.takeAll(await scene.open(), ['1'])
  })
}

function sharing(on: FeedStage): void {
  on('take hands every change to one of them', async scene => {
    const sessions = [await scene.open(), await scene.open()]
    const ids = Array.from({ length: 20 }, (_, i) => String(i + 1))
    await scene.opened.commit(...ids)
    const changes: Change[] = []
    for (const session of sessions) changes.push(...(await scene.drain(session)))
    for (const id of ids)
      assert.ok(
        changes.some(change => covers(change, id)),
        `${id} was lost`,
      )
  })

  on('take tells nobody that nothing is left while another one holds a change', async scene => {
    const holding = await scene.open()
    const asking = await scene.open()
    await scene.opened.commit('1')
    const held = await scene.takeSome(holding)
    const asked = await asking.take(undefined)
    assert.ok(!asked.drained || asked.changes.some(change => covers(change, '1')))
    if (asked.changes.length > 0) await asking.settle([])
    await holding.settle(held.changes)
    await scene.drain(asking)
  })

  on('settle by one of them counts for all', async scene => {
    const [first, second] = [await scene.open(), await scene.open()]
    await scene.opened.commit('1')
    await scene.takeAll(first, ['1'])
    assert.deepEqual(await scene.drain(second), [])
  })
}

function observing(on: FeedStage): void {
  on('take hands each of them every change since it was opened', async scene => {
    const sessions = [await scene.open(true), await scene.open(true)]
    await scene.opened.commit('1')
    await scene.opened.commit('2')
    for (const session of sessions) await scene.takeAll(session, ['1', '2'])
    await scene.opened.commit('1')
    for (const session of sessions) await scene.takeAll(session, ['1'])
  })

  on('take hands out again what was not settled', async scene => {
    const session = await scene.open(true)
    await scene.opened.commit('1')
    await scene.takeAll(session, ['1'], () => [])
    await scene.takeAll(session, ['1'])
  })

  on('remembered and remember may still be called', async scene => {
    const session = await scene.open(true)
    await session.remember(['spell'], 'store 1')
    assert.ok((await session.remembered()) instanceof Map)
  })
}

function remembering(on: FeedStage): void {
  on('remembered is nothing in the beginning', async scene => {
    assert.deepEqual([...(await (await scene.open()).remembered())], [])
  })

  on('remember is for all sessions, and for later ones', async scene => {
    const first = await scene.open()
    const second = await scene.open()
    await first.remember(['spell', 'list'], 'store 1')
    await second.remember(['list'], "store's \\ 2")
    const expected = [
      ['list', "store's \\ 2"],
      ['spell', 'store 1'],
    ]
    assert.deepEqual([...(await first.remembered())].sort(), expected)
    await first.close()
    await second.close()
    assert.deepEqual([...(await (await scene.open()).remembered())].sort(), expected)
  })

  on('remember instead of a text leaves alone what is another one', async scene => {
    const [first, second] = [await scene.open(), await scene.open()]
    await first.remember(['spell', 'list'], 'doubt 1')
    await second.remember(['list'], 'doubt 2')
    await first.remember(['spell', 'list', 'late'], 'store 1', 'doubt 1')
    const expected = [
      ['list', 'doubt 2'],
      ['spell', 'store 1'],
    ]
    assert.deepEqual([...(await second.remembered())].sort(), expected)
  })

  on('remembered tells between take and settle what others have remembered since', async scene => {
    const [taking, other] = [await scene.open(), await scene.open()]
    await other.remember(['spell'], 'store 1')
    await scene.opened.commit('1')
    const { changes } = await scene.takeSome(taking)
    await other.remember(['spell'], 'store 2')
    assert.deepEqual([...(await taking.remembered())], [['spell', 'store 2']])
    await taking.settle(changes)
    assert.deepEqual(await scene.drain(taking), [])
  })
}
