/** What depends on tags: a value is found only while every tag stands that it was loaded under. */
import type { KeyspaceOptions } from '../../src/index.ts'
import {
  all,
  got,
  L1,
  type Process,
  type ProcessOptions,
  type Protection,
  STRONG,
  Stage,
  unless,
} from './stage.ts'

/** A process whose values depend on one tag: known from the id, and known only from the value. */
async function tagged(
  stage: Stage,
  options: ProcessOptions = {},
  shown: Partial<KeyspaceOptions<number, number>> = {},
) {
  const process = await stage.process(options)
  return { ...process, ...spaces(stage, process, shown) }
}

function spaces(
  stage: Stage,
  { cache }: Pick<Process, 'cache'>,
  shown: Partial<KeyspaceOptions<number, number>>,
) {
  const { load, loadMany } = stage.origin
  const tag = cache.tags<number>('tag')
  const common = { load, loadMany, ttlJitter: 0 }
  return {
    tag,
    shown: cache.keyspace('shown', { ...common, tags: () => [tag.key(1)], ...shown }),
    late: cache.keyspace('late', { ...common, tagsOf: () => [tag.key(1)] }),
  }
}

/** Reads until a value with a late tag is kept. */
async function warm(stage: Stage, read: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < 3; i++) await stage.now(read())
}

