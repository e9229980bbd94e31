/** Snapshots: several values as they were at one moment. Every row has the same version: two versions are two moments. */
import type { CacheOptions } from '../../src/index.ts'
import { all, got, PENDING, type Protection, Stage, unless } from './stage.ts'
import { evict, holdNext, tagged, warm } from './tagged.ts'

/** Two processes, both rows of whose snapshot are stored. */
async function opened(library: ConstructorParameters<typeof Stage>[0], cache: CacheOptions = {}) {
  const stage = new Stage(library)
  const [reader, writer] = [await tagged(stage, { cache }), await tagged(stage)]
  for (const id of [4, 5]) await stage.now(reader.spells.get(id))
  await stage.now(reader.shown.get(4))
  let loads = 0
  const load = async () => {
    loads++
    const { version } = stage.origin
    return [version, version] as const
  }
  const keys = [writer.spells.key(4), writer.spells.key(5)]
  return {
    stage,
    reader,
    writer,
    /** Both rows, one of which the scenario may hold. */
    both: () => reader.cache.snapshot([reader.spells.at(4), reader.spells.at(5)], { load }),
    /** A value with a tag, and one without. */
    withTag: () => reader.cache.snapshot([reader.shown.at(4), reader.spells.at(5)], { load }),
    /** Two values of one tag. */
    ofOneTag: () => reader.cache.snapshot([reader.shown.at(4), reader.late.at(5)], { load }),
    /** A fenced write of both rows. */
    commit: (version: number) => stage.now(writer.cache.write(keys, () => stage.origin.commit(version))),
    /** How often the snapshot's own loader was called. */
    get loads() {
      return loads
    },
  }
}

/** The versions of a snapshot, or that there is none yet. */
const versions = (answer: readonly unknown[] | typeof PENDING): string =>
  answer === PENDING ? 'no answer' : answer.map(version => `v${version}`).join(' beside ')

