/**
 * What the shared store has not confirmed: it is reported as it is, retried until it is applied, and bypassed
 * meanwhile.
 */
import { gate } from '../../src/testing/index.ts'
import {
  all,
  failure,
  got,
  L1,
  type Process,
  type Protection,
  STRONG,
  Stage,
  shown,
  unless,
  type Verdict,
} from './stage.ts'

/** The first wrong answer of a process that is asked every ten milliseconds for a second, also between two retries. */
async function everyTenMs(stage: Stage, { spells }: Process, right: number): Promise<Verdict> {
  for (let passedMs = 0; passedMs < 1_000; passedMs += 10) {
    const verdict = got('a read after a queued invalidation', await stage.now(spells.get(4)), right)
    if (verdict !== 'right') return verdict
    await stage.clock.advance(10)
  }
  return 'right'
}

/** A write's function that leaves it open whether its transaction commits. */
const lost = () => {
  throw new Error('the connection was lost')
}

export const queue: readonly Protection[] = [
  {
    name: 'get bypasses the store while an invalidation of its process is queued',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const process = await stage.process()
      await stage.now(process.spells.get(4))
      process.link.fail('invalidate')
      origin.commit(2)
      const outcome = await stage.now(process.spells.invalidate(4))
      return all(
        unless(outcome !== 'queued', 'an invalidation that was not applied was called applied'),
        await everyTenMs(stage, process, 2),
      )
    },
    controls: [
      {
        without: 'bypassing the store',
        patches: [["return { kind: 'bypass', why }\n  const held", 'void why\n  const held']],
        reports: 'a read after a queued invalidation got v1, not v2',
      },
      {
        without: 'reporting what is queued',
        patches: [
          ["return applied.every(Boolean) ? 'applied' : 'queued'", "return applied ? 'applied' : 'queued'"],
        ],
        reports: 'an invalidation that was not applied was called applied',
      },
    ],
  },
  {
    name: 'getMany bypasses the store for a key whose invalidation was queued when it began',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process()
      await stage.now(spells.get(4))
      await stage.now(spells.getMany([4])) // found: the next batch looks first
      link.fail('invalidate')
      origin.commit(2)
      await stage.now(spells.invalidate(4))
      link.delay(60, 'invalidate') // tried again, applied 30 ms later, and confirmed
      link.delay(80, 'leaseMany')
      await stage.clock.advance(1)
      const reading = spells.getMany([4, 5]) // sees v1 at once, and asks for a lease of the other
      const found = await stage.within(100, reading)
      return typeof found === 'symbol'
        ? 'the batch waited on'
        : got('a batch after a queued invalidation', found.get(4), 2)
    },
    controls: [
      {
        without: 'looking before it asks',
        patches: [['const must = bypass ?? mustBypass(', 'const must = mustBypass(']],
        reports: 'a batch after a queued invalidation got v1, not v2',
      },
    ],
  },
  {
    name: 'get bypasses L1 while an invalidation of the keyspace is queued',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const process = await stage.process({ cache: { local: L1 } })
      await stage.now(process.spells.get(4))
      process.link.fail('invalidateKeyspace')
      origin.commit(2)
      const outcome = await stage.now(process.spells.invalidateAll())
      // A heartbeat brings the generation back, which is still the old one.
      return all(
        unless(outcome !== 'queued', 'an invalidation that was not applied was called applied'),
        await everyTenMs(stage, process, 2),
      )
    },
    controls: [
      {
        without: 'bypassing L1',
        patches: [['    if (queue.size > 0 && queue.holds(this.key(id))) return NOWHERE\n', '']],
        reports: 'a read after a queued invalidation got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing of the older generation once a queued invalidateAll is applied',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const process = await stage.process()
      await stage.now(process.spells.get(4))
      process.link.fail('invalidateKeyspace')
      origin.commit(2)
      const outcome = await stage.now(process.spells.invalidateAll())
      await stage.clock.advance(700) // a heartbeat brings the generation back, which is still the old one
      process.link.holdStream() // the message comes later than the reply
      process.link.restore('invalidateKeyspace')
      return all(
        unless(outcome !== 'queued', 'an invalidation that was not applied was called applied'),
        await everyTenMs(stage, process, 2),
      )
    },
    controls: [
      {
        without: 'forgetting the generation before the keys are let go',
        patches: [['this.#forgetKeyspace(keyspace)\n', '']],
        reports: 'a read after a queued invalidation got v1, not v2',
      },
    ],
  },
  {
    name: 'write whose release is not confirmed says so, and is released later',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(4)) // v1 is in the store
      writer.link.fail('guard')
      writer.link.fail('release')
      const result = await stage.now(writer.spells.write(4, () => origin.commit(2)))
      if (typeof result === 'symbol') return 'the write waited on'
      writer.link.restore()
      await clock.advance(2_000)
      return all(
        got('a strong read in the end', await stage.now(reader.spells.get(4, STRONG)), 2),
        unless(result.invalidation !== 'queued', 'a release that was not applied was called applied'),
        unless(result.fenced, 'a write without a guard was called fenced'),
        unless(writer.cache.stats().now.queuedInvalidations > 0, 'what was applied is queued still'),
      )
    },
    controls: [
      {
        without: 'queueing the release',
        patches: [['if (reply === UNCONFIRMED) queue.add(this.key, this.#token)\n', '']],
        reports: 'a strong read in the end got v1, not v2',
      },
      {
        without: 'reporting what is queued',
        patches: [
          [
            'const applied = reply !== UNCONFIRMED',
            "const applied = typeof reply === 'object' || reply === UNCONFIRMED",
          ],
          ['applied && reply.stored', 'false'],
          ['applied && this.#intact && reply.held', 'false'],
        ],
        reports: 'a release that was not applied was called applied',
      },
    ],
  },
  {
    name: 'write whose guard was confirmed too late is not fenced',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const writer = await stage.process()
      writer.link.delay(300, 'guard') // given up after 100 ms, put up after 150 ms
      const committed = gate()
      const writing = writer.spells.write(4, async () => {
        origin.commit(2)
        await committed.wait()
      })
      await stage.within(400, writing)
      committed.open()
      const result = await stage.now(writing)
      if (typeof result === 'symbol') return 'the write waited on'
      return unless(result.fenced, 'a write that committed before it was guarded was called fenced')
    },
    controls: [
      {
        without: 'counting late as unconfirmed',
        patches: [['this.#intact = reply !== UNCONFIRMED', 'this.#intact = true']],
        reports: 'a write that committed before it was guarded was called fenced',
      },
    ],
  },
  {
    name: 'write whose process slept past its guard removes what was stored meanwhile, and is not fenced',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      const committing = gate()
      const writing = writer.spells.write(4, async () => {
        await committing.wait()
        origin.commit(2)
      })
      await clock.drain()
      clock.suspend(11_000)
      const reading = reader.spells.get(4) // stores v1
      await clock.drain()
      committing.open()
      await clock.drain() // ends before the overdue renewal runs
      await stage.now(reading)
      const result = await stage.now(writing)
      if (typeof result === 'symbol') return 'the write waited on'
      return all(
        got('a strong read after the write', await stage.now(reader.spells.get(4, STRONG)), 2),
        unless(result.fenced, 'a write that committed without a guard was called fenced'),
      )
    },
    controls: [
      {
        without: 'looking for the token at the release',
        patches: [['applied && this.#intact && reply.held', 'applied && this.#intact']],
        reports: 'a write that committed without a guard was called fenced',
      },
      {
        without: 'removing whatever is there',
        patches: [
          [
            '{ reply: { held: false, stored: false }, change: ABSENT }',
            '{ reply: { held: false, stored: false }, change: SAME }',
          ],
        ],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'write that may not go on without its guard does not begin',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const writer = await stage.process({ cache: { unguarded: 'refuse' } })
      writer.link.fail('guard')
      const error = await stage.now(failure(writer.spells.write(4, () => origin.commit(2))))
      return all(
        unless(origin.version !== 1, 'a write that may not go on without its guard has committed'),
        unless(
          (error as { code?: string } | undefined)?.code !== 'UNGUARDED',
          `the writer got ${shown(error)}`,
        ),
      )
    },
    controls: [
      {
        without: 'the refusal',
        patches: [["if (this.#unguarded === 'proceed' ||", "if (this.#unguarded !== 'proceed' ||"]],
        reports: 'a write that may not go on without its guard has committed',
      },
    ],
  },
  {
    name: 'invalidate is not taken out of the queue by an attempt that began before it',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      a.link.fail('invalidate')
      await stage.now(a.spells.invalidate(4)) // queued
      a.link.delay(80, 'invalidate')
      while (a.link.calls.invalidate < 2) await clock.advance(1)
      await clock.advance(45) // the second attempt has been applied, and its reply is on the way
      await stage.now(b.spells.get(4)) // v1 is in the store
      origin.commit(2)
      a.link.fail('invalidate')
      await stage.now(a.spells.invalidate(4)) // queued
      a.link.restore('invalidate')
      await clock.advance(2_000)
      return got('a strong read in the end', await stage.now(b.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'counting what is added',
        patches: [['if (pending.additions !== additions) return false', 'void additions']],
        reports: 'a strong read in the end got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidate does not end the guard of a commit in doubt',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      await stage.now(failure(a.spells.write(4, lost)))
      a.link.fail('invalidate')
      await stage.now(a.spells.invalidate(4)) // queued too, and to be applied at once
      a.link.restore()
      await clock.advance(2_000)
      await stage.now(b.spells.get(4))
      origin.commit(2) // the server had received it
      await clock.advance(2_000)
      return got('a strong read after the commit', await stage.now(b.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'waiting with the release until the commit can no longer happen',
        patches: [
          ['share.leave()\n', 'void share.end()\n'],
          ['queue.addLater(key, options.guardMs)', 'void [queue, options]'],
        ],
        reports: 'a strong read after the commit got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidate of a keyspace is repeated when a commit in doubt has collapsed into it',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const a = await stage.process({ cache: { maxQueuedInvalidations: 1 } })
      const b = await stage.process()
      a.link.fail('guard')
      await stage.now(failure(a.spells.write(5, lost))) // in doubt until 10 s have passed
      await stage.now(failure(a.spells.write(4, lost))) // does not fit into the queue any more
      a.link.restore()
      await clock.advance(2_000) // the keyspace is invalidated
      await stage.now(b.spells.get(4)) // v1 is in the store
      origin.commit(2) // the server had received it
      await clock.advance(9_000)
      return got('a strong read in the end', await stage.now(b.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'the second invalidation',
        patches: [['this.#doubt(keyspace, delayMs, () => this.addKeyspace(keyspace))', '']],
        reports: 'a strong read in the end got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidate of more keys than the queue holds invalidates their keyspace',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const a = await stage.process({ cache: { maxQueuedInvalidations: 2 } })
      const b = await stage.process()
      for (const id of [3, 4, 5]) await stage.now(b.spells.get(id))
      origin.commit(2)
      a.link.fail('invalidate')
      await stage.now(a.cache.invalidate([3, 4, 5].map(id => a.spells.key(id))))
      await clock.advance(2_000)
      const answers = []
      for (const id of [3, 4, 5])
        answers.push(got(`a strong read of ${id}`, await stage.now(b.spells.get(id, STRONG)), 2))
      return all(...answers)
    },
    controls: [
      {
        without: 'the invalidation of the keyspace',
        patches: [["outcome: 'queued' })\n    this.addKeyspace(keyspace)", "outcome: 'queued' })"]],
        reports: 'a strong read of 3 got v1, not v2',
      },
    ],
  },
  {
    name: 'get bypasses the store while a commit of its process is in doubt',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process()
      await stage.now(spells.get(4))
      link.fail('guard')
      const lost = new Error('the connection was lost during the commit')
      await stage.now(
        failure(
          spells.write(4, () => {
            origin.commit(2)
            throw lost
          }),
        ),
      )
      await stage.clock.advance(200) // the store is used again
      return got('a read of the process that wrote', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'asking for commits in doubt',
        patches: [['return this.#doubts.has(key) || this', 'return this']],
        reports: 'a read of the process that wrote got v1, not v2',
      },
    ],
  },
  {
    name: 'get bypasses the store while a commit is in doubt for whose key there was no room',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process({ cache: { maxQueuedInvalidations: 1 } })
      link.fail('guard')
      const inDoubt = (id: number) =>
        stage.now(
          failure(
            spells.write(id, () => {
              throw new Error('the connection was lost during the commit')
            }),
          ),
        )
      await inDoubt(4)
      await inDoubt(5)
      await stage.clock.advance(500) // the store is used again, and the keyspace is invalidated
      await stage.now(spells.get(5))
      origin.commit(2) // the commit of 5 happens after all
      return got('a read of the process that wrote', await stage.now(spells.get(5)), 2)
    },
    controls: [
      {
        without: 'asking for commits in doubt of the keyspace',
        patches: [
          ['return this.#doubts.has(key) || this.#doubts.has(keyspace)', 'return this.#doubts.has(key)'],
        ],
        reports: 'a read of the process that wrote got v1, not v2',
      },
    ],
  },
]
