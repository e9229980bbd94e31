/** Registers that another version has written, or that belong to another key. */
import type { CacheError } from '../../src/index.ts'
import { gate } from '../../src/testing/index.ts'
import { all, failure, got, type Protection, STRONG, Stage, unless } from './stage.ts'

/** A guard as a later version may write it, for ten seconds: this one cannot read it. */
const LATER = 'W20 of a later version'
const LATER_MS = 10_000

const TAKEN_FOR_OURS = [
  "return { kind: 'bypass', why: 'version' }",
  "return swapForLease(space, progress, { exactly: text }, 'version')",
] as const

/** Puts a value of row 5, which is v1, into the register of row 4, which is v2. */
async function misplaced(library: ConstructorParameters<typeof Stage>[0], change: (text: string) => string) {
  const stage = new Stage(library)
  const reader = await stage.process()
  await stage.now(reader.spells.get(5))
  const text = stage.store.inspect('spell:5')
  if (text === undefined) throw new Error('row 5 was not stored')
  stage.plant('spell:4', change(text))
  stage.origin.commit(2)
  return { stage, reader }
}

export const registers: readonly Protection[] = [
  {
    name: "get answers with no other key's value",
    async scenario(library) {
      const { stage, reader } = await misplaced(library, text => text)
      const strong = await stage.now(reader.spells.get(4, STRONG))
      const batch = await stage.now(reader.spells.getMany([4]))
      return all(
        got('a strong read', strong, 2),
        got('a batch', typeof batch === 'symbol' ? batch : batch.get(4), 2),
      )
    },
    controls: [
      {
        without: 'the mark of the key',
        patches: [
          ["if (mark === 'foreign') return mismatched(", "if ((mark as string) === '') return mismatched("],
        ],
        reports: 'a strong read got v1, not v2',
      },
    ],
  },
  {
    name: "get answers with no earlier version's value, which does not tell its key",
    async scenario(library) {
      const { stage, reader } = await misplaced(library, text => `V${'n'.repeat(16)}${text.slice(17)}`)
      const strong = await stage.now(reader.spells.get(4, STRONG))
      await stage.clock.drain()
      return all(
        got('a strong read', strong, 2),
        unless(stage.store.inspect('spell:4')?.includes('nnnn') === true, 'the old value stays'),
      )
    },
    controls: [
      {
        without: 'replacing what does not tell its key',
        patches: [["if (mark === 'none')", "if ((mark as string) === '')"]],
        reports: 'a strong read got v1, not v2',
      },
    ],
  },
  {
    name: 'get leaves a guard of a later version to its writer',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await stage.process()
      stage.plant('spell:4', LATER, LATER_MS)
      await stage.now(reader.spells.get(4))
      stage.origin.commit(2) // by the writer of the later version, which then dies
      await stage.clock.advance(LATER_MS + 100)
      return got('a read after that guard', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'going to the origin for what is of a later version, and without refusing to swap it',
        patches: [
          TAKEN_FOR_OURS,
          ["return state === 'unreadable' || state === 'lease'", 'return true || state'],
        ],
        reports: 'a read after that guard got v1, not v2',
      },
    ],
  },
  {
    name: 'write leaves a guard of a later version standing, and is not fenced',
    async scenario(library) {
      const stage = new Stage(library)
      const [writer, reader] = [await stage.process(), await stage.process()]
      stage.plant('spell:4', LATER, LATER_MS)
      const written = await stage.now(
        writer.spells.write(4, () => stage.origin.commit(2), { writeThrough: true }),
      )
      await stage.now(reader.spells.get(4))
      const isDirty = stage.store.inspect('spell:4') === LATER.replace('W20', 'W21')
      stage.origin.commit(3) // by the writer of the later version, which then dies
      await stage.clock.advance(LATER_MS + 100)
      if (typeof written === 'symbol') return 'the write waited on'
      return all(
        got('a read after that guard', await stage.now(reader.spells.get(4)), 3),
        unless(!isDirty, 'the writer of the later version is not told that somebody else was there'),
        unless(written.fenced, 'the write was called fenced'),
      )
    },
    controls: [
      {
        without: 'leaving it standing at the guard',
        patches: [["if (later !== undefined) return { reply: 'barred', change: later }", 'void later']],
        reports: 'a read after that guard got v2, not v3',
      },
      {
        without: 'leaving it standing at the release',
        patches: [
          [
            'if (later !== undefined) return { reply: { held: false, stored: false }, change: later }',
            'void later',
          ],
        ],
        reports: 'a read after that guard got v2, not v3',
      },
      {
        without: 'dirty',
        patches: [
          ["return { to: 'changed', text: laterGuardText(text) }", 'return void laterGuardText ?? SAME'],
        ],
        reports: 'the writer of the later version is not told that somebody else was there',
      },
    ],
  },
  {
    name: 'invalidate leaves a guard of a later version standing',
    async scenario(library) {
      const stage = new Stage(library)
      const reader = await stage.process()
      stage.plant('spell:4', LATER, LATER_MS)
      await stage.now(reader.spells.invalidate(4))
      await stage.now(reader.spells.get(4))
      stage.origin.commit(2)
      await stage.clock.advance(LATER_MS + 100)
      return got('a read after that guard', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'leaving it standing',
        patches: [['if (later !== undefined) return later\n', 'void later\n']],
        reports: 'a read after that guard got v1, not v2',
      },
    ],
  },
  {
    name: 'write that may not go on without its guard does not where a later version has one',
    async scenario(library) {
      const stage = new Stage(library)
      const writer = await stage.process()
      stage.plant('spell:4', LATER, LATER_MS)
      const committed = gate()
      const writing = failure(
        writer.cache.write([writer.spells.key(4)], () => committed.open(), { unguarded: 'refuse' }),
      )
      const error = await stage.now(writing)
      return unless((error as CacheError | undefined)?.code !== 'UNGUARDED', 'the write went on')
    },
    controls: [
      {
        without: 'counting that as unguarded',
        patches: [[" && reply !== 'barred'\n", '\n']],
        reports: 'the write went on',
      },
    ],
  },
]
