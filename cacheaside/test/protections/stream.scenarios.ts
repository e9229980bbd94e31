/**
 * The broadcast stream: what L1 may be trusted with when messages are late or lost. The reader has an L1 and a
 * copy in it; heartbeats are sent every 500 ms, and a proof is good for 2 s.
 */
import type { Library } from './library.ts'
import { got, L1, type Protection, Stage } from './stage.ts'

const NEEDS_PROOF = [
  'if (nowMs - this.#proofMs <= this.#maxStaleMs) return true',
  'if (nowMs >= 0) return true',
] as const

const NEW_PROOF = [
  "this.#owner.interrupted()\n    this.#emit({ type: 'stream', state: 'proven'",
  "this.#emit({ type: 'stream', state: 'proven'",
] as const

const AGE_LIMIT = [
  'return flight !== undefined && flight.beganAtMs >= notBeforeMs ? flight : undefined',
  'return notBeforeMs > 0 ? flight : flight',
] as const

/** A reader with v1 in its L1, and a writer, at `ms` milliseconds. */
async function cast(library: Library, ms: number) {
  const stage = new Stage(library)
  const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
  await stage.now(reader.spells.get(4))
  await stage.clock.advance(ms)
  return {
    stage,
    reader,
    writer,
    clock: stage.clock,
    write: (version: number) => stage.now(writer.spells.write(4, () => stage.origin.commit(version))),
  }
}

