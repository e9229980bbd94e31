/**
 * Flights in one process: who may join one, what dooms it, and how long it is tracked.
 */
import { all, failure, got, L1, PENDING, type Protection, STRONG, Stage, shown, unless } from './stage.ts'

const DOOMING = ['flights.doom(key)', ''] as const
const LATE_MS = 3_000

export const flights: readonly Protection[] = [
  {
    name: 'get does not join a flight that an invalidation has doomed',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process(), await stage.process()]
      const query = origin.stopNextLoad()
      const early = reader.spells.get(4)
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      const late = reader.spells.get(4)
      await stage.now(late)
      query.open()
      return all(
        got('the reader of before the write', await stage.now(early), 1),
        got('a reader of after the write', await stage.now(late), 2),
      )
    },
    controls: [
      {
        without: 'dooming flights',
        patches: [DOOMING],
        reports: 'a reader of after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing that was invalidated while the reply to its fill was under way',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      reader.link.delay(80, 'fill') // accepted after 40 ms, heard of after 80 ms
      const reading = reader.spells.get(4)
      await clock.advance(50)
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await clock.advance(LATE_MS)
      await stage.now(reading)
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'dooming flights',
        patches: [DOOMING],
        reports: 'a default read long after the write got v1, not v2',
      },
      {
        without: 'tracking the flight until its value is kept or dropped',
        patches: [
          [
            'if (inBackground(parts)) flight.resolve(answer)',
            'if (inBackground(parts)) flight.resolve(answer)\n  parts.flights.end(flight)',
          ],
        ],
        reports: 'a default read long after the write got v1, not v2',
      },
      {
        without: 'looking once more before the value is kept',
        patches: [['if (flight.doomed) return\n  const expiresAtMs', 'const expiresAtMs']],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing that was invalidated while its first command was under way',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      await stage.now(writer.spells.get(4)) // v1 is in the store
      reader.link.delay(80, 'lease') // found after 40 ms, heard of after 80 ms
      const reading = reader.spells.get(4)
      await clock.advance(50)
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await stage.now(reading)
      reader.link.restore()
      await clock.advance(LATE_MS)
      return got('a default read long after the write', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'tracking the flight from before its first command',
        patches: [
          ['space.parts.flights.begin(flight)\n', '\n'],
          [
            'askThen(space, flight, strong, asked => goOn(space, flight, id, asked))',
            'askThen(space, flight, strong, asked => void Promise.resolve(asked).then(one => (space.parts.flights.begin(flight), goOn(space, flight, id, one))))',
          ],
        ],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get ends its own flight and no other',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      const first = origin.stopNextLoad()
      const early = reader.spells.get(4)
      await first.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2))) // dooms the first flight
      reader.link.delay(80, 'fill')
      const late = reader.spells.get(4) // a second flight, whose fill is under way
      await clock.advance(10)
      first.open() // the first one ends
      await stage.now(early)
      await clock.advance(40)
      await stage.now(writer.spells.write(4, () => origin.commit(3))) // has to doom the second
      await clock.advance(LATE_MS)
      await stage.now(late)
      return got('a default read long after the last write', await stage.now(reader.spells.get(4)), 3)
    },
    controls: [
      {
        without: "making sure that the flight to be removed is one's own",
        patches: [['if (youngest === flight) {', 'if (youngest !== undefined) {']],
        reports: 'a default read long after the last write got v2, not v3',
      },
    ],
  },
  {
    name: 'get takes what is invalidated out of L1',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      await stage.now(reader.spells.get(4))
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      return got('a default read after the message', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'the removal from L1',
        patches: [['local.remove(key)\n  found', 'found']],
        reports: 'a default read after the message got v1, not v2',
      },
    ],
  },
  {
    name: 'write forgets its keys in its own process before it guards them',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process({ cache: { local: L1 } })
      await stage.now(spells.get(4))
      link.holdStream() // its own message is late as well
      let inside: unknown
      const commit = async () => {
        origin.commit(2)
        inside = await spells.get(4)
      }
      await stage.now(spells.write(4, commit))
      return got('a read by the writer after its commit', inside, 2)
    },
    controls: [
      {
        without: 'forgetting before the guard',
        patches: [['forget(this.#parts, key)\n    const share', 'const share']],
        reports: 'a read by the writer after its commit got v1, not v2',
      },
    ],
  },
  {
    name: 'write forgets its keys in its own process before it resolves',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process({ cache: { local: L1 } })
      await stage.now((await stage.process()).spells.get(4)) // v1 is in the store
      link.holdStream()
      link.delay(80, 'guard') // forgotten here at once, guarded in the store after 40 ms
      const writing = spells.write(4, () => origin.commit(2))
      await stage.within(10, writing)
      await stage.now(spells.get(4)) // finds v1 and keeps it
      await stage.within(100, writing)
      return got('a read by the same process after its write', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'forgetting after the release',
        patches: [['forget(this.#parts, key)\n        emitInvalidation(', 'emitInvalidation(']],
        reports: 'a read by the same process after its write got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidate forgets its keys in its own process before it resolves',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process({ cache: { local: L1 } })
      await stage.now((await stage.process()).spells.get(4)) // v1 is in the store
      link.holdStream()
      link.delay(80, 'invalidate') // forgotten here at once, removed from the store after 40 ms
      origin.commit(2) // by another program
      const invalidating = spells.invalidate(4)
      await stage.within(10, invalidating)
      await stage.now(spells.get(4)) // finds v1 and keeps it
      await stage.within(100, invalidating)
      return got('a read by the same process after invalidate', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'forgetting after it was applied',
        patches: [['{ cause, durationMs })\n      forget(parts, key)', '{ cause, durationMs })']],
        reports: 'a read by the same process after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get by a default reader joins only a young flight',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      // A process that hears nothing at all: no message will doom its flights.
      const reader = await stage.process({ network: link => link.muteStream() })
      const writer = await stage.process()
      const query = origin.stopNextLoad()
      const early = reader.spells.get(4)
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await clock.advance(LATE_MS)
      const late = reader.spells.get(4)
      await stage.now(late)
      query.open()
      await stage.now(early)
      return got('a default read long after the write', await stage.now(late), 2)
    },
    controls: [
      {
        without: 'a limit on the age of a flight',
        patches: [
          [
            'return flight !== undefined && flight.beganAtMs >= notBeforeMs ? flight : undefined',
            'return notBeforeMs > 0 ? flight : flight',
          ],
        ],
        reports: 'a default read long after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get by a default reader does not join a flight that relied on a proof which has run out',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [reader, other] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(4)) // v1 is in the store
      await clock.advance(501) // proven at 500 ms
      reader.link.muteStream()
      origin.commit(2)
      await stage.now(other.spells.invalidateAll())
      await clock.advance(1_990) // the proof is just good enough
      reader.link.delay(80, 'look')
      const early = reader.spells.get(4)
      await stage.within(60, early) // it is not any more
      const late = reader.spells.get(4)
      return got('a default read 2.05 s after invalidateAll', await stage.within(200, late), 2)
    },
    controls: [
      {
        without: 'asking for the proof before joining',
        patches: [['  stream.checkProof(nowMs)\n', '']],
        reports: 'a default read 2.05 s after invalidateAll got v1, not v2',
      },
      {
        without: 'dooming flights at silence',
        patches: [['this.#proven = false\n    this.#owner.interrupted()', 'this.#proven = false']],
        reports: 'a default read 2.05 s after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get by a strong reader joins no flight that began before it',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process(), await stage.process()]
      const query = origin.stopNextLoad()
      const early = reader.spells.get(4)
      await query.reached
      reader.link.holdStream()
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      const late = reader.spells.get(4, STRONG)
      await stage.now(late)
      query.open()
      await stage.now(early)
      return got('a strong read after the write', await stage.now(late), 2)
    },
    controls: [
      {
        without: 'the difference: a strong reader joins like any other',
        patches: [
          [
            'if (strong) return flights.next(',
            'if (strong && !flights.joinable(key, 0)) return flights.next(',
          ],
        ],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get by a strong reader skips L1',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      await stage.now(reader.spells.get(4))
      reader.link.holdStream()
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      return got('a strong read after the write', await stage.now(reader.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'skipping L1',
        patches: [["if (options?.consistency === 'strong') return MISS", 'void options']],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get by strong readers who come during one flight shares the next',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      // Filled before it answers, so the next reader finds the value and need not ask twice.
      const { spells, link } = await stage.process({ cache: { fill: 'blocking' } })
      const query = origin.stopNextLoad()
      const first = spells.get(4)
      await query.reached
      const strong = [spells.get(4, STRONG), spells.get(4, STRONG), spells.get(4, STRONG)]
      await stage.now(Promise.all(strong))
      query.open()
      await stage.now(first)
      const answers = await stage.within(100, Promise.all(strong))
      return all(
        unless(answers === PENDING, 'strong readers waited on'),
        unless(link.calls.lease !== 2, `three strong readers asked the store ${link.calls.lease - 1} times`),
      )
    },
    controls: [
      {
        without: 'the queued flight',
        patches: [['if (queued !== undefined) return { flight: queued, joined: true }', '']],
        reports: 'three strong readers asked the store 3 times',
      },
    ],
  },
  {
    name: 'get by a strong reader who waits for a flight begins when the store has done what doomed it',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [a, b] = [stage.embedded({ cache: { local: L1 } }), stage.embedded()]
      await stage.now(a.spells.get(4))
      const query = origin.stopNextLoad()
      const reading = a.spells.get(5)
      await query.reached
      const strong = a.spells.get(5, STRONG)
      origin.commit(2)
      await stage.now(b.spells.invalidateAll())
      query.open()
      await stage.now(Promise.all([reading, strong]))
      return got('a read after invalidateAll', await stage.now(a.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'waiting for the store: it begins in the midst of the broadcast',
        patches: [['void over.then(() => {', 'before.whenOver(() => {']],
        reports: 'a read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get by many callers loads once, and all share the failure',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells } = await stage.process()
      const query = origin.stopNextLoad()
      const failures = Array.from({ length: 20 }, () => failure(spells.get(4)))
      await query.reached
      query.fail(new Error('no connection'))
      const errors = await stage.now(Promise.all(failures))
      if (typeof errors === 'symbol') return 'callers waited on'
      return all(
        unless(origin.loads !== 1, `20 callers caused ${origin.loads} loads`),
        unless(new Set(errors).size !== 1, '20 callers got different errors'),
      )
    },
    controls: [
      {
        without: 'single-flight',
        patches: [
          [
            'return flight !== undefined && flight.beganAtMs >= notBeforeMs ? flight : undefined',
            'return flight !== undefined && notBeforeMs > 1e9 ? flight : undefined',
          ],
          [
            "case 'lease':\n      return 'busy'",
            "case 'lease':\n      return { kind: 'bypass', why: 'busy' }",
          ],
        ],
        reports: '20 callers caused 20 loads',
      },
    ],
  },
  {
    name: 'get fails nobody but the caller who gives up',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells } = await stage.process()
      const query = origin.stopNextLoad()
      const caller = new AbortController()
      const impatient = failure(spells.get(4, { signal: caller.signal }))
      const patient = spells.get(4).catch(shown)
      await query.reached
      caller.abort(new Error('gone'))
      const gone = await stage.now(impatient)
      query.open()
      return all(
        unless(shown(gone) !== 'gone', `the caller who gave up got ${shown(gone)}`),
        got('the other', await stage.now(patient), 1),
      )
    },
    controls: [
      {
        without: 'counting those who wait',
        patches: [['if (this.#waiting === 0) {', 'if (this.#outcome === undefined) {']],
        reports: 'the other got gone, not v1',
      },
    ],
  },
  {
    name: 'getMany fails nobody who waits for one of its keys when its caller gives up',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells } = await stage.process()
      const query = origin.stopNextLoad()
      const caller = new AbortController()
      const impatient = failure(spells.getMany([4, 5], { signal: caller.signal }))
      await query.reached
      const patient = spells.get(5).catch(shown)
      caller.abort(new Error('gone'))
      await stage.now(impatient)
      query.open()
      return got('the other', await stage.now(patient), 1)
    },
    controls: [
      {
        without: 'waiting for the last of the keys to be given up',
        patches: [['if (--left === 0) abort.abort(reason)', 'if (--left >= 0) abort.abort(reason)']],
        reports: 'the other got gone, not v1',
      },
    ],
  },
  {
    name: 'getMany that has rejected begins no load for nobody',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { cache } = await stage.process()
      const spells = cache.keyspace('lore', { load: (_: number) => origin.load() })
      const ids = Array.from({ length: 40 }, (_, i) => i)
      const query = origin.stopNextLoad()
      const failed = failure(spells.getMany(ids))
      await query.reached
      const joined = spells.get(30).catch(shown)
      query.fail(new Error('no connection'))
      await stage.now(failed)
      const other = await stage.now(joined)
      await stage.now(cache.close())
      return all(
        got('who had joined', other, 1),
        unless(origin.loads !== 17, `${origin.loads} loads ran, and 17 were waited for or had begun`),
      )
    },
    controls: [
      {
        without: 'leaving the other flights, and looking whether anybody waits before a load begins',
        patches: [
          ['flight.leave(caller, reason, sparesLoads)', 'void [flight, caller]'],
          ['if (flight.isWanted) return true', 'if (!flight.hasEnded) return true'],
        ],
        reports: '40 loads ran, and 17 were waited for or had begun',
      },
      {
        without: 'counting those who wait, where a batch has failed',
        patches: [['if (this.#waiting === 0) {', 'if (this.#outcome === undefined) {']],
        reports: 'who had joined got nobody waits for it any more, not v1',
      },
    ],
  },
  {
    name: 'get does not join a flight that all its callers have left',
    async scenario(library) {
      const stage = new Stage(library)
      const { spells, link } = await stage.process()
      link.delay(80, 'lease') // the flight notices only when the store has answered
      const caller = new AbortController()
      const left = failure(spells.get(4, { signal: caller.signal }))
      await stage.within(10, left)
      caller.abort(new Error('gone'))
      const late = spells.get(4).catch(shown)
      return got('a caller who came later', await stage.within(500, late), 1)
    },
    controls: [
      {
        without: 'dooming a flight that nobody waits for',
        patches: [['this.doom()\n      this.abort', 'this.abort']],
        reports: 'a caller who came later got gone, not v1',
      },
      {
        without: 'looking whether a flight is doomed before joining it',
        patches: [['flight?.background || flight?.doomed ||', 'flight?.background ||']],
        reports: 'a caller who came later got gone, not v1',
      },
    ],
  },
  {
    name: 'get never runs more loads at once than the load limit',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, cache } = await stage.process({ cache: { maxLoads: 2 } })
      const queries = [origin.stopNextLoad(), origin.stopNextLoad(), origin.stopNextLoad()]
      const reading = Promise.all([spells.get(1), spells.get(2), spells.get(3)])
      await stage.now(reading)
      const running = origin.loads
      for (const query of queries) query.open()
      await stage.now(reading)
      return all(
        unless(running > 2, `${running} loads ran at once, and the limit is 2`),
        unless(origin.loads !== 3 || cache.stats().now.loads !== 0, 'a load that waited was never run'),
      )
    },
    controls: [
      {
        without: 'the load limit',
        patches: [['if (this.#running < this.#maxLoads)', 'if (this.#maxLoads > 0)']],
        reports: '3 loads ran at once, and the limit is 2',
      },
    ],
  },
  {
    name: 'get keeps the place of a load under the limit until its loader settles',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const { spells } = await stage.process({ cache: { maxLoads: 1 } })
      const query = origin.stopNextLoad()
      const slow = failure(spells.get(1))
      await query.reached
      await clock.advance(10_100) // timed out for its callers, and the origin is still at work for it
      const next = spells.get(2)
      await stage.now(next)
      const meanwhile = origin.loads
      query.open()
      await stage.now(slow)
      return all(
        unless(meanwhile !== 1, 'a second load ran while the first was still at work, and the limit is 1'),
        got('the load that waited', await stage.now(next), 1),
      )
    },
    controls: [
      {
        without: 'waiting for the loader',
        patches: [
          [
            "end(hasCode(reason, 'LOAD_TIMEOUT') ? 'timed-out' : 'aborted', reason)",
            "end(hasCode(reason, 'LOAD_TIMEOUT') ? 'timed-out' : 'aborted', reason)\n      if (run.isRunning) limit.leave(run)",
          ],
        ],
        reports: 'a second load ran while the first was still at work, and the limit is 1',
      },
    ],
  },
  {
    name: 'get by a strong reader does not wait for a flight that all its callers have left',
    async scenario(library) {
      const stage = new Stage(library)
      const { spells, link } = await stage.process()
      const caller = new AbortController()
      link.delay(80, 'lease')
      const gone = failure(spells.get(4, { signal: caller.signal }))
      await stage.clock.advance(10)
      caller.abort(new Error('gone'))
      await stage.now(gone)
      link.restore('lease')
      return got('a strong reader', await stage.within(0, spells.get(4, STRONG)), 1)
    },
    controls: [
      {
        without: 'counting a doomed flight as over',
        patches: [
          ['return this.#doomed || this.#outcome !== undefined', 'return this.#outcome !== undefined'],
        ],
        reports: 'a strong reader got no answer, not v1',
      },
    ],
  },
]
