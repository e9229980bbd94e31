/** What depends on tags: a value is found only while every tag stands that it was loaded under. */
import { all, failure, got, L1, type Protection, STRONG, Stage, shown, unless } from './stage.ts'
import { atHand, evict, holdNext, tagged, taggedInside, warm } from './tagged.ts'

/** Values are found that lack a tag which `tagsOf` names. */
const FINDS_LACKING = ["if (lacking !== 'none') return", 'if (lacking === null) return'] as const

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
        patches: [['  flights.doomDependents(key)', '']],
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
    name: 'get in one process with the store sees what another cache has done to a tag, also where a flight of before does not know its tags yet',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [taggedInside(stage), taggedInside(stage)]
      const read = async (change: () => Promise<unknown>, id: number) => {
        const query = stage.origin.stopNextLoad()
        const early = reader.late.get(id)
        await query.reached
        await stage.now(change())
        const late = reader.late.get(id)
        await stage.now(late)
        query.open()
        await stage.now(early)
        return stage.within(3_000, late)
      }
      stage.origin.commit(2)
      const write = () => other.cache.write([other.tag.key(1)], () => stage.origin.commit(3))
      const afterWrite = await read(write, 4)
      const invalidate = () => {
        stage.origin.commit(4)
        return other.tag.invalidateAll()
      }
      return all(
        got('a read after the write', afterWrite, 3),
        got('a read after invalidateAll', await read(invalidate, 5), 4),
      )
    },
    controls: [
      {
        without: 'setting flights apart at a message about a tag',
        patches: [['if (parts.tags.size > 0 && hearsAtOnce(parts)) set', 'if (parts.tags.size < 0) set']],
        reports: 'a read after the write got v2, not v3',
      },
      {
        without: 'setting flights apart at a message about all tags of a kind',
        patches: [['if (hearsAtOnce(parts)) setApart(parts, keyspace)', '']],
        reports: 'a read after invalidateAll got v3, not v4',
      },
    ],
  },
  {
    name: 'invalidate of a tag hides what the embedded store has at hand',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [taggedInside(stage), taggedInside(stage)]
      await atHand(stage, reader)
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      return got('a default read after invalidate', await stage.now(reader.shown.get(4)), 2)
    },
    controls: [
      {
        without: 'comparing the stamps of what is at hand',
        patches: [[' && registers.get(tag.name) === tag.stamp', '']],
        reports: 'a default read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidateAll of a kind of tags hides what the embedded store has at hand',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [taggedInside(stage), taggedInside(stage)]
      await atHand(stage, reader)
      stage.origin.commit(2)
      await stage.now(other.tag.invalidateAll())
      await stage.now(reader.shown.get(5)) // learns the new generation
      return got('a default read after invalidateAll', await stage.now(reader.shown.get(4)), 2)
    },
    controls: [
      {
        without: 'comparing the generations of the tags of what is at hand',
        patches: [[' && tag.current.value === tag.generation', '']],
        reports: 'a default read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds no value at hand that was stored without a tag of its id',
    async scenario(library) {
      const stage = new Stage(library)
      const { load } = stage.origin
      const older = stage.embedded().cache.keyspace('shown', { load, ttlJitter: 0 })
      const newer = taggedInside(stage)
      await stage.now(newer.shown.get(5)) // learns the generation
      await stage.now(older.get(4))
      stage.origin.commit(2)
      await stage.now(newer.tag.invalidate(1))
      return got('a read of the newer deploy', await stage.now(newer.shown.get(4)), 2)
    },
    controls: [
      {
        without: 'judging first what was stored without tags, where the keyspace names some',
        patches: [['space.tagging !== undefined || register.state', 'register.state']],
        reports: 'a read of the newer deploy got v1, not v2',
      },
    ],
  },
  {
    name: 'get bypasses what is at hand while its tag or its key is queued',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = taggedInside(stage)
      await atHand(stage, reader)
      for (let i = 0; i < 2; i++) await stage.now(reader.spells.get(4))
      Object.assign(stage.store, { invalidate: async () => Promise.reject(new Error('no answer')) })
      stage.origin.commit(2)
      await stage.now(reader.tag.invalidate(1))
      await stage.now(reader.spells.invalidate(4))
      await stage.clock.advance(10) // the store answers again, but for invalidations
      return all(
        got('a read under the tag', await stage.now(reader.shown.get(4)), 2),
        got('a read of the key', await stage.now(reader.spells.get(4)), 2),
      )
    },
    controls: [
      {
        without: 'asking the queue for the tags of what is at hand',
        patches: [['!queue.holds(tag.name) && ', 'queue.size >= 0 && ']],
        reports: 'a read under the tag got v1, not v2',
      },
      {
        without: 'asking the queue for the key of what is at hand',
        patches: [
          [
            'if (!access.available || queue.holds(key)) return undefined',
            'if (!access.available || queue.size < 0) return undefined',
          ],
        ],
        reports: 'a read of the key got v1, not v2',
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
        without: 'storing nothing with tags, and comparing the tags that it names',
        patches: [['if (space.tagging !== undefined) return undefined', ''], FINDS_LACKING],
        reports: 'a strong read after invalidate got v2, not v3',
      },
    ],
  },
  {
    name: 'get reads the stamps of all tags before its load',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      const query = stage.origin.stopNextLoad()
      const reading = reader.shown.get(4)
      await query.reached
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      query.open()
      await stage.now(reading)
      return got('a strong read after invalidate', await stage.now(other.shown.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'reading them before: they are read after the load',
        patches: [
          ['  // In the same round trip, and after the value.\n  await tags.ask(tags.names)\n', ''],
          ['given : await readyOne(space, flight, given)', 'given : (void readyOne, given)'],
          ["if (tags.haveStood(late)) return 'stood'", "if (late.length > 0) return 'stood'"],
        ],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get refreshes a value under stamps that were read before the load',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, {}, { ttlMs: 1_000, staleMs: 60_000 })
      const other = await tagged(stage, {}, { ttlMs: 1_000, staleMs: 60_000 })
      await stage.now(reader.shown.get(4))
      await stage.clock.advance(2_000)
      const query = stage.origin.stopNextLoad()
      await stage.now(reader.shown.get(4))
      await query.reached
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      query.open()
      await stage.clock.drain()
      return got('a strong read after invalidate', await stage.now(other.shown.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'reading them before: they are read after the load',
        patches: [
          ['given : await readyOne(space, flight, given)', 'given : (void readyOne, given)'],
          ["if (tags.haveStood(late)) return 'stood'", "if (late.length > 0) return 'stood'"],
          // The refresh replaces the value also if its stamp has fallen: nobody has seen that yet.
        ],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get hears of a tag from before it asks for its stamp',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      const other = await tagged(stage)
      await warm(stage, () => other.late.get(4))
      const stamps = holdNext(reader.link, 'stampMany', 'reply')
      const reading = reader.late.get(4)
      await stamps.reached
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      stamps.open()
      await stage.now(reading)
      return got('a default read after the message', await stage.now(reader.late.get(4)), 2)
    },
    controls: [
      {
        without: 'listing the flight before the question: it is listed after the reply',
        patches: [
          [
            'this.add(names)\n    this.learn(await askedStates(this.#parts, names, { ...this.#request, ...request }))',
            'const states = await askedStates(this.#parts, names, { ...this.#request, ...request })\n    this.add(names)\n    this.learn(states)',
          ],
        ],
        reports: 'a default read after the message got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing in L1 of what it loads while it hears that all tags of a kind were invalidated',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      const other = await tagged(stage)
      const query = stage.origin.stopNextLoad()
      const reading = reader.shown.get(4)
      await query.reached
      stage.origin.commit(2)
      await stage.now(other.tag.invalidateAll())
      query.open()
      await stage.now(reading)
      return got('a default read after the message', await stage.now(reader.shown.get(4)), 2)
    },
    controls: [
      {
        without: "dooming the flights that depend on a tag's keyspace",
        patches: [['  flights.doomDependentsOfKeyspace(keyspace)', '']],
        reports: 'a default read after the message got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing in L1 once a heartbeat has brought a new generation of its tags',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      const other = await tagged(stage)
      await stage.now(reader.shown.get(4))
      const query = stage.origin.stopNextLoad()
      const loading = reader.shown.get(5)
      await query.reached
      reader.link.muteStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidateAll())
      reader.link.releaseStream()
      await stage.clock.advance(600)
      query.open()
      await stage.now(loading)
      return all(
        got('a default read after the heartbeat', await stage.now(reader.shown.get(4)), 2),
        got('a default read of what was loaded meanwhile', await stage.now(reader.shown.get(5)), 2),
      )
    },
    controls: [
      {
        without: 'dropping what depends on the older one',
        patches: [['if (changed) this.#owner.keyspaceInvalidated(keyspace)', 'void changed']],
        reports: 'a default read after the heartbeat got v1, not v2',
      },
      {
        without: 'dropping flights: only entries are dropped',
        patches: [
          [
            'if (changed) this.#owner.keyspaceInvalidated(keyspace)',
            "if (changed && keyspace !== 'tag') this.#owner.keyspaceInvalidated(keyspace)\n    else if (changed) this.#owner.entriesOf(keyspace)",
          ],
          [
            '        keyspaceInvalidated: keyspace => heardOfKeyspace(this.#parts, keyspace),',
            '        keyspaceInvalidated: keyspace => heardOfKeyspace(this.#parts, keyspace),\n        entriesOf: (keyspace: string) => { for (const key of local.dependentsOfKeyspace(keyspace)) local.remove(key) },',
          ],
        ],
        reports: 'a default read of what was loaded meanwhile got v1, not v2',
      },
    ],
  },
  {
    name: 'get lets no value fall by a stamp that was read before the value',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await stage.now(other.shown.get(5)) // a stamp is there
      const question = holdNext(reader.link, 'lease', 'question')
      const reading = reader.shown.get(4)
      await question.reached
      // The reader has the stamp. Before its other question arrives, the value is stored under a newer one.
      await stage.now(other.tag.invalidate(1))
      await stage.now(other.shown.get(4))
      const { loads } = stage.origin
      question.open()
      await stage.now(reading)
      return unless(stage.origin.loads > loads, 'the other process has loaded for nothing')
    },
    controls: [
      {
        without: 'reading the stamp again',
        patches: [
          [
            'await tags.ask(doubtful, { strong: true, limitMs: leftMs(space.parts, progress) })',
            'if (tags.unknown(doubtful).length > 0) await tags.ask(doubtful, { strong: true, limitMs: leftMs(space.parts, progress) })',
          ],
        ],
        reports: 'the other process has loaded for nothing',
      },
    ],
  },
  {
    name: 'get lets no value fall by a copy of a generation',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await stage.now(reader.shown.get(5)) // it has a copy of the generation
      reader.link.holdStream()
      await stage.now(other.tag.invalidateAll())
      await stage.now(other.shown.get(4))
      const { loads } = stage.origin
      await stage.now(reader.shown.get(4))
      return unless(stage.origin.loads > loads, 'the other process has loaded for nothing')
    },
    controls: [
      {
        without: 'reading the generation again',
        patches: [['await tags.ask(doubtful, { strong: true, limitMs', 'await tags.ask(doubtful, { limitMs']],
        reports: 'the other process has loaded for nothing',
      },
    ],
  },
  {
    name: 'get finds no value that lacks a tag of its id, and replaces it once',
    async scenario(library) {
      const stage = new Stage(library)
      const older = await stage.process()
      const olderTag = older.cache.tags<number>('older')
      const { load } = stage.origin
      const olds = older.cache.keyspace('shown', { load, ttlJitter: 0, tags: () => [olderTag.key(1)] })
      const newer = await tagged(stage)
      await stage.now(olds.get(4))
      stage.origin.commit(2)
      await stage.now(newer.tag.invalidate(1))
      const read = await stage.now(newer.shown.get(4))
      const { loads } = stage.origin
      for (let i = 0; i < 5; i++) {
        await stage.now(olds.get(4))
        await stage.now(newer.shown.get(4))
      }
      // The older one replaces it once, and finds its value from then on. The newer one bypasses that.
      return all(
        got('a read of the newer deploy', read, 2),
        unless(stage.origin.loads > loads + 1 + 5, 'the deploys take turns'),
      )
    },
    controls: [
      {
        without: 'comparing the tags',
        patches: [
          [
            '  if (lacking !== undefined) return replaceLacking(',
            '  if (lacking === null) return replaceLacking(',
          ],
        ],
        reports: 'a read of the newer deploy got v1, not v2',
      },
      {
        without: 'remembering what was replaced',
        patches: [['if ((this.#replaced.get(key) ?? Number.NEGATIVE_INFINITY) > nowMs) return false\n', '']],
        reports: 'the deploys take turns',
      },
    ],
  },
  {
    name: 'get finds no value that lacks a tag that it names itself, and replaces it once',
    async scenario(library) {
      const stage = new Stage(library)
      const older = await stage.process()
      const olderTag = older.cache.tags<number>('older')
      const { load } = stage.origin
      const olds = older.cache.keyspace('late', { load, ttlJitter: 0, tagsOf: () => [olderTag.key(1)] })
      const newer = await tagged(stage)
      await warm(stage, () => olds.get(4))
      await stage.now(newer.cache.write([newer.tag.key(1)], () => stage.origin.commit(2)))
      const read = await stage.now(newer.late.get(4, STRONG))
      await warm(stage, () => newer.late.get(4))
      const { loads } = stage.origin
      for (let i = 0; i < 5; i++) {
        await stage.now(olds.get(4))
        await stage.now(newer.late.get(4))
      }
      // The older one replaces it once, by two loads. The newer one bypasses that.
      return all(
        got('a strong read of the newer deploy', read, 2),
        unless(stage.origin.loads > loads + 2 + 5, 'the deploys take turns'),
      )
    },
    controls: [
      {
        without: 'comparing the tags',
        patches: [FINDS_LACKING],
        reports: 'a strong read of the newer deploy got v1, not v2',
      },
      {
        without: 'remembering what was replaced',
        patches: [['if ((this.#replaced.get(key) ?? Number.NEGATIVE_INFINITY) > nowMs) return false\n', '']],
        reports: 'the deploys take turns',
      },
    ],
  },
  {
    name: 'get gives back the claim of a refresh whose stamps it cannot read',
    async scenario(library) {
      const stage = new Stage(library)
      const options = { ttlMs: 1_000, staleMs: 60_000 }
      const reader = await tagged(stage, {}, options)
      const other = await tagged(stage, {}, options)
      await stage.now(reader.shown.get(4))
      await stage.clock.advance(2_000)
      const claim = holdNext(reader.link, 'claim', 'reply')
      await stage.now(reader.shown.get(4))
      await claim.reached
      reader.link.fail('stampMany')
      claim.open()
      await stage.clock.drain()
      const { loads } = stage.origin
      stage.origin.commit(2)
      await stage.now(other.shown.get(4)) // finds it stale, and refreshes it
      return all(
        got('a read after the refresh', await stage.now(other.shown.get(4)), 2),
        unless(loads > 1, 'a refresh that may keep nothing has loaded'),
      )
    },
    controls: [
      {
        without: 'ending a refresh that may keep nothing',
        patches: [["if (flight.background && asked.kind === 'bypass') return", '']],
        reports: 'a refresh that may keep nothing has loaded',
      },
      {
        without: 'giving back claims: only leases are given back',
        patches: [
          [
            '    giveBack(space, load.flight.key, load.asked)',
            "    if (load.asked.kind === 'leased' && load.asked.claim === undefined) giveBack(space, load.flight.key, load.asked)",
          ],
        ],
        reports: 'a read after the refresh got v1, not v2',
      },
    ],
  },
  {
    name: 'get takes no stamp of another tag for that of its own',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage)
      const second = reader.cache.keyspace('second', {
        load: stage.origin.load,
        tags: () => [reader.tag.key(2)],
      })
      await stage.now(second.get(9))
      const foreign = stage.store.inspect('tag:2')!
      // A reply too many: each stamp asked for is that of the other tag.
      const { look, stampMany } = reader.link
      const shift = (keys: readonly string[], replies: readonly unknown[]) =>
        replies.map((reply, i) => (keys[i] === 'tag:1' ? foreign : reply))
      Object.assign(reader.link, {
        look: async (keys: readonly string[]) => shift(keys, await look.call(reader.link, keys)),
        stampMany: async (requests: readonly { key: string; token: string }[], lifeMs: number) =>
          shift(
            requests.map(({ key }) => key),
            await stampMany.call(reader.link, requests, lifeMs),
          ),
      })
      await stage.now(reader.shown.get(4))
      stage.origin.commit(2)
      const other = await tagged(stage)
      reader.link.holdStream()
      await stage.now(other.tag.invalidate(1))
      return got('a strong read after invalidate', await stage.now(reader.shown.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'the mark of the tag',
        patches: [
          [
            "store.synchronous || markOf(register, tag) === 'own')",
            "store.synchronous || markOf(register, tag) !== ('' as string))",
          ],
        ],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds no value whose stamp was evicted',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await tagged(stage), await tagged(stage)]
      await stage.now(reader.shown.get(4))
      await evict(stage, 'tag:1')
      reader.link.holdStream()
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1)) // there is nothing to be removed
      return got('a read after invalidate', await stage.now(reader.shown.get(4)), 2)
    },
    controls: [
      {
        without: 'the rule that a value without its stamps falls: an absent one stands',
        patches: [
          [
            'stamps.filter(stamp => !isSame(',
            "stamps.filter(stamp => this.#states.get(stamp.name) !== 'absent' && !isSame(",
          ],
        ],
        reports: 'a read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidate of a tag without a stamp is told to all processes',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, { cache: { local: L1 } })
      const other = await tagged(stage)
      await stage.now(reader.shown.get(4))
      await evict(stage, 'tag:1')
      stage.origin.commit(2)
      await stage.now(other.tag.invalidate(1))
      return got('a default read after the message', await stage.now(reader.shown.get(4)), 2)
    },
    controls: [
      {
        without: 'the message: only what is there is told of',
        patches: [
          [
            'this.#broadcast(listener => listener.invalidated(key))\n    this.#apply(key, invalidated(this.inspect(key)))',
            'if (this.inspect(key) !== undefined) this.#broadcast(listener => listener.invalidated(key))\n    this.#apply(key, invalidated(this.inspect(key)))',
          ],
        ],
        reports: 'a default read after the message got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing while the second of two writers of a tag is at work',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, writer, second] = [await tagged(stage), await tagged(stage), await tagged(stage)]
      void second.cache.write([second.tag.key(1)], () => new Promise(() => {}))
      await stage.now(Promise.resolve())
      await stage.now(writer.cache.write([writer.tag.key(1)], () => stage.origin.commit(2)))
      const between = await stage.now(reader.shown.get(4))
      stage.origin.commit(3) // by the second writer, which then dies
      second.link.cut()
      const after = await stage.now(reader.shown.get(4, STRONG))
      await stage.clock.advance(80_000)
      return all(
        got('a read between the writes', between, 2),
        got('a strong read after the second commit', after, 3),
        got('a read after its guard', await stage.now(reader.shown.get(4)), 3),
      )
    },
    controls: [
      {
        without: 'leaving the guard to those who are still there',
        patches: [
          [
            'if (left.length > 0) return { reply: { held, stored: false }, change: guard(true, left) }',
            'void left',
          ],
        ],
        reports: 'a strong read after the second commit got v2, not v3',
      },
    ],
  },
  {
    name: 'write that dies after its commit leaves no value under its tag to be found',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, writer] = [await tagged(stage), await tagged(stage)]
      await stage.now(reader.shown.get(4))
      reader.link.holdStream()
      void writer.cache.write([writer.tag.key(1)], () => new Promise(() => {}))
      await stage.now(Promise.resolve())
      stage.origin.commit(2)
      writer.link.cut()
      await stage.clock.advance(80_000)
      return got('a strong read after the guard', await stage.now(reader.shown.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'removing the stamp by the guard: the register is left for the release',
        patches: [
          [
            'this.#take(key, (text, timeMs) => guarded(text, token, guardMs, renewal, timeMs, lifeUntilMs))',
            "(text => text?.startsWith('S') === true ? 'new' as const : this.#take(key, (text, timeMs) => guarded(text, token, guardMs, renewal, timeMs, lifeUntilMs)))(this.inspect(key))",
          ],
        ],
        reports: 'a strong read after the guard got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds values for longer than their stamps were first made for',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await tagged(stage, {}, { ttlMs: 600_000 })
      await stage.now(reader.shown.get(4))
      const { loads } = stage.origin
      await stage.clock.advance(300_000)
      await stage.now(reader.shown.get(4))
      return unless(stage.origin.loads > loads, 'the value was loaded again')
    },
    controls: [
      {
        without: 'making the stamps of a stored value live longer',
        patches: [["if (outcome === 'accepted') renewStamps(space, made.tags, value)", 'void renewStamps']],
        reports: 'the value was loaded again',
      },
    ],
  },
  {
    name: 'get does not fall back on a value whose tag has fallen',
    async scenario(library) {
      const stage = new Stage(library)
      const options = { ttlMs: 1_000, staleIfErrorMs: 60_000 }
      const [reader, other] = [await tagged(stage, {}, options), await tagged(stage, {}, options)]
      const fails = async (before: boolean): Promise<unknown> => {
        const query = stage.origin.stopNextLoad()
        if (before) await stage.now(other.tag.invalidate(1))
        const reading = failure(reader.shown.get(4))
        await query.reached
        if (!before) await stage.now(other.tag.invalidate(1))
        query.fail(new Error('no connection'))
        return shown(await stage.now(reading))
      }
      const whys: unknown[] = []
      for (const before of [true, false]) {
        await stage.now(reader.shown.get(4))
        await stage.clock.advance(2_000)
        whys.push(await fails(before))
      }
      return all(
        got('a reader after invalidate', whys[0], 'no connection'),
        got('a reader during invalidate', whys[1], 'no connection'),
      )
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
        reports: 'a reader after invalidate got undefined, not no connection',
      },
      {
        without: 'dooming the flights that depend on a tag',
        patches: [['  flights.doomDependents(key)', '']],
        reports: 'a reader during invalidate got undefined, not no connection',
      },
    ],
  },
]
