/**
 * The guard of a write: what it keeps out, how long it stands, and when it is dirty, so that nothing is written
 * through.
 */

import { guardText } from '../../src/shared/register.ts'
import { gate } from '../../src/testing/index.ts'
import {
  all,
  failure,
  got,
  type Process,
  type Protection,
  STRONG,
  Stage,
  unless,
  type Verdict,
} from './stage.ts'

const THROUGH = { writeThrough: true } as const
const NO_GUARD = [
  'await access.run(() => access.store.guard(this.key, this.#token, options.guardMs, false))',
  "('new' as const)",
] as const

/** A strong reader in another process, after everything is over. */
const inTheEnd = async (stage: Stage, { spells }: Pick<Process, 'spells'>, right: number): Promise<Verdict> =>
  got('a strong read in the end', await stage.now(spells.get(4, STRONG)), right)

export const guards: readonly Protection[] = [
  {
    name: 'get by strong readers never goes back to v1 after somebody has seen v2',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [writer, reader, cutOff] = [await stage.process(), await stage.process(), await stage.process()]
      cutOff.link.cut() // reads the origin
      await stage.now(reader.spells.get(4)) // v1 is in the store
      const committed = gate()
      const writing = writer.spells.write(4, async () => {
        origin.commit(2)
        await committed.wait()
      })
      await stage.now(writing)
      const seen = await stage.now(cutOff.spells.get(4))
      const later = await stage.now(reader.spells.get(4, STRONG))
      committed.open()
      await stage.now(writing)
      return all(got('somebody', seen, 2), got('a strong read after that', later, 2))
    },
    controls: [
      { without: 'the guard', patches: [NO_GUARD], reports: 'a strong read after that got v1, not v2' },
    ],
  },
  {
    name: 'write that dies after its commit leaves nothing stale beyond guardMs',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(4))
      void writer.spells.write(4, () => {
        origin.commit(2)
        return new Promise(() => {})
      })
      await clock.drain()
      writer.link.cut()
      await clock.advance(10_100)
      return all(
        await inTheEnd(stage, reader, 2),
        unless(stage.guarded, 'the guard of a dead writer stood on'),
      )
    },
    controls: [
      { without: 'the guard', patches: [NO_GUARD], reports: 'a strong read in the end got v1, not v2' },
    ],
  },
  {
    name: 'write guards a key known only inside its transaction before it commits',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      origin.version = undefined
      await stage.now(reader.spells.get(4)) // the absence is in the store
      let seen: unknown
      const writing = writer.cache.write([], async ({ guard }) => {
        await guard(writer.spells.key(4))
        origin.commit(1)
        seen = await reader.spells.get(4, STRONG)
      })
      await stage.now(writing)
      return all(got('a strong read after the commit', seen, 1), await inTheEnd(stage, reader, 1))
    },
    controls: [
      {
        without: 'the guard',
        patches: [NO_GUARD],
        reports: 'a strong read after the commit got undefined, not v1',
      },
    ],
  },
  {
    name: 'write ends no guard before it is there',
    async scenario(library) {
      const stage = new Stage(library)
      const writer = await stage.process()
      writer.link.delay(80, 'guard') // put up after 40 ms, heard of after 80 ms
      const writing = writer.cache.write([], ({ guard }) => {
        void guard(writer.spells.key(4)) // somebody forgot to await it
      })
      await stage.within(200, writing)
      return unless(stage.guarded, 'a guard stands for nobody')
    },
    controls: [
      {
        without: 'waiting for guards under way before the release',
        patches: [['for (const share of this.#guards.values()) await share.confirming', '']],
        reports: 'a guard stands for nobody',
      },
    ],
  },
  {
    name: 'write ends no guard while a renewal of it is under way',
    async scenario(library) {
      const stage = new Stage(library)
      const writer = await stage.process()
      const committed = gate()
      const writing = writer.spells.write(4, () => committed.wait())
      await stage.within(3_300, writing)
      writer.link.delay(80, 'guard') // arrives after 40 ms
      await stage.within(40, writing)
      committed.open()
      await stage.within(200, writing)
      return unless(stage.guarded, 'a guard stands for nobody')
    },
    controls: [
      {
        without: 'one command at a time',
        patches: [['if (this.#isSending) return\n', '']],
        reports: 'a guard stands for nobody',
      },
    ],
  },
  {
    name: 'write that dies gives way to one that lives, which moves only its own deadline',
    async scenario(library) {
      const stage = new Stage(library)
      const { clock } = stage
      const [dead, living] = [await stage.process(), await stage.process()]
      void dead.spells.write(4, () => new Promise(() => {}))
      await clock.drain()
      dead.link.cut() // its deadline is at 10 s
      const committed = gate()
      const writing = living.spells.write(4, () => committed.wait())
      await stage.within(12_000, writing) // renewed all the time
      const during = stage.guarded
      committed.open()
      await stage.now(writing)
      return all(
        unless(!during, 'a living writer was not guarded'),
        unless(stage.guarded, 'the guard of a dead writer outlived its deadline'),
      )
    },
    controls: [
      {
        without: 'a deadline per writer: a renewal moves them all',
        patches: [
          [
            'withHolder(others, { token, deadlineMs: nowMs + guardMs })',
            'withHolder(others, { token, deadlineMs: 0 }).map(holder => ({ ...holder, deadlineMs: nowMs + guardMs }))',
          ],
        ],
        reports: 'the guard of a dead writer outlived its deadline',
      },
    ],
  },
  {
    name: 'write is guarded until its own deadline, also if others join it',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const writer = await stage.process({ cache: { guardMs: 30_000 } })
      const [hasty, reader] = [await stage.process({ cache: { guardMs: 3_000 } }), await stage.process()]
      const committing = gate()
      void writer.spells.write(4, async () => {
        await committing.wait()
        origin.commit(2)
        writer.link.cut() // dies
        await new Promise(() => {})
      })
      await clock.drain()
      void hasty.spells.write(4, () => new Promise(() => {}))
      await clock.drain()
      hasty.link.cut()
      await clock.advance(5_000)
      await stage.now(reader.spells.get(4))
      committing.open()
      await clock.advance(31_000)
      return inTheEnd(stage, reader, 2)
    },
    controls: [
      {
        without: 'a life as long as the latest deadline',
        patches: [['Math.max(...holders.map(({ deadlineMs }) => deadlineMs))', 'holders.at(-1)!.deadlineMs']],
        reports: 'a strong read in the end got v1, not v2',
      },
    ],
  },
  {
    name: 'write through stores the committed row',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      await stage.now(writer.spells.write(4, () => origin.commit(2), THROUGH))
      const answer = await stage.now(reader.spells.get(4))
      return all(got('a read', answer, 2), unless(origin.loads > 0, 'the committed row had to be loaded'))
    },
    controls: [
      {
        without: 'the write-through',
        patches: [
          [
            'if (committed === undefined || !held ||',
            'if ((true as boolean) || committed === undefined || !held ||',
          ],
        ],
        reports: 'the committed row had to be loaded',
      },
    ],
  },
  {
    name: 'write through stores nothing where another writer has joined and died',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      const commitOfA = gate()
      void a.spells.write(4, async () => {
        await commitOfA.wait()
        origin.commit(3)
        a.link.cut() // dies
        await new Promise(() => {})
      })
      await clock.drain()
      const endOfB = gate()
      const writing = b.spells.write(
        4,
        async () => {
          const row = origin.commit(2)
          await endOfB.wait()
          return row
        },
        THROUGH,
      )
      await stage.now(writing)
      commitOfA.open()
      await clock.advance(14_000) // the deadline of A passes, B is renewed
      endOfB.open()
      await stage.now(writing)
      return inTheEnd(stage, b, 3)
    },
    controls: [
      {
        without: 'dirty: a second writer joins',
        patches: [
          [
            'standing?.dirty === true || joins || (renewal && !found)',
            'standing?.dirty === true || (joins && false) || (renewal && !found)',
          ],
        ],
        reports: 'a strong read in the end got v2, not v3',
      },
    ],
  },
  {
    name: 'write through stores nothing where a guard stood whose deadline had passed',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const writer = await stage.process()
      // Whose guard it is has committed late, or is about to.
      const dead = { token: 'D'.repeat(16), deadlineMs: clock.epochMs() - 1 }
      stage.plant('spell:4', guardText(false, [dead]), 1_000)
      const committed = gate()
      const writing = writer.spells.write(
        4,
        async () => {
          const row = origin.commit(2)
          await committed.wait()
          return row
        },
        THROUGH,
      )
      await stage.now(writing)
      origin.commit(3)
      committed.open()
      await stage.now(writing)
      return inTheEnd(stage, writer, 3)
    },
    controls: [
      {
        without: 'dirty: passed tokens count as well',
        patches: [
          [
            'const joins = standing !== undefined && !found',
            'const joins = !found && others.some(holder => holder.deadlineMs > nowMs)',
          ],
        ],
        reports: 'a strong read in the end got v2, not v3',
      },
    ],
  },
  {
    name: 'write through stores nothing where its guard was lost and put up again',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      const endOfA = gate()
      const writing = a.spells.write(
        4,
        async () => {
          const row = origin.commit(2)
          await endOfA.wait()
          return row
        },
        THROUGH,
      )
      await stage.now(writing)
      a.link.hang('guard') // its renewals are stuck, and its guard expires
      await stage.within(10_500, writing)
      await stage.now(b.spells.write(4, () => origin.commit(3)))
      a.link.loseReplies('guard')
      await clock.advance(3_000) // a renewal puts it up again, and A does not hear of it
      const again = stage.guarded
      endOfA.open()
      const result = await stage.now(writing)
      if (typeof result === 'symbol') return 'the write waited on'
      return all(
        unless(!again, 'the guard was not put up again'),
        await inTheEnd(stage, b, 3),
        unless(result.fenced, 'a write whose guard was lost was called fenced'),
      )
    },
    controls: [
      {
        without: 'dirty: a token found missing joins again; and without the writer knowing it',
        patches: [
          ['|| (renewal && !found)', ''],
          ["if (reply !== 'renewed') this.#lose()", ''],
        ],
        reports: 'a strong read in the end got v2, not v3',
      },
      {
        without: 'counting an unknown renewal as a lost one',
        patches: [["if (reply !== 'renewed') this", "if (reply === 'rejoined') this"]],
        reports: 'a write whose guard was lost was called fenced',
      },
    ],
  },
  {
    name: 'write through stores nothing where the key was invalidated under its guard',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      const endOfA = gate()
      const writing = a.spells.write(
        4,
        async () => {
          const row = origin.commit(2)
          await endOfA.wait()
          return row
        },
        THROUGH,
      )
      await stage.now(writing)
      origin.commit(3) // by another program, whose change somebody has noticed
      await stage.now(b.spells.invalidate(4))
      endOfA.open()
      await stage.now(writing)
      return all(
        unless(stage.guarded, 'a refused write-through left its guard standing'),
        await inTheEnd(stage, b, 3),
      )
    },
    controls: [
      {
        without: 'dirty: an invalidation',
        patches: [['text: guardText(true, []) + text!.slice(HOLDERS_AT)', 'text: text!']],
        reports: 'a strong read in the end got v2, not v3',
      },
      {
        without: 'the plain release after a refused write-through',
        patches: [
          [
            '!held || standing.dirty) return gone',
            '!held || standing.dirty)\n    return committed === undefined ? gone : { ...gone, change: SAME }',
          ],
        ],
        reports: 'a refused write-through left its guard standing',
      },
    ],
  },
  {
    name: 'write through stores nothing where a writer without a guard has released',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      const endOfA = gate()
      a.link.fail('guard') // or it was evicted
      const writingA = a.spells.write(4, async () => {
        await endOfA.wait()
        origin.commit(3)
      })
      await stage.now(writingA)
      const endOfB = gate()
      const writingB = b.spells.write(
        4,
        async () => {
          const row = origin.commit(2)
          await endOfB.wait()
          return row
        },
        THROUGH,
      )
      await stage.now(writingB) // guards clean, and commits
      endOfA.open()
      await stage.now(writingA) // commits, and releases: its token is not there
      endOfB.open()
      await stage.now(writingB)
      return inTheEnd(stage, b, 3)
    },
    controls: [
      {
        without: 'dirty: a release that leaves others',
        patches: [['guard(true, left)', 'guard(standing.dirty, left)']],
        reports: 'a strong read in the end got v2, not v3',
      },
    ],
  },
  {
    name: 'write through stamps the row with the generation of before its guard',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      const endOfA = gate()
      const writing = a.spells.write(
        4,
        async () => {
          const row = origin.commit(2)
          await endOfA.wait()
          return row
        },
        THROUGH,
      )
      await stage.now(writing)
      origin.commit(3)
      await stage.now(b.spells.invalidateAll())
      endOfA.open()
      await stage.now(writing)
      return inTheEnd(stage, b, 3)
    },
    controls: [
      {
        without: 'reading the generation before the guard',
        patches: [
          [
            '?.committed?.(this.#generation) : undefined',
            '?.committed?.(String(await this.#parts.stream.readGeneration(keyspaceOf(this.key)))) : undefined',
          ],
        ],
        reports: 'a strong read in the end got v2, not v3',
      },
    ],
  },
  {
    name: 'write sends a guard once, and a copy that arrives late stores nothing',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      a.link.hang('guard') // stuck in the network
      const writing = a.spells.write(4, () => origin.commit(2), THROUGH)
      await stage.within(50, writing)
      a.link.delay(2, 'guard') // whatever is sent after it passes
      a.link.hang('release') // stuck as well
      await stage.within(100, writing)
      a.link.delay(2, 'release')
      await stage.within(1_000, writing) // gives up on the release, and repeats it
      await stage.now(b.spells.write(4, () => origin.commit(3)))
      a.link.restore('guard') // the guard of long ago arrives
      await clock.drain()
      a.link.restore('release') // and the release that went with it
      await clock.drain()
      return inTheEnd(stage, b, 3)
    },
    controls: [
      {
        without: 'sending it at most once',
        patches: [
          [
            "this.#intact = reply !== UNCONFIRMED && reply !== 'barred'\n",
            'this.#intact = reply !== UNCONFIRMED || (await access.run(() => access.store.guard(this.key, this.#token, options.guardMs, false))) !== UNCONFIRMED\n',
          ],
        ],
        reports: 'a strong read in the end got v2, not v3',
      },
      {
        without: 'the rule that only a confirmed guard writes through',
        patches: [
          ['const isCertain = this.atWork.isSole && this.#intact', 'const isCertain = this.atWork.isSole'],
        ],
        reports: 'a strong read in the end got v2, not v3',
      },
    ],
  },
  {
    name: 'write that is slow stays guarded',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader, cutOff] = [await stage.process(), await stage.process(), await stage.process()]
      cutOff.link.cut()
      const committing = gate()
      const released = gate()
      const writing = writer.spells.write(4, async () => {
        await committing.wait()
        origin.commit(2)
        await released.wait()
      })
      await clock.advance(15_000)
      await stage.now(reader.spells.get(4))
      await clock.advance(5_000)
      committing.open()
      await clock.drain()
      const seen = await stage.now(cutOff.spells.get(4))
      const later = await stage.now(reader.spells.get(4, STRONG))
      released.open()
      const result = await stage.now(writing)
      if (typeof result === 'symbol') return 'the write waited on'
      return all(
        got('somebody', seen, 2),
        got('a strong read after that', later, 2),
        unless(!result.fenced, 'the write was not fenced'),
      )
    },
    controls: [
      {
        without: 'renewal',
        patches: [['if (!isAtWork) return', 'if (isAtWork) return']],
        reports: 'a strong read after that got v1, not v2',
      },
    ],
  },
  {
    name: 'write that hangs is guarded until writeTimeoutMs and guardMs have passed, and no longer',
    async scenario(library) {
      const stage = new Stage(library)
      const { clock } = stage
      const writer = await stage.process()
      void writer.spells.write(4, () => new Promise(() => {}))
      await clock.advance(59_000)
      const during = stage.guarded
      await clock.advance(12_000)
      return all(
        unless(!during, 'a writer at work was not guarded'),
        unless(stage.guarded, 'a writer that hangs keeps its key from being cached'),
      )
    },
    controls: [
      {
        without: 'an end of the renewal',
        patches: [['< options.writeTimeoutMs)', '< Number.POSITIVE_INFINITY)']],
        reports: 'a writer that hangs keeps its key from being cached',
      },
    ],
  },
  {
    name: 'write whose commit is in doubt stays guarded until the commit can no longer happen',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      const writing = failure(
        writer.spells.write(4, () => {
          throw new Error('the connection was lost')
        }),
      )
      await stage.now(writing)
      await stage.now(reader.spells.get(4))
      origin.commit(2) // the server had received it
      await clock.advance(13_500)
      return all(
        await inTheEnd(stage, reader, 2),
        unless(stage.guarded, 'the key is still guarded, although nobody writes it'),
      )
    },
    controls: [
      {
        without: 'the doubt: the keys are released',
        patches: [
          [
            'isRefused && isInDoubt(parts, inDoubt, error)',
            'isRefused && isInDoubt(parts, inDoubt, undefined) && false',
          ],
        ],
        reports: 'a strong read in the end got v1, not v2',
      },
      {
        without: 'an end of the renewal',
        patches: [['this.#sharers.delete(share)\n', '']],
        reports: 'the key is still guarded, although nobody writes it',
      },
    ],
  },
  {
    name: 'write whose commit is in doubt invalidates once it can no longer happen',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(4)) // v1 is in the store
      writer.link.fail('guard') // and nothing takes it out
      const writing = failure(
        writer.spells.write(4, () => {
          throw new Error('the connection was lost')
        }),
      )
      await stage.now(writing)
      writer.link.restore()
      origin.commit(2)
      await clock.advance(10_500)
      return inTheEnd(stage, reader, 2)
    },
    controls: [
      {
        without: 'queueing that invalidation',
        patches: [['queue.addLater(key, options.guardMs)', 'void [queue, options]']],
        reports: 'a strong read in the end got v1, not v2',
      },
    ],
  },
  {
    name: 'write that the server has certainly refused is released at once',
    async scenario(library) {
      const stage = new Stage(library)
      const writer = await stage.process()
      const writing = failure(
        writer.spells.write(4, () => {
          throw Object.assign(new Error('duplicate key'), { code: '23505' })
        }),
      )
      await stage.now(writing)
      return unless(stage.guarded, 'the key is still guarded, although the server said no')
    },
    controls: [
      {
        without: 'reading the SQLSTATE',
        patches: [["return UNDECIDED.test(code) ? 'lost' : 'refused'", "return 'lost'"]],
        reports: 'the key is still guarded, although the server said no',
      },
    ],
  },
  {
    name: 'write shares the guard of its process, which stands until the last writer ends',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [writer, reader, cutOff] = [await stage.process(), await stage.process(), await stage.process()]
      const [endOfA, commitOfB, endOfB] = [gate(), gate(), gate()]
      const writingA = writer.spells.write(4, () => endOfA.wait())
      await stage.now(writingA)
      const writingB = writer.spells.write(4, async () => {
        await commitOfB.wait()
        origin.commit(2)
        await endOfB.wait()
      })
      await stage.now(writingB)
      const guards = writer.link.calls.guard
      endOfA.open()
      await stage.now(writingA)
      cutOff.link.cut() // reads the origin
      await stage.now(reader.spells.get(4)) // v1 would be in the store
      commitOfB.open()
      await stage.now(writingB)
      const seen = await stage.now(cutOff.spells.get(4))
      const later = await stage.now(reader.spells.get(4, STRONG))
      endOfB.open()
      const result = await stage.now(writingB)
      if (typeof result === 'symbol') return 'the write waited on'
      return all(
        unless(guards > 1, 'the second writer of a process has a token of its own'),
        got('somebody', seen, 2),
        got('a strong read after that', later, 2),
        unless(!result.fenced, 'the write was not fenced'),
        unless(stage.guarded, 'a guard stands for nobody'),
      )
    },
    controls: [
      {
        without: 'sharing',
        patches: [['if (standing?.isOpen === true)', 'if (standing?.isOpen === true && Number.NaN > 0)']],
        reports: 'the second writer of a process has a token of its own',
      },
      {
        without: 'the last writer: the first one who ends releases',
        patches: [['this.#sharers.size > 0 || this.#isInDoubt ?', 'this.#isInDoubt ?']],
        reports: 'a strong read after that got v1, not v2',
      },
    ],
  },
  {
    name: 'write that ends before those it shares a guard with asks whether it is still there',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      const [commitOfA, endOfB] = [gate(), gate()]
      const writingA = writer.spells.write(4, async () => {
        await commitOfA.wait()
        origin.commit(2)
      })
      const writingB = writer.spells.write(4, () => endOfB.wait())
      await stage.now(writingB)
      stage.plant('spell:4', 'evicted', 1)
      await stage.clock.advance(5)
      await stage.now(reader.spells.get(4)) // v1 is in the store
      commitOfA.open()
      const result = await stage.now(writingA)
      if (typeof result === 'symbol') return 'the write waited on'
      const later = await stage.now(reader.spells.get(4, STRONG))
      endOfB.open()
      await stage.now(writingB)
      return all(
        got('a strong read after the write', later, 2),
        unless(result.fenced, 'a write whose guard was lost was called fenced'),
      )
    },
    controls: [
      {
        without: 'asking',
        patches: [
          [
            'await access.run(() => access.store.guard(this.key, this.#token, options.guardMs, true))',
            "await Promise.resolve('renewed' as 'renewed' | 'rejoined' | typeof UNCONFIRMED)",
          ],
        ],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'write is told of the loss of a guard that another writer has noticed',
    async scenario(library) {
      const stage = new Stage(library)
      const { clock } = stage
      const writer = await stage.process()
      const [endOfA, endOfB] = [gate(), gate()]
      const writingA = writer.spells.write(4, () => endOfA.wait())
      const writingB = writer.spells.write(4, () => endOfB.wait())
      await stage.now(writingB)
      stage.plant('spell:4', 'evicted', 1)
      await clock.advance(5)
      endOfA.open()
      await stage.now(writingA) // finds nothing, and puts it up again
      endOfB.open()
      const result = await stage.now(writingB)
      if (typeof result === 'symbol') return 'the write waited on'
      return unless(result.fenced, 'a write whose guard was lost was called fenced')
    },
    controls: [
      {
        without: 'the loss: what is found at the end counts',
        patches: [['applied && this.#intact && reply.held', 'applied && reply.held']],
        reports: 'a write whose guard was lost was called fenced',
      },
    ],
  },
  {
    name: 'write through stores nothing where writers of one process have shared a guard',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const writer = await stage.process()
      const endOfA = gate()
      const writingA = writer.spells.write(
        4,
        async () => {
          const row = origin.commit(2)
          await endOfA.wait()
          return row
        },
        THROUGH,
      )
      await stage.now(writingA)
      await stage.now(writer.spells.write(4, () => origin.commit(3), THROUGH))
      endOfA.open()
      await stage.now(writingA)
      return inTheEnd(stage, writer, 3)
    },
    controls: [
      {
        without: 'the rule that only one who was alone writes through',
        patches: [['const isCertain = this.atWork.isSole && this.#intact', 'const isCertain = this.#intact']],
        reports: 'a strong read in the end got v2, not v3',
      },
    ],
  },
  {
    name: 'write through stores nothing where another writer of its process is at work, whose guard is lost',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      const endOfA = gate()
      const writingA = writer.spells.write(4, () => endOfA.wait())
      await clock.advance(3_400) // renewed: nobody shares it any more
      stage.plant('spell:4', 'evicted', 1)
      await clock.advance(2)
      const writingB = writer.spells.write(
        4,
        () => {
          const row = origin.commit(2)
          origin.commit(3) // by writer A
          return row
        },
        THROUGH,
      )
      await stage.now(writingB)
      const seen = await stage.now(reader.spells.get(4, STRONG))
      endOfA.open()
      await stage.now(writingA)
      return got('a strong read', seen, 3)
    },
    controls: [
      {
        without: 'the count of the writers who are at work',
        patches: [['else atWork.isSole = false', '']],
        reports: 'a strong read got v2, not v3',
      },
    ],
  },
  {
    name: 'write through stores nothing where an earlier commit of its process is in doubt, and its guard is lost',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader] = [await stage.process(), await stage.process()]
      const writingA = failure(
        writer.spells.write(4, () => {
          throw new Error('the connection was lost')
        }),
      )
      await stage.now(writingA)
      stage.plant('spell:4', 'evicted', 1)
      await clock.advance(2)
      const writingB = writer.spells.write(
        4,
        () => {
          const row = origin.commit(2)
          origin.commit(3) // the server had received it from writer A
          return row
        },
        THROUGH,
      )
      await stage.now(writingB)
      return got('a strong read', await stage.now(reader.spells.get(4, STRONG)), 3)
    },
    controls: [
      {
        without: 'the doubt',
        patches: [["isSole: this.#parts.queue.whyHeld(key) !== 'in-doubt'", 'isSole: true']],
        reports: 'a strong read got v2, not v3',
      },
    ],
  },
  {
    name: 'write shares no guard whose release is under way',
    async scenario(library) {
      const stage = new Stage(library)
      const { clock } = stage
      const writer = await stage.process()
      const endOfA = gate()
      const writingA = writer.spells.write(4, () => endOfA.wait())
      await stage.now(writingA)
      writer.link.delay(40, 'release') // applied after 20 ms
      endOfA.open()
      await clock.drain()
      const endOfB = gate()
      const writingB = writer.spells.write(4, () => endOfB.wait())
      await clock.advance(50)
      const during = stage.guarded
      endOfB.open()
      await stage.within(100, writingB)
      return unless(!during, 'a writer at work was not guarded')
    },
    controls: [
      {
        without: 'closing what is released',
        patches: [
          ['if (this.#sharers.size > 0) return\n    this.#close()', 'if (this.#sharers.size > 0) return'],
        ],
        reports: 'a writer at work was not guarded',
      },
    ],
  },
  {
    name: 'write whose commit is in doubt stays guarded, also if others shared its guard',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [writer, reader, cutOff] = [await stage.process(), await stage.process(), await stage.process()]
      const endOfB = gate()
      const boom = gate()
      const writingA = failure(
        writer.spells.write(4, async () => {
          await boom.wait()
          throw new Error('the connection was lost')
        }),
      )
      const writingB = writer.spells.write(4, () => endOfB.wait())
      await stage.now(writingB)
      boom.open()
      await stage.now(writingA)
      endOfB.open()
      const result = await stage.now(writingB)
      if (typeof result === 'symbol') return 'the write waited on'
      cutOff.link.cut() // reads the origin
      await stage.now(reader.spells.get(4)) // v1 would be in the store
      origin.commit(2) // the server had received it
      const seen = await stage.now(cutOff.spells.get(4))
      const later = await stage.now(reader.spells.get(4, STRONG))
      await clock.advance(13_500)
      return all(
        got('somebody', seen, 2),
        got('a strong read after that', later, 2),
        unless(!result.fenced, 'the other write was not fenced'),
        unless(stage.guarded, 'the key is still guarded, although nobody writes it'),
      )
    },
    controls: [
      {
        without: 'leaving the shared token to the doubt',
        patches: [['this.#isInDoubt = true\n', '']],
        reports: 'a strong read after that got v1, not v2',
      },
    ],
  },
  {
    name: 'write stays guarded where there are more writers than a guard lists',
    async scenario(library) {
      const stage = new Stage(library)
      const { clock } = stage
      const [writer, other] = [await stage.process(), await stage.process()]
      const deadlineMs = clock.epochMs() + 1_000
      const holders = Array.from({ length: 64 }, (_, i) => ({ token: `${i}`.padEnd(16, '_'), deadlineMs }))
      stage.plant('spell:4', guardText(true, [...holders, { token: '*'.repeat(16), deadlineMs }]), 1_000)
      const committed = gate()
      const writing = writer.spells.write(4, () => committed.wait())
      await stage.now(writing)
      const length = stage.store.inspect('spell:4')?.length
      await clock.advance(2_000)
      await stage.now(other.spells.write(4, () => {})) // takes out whose deadlines have passed
      const during = stage.guarded
      committed.open()
      await stage.now(writing)
      await clock.advance(10_000)
      return all(
        unless(length !== 2 + 65 * 29, 'the guard does not list what it should'),
        unless(!during, 'a writer at work was not guarded'),
        unless(stage.guarded, 'a guard stands for nobody'),
      )
    },
    controls: [
      {
        without: 'a deadline for those who are not listed',
        patches: [
          ['return [...listed, { token: MERGED, deadlineMs }]', 'return deadlineMs > 0 ? listed : []'],
        ],
        reports: 'the guard does not list what it should',
      },
      {
        without: 'the bound',
        patches: [['if (listed.length < MAX_HOLDERS) return', 'if (listed.length < 1_000) return']],
        reports: 'the guard does not list what it should',
      },
    ],
  },
]
