/** Tags that are known only from the loaded value, and those of a batch. */
import type { Cache } from '../../src/index.ts'
import { all, failure, got, L1, type Protection, STRONG, Stage, unless } from './stage.ts'
import { holdNext, tagged, warm } from './tagged.ts'

/** A keyspace whose values may be served while they are refreshed. */
function aged({ origin: { load } }: Stage, cache: Cache) {
  const tag = cache.tags<number>('tag')
  const tagsOf = () => [tag.key(1)]
  return {
    tag,
    aging: cache.keyspace('aging', { load, tagsOf, ttlMs: 1_000, ttlJitter: 0, staleMs: 60_000 }),
  }
}

/** A write's function that leaves it open whether its transaction commits. */
const lost = () => {
  throw new Error('the connection was lost')
}

export const lateTags: readonly Protection[] = [
  {
    name: 'get keeps nothing of a load whose late tag is queued when the load ends',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      await stage.now(reader.shown.get(5)) // it has seen the tag's stamp
      const query = stage.origin.stopNextLoad()
      const early = reader.late.get(4)
      await query.reached
      reader.link.fail('invalidate')
      stage.origin.commit(2)
      await stage.now(reader.tag.invalidate(1))
      const stamps = holdNext(reader.link, 'stampMany', 'reply')
      query.open()
      await stage.now(early)
      reader.link.holdStream()
      reader.link.restore('invalidate')
      await stage.clock.advance(100) // the invalidation is applied; the message is on its way
      stamps.open()
      await stage.clock.drain()
      return got('a default read after the own invalidation', await stage.now(reader.late.get(4)), 2)
    },
    controls: [
      {
        without: 'asking the queue before the stamp is asked for',
        patches: [["  if (tags.whyHeld(names) !== undefined) return 'not kept'\n", '']],
        reports: 'a default read after the own invalidation got v1, not v2',
      },
    ],
  },
  {
    name: 'get bypasses the store for a value whose tag it learns from the value, if the tag was queued then',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await warm(stage, () => other.late.get(4))
      reader.link.fail('invalidate')
      stage.origin.commit(2)
      await stage.now(reader.tag.invalidate(1))
      await stage.clock.advance(10) // the store answers again, but for invalidations
      const stamps = holdNext(reader.link, 'stampMany', 'reply')
      const reading = reader.late.get(4)
      await stage.clock.drain()
      reader.link.restore('invalidate')
      await stage.clock.advance(100) // the invalidation is applied, and leaves the queue
      stamps.open()
      return got('a read after a queued invalidation', await stage.now(reading), 2)
    },
    controls: [
      {
        without: 'asking the queue before the stamp is asked for',
        patches: [
          [
            'const obstacle = tags.whyHeld(names) ?? tags.obstacle(names)\n  if (obstacle !== undefined) return obstacle\n  const doubtful',
            'const obstacle = tags.obstacle(names)\n  if (obstacle !== undefined) return obstacle\n  const doubtful',
          ],
        ],
        reports: 'a read after a queued invalidation got v1, not v2',
      },
    ],
  },
  {
    name: 'get begins no refresh of a value whose tag has come into doubt since it was found',
    async scenario(library) {
      const stage = new Stage(library)
      const { link, cache } = await stage.process({ cache: { local: L1 } })
      const other = await stage.process()
      const [{ tag, aging }, { aging: theirs }] = [aged(stage, cache), aged(stage, other.cache)]
      await warm(stage, () => theirs.get(4))
      await stage.clock.advance(1_001) // it has expired, and may be served while it is refreshed
      const stamps = holdNext(link, 'stampMany', 'reply')
      const reading = aging.get(4)
      await stage.clock.drain()
      link.fail('guard')
      const write = failure(cache.write([tag.key(1)], lost))
      await stage.clock.drain()
      stamps.open()
      await stage.now(Promise.all([reading, write]))
      await stage.clock.advance(10)
      stage.origin.commit(2) // so it was committed
      return got('a read after a commit in doubt', await stage.now(aging.get(4)), 2)
    },
    controls: [
      {
        without: 'asking the queue before a refresh begins',
        patches: [
          [
            'if (seen !== undefined && tagsOf(flight)?.whyHeld(',
            'if (seen === undefined && tagsOf(flight)?.whyHeld(',
          ],
        ],
        reports: 'a read after a commit in doubt got v1, not v2',
      },
    ],
  },
  {
    name: 'get sees an own invalidation of all tags, also where a flight of before does not know its tags yet',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage)
      const query = stage.origin.stopNextLoad()
      const early = reader.late.get(4)
      await query.reached
      stage.origin.commit(2)
      await stage.now(reader.tag.invalidateAll())
      const late = reader.late.get(4)
      await stage.now(late)
      query.open()
      await stage.now(early)
      return got('a read after the own invalidation', await stage.within(3_000, late), 2)
    },
    controls: [
      {
        without: 'setting flights apart whose tags are not known',
        patches: [['if (tags.has(keyspace)) flights.setApart()', '']],
        reports: 'a read after the own invalidation got v1, not v2',
      },
    ],
  },
  {
    name: 'get takes no stamp for proof that an old store has brought back',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await stage.now(reader.shown.get(5)) // it has seen the tag's stamp
      const query = stage.origin.stopNextLoad()
      const reading = reader.late.get(4)
      await query.reached
      const stamp = stage.store.inspect('tag:1')!
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      stage.plant('tag:1', stamp) // the store has come back as it was
      reader.link.interrupt('the store was restarted')
      const second = stage.origin.stopNextLoad()
      query.open()
      await stage.now(reading)
      const read = await stage.now(other.late.get(4, STRONG))
      second.open()
      await stage.clock.advance(1_000)
      return got('a strong read', read === 1 ? 1 : await stage.now(other.late.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'dooming the flights when messages may have been lost',
        patches: [['local.clear()\n  flights.doomAll()', 'local.clear()']],
        reports: 'a strong read got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not load twice a key whose tags never stay the same',
    async scenario(library) {
      const stage = new Stage(library)
      const { cache } = await stage.process()
      const tag = cache.tags<number>('tag')
      const restless = cache.keyspace('restless', {
        load: stage.origin.load,
        tagsOf: () => [tag.key(stage.origin.loads)],
      })
      for (let i = 0; i < 5; i++) await stage.now(restless.get(4))
      return unless(stage.origin.loads > 6, `five reads have loaded ${stage.origin.loads} times, not 6 times`)
    },
    controls: [
      {
        without: 'remembering that a second load did not help',
        patches: [
          ['const isRestless = isSecond || tagging!.isRestless(flight.key)', 'const isRestless = isSecond'],
        ],
        reports: 'five reads have loaded 10 times, not 6 times',
      },
    ],
  },
  {
    name: 'get loads no second time for the sake of late tags while readers wait for a place',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { maxLoads: 1 } })
      const [first, second] = [stage.origin.stopNextLoad(), stage.origin.stopNextLoad()]
      const reading = [reader.late.get(4), reader.late.get(5)]
      await first.reached
      first.open()
      await stage.now(Promise.all(reading))
      second.open()
      await stage.now(Promise.all(reading))
      // Row 4 once, row 5 twice: then nobody waits.
      return unless(stage.origin.loads > 3, 'a load for which nobody waits has taken a place')
    },
    controls: [
      {
        without: 'looking whether there is room',
        patches: [['if (!parts.limit.hasRoom) {', 'if (Number.isNaN(loads.length)) {']],
        reports: 'a load for which nobody waits has taken a place',
      },
    ],
  },
  {
    name: 'get gives back the lease when there is no room for a second load',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { maxLoads: 1 } })
      const [first, second] = [stage.origin.stopNextLoad(), stage.origin.stopNextLoad()]
      const reading = [reader.late.get(4), reader.late.get(5)]
      await first.reached
      first.open()
      await stage.now(Promise.all(reading))
      const isLeased = stage.store.inspect('late:4') !== undefined
      second.open()
      await stage.now(Promise.all(reading))
      return unless(isLeased, 'the lease is still there')
    },
    controls: [
      {
        without: 'giving it back',
        patches: [
          ['for (const { flight, asked } of loads) keepNone(space, flight, asked)\n    return', 'return'],
        ],
        reports: 'the lease is still there',
      },
    ],
  },
  {
    name: 'get gives back the lease when the second load brings new tags again',
    async scenario(library) {
      const stage = new Stage(library)
      const { cache } = await stage.process()
      const tag = cache.tags<number>('tag')
      const restless = cache.keyspace('restless', {
        load: stage.origin.load,
        tagsOf: () => [tag.key(stage.origin.loads)],
      })
      await stage.now(restless.get(4))
      return unless(stage.store.inspect('restless:4') !== undefined, 'the lease is still there')
    },
    controls: [
      {
        without: 'giving it back',
        patches: [["if (judged === 'not kept') keepNone(space, flight, asked)", 'void keepNone']],
        reports: 'the lease is still there',
      },
    ],
  },
  {
    name: 'get loads no second time what was invalidated while it was loaded',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage)
      const query = stage.origin.stopNextLoad()
      const reading = reader.late.get(4)
      await query.reached
      await stage.now(reader.late.invalidate(4))
      query.open()
      await stage.now(reading)
      return unless(stage.origin.loads > 1, 'the load was repeated for nothing')
    },
    controls: [
      {
        without: 'looking whether the flight is doomed',
        patches: [
          ["flight.doomed ? 'not kept' : 'again'", "Number.isNaN(late.length) ? 'not kept' : 'again'"],
        ],
        reports: 'the load was repeated for nothing',
      },
    ],
  },
  {
    name: 'get loads once what was invalidated together with its late tag',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage, { cache: { local: L1 } }), await tagged(stage)]
      await warm(stage, () => reader.late.get(4))
      await stage.now(other.cache.write([other.late.key(4), other.tag.key(1)], () => stage.origin.commit(2)))
      const { loads } = stage.origin
      const read = await stage.now(reader.late.get(4))
      return all(
        got('a default read after the message', read, 2),
        unless(stage.origin.loads > loads + 1, 'it was loaded twice'),
      )
    },
    controls: [
      {
        without: 'remembering the tags of what this process has stored',
        patches: [['  if (accepted) space.tagging?.remember(flight.key, namesOf(tagged))', '']],
        reports: 'it was loaded twice',
      },
    ],
  },
  {
    name: 'getMany believes no stamp that was asked for by another member of its batch',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      const other = await tagged(stage)
      await warm(stage, () => reader.late.getMany([4])) // it remembers the tag of row 4, and not that of row 5
      await warm(stage, () => other.late.get(5))
      await stage.now(reader.late.invalidate(4))
      await stage.now(other.late.get(4))
      const replies = [
        holdNext(reader.link, 'look', 'reply', 'tag:1'),
        holdNext(reader.link, 'stampMany', 'reply', 'tag:1'),
      ]
      const reading = reader.late.getMany([4, 5])
      await stage.clock.drain()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      for (const reply of replies) reply.open()
      await stage.now(reading)
      return got('a default read after the message', await stage.now(reader.late.get(5)), 2)
    },
    controls: [
      {
        without: 'the rule that a flight learns only of tags that it was listed under',
        patches: [
          [
            'for (const tag of this.#names) {\n      const state = states.get(tag)',
            'for (const tag of states.keys()) {\n      const state = states.get(tag)',
          ],
        ],
        reports: 'a default read after the message got v1, not v2',
      },
    ],
  },
  {
    name: 'getMany reads all stamps before its load',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await warm(stage, () => reader.shown.getMany([4, 5])) // from now on it looks first
      await stage.now(other.tag.invalidate(1))
      await stage.now(other.shown.invalidate(4))
      await stage.now(other.shown.invalidate(5))
      const query = stage.origin.stopNextLoad()
      const reading = reader.shown.getMany([4, 5])
      await query.reached
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      query.open()
      await stage.now(reading)
      await stage.clock.drain()
      return got('a strong read after invalidate', await stage.now(other.shown.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'reading before it what the look has not found: it is read after the load',
        patches: [
          [
            'given.some(({ member }) => member.flight.tags !== undefined)\n    ? await ready(space, given)',
            'given.length < 0\n    ? await ready(space, given)',
          ],
          ["if (tags.haveStood(late)) return 'stood'", "if (late.length > 0) return 'stood'"],
        ],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'getMany loads once more together what has brought late tags',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage)
      await stage.now(reader.late.getMany([4, 5, 6]))
      const read = await stage.now(reader.late.read(4))
      return all(
        unless(stage.origin.loads > 2, 'each row was loaded once more by itself'),
        unless(typeof read === 'symbol' || read.why !== 'fresh', 'nothing was kept'),
      )
    },
    controls: [
      {
        without: 'the second load',
        patches: [
          [
            "if (isWorthAnother && asked.kind === 'leased') again.push({ flight, id, asked })",
            'void [again, id, isWorthAnother]',
          ],
        ],
        reports: 'nothing was kept',
      },
    ],
  },
]