export const tags: readonly Protection[] = [
  {
    name: 'get finds no value whose tag was invalidated in another process',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await stage.now(reader.shown.get(4))
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      return got('a strong read after invalidate', await stage.now(reader.shown.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'comparing the tokens of stamps',
        patches: [['one.token === other.token && ', '']],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds no value when all tags of a kind were invalidated',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await stage.now(reader.shown.get(4))
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidateAll())
      return got('a strong read after invalidateAll', await stage.now(reader.shown.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: "comparing the generations of the tags' keyspaces",
        patches: [[' && one.generation === other.generation', '']],
        reports: 'a strong read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not store what it loaded before a tag of it was invalidated, if it knew the tag only then',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      const query = stage.origin.stopNextLoad()
      const reading = reader.late.get(4)
      await query.reached
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      // The second load answers late, so that a reader comes before it.
      const second = stage.origin.stopNextLoad()
      query.open()
      await stage.now(reading)
      const read = await stage.now(other.late.get(4, STRONG))
      second.open()
      await stage.within(1_000, Promise.resolve())
      return got(
        'a strong read after invalidate',
        read === 1 ? 1 : await stage.now(other.late.get(4, STRONG)),
        2,
      )
    },
    controls: [
      {
        without: 'the proof that a late tag has stood since before the load',
        patches: [["if (tags.haveStood(late)) return 'stood'", "if (late.length > 0) return 'stood'"]],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get takes no stamp for proof that was seen first during the load',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      const query = stage.origin.stopNextLoad()
      const reading = reader.late.get(4)
      await query.reached
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      // Another read of this process sees the new stamp, while the first still loads.
      await stage.now(reader.shown.get(5))
      const second = stage.origin.stopNextLoad()
      query.open()
      await stage.now(reading)
      const read = await stage.now(other.late.get(4, STRONG))
      second.open()
      await stage.within(1_000, Promise.resolve())
      return got(
        'a strong read after invalidate',
        read === 1 ? 1 : await stage.now(other.late.get(4, STRONG)),
        2,
      )
    },
    controls: [
      {
        without: 'the moment at which a stamp was seen',
        patches: [['seen.since <= moment && ', '']],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing in L1 of what it loads while it hears of a tag',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      const other = await tagged(stage)
      const query = stage.origin.stopNextLoad()
      const reading = reader.shown.get(4)
      await query.reached
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      query.open()
      await stage.now(reading)
      return got('a default read after the message', await stage.now(reader.shown.get(4)), 2)
    },
    controls: [
      {
        without: 'dooming the flights that depend on a tag',
        patches: [['    flights.doomDependents(key)', '']],
        reports: 'a default read after the message got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing in L1 whose tag was invalidated, once the message is heard',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      const other = await tagged(stage)
      await stage.now(reader.shown.get(4))
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      const afterOne = await stage.now(reader.shown.get(4))
      stage.origin.commit(3)
      await stage.now(other.tag.invalidateAll())
      return all(
        got('a default read after the message', afterOne, 2),
        got('a default read after the message about all', await stage.now(reader.shown.get(4)), 3),
      )
    },
    controls: [
      {
        without: 'removing the entries that depend on a tag',
        patches: [['of local.dependentsOf(key)', 'of [] as string[]']],
        reports: 'a default read after the message got v1, not v2',
      },
      {
        without: "removing the entries that depend on a tag's keyspace",
        patches: [['of local.dependentsOfKeyspace(keyspace)', 'of [] as string[]']],
        reports: 'a default read after the message about all got v2, not v3',
      },
    ],
  },
  {
    name: 'get finds nothing while a tag is guarded, and keeps nothing',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, writer] = [await tagged(stage), await tagged(stage)]
      void writer.cache.write([writer.tag.key(1)], () => new Promise(() => {}))
      await stage.clock.advance(500)
      const before = await stage.now(reader.shown.get(4, STRONG))
      stage.origin.commit(2)
      const after = await stage.now(reader.shown.get(4, STRONG))
      writer.link.cut()
      await stage.clock.advance(80_000)
      return all(got('a read before the commit', before, 1), got('a strong read after the commit', after, 2))
    },
    controls: [
      {
        without: 'looking whether a tag is guarded',
        patches: [
          ["      return 'guarded'", "      return { name: tag, token: 'W'.padEnd(16, '-'), generation }"],
        ],
        reports: 'a strong read after the commit got v1, not v2',
      },
    ],
  },
  {
    name: 'get sees an own write of a tag, also where a flight of before does not know its tags yet',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage)
      const query = stage.origin.stopNextLoad()
      const early = reader.late.get(4)
      await query.reached
      await stage.now(reader.cache.write([reader.tag.key(1)], () => stage.origin.commit(2)))
      const late = reader.late.get(4)
      await stage.now(late)
      query.open()
      await stage.now(early)
      return got('a read after the own write', await stage.within(3_000, late), 2)
    },
    controls: [
      {
        without: 'setting flights apart whose tags are not known',
        patches: [[' || flight?.isApart', '']],
        reports: 'a read after the own write got v1, not v2',
      },
    ],
  },
  {
    name: 'get bypasses the store for values whose tag is queued',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage)
      await stage.now(reader.shown.get(4))
      await warm(stage, () => reader.late.get(4))
      reader.link.fail('invalidate')
      stage.origin.commit(2)
      await stage.now(reader.tag.invalidate(1))
      await stage.clock.advance(10) // the store answers again, but for invalidations
      const verdict = all(
        got('a read after a queued invalidation', await stage.now(reader.shown.get(4)), 2),
        got('a read of a late tag after that', await stage.now(reader.late.get(4)), 2),
      )
      reader.link.restore()
      await stage.clock.advance(3_000)
      return verdict
    },
    controls: [
      {
        without: 'asking the queue for tags',
        patches: [['const why = queue.whyHeld(tag)', "const why = queue.whyHeld('nothing:0')"]],
        reports: 'a read after a queued invalidation got v1, not v2',
      },
    ],
  },
  {
    name: 'get serves no stale value whose tag has fallen',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, {}, { ttlMs: 1_000, staleMs: 60_000 })
      await stage.now(reader.shown.get(4))
      await stage.clock.advance(2_000)
      stage.origin.commit(2)
      await stage.now(reader.tag.invalidate(1))
      return got('a read after invalidate', await stage.now(reader.shown.get(4)), 2)
    },
    controls: [
      {
        without: 'judging the tags before the age',
        patches: [
          [
            'const judged = judgeTags(space, progress, register)',
            "const judged = register.softExpiryMs < space.parts.stream.storesFromOurs(nowMs) ? 'standing' as const : judgeTags(space, progress, register)",
          ],
        ],
        reports: 'a read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get gives back the lease that a guarded tag makes useless',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, writer] = [await tagged(stage), await tagged(stage)]
      void writer.cache.write([writer.tag.key(1)], () => new Promise(() => {}))
      await stage.now(Promise.resolve())
      await stage.now(reader.shown.get(4))
      const isLeased = stage.store.inspect('shown:4') !== undefined
      writer.link.cut()
      await stage.clock.advance(80_000)
      return unless(isLeased, 'the lease is still there')
    },
    controls: [
      {
        without: 'giving the lease back',
        patches: [['    giveBack(space, load.flight.key, load.asked)', '']],
        reports: 'the lease is still there',
      },
    ],
  },
  {
    name: 'write through stores no value that has tags',
    async scenario(library) {
      const stage = new Stage(library)
      const [writer, other] = [await tagged(stage), await tagged(stage)]
      await stage.now(writer.late.write(4, () => stage.origin.commit(2), { writeThrough: true }))
      stage.origin.commit(3)
      await stage.now(other.tag.invalidate(1))
      return got('a strong read after invalidate', await stage.now(other.late.get(4, STRONG)), 3)
    },
    controls: [
      {
        without: 'storing nothing with tags',
        patches: [['if (this.#space.tagging !== undefined) return undefined', '']],
        reports: 'a strong read after invalidate got v2, not v3',
      },
    ],
  },
]