export const snapshots: readonly Protection[] = [
  {
    name: 'snapshot shows no value beside one that the same write has replaced',
    async scenario(library) {
      const { stage, reader, both, commit } = await opened(library)
      const second = holdNext(reader.link, 'lease', 'question', 'spell:5')
      const reading = both()
      await second.reached // row 4 was seen
      reader.link.holdStream()
      await commit(2)
      second.open()
      return got('a snapshot', versions(await stage.now(reading)), 'v2 beside v2')
    },
    controls: [
      {
        without: 'looking at the values once more',
        patches: [
          [
            "values.every((text, i) => typeof text === 'string' && text.startsWith(seen[i]!.prefix))",
            'values.length === seen.length',
          ],
        ],
        reports: 'a snapshot got v1 beside v2, not v2 beside v2',
      },
    ],
  },
  {
    name: 'snapshot shows no value whose tag has fallen beside one that the same write has replaced',
    async scenario(library) {
      const { stage, reader, writer, withTag } = await opened(library)
      const second = holdNext(reader.link, 'lease', 'question', 'spell:5')
      const reading = withTag()
      await second.reached
      reader.link.holdStream()
      const names = [writer.tag.key(1), writer.spells.key(5)]
      await stage.now(writer.cache.write(names, () => stage.origin.commit(2)))
      second.open()
      return got('a snapshot', versions(await stage.now(reading)), 'v2 beside v2')
    },
    controls: [
      {
        without: 'looking at the stamps once more',
        patches: [
          ['standing.get(name) === stampText(token)', 'standing.has(name) && stampText(token).length > 0'],
        ],
        reports: 'a snapshot got v1 beside v2, not v2 beside v2',
      },
    ],
  },
  {
    name: 'snapshot shows no value whose tag has fallen beside one that was loaded under the next stamp of that tag',
    async scenario(library) {
      const { stage, reader, writer, ofOneTag } = await opened(library)
      await warm(stage, () => writer.late.get(5))
      const second = holdNext(reader.link, 'lease', 'question', 'late:5')
      const reading = ofOneTag()
      await second.reached // row 4 was seen
      reader.link.holdStream()
      await stage.now(writer.cache.write([writer.tag.key(1)], () => stage.origin.commit(2)))
      second.open()
      return got('a snapshot', versions(await stage.now(reading)), 'v2 beside v2')
    },
    controls: [
      {
        without: 'comparing the stamps of every value: one for each tag is compared',
        patches: [
          [
            'const stamps = seen.flatMap(one => one.stamps)',
            'const stamps = [...new Map(seen.flatMap(one => one.stamps.map(stamp => [stamp.name, stamp] as const))).values()]',
          ],
        ],
        reports: 'a snapshot got v1 beside v2, not v2 beside v2',
      },
    ],
  },
  {
    name: 'snapshot shows no value whose stamp was evicted beside one that the same write has replaced',
    async scenario(library) {
      const { stage, reader, writer, withTag } = await opened(library)
      const second = holdNext(reader.link, 'lease', 'question', 'spell:5')
      const reading = withTag()
      await second.reached
      reader.link.holdStream()
      await evict(stage, 'tag:1')
      const names = [writer.tag.key(1), writer.spells.key(5)]
      await stage.now(writer.cache.write(names, () => stage.origin.commit(2)))
      second.open()
      return got('a snapshot', versions(await stage.now(reading)), 'v2 beside v2')
    },
    controls: [
      {
        without: 'the rule that the second look finds every stamp: an absent one stands',
        patches: [
          [
            'standing.get(name) === stampText(token)',
            '(standing.get(name) === null || standing.get(name) === stampText(token))',
          ],
        ],
        reports: 'a snapshot got v1 beside v2, not v2 beside v2',
      },
    ],
  },
  {
    name: 'snapshot shows nothing that its process has invalidated meanwhile beside what is newer',
    async scenario(library) {
      const { stage, reader, writer, both } = await opened(library)
      const second = holdNext(reader.link, 'lease', 'question', 'spell:5')
      const reading = both()
      await second.reached
      reader.link.holdStream()
      reader.link.fail('invalidate')
      stage.origin.commit(2)
      await stage.now(reader.spells.invalidate(4)) // queued
      await stage.now(writer.spells.invalidate(5))
      await stage.clock.advance(10) // the store answers again, but for invalidations
      second.open()
      const answer = versions(await stage.now(reading))
      reader.link.restore()
      await stage.clock.advance(3_000)
      return got('a snapshot', answer, 'v2 beside v2')
    },
    controls: [
      {
        without: 'asking the queue after the second look',
        patches: [
          [
            ' || queue.holdsAny([...leases, ...creations].map(({ key }) => key))) return false',
            ') return void queue ?? false',
          ],
        ],
        reports: 'a snapshot got v1 beside v2, not v2 beside v2',
      },
    ],
  },
  {
    name: 'snapshot gives back the lease that its second look was granted',
    async scenario(library) {
      const { stage, reader, both } = await opened(library)
      const second = holdNext(reader.link, 'lease', 'reply', 'spell:5')
      const reading = both()
      await second.reached
      await evict(stage, 'spell:4')
      second.open()
      return got('a snapshot', versions(await stage.now(reading)), 'v1 beside v1')
    },
    controls: [
      {
        without: 'giving it back',
        patches: [['  dropGranted(values)\n', '']],
        reports: 'a snapshot got no answer, not v1 beside v1',
      },
    ],
  },
  {
    name: 'snapshot gives back the lease that its second look may have been granted',
    async scenario(library) {
      const { stage, reader, both } = await opened(library)
      const second = holdNext(reader.link, 'lease', 'reply', 'spell:5')
      const reading = both()
      await second.reached
      await evict(stage, 'spell:4')
      reader.link.loseReplies('leaseMany')
      second.open()
      await stage.clock.advance(1_000)
      await stage.now(reading)
      reader.link.restore()
      const isLeased = stage.store.inspect('spell:4')?.startsWith('L') === true
      await stage.clock.advance(3_000)
      return unless(isLeased, 'the lease is still there')
    },
    controls: [
      {
        without: 'giving back what may have been granted',
        patches: [
          [
            'for (const { key, token } of leases) dropLease(parts, key, token)\n    return false',
            'return false',
          ],
        ],
        reports: 'the lease is still there',
      },
    ],
  },
  {
    name: 'snapshot gives back the lease of a second try that it does not load under',
    async scenario(library) {
      const { stage, writer, both } = await opened(library)
      await evict(stage, 'spell:4')
      const query = stage.origin.stopNextLoad()
      const reading = both()
      await query.reached
      await stage.now(writer.spells.invalidate(4)) // what is loaded now is not stored
      query.open()
      await stage.now(reading)
      return unless(stage.store.inspect('spell:4')?.startsWith('L') === true, 'the lease is still there')
    },
    controls: [
      {
        without: 'giving it back',
        patches: [["    if (asked.kind === 'leased') giveBack(space, read.key, asked)\n", '']],
        reports: 'the lease is still there',
      },
    ],
  },
  {
    name: 'snapshot looks at what it has loaded only when that is stored',
    async scenario(library) {
      const context = await opened(library)
      const { stage, both } = context
      await evict(stage, 'spell:4')
      const query = stage.origin.stopNextLoad()
      const reading = both()
      await stage.now(reading)
      query.open()
      const answer = versions(await stage.now(reading))
      return all(
        got('a snapshot', answer, 'v1 beside v1'),
        unless(context.loads > 0, "the snapshot's own loader was called"),
      )
    },
    controls: [
      {
        without: 'waiting for the fill',
        patches: [['await loading\n      return outcomeOf(look)', "return 'stored' as const"]],
        reports: 'a snapshot got no answer, not v1 beside v1',
      },
    ],
  },
  {
    name: 'snapshot loads what it leads while others load the rest',
    async scenario(library) {
      const context = await opened(library)
      const { stage, reader, writer, both } = context
      for (const key of ['spell:4', 'spell:5']) await evict(stage, key)
      const second = holdNext(reader.link, 'lease', 'question', 'spell:5')
      const reading = both()
      await second.reached // spell 4 is leased
      const theirs = writer.cache.snapshot([writer.spells.at(5), writer.spells.at(4)], {
        load: async () => [-1, -1] as const,
      })
      second.open() // each has the lease of one
      const own = versions(await stage.within(500, reading))
      return all(
        got('a snapshot', own, 'v1 beside v1'),
        got('the other snapshot', versions(await stage.now(theirs)), 'v1 beside v1'),
        unless(context.loads > 0, "the snapshot's own loader was called"),
      )
    },
    controls: [
      {
        without: 'loading before it waits for others',
        patches: [
          [
            'const asked = await Promise.all(looks.map(askFor))',
            "const asked = await Promise.all(looks.map(async look => {\n      const one = await askFor(look)\n      return one?.kind === 'busy' ? one.wait() : one\n    }))",
          ],
        ],
        reports: "the snapshot's own loader was called",
      },
    ],
  },
]