export const stream: readonly Protection[] = [
  {
    name: 'get trusts L1 for as long as a heartbeat proves, counted from its sending',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 400)
      reader.link.delayStream(1_900)
      await clock.advance(200) // a heartbeat was sent at 500 ms
      await write(2) // at 600 ms
      await clock.advance(1_800) // it is heard at 2,400 ms
      reader.link.holdStream() // the message about the write, sent after it, is not
      await clock.advance(210)
      return got('a default read 2.01 s after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'counting from the sending: it counts from the hearing',
        patches: [['this.#proofMs = beat.sentMs', 'this.#proofMs = this.#clock.nowMs()']],
        reports: 'a default read 2.01 s after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get trusts L1 never while the stream is five seconds late',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 400)
      reader.link.delayStream(5_000)
      await clock.advance(5_200) // a heartbeat sent at 500 ms was heard at 5,500 ms
      await stage.now(reader.spells.get(4))
      await write(2) // heard of at 10,600 ms
      await clock.advance(2_100)
      return got('a default read 2.1 s after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'counting from the sending, also of heartbeats of long ago',
        patches: [
          ['this.#proofMs = beat.sentMs', 'this.#proofMs = this.#clock.nowMs()'],
          ['if (beat.sentMs <= this.#proofMs) return', ''],
          ['if (beat.sentMs - sentMs > this.#maxStaleMs) this.#sent.delete(old)', 'void [old, sentMs]'],
        ],
        reports: 'a default read 2.1 s after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not trust L1 when the stream has gone silent',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 400)
      reader.link.muteStream()
      await write(2)
      await clock.advance(2_100)
      return got('a default read 2.1 s after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'asking for a proof',
        patches: [NEEDS_PROOF],
        reports: 'a default read 2.1 s after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not trust L1 when its process has slept',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 400)
      reader.link.holdStream() // what arrives while a process sleeps it reads when it is awake
      await write(2)
      clock.suspend(5_000)
      const reading = reader.spells.get(4)
      await clock.drain()
      return got('the first read of a process that was suspended', await stage.now(reading), 2)
    },
    controls: [
      {
        without: 'asking for a proof',
        patches: [NEEDS_PROOF],
        reports: 'the first read of a process that was suspended got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing in L1 from before an interruption',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 400)
      reader.link.muteStream()
      await write(2)
      reader.link.releaseStream()
      reader.link.interrupt('another connection')
      await clock.advance(2_600) // proven again
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'emptying L1',
        patches: [['local.clear()\n  flights.doomAll()', 'flights.doomAll()']],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing of a flight from before an interruption',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      await clock.advance(440)
      reader.link.delay(80, 'fill') // accepted at 480 ms, heard of at 520 ms
      const reading = reader.spells.get(4)
      await stage.within(50, reading)
      reader.link.muteStream()
      await stage.now(writer.spells.write(4, () => origin.commit(2))) // at 490 ms
      reader.link.releaseStream()
      reader.link.interrupt('another connection') // which is proven at 500 ms
      await clock.advance(3_000)
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'dooming all flights',
        patches: [['local.clear()\n  flights.doomAll()', 'local.clear()']],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing in L1 from before the first proof of a new connection',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 460)
      reader.link.muteStream()
      reader.link.interrupt('the connection was lost')
      await stage.now(reader.spells.get(4)) // found, and kept, in the time between
      await write(2)
      reader.link.releaseStream() // connected again; proven at 500 ms
      await clock.advance(3_000)
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'emptying L1 at a new proof',
        patches: [NEW_PROOF],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing of a flight from before the first proof of a new connection',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      await clock.advance(460)
      reader.link.muteStream()
      reader.link.interrupt('the connection was lost')
      reader.link.delay(60, 'fill') // accepted at 490 ms, heard of at 520 ms
      const reading = reader.spells.get(4)
      await stage.within(35, reading)
      await stage.now(writer.spells.write(4, () => origin.commit(2))) // at 495 ms
      reader.link.releaseStream() // connected again; proven at 500 ms
      await clock.advance(3_000)
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'dooming all flights at a new proof',
        patches: [NEW_PROOF],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get takes no heartbeat of before an interruption for a proof',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 499)
      reader.link.delay(200, 'heartbeat') // sent at 500 ms, heard at 600 ms, answered at 700 ms
      await clock.advance(111)
      reader.link.muteStream()
      reader.link.interrupt('the connection was lost')
      reader.link.delay(2, 'heartbeat')
      await clock.advance(100)
      await stage.now(reader.spells.get(4)) // found, and kept, at 710 ms
      await clock.advance(90)
      await write(2)
      reader.link.releaseStream() // connected again; proven at 1,000 ms
      await clock.advance(3_000)
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'forgetting the heartbeats that are under way',
        patches: [['this.#sent.clear()', '']],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing in L1 from before a heartbeat that was lost',
    async scenario(library) {
      const { stage, reader, clock, write } = await cast(library, 400)
      reader.link.muteStream() // and nobody notices
      await write(2)
      await clock.advance(200) // a heartbeat was published at 500 ms
      reader.link.releaseStream()
      await clock.advance(3_000)
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'noticing that one is missing',
        patches: [['if (earlier.reply !== undefined) {', 'if (earlier.sentMs < 0) {']],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get on a store without a stream reads the generation for every default read',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await stage.process({ isStreamless: true })
      const writer = await stage.process()
      await stage.now(reader.spells.get(4)) // stored, and the generation is remembered
      stage.origin.commit(2) // by another program
      await stage.now(writer.spells.invalidateAll())
      await stage.clock.advance(2_100)
      return got('a default read 2.1 s after invalidateAll', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'the rule that nothing is proven there',
        patches: [
          [
            'if (nowMs - this.#proofMs <= this.#maxStaleMs) return true',
            "if (this.#access.store.stream === 'none' || nowMs - this.#proofMs <= this.#maxStaleMs) return true",
          ],
        ],
        reports: 'a default read 2.1 s after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get on a store without a stream joins only a young flight',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await stage.process({ isStreamless: true })
      const writer = await stage.process()
      const query = stage.origin.stopNextLoad()
      const early = reader.spells.get(4)
      await query.reached
      await stage.now(writer.spells.write(4, () => stage.origin.commit(2)))
      await stage.clock.advance(2_100)
      const late = reader.spells.get(4)
      await stage.now(late)
      query.open()
      await stage.now(early)
      return got('a default read 2.1 s after the write', await stage.now(late), 2)
    },
    controls: [
      {
        without: 'a limit on the age of a flight',
        patches: [AGE_LIMIT],
        reports: 'a default read 2.1 s after the write got v1, not v2',
      },
    ],
  },
]
