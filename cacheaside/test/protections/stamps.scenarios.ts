/** What becomes of the stamp of a tag, by the rules of its register. */
import type { Tag } from '../../src/index.ts'
import { gate } from '../../src/testing/index.ts'
import { all, got, type Process, type Protection, STRONG, Stage, unless } from './stage.ts'

const TAG = 'author:7' as Tag

/** A process whose spells all depend on one tag. */
async function taggedProcess(stage: Stage) {
  const process = await stage.process({ spells: { tags: () => [TAG] } })
  return { ...process, author: process.cache.tags<number>('author') }
}

const strong = (stage: Stage, { spells }: Process, id = 4) => stage.now(spells.get(id, STRONG))

export const stamps: readonly Protection[] = [
  {
    name: 'invalidate of a tag takes its stamp away, and the values under it are found no more',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, writer] = [await taggedProcess(stage), await taggedProcess(stage)]
      await stage.now(reader.spells.get(4))
      stage.origin.commit(2)
      await stage.now(writer.author.invalidate(7))
      return got('a strong read', await strong(stage, reader), 2)
    },
    controls: [
      {
        without: 'removing the stamp',
        patches: [
          [
            'if (standing === undefined) return ABSENT',
            "if (standing === undefined) return text?.startsWith('S') ? SAME : ABSENT",
          ],
        ],
        reports: 'a strong read got v1, not v2',
      },
    ],
  },
  {
    name: 'write under a tag takes away the stamp that it finds in the place of its guard',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, writer] = [await taggedProcess(stage), await taggedProcess(stage)]
      const committing = gate()
      const writing = writer.cache.write([writer.author.key(7)], async () => {
        await committing.wait()
        stage.origin.commit(2)
      })
      await committing.reached
      stage.plant(TAG, 'evicted', 1)
      await stage.clock.advance(1)
      await stage.now(reader.spells.get(4))
      const isStamped = stage.store.inspect(TAG)?.startsWith('S') === true
      committing.open()
      const written = await stage.now(writing)
      if (typeof written === 'symbol') return 'the write waited on'
      return all(
        unless(!isStamped, 'nobody has stamped the tag'),
        unless(written.fenced, 'a write whose guard was lost was called fenced'),
        got('a strong read', await strong(stage, reader), 2),
      )
    },
    controls: [
      {
        without: 'removing at the release whatever is there',
        patches: [
          [
            'if (standing === undefined) return { reply: { held: false, stored: false }, change: ABSENT }',
            "if (standing === undefined) return { reply: { held: false, stored: false }, change: text?.startsWith('S') ? SAME : ABSENT }",
          ],
        ],
        reports: 'a strong read got v1, not v2',
      },
    ],
  },
  {
    name: 'get that stores under a stamp that has fallen does not bring it back',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await taggedProcess(stage), await taggedProcess(stage)]
      reader.link.muteStream() // or the message is late
      const load = stage.origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await load.reached
      stage.origin.commit(2)
      await stage.now(other.author.invalidate(7))
      await strong(stage, other, 5) // under the next stamp
      const next = stage.store.inspect(TAG)
      await stage.clock.advance(10) // so that what is stored now lives longer
      load.open(undefined)
      await stage.now(reading) // v1 is stored, and its stamp is to live as long
      return all(
        unless(next?.startsWith('S') !== true, 'nobody has stamped the tag again'),
        got('a strong read', await strong(stage, other), 2),
        unless(stage.store.inspect(TAG) !== next, 'the next stamp has been replaced'),
      )
    },
    controls: [
      {
        without: 'the comparison at the renewal',
        patches: [['  if (text !== stamp) return REJECTED\n', '  void REJECTED\n']],
        reports: 'a strong read got v1, not v2',
      },
    ],
  },
]
