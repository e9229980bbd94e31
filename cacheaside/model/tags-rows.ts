import type { Row } from './row.ts'
import type { Letter, ReaderSetting, TagsSetting, WriterSetting } from './tags-setting.ts'

const strong: ReaderSetting = { reads: 'strong' }
const byDefault: ReaderSetting = { reads: 'default' }
const ofY = (reader: ReaderSetting): ReaderSetting => ({ ...reader, key: 'y' })
const elsewhere = (reader: ReaderSetting): ReaderSetting => ({ ...reader, process: 1 })
const times = (reader: ReaderSetting, amount: number): ReaderSetting => ({ ...reader, times: amount })
const write = (...names: Letter[]): WriterSetting => ({ does: 'write', names })
const invalidate = (...names: Letter[]): WriterSetting => ({ does: 'invalidate', names })
const invalidateAll = (...names: Letter[]): WriterSetting => ({ does: 'invalidate all', names })
/** By a process that reads as well. */
const own = (writer: WriterSetting): WriterSetting => ({ ...writer, process: 0 })
/** Its guards do not arrive, and its releases may not. */
const stuck = (writer: WriterSetting): WriterSetting => ({ ...writer, process: 0, stuck: true })

/** One value, whose tag is known before the load. */
const one = { tags: 1, names: [['a']] } as const
/** One value, whose tags do not matter. */
const bare = { tags: 1, names: [[]] } as const
/** One value, whose tag is known only from it. */
const byReference = { tags: 1, late: [['a']] } as const
/** The tag of `x` is known only from its value, but the process has seen its stamp in reads of `y`. */
const late = { tags: 1, keys: 2, names: [[], ['a']], late: [['a']], remembers: true, replies: true } as const
/** A value for each of two tags. */
const apart = { tags: 2, keys: 2, names: [['a'], ['b']] } as const

type Draft = Omit<Row, 'states' | 'larger'> & { readonly larger?: TagsSetting }

const stamps: readonly Draft[] = [
  {
    name: 'tags',
    setting: {
      ...one,
      warm: true,
      readers: [strong, strong],
      writers: [write('a'), write('a')],
      dying: true,
    },
    larger: {
      ...one,
      warm: true,
      readers: [strong, strong],
      writers: [write('a'), write('a')],
      dying: true,
      evictions: true,
      stampsLost: true,
    },
  },
  {
    name: 'tags, key and tag in one write',
    setting: { ...one, readers: [strong, strong], writers: [write('a'), write('x', 'a')] },
    larger: {
      ...one,
      readers: [strong, strong],
      writers: [write('a'), write('x', 'a')],
      dying: true,
      evictions: true,
    },
  },
  {
    name: 'tags, two of one value',
    setting: { tags: 2, names: [['a', 'b']], readers: [strong, strong], writers: [write('a'), write('b')] },
    larger: {
      tags: 2,
      names: [['a', 'b']],
      warm: true,
      readers: [strong, strong],
      writers: [write('a'), write('a', 'b')],
    },
  },
  {
    name: 'tags, only the first of two is judged',
    breaks: 'at rest',
    setting: {
      tags: 2,
      names: [['a', 'b']],
      readers: [strong, strong],
      writers: [write('b')],
      without: 'every tag judged',
    },
  },
  {
    name: 'tags, the stamp is read after the load',
    breaks: 'at rest',
    setting: { ...one, readers: [strong, strong], writers: [write('a')], without: 'stamps before the load' },
  },
  {
    name: 'tags, stamps evicted',
    setting: { ...one, warm: true, readers: [strong, strong], writers: [write('a')], stampsLost: true },
  },
  {
    name: 'tags, stamps are counted, and the count is lost',
    breaks: 'stale',
    setting: {
      ...one,
      warm: true,
      readers: [strong, strong],
      writers: [write('a')],
      stampsLost: true,
      without: 'stamps at random',
    },
  },
  {
    name: 'tags, writers do not guard them',
    breaks: 'stale',
    setting: { ...one, readers: [strong, strong], writers: [write('a')], without: 'guards of tags' },
  },
  {
    name: 'tags, writers do not guard them, and die',
    breaks: 'at rest',
    setting: { ...one, readers: [strong], writers: [write('a')], dying: true, without: 'guards of tags' },
  },
  {
    name: 'tags, overlapping writers, the first release ends all guards',
    breaks: 'stale',
    setting: {
      ...one,
      readers: [strong, strong],
      writers: [write('a'), write('a')],
      without: 'guards of tags keep other writers',
    },
  },
  {
    name: 'tags, guard lost under a writer',
    setting: { ...one, readers: [strong, strong], writers: [write('a')], guardLost: true },
  },
  {
    name: 'tags, guard lost, a release leaves stamps',
    breaks: 'at rest',
    setting: {
      ...one,
      readers: [strong, strong],
      writers: [write('a')],
      guardLost: true,
      without: 'release of a tag removes stamps',
    },
  },
  {
    name: 'tags, guard lost under a writer that dies, no feed',
    breaks: 'at rest',
    setting: { ...one, readers: [strong, strong], writers: [write('a')], guardLost: true, dying: true },
  },
  {
    name: 'tags, somebody else, feed',
    setting: { ...one, readers: [strong, strong], writers: [invalidate('a'), write('a')] },
  },
  {
    name: 'tags, the creation of a stamp arrives twice',
    breaks: 'at rest',
    setting: {
      ...one,
      readers: [strong, strong],
      writers: [write('a')],
      creationLate: true,
      without: 'creation of stamps sent once',
    },
  },
  {
    name: 'tags, a row moves',
    setting: { ...apart, readers: [strong, ofY(strong)], writers: [write('a', 'b')] },
  },
  {
    name: 'tags, a row moves, and an old map names one side',
    breaks: 'at rest',
    setting: {
      ...apart,
      readers: [strong, ofY(strong)],
      writers: [{ does: 'invalidate', names: ['b'], rows: ['a', 'b'] }],
    },
  },
  {
    name: 'tags, a value is written through under the stamps of the release',
    breaks: 'at rest',
    setting: {
      ...one,
      readers: [strong],
      writers: [write('x'), write('a')],
      without: 'tagged values are not written through',
    },
  },
  {
    name: 'tags, a demoted server answers',
    breaks: 'stale',
    setting: {
      ...one,
      readers: [strong, strong],
      writers: [write('a')],
      demoted: true,
      without: 'looks that need the right to write',
    },
  },
  {
    name: 'tags, their server restarts from a snapshot, feed',
    setting: { ...one, generations: 'tags', readers: [strong, strong], writers: [write('a')], restart: true },
    larger: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      readers: [byDefault, strong],
      writers: [write('a')],
      restart: true,
    },
  },
  {
    name: 'tags, their server restarts, no new generation',
    breaks: 'at rest',
    setting: {
      ...one,
      generations: 'tags',
      readers: [strong],
      writers: [write('a')],
      restart: true,
      without: 'new generations of tags after a restart',
    },
  },
  {
    name: 'tags, their server restarts, G2 asked for',
    breaks: 'stale',
    setting: {
      ...one,
      generations: 'tags',
      readers: [strong, strong],
      writers: [write('a')],
      restart: true,
      strict: true,
    },
  },
  {
    name: 'tags, a lease is left beside a guard',
    breaks: 'wasted',
    setting: {
      ...one,
      readers: [strong],
      writers: [write('a')],
      without: 'leases given back beside tags',
    },
  },
  {
    name: 'tags, a fallen value is a fallback',
    breaks: 'stale',
    setting: {
      ...one,
      readers: [strong, strong],
      writers: [write('a')],
      without: 'fallen values are no fallback',
    },
  },
  {
    name: 'tags, a look from before the value removes it',
    breaks: 'wasted',
    setting: {
      ...one,
      warm: true,
      readers: [strong, strong],
      writers: [write('a')],
      without: 'judged by later looks',
    },
  },
  {
    name: 'tags, loads for one invalidation',
    setting: { ...one, readers: [strong, strong, strong], writers: [write('a')], mostLoads: 2 },
    larger: { ...one, readers: [strong, strong, strong, strong], writers: [write('a')], mostLoads: 2 },
  },
  {
    name: 'tags, one load for an invalidation is not enough',
    breaks: 'wasted',
    setting: { ...one, readers: [strong, strong], writers: [write('a')], mostLoads: 1 },
  },
  {
    name: 'tags, refresh',
    setting: { ...one, refresh: true, warm: true, readers: [strong, strong], writers: [write('a')] },
    larger: {
      ...one,
      refresh: true,
      warm: true,
      local: true,
      readers: [byDefault, strong],
      writers: [write('a'), write('a')],
    },
  },
]

const generations: readonly Draft[] = [
  {
    name: 'tags, invalidateAll of tags',
    setting: { ...one, generations: 'tags', readers: [strong, strong], writers: [invalidateAll('a')] },
    larger: {
      ...one,
      generations: 'tags',
      warm: true,
      readers: [strong, strong],
      writers: [invalidateAll('a'), write('a')],
    },
  },
  {
    name: 'tags, invalidateAll of values',
    setting: {
      ...one,
      generations: 'own',
      warm: true,
      readers: [strong, strong],
      writers: [invalidateAll('x')],
    },
    larger: {
      ...one,
      generations: 'own',
      warm: true,
      readers: [strong, strong],
      writers: [invalidateAll('x'), write('a')],
    },
  },
  {
    name: 'tags, an old look at the generation of values removes a value',
    breaks: 'wasted',
    setting: {
      ...one,
      generations: 'own',
      warm: true,
      readers: [strong, strong],
      writers: [invalidateAll('x')],
      without: 'judged by later looks',
    },
  },
  {
    name: 'tags, L1, invalidateAll of values',
    setting: {
      ...one,
      generations: 'own',
      local: true,
      warm: true,
      processes: 2,
      readers: [byDefault, elsewhere(strong)],
      writers: [invalidateAll('x')],
    },
  },
  {
    name: 'tags, L1, an old copy of the generation of values removes a value',
    breaks: 'wasted',
    setting: {
      ...one,
      generations: 'own',
      local: true,
      warm: true,
      processes: 2,
      readers: [byDefault, elsewhere(strong)],
      writers: [invalidateAll('x')],
      without: 'judged by later looks',
    },
  },
  {
    name: 'tags, readers share a look at the generation of values',
    setting: {
      ...bare,
      generations: 'own',
      sharedLooks: true,
      warm: true,
      readers: [strong, times(strong, 2)],
      writers: [invalidateAll('x'), invalidateAll('x')],
    },
    larger: {
      ...one,
      generations: 'own',
      sharedLooks: true,
      warm: true,
      readers: [strong, times(strong, 2)],
      writers: [invalidateAll('x'), invalidateAll('x')],
    },
  },
  {
    name: 'tags, what a look under way has found lets a value stand',
    breaks: 'stale',
    setting: {
      ...bare,
      generations: 'own',
      sharedLooks: true,
      warm: true,
      readers: [strong, times(strong, 2)],
      writers: [invalidateAll('x'), invalidateAll('x')],
      without: 'shared looks let stand only what was seen before',
    },
  },
  {
    name: 'tags, their generation is read at the fill',
    breaks: 'at rest',
    setting: {
      ...one,
      generations: 'tags',
      readers: [strong, strong],
      writers: [invalidateAll('a')],
      without: 'generation of tags before the load',
    },
  },
  {
    name: 'tags, L1, invalidateAll of tags, a strong reader',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      processes: 2,
      readers: [byDefault, elsewhere(strong)],
      writers: [invalidateAll('a')],
    },
    larger: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      processes: 2,
      readers: [byDefault, elsewhere(byDefault), elsewhere(strong)],
      writers: [invalidateAll('a')],
    },
  },
  {
    name: 'tags, L1, an old copy of the generation removes a value',
    breaks: 'wasted',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      processes: 2,
      readers: [byDefault, elsewhere(strong)],
      writers: [invalidateAll('a')],
      without: 'judged by later looks',
    },
  },
  {
    name: 'tags, L1, invalidateAll of tags, lost messages',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      messagesLost: true,
      readers: [byDefault, byDefault],
      writers: [invalidateAll('a')],
    },
  },
  {
    name: 'tags, L1, copies of the generation are used without proof',
    breaks: 'stale',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      messagesLost: true,
      readers: [byDefault],
      writers: [invalidateAll('a')],
      without: 'generation copies while proven',
    },
  },
  {
    name: 'tags, L1, their new generation dooms nothing',
    breaks: 'at rest',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      readers: [byDefault],
      writers: [invalidateAll('a')],
      without: 'generation of tags dooms',
    },
  },
  {
    name: 'tags, L1, their new generation empties nothing',
    breaks: 'at rest',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      readers: [byDefault],
      writers: [invalidateAll('a')],
      without: 'generation of tags empties',
    },
  },
  {
    name: 'tags, L1, a name learnt from the value, invalidateAll of tags',
    setting: {
      ...byReference,
      generations: 'tags',
      local: true,
      warm: true,
      replies: true,
      readers: [byDefault, byDefault],
      writers: [invalidateAll('a')],
    },
  },
  {
    name: 'tags, L1, a copy of the generation from before the name was listed',
    breaks: 'at rest',
    setting: {
      ...byReference,
      generations: 'tags',
      local: true,
      warm: true,
      replies: true,
      readers: [byDefault],
      writers: [invalidateAll('a')],
      without: 'generation copies once listed',
    },
  },
  {
    name: 'tags, L1, own invalidateAll of tags',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      readers: [byDefault, byDefault],
      writers: [own(invalidateAll('a'))],
    },
  },
  {
    name: 'tags, L1, own invalidateAll of tags, known once it is heard',
    breaks: 'stale',
    setting: {
      ...one,
      generations: 'tags',
      local: true,
      warm: true,
      readers: [byDefault],
      writers: [own(invalidateAll('a'))],
      without: 'own generations known at once',
    },
  },
]

const local: readonly Draft[] = [
  {
    name: 'tags, L1',
    setting: { ...one, local: true, warm: true, readers: [byDefault, byDefault], writers: [write('a')] },
    larger: {
      ...one,
      local: true,
      warm: true,
      processes: 2,
      evictions: true,
      stampsLost: true,
      readers: [byDefault, elsewhere(strong)],
      writers: [write('a')],
    },
  },
  {
    name: 'tags, L1, messages about tags doom nothing',
    breaks: 'at rest',
    setting: {
      ...one,
      local: true,
      warm: true,
      readers: [byDefault],
      writers: [write('a')],
      without: 'tag messages doom',
    },
  },
  {
    name: 'tags, L1, messages about tags empty nothing',
    breaks: 'at rest',
    setting: {
      ...one,
      local: true,
      warm: true,
      readers: [byDefault],
      writers: [write('a')],
      without: 'tag messages empty',
    },
  },
  {
    name: 'tags, L1, a flight is listed once the stamps are here',
    breaks: 'at rest',
    setting: {
      ...one,
      local: true,
      warm: true,
      replies: true,
      readers: [byDefault],
      writers: [write('a')],
      without: 'listed before asking',
    },
  },
  {
    name: 'tags, L1, stamps evicted, somebody else, feed',
    setting: {
      ...one,
      local: true,
      warm: true,
      stampsLost: true,
      readers: [byDefault, byDefault],
      writers: [invalidate('a')],
    },
  },
  {
    name: 'tags, L1, the invalidation of an absent tag is not told',
    breaks: 'at rest',
    setting: {
      ...one,
      local: true,
      warm: true,
      stampsLost: true,
      readers: [byDefault],
      writers: [invalidate('a')],
      without: 'invalidation of an absent tag is broadcast',
    },
  },
  {
    name: 'tags, L1, own writes',
    setting: {
      ...one,
      local: true,
      warm: true,
      readers: [byDefault, byDefault],
      writers: [own(write('a'))],
    },
    larger: {
      ...one,
      local: true,
      warm: true,
      readers: [byDefault, byDefault],
      writers: [own(write('a')), write('a')],
    },
  },
  {
    name: 'tags, L1, a process does not forget what hangs on the tags it writes',
    breaks: 'stale',
    setting: {
      ...one,
      local: true,
      warm: true,
      readers: [byDefault],
      writers: [own(write('a'))],
      without: 'own writes of tags forget',
    },
  },
  {
    name: 'tags, L1, a process forgets only before it writes',
    breaks: 'stale',
    setting: {
      ...one,
      local: true,
      warm: true,
      readers: [byDefault],
      writers: [stuck(write('a'))],
      without: 'own writes of tags forget at their end',
    },
  },
  {
    name: 'tags, L1, lost messages',
    setting: {
      ...one,
      local: true,
      warm: true,
      messagesLost: true,
      readers: [byDefault, byDefault],
      writers: [write('a')],
    },
  },
  {
    name: 'tags, L1, flights of an unproven stream are kept',
    breaks: 'at rest',
    setting: {
      ...one,
      local: true,
      warm: true,
      messagesLost: true,
      readers: [byDefault],
      writers: [write('a')],
      without: 'unproven flights keep nothing of tags',
    },
  },
]

const queue: readonly Draft[] = [
  {
    name: 'tags, queued releases',
    setting: {
      ...byReference,
      warm: true,
      local: true,
      replies: true,
      readers: [byDefault, byDefault],
      writers: [stuck(write('a'))],
    },
    larger: {
      tags: 2,
      names: [['a']],
      late: [['b']],
      warm: true,
      local: true,
      replies: true,
      readers: [byDefault, byDefault],
      writers: [stuck(write('a', 'b'))],
    },
  },
  {
    name: 'tags, the queue is asked for the key only',
    breaks: 'stale',
    setting: {
      ...one,
      warm: true,
      local: true,
      readers: [byDefault],
      writers: [stuck(write('a'))],
      without: 'queue asks for names',
    },
  },
  {
    name: 'tags, the queue is asked once the stamps are here',
    breaks: 'stale',
    setting: {
      ...byReference,
      warm: true,
      local: true,
      replies: true,
      readers: [byDefault],
      writers: [stuck(write('a'))],
      without: 'queue asks before the stamps',
    },
  },
  {
    name: 'tags, late names, queued releases',
    setting: { ...late, local: true, readers: [byDefault, ofY(byDefault)], writers: [stuck(write('a'))] },
  },
  {
    name: 'tags, late names are not asked for in the queue',
    breaks: 'stale',
    setting: {
      ...late,
      local: true,
      readers: [byDefault, ofY(byDefault)],
      writers: [stuck(write('a'))],
      without: 'queue asks for late names',
    },
  },
]

const lateNames: readonly Draft[] = [
  {
    name: 'tags, late names',
    setting: { ...late, readers: [strong, ofY(strong)], writers: [write('a'), write('a')] },
    larger: { ...late, readers: [strong, strong, ofY(strong)], writers: [write('a'), write('a')] },
  },
  {
    name: 'tags, late names, the stamp is read after the load',
    breaks: 'at rest',
    setting: {
      ...late,
      readers: [strong, ofY(strong)],
      writers: [write('a')],
      without: 'late names seen before the load',
    },
  },
  {
    name: 'tags, late names, the stamp was seen during the load',
    breaks: 'stale',
    setting: {
      ...late,
      readers: [strong, ofY(strong)],
      writers: [write('a')],
      without: 'late names remembered before the load',
    },
  },
  {
    name: 'tags, late names, a value moves from one to another',
    setting: {
      tags: 2,
      late: [['a'], ['b']],
      remembers: true,
      readers: [times(strong, 2)],
      writers: [write('x', 'a', 'b'), write('b')],
    },
    larger: {
      tags: 2,
      late: [['a'], ['b']],
      remembers: true,
      readers: [times(strong, 2), strong],
      writers: [write('x', 'a', 'b'), write('b')],
    },
  },
  {
    name: 'tags, late names, a second load',
    setting: { ...late, loadsAgain: true, readers: [strong, strong], writers: [write('a')] },
    larger: {
      tags: 2,
      late: [['a'], ['b']],
      remembers: true,
      loadsAgain: true,
      readers: [strong, strong],
      writers: [write('x', 'a', 'b'), write('b')],
    },
  },
  {
    name: 'tags, late names, invalidateAll of tags',
    setting: {
      ...late,
      generations: 'tags',
      readers: [strong, ofY(strong)],
      writers: [invalidateAll('a')],
    },
    larger: {
      ...late,
      generations: 'tags',
      readers: [strong, ofY(strong)],
      writers: [write('a')],
      restart: true,
    },
  },
  {
    name: 'tags, late names, their generation is read after the load',
    breaks: 'stale',
    setting: {
      ...late,
      generations: 'tags',
      readers: [strong, ofY(strong)],
      writers: [invalidateAll('a')],
      without: 'late generations before the load',
    },
  },
  {
    name: 'tags, late names, L1, invalidateAll of tags',
    setting: {
      ...late,
      generations: 'tags',
      local: true,
      readers: [byDefault, ofY(byDefault)],
      writers: [invalidateAll('a')],
    },
  },
  {
    name: 'tags, late names, L1, a new generation was heard during the load',
    breaks: 'stale',
    setting: {
      ...late,
      generations: 'tags',
      local: true,
      readers: [byDefault, ofY(byDefault)],
      writers: [invalidateAll('a')],
      without: 'late names compare generations',
    },
  },
  {
    name: 'tags, late names, L1, lost messages',
    setting: {
      ...late,
      local: true,
      messagesLost: true,
      readers: [byDefault, ofY(byDefault)],
      writers: [write('a')],
    },
    larger: {
      tags: 2,
      late: [['a'], ['b']],
      local: true,
      remembers: true,
      readers: [times(byDefault, 2)],
      writers: [write('x', 'a', 'b'), write('b')],
    },
  },
  {
    name: 'tags, late names, loads of one that is new',
    setting: { ...byReference, remembers: true, readers: [times(strong, 4)], mostLoads: 2 },
  },
  {
    name: 'tags, late names, loads of one that is never remembered',
    breaks: 'wasted',
    setting: { ...byReference, readers: [times(strong, 4)], mostLoads: 2 },
  },
  {
    name: 'tags, late names, own write, then joining',
    setting: {
      ...late,
      local: true,
      readers: [{ ...byDefault, joined: true }, ofY(byDefault)],
      writers: [own(write('a'))],
    },
  },
  {
    name: 'tags, late names, own invalidateAll of tags, then joining',
    setting: {
      ...late,
      generations: 'tags',
      local: true,
      readers: [{ ...byDefault, joined: true }, ofY(byDefault)],
      writers: [own(invalidateAll('a'))],
    },
  },
  {
    name: 'tags, late names, a write that is not confirmed, then joining',
    setting: {
      ...late,
      local: true,
      readers: [{ ...byDefault, joined: true }, ofY(byDefault)],
      writers: [stuck(write('a'))],
    },
  },
  {
    name: 'tags, late names, an own write ends no joining',
    breaks: 'stale',
    setting: {
      ...byReference,
      replies: true,
      readers: [{ ...byDefault, joined: true }],
      writers: [own(write('a'))],
      without: 'own writes of tags end joining',
    },
  },
  {
    name: 'tags, late names, in one process with the store, then joining',
    setting: {
      ...late,
      local: true,
      hearsAtOnce: true,
      readers: [{ ...byDefault, joined: true }, ofY(byDefault)],
      writers: [write('a')],
    },
  },
  {
    name: 'tags, late names, in one process with the store, a message ends no joining',
    breaks: 'stale',
    setting: {
      ...byReference,
      replies: true,
      local: true,
      hearsAtOnce: true,
      readers: [{ ...byDefault, joined: true }],
      writers: [write('a')],
      without: 'messages about tags end joining',
    },
  },
]

const deploy: readonly Draft[] = [
  {
    name: 'tags, deploy, the old process does not know them',
    setting: {
      ...one,
      processes: 2,
      asks: [['a'], []],
      readers: [times(strong, 2), elsewhere(strong)],
      writers: [write('a')],
    },
    larger: {
      ...one,
      processes: 2,
      asks: [['a'], []],
      readers: [times(strong, 2), elsewhere(times(strong, 2))],
      writers: [write('a'), write('a')],
    },
  },
  {
    name: 'tags, deploy, L1',
    setting: {
      ...one,
      processes: 2,
      local: true,
      asks: [['a'], []],
      readers: [byDefault, elsewhere(byDefault)],
      writers: [write('a')],
    },
    larger: {
      ...one,
      processes: 2,
      local: true,
      asks: [['a'], []],
      readers: [byDefault, byDefault, elsewhere(byDefault)],
      writers: [write('a')],
    },
  },
  {
    name: 'tags, deploy, values that lack names are found',
    breaks: 'at rest',
    setting: {
      ...one,
      processes: 2,
      asks: [['a'], []],
      readers: [strong, elsewhere(strong)],
      writers: [write('a')],
      without: 'values lacking names are replaced',
    },
  },
  {
    name: 'tags, deploy, an old writer does not name them',
    breaks: 'at rest',
    setting: {
      tags: 1,
      keys: 2,
      names: [[], ['a']],
      warm: true,
      readers: [ofY(strong)],
      writers: [{ does: 'write', names: ['x'], rows: ['x', 'a'] }],
    },
  },
  {
    name: 'tags, deploy, two processes whose names differ',
    setting: {
      tags: 2,
      names: [['a', 'b']],
      processes: 2,
      asks: [['a'], ['b']],
      readers: [times(strong, 3), elsewhere(times(strong, 3))],
      mostLoads: 3,
    },
  },
  {
    name: 'tags, deploy, two processes that take turns',
    breaks: 'wasted',
    setting: {
      tags: 2,
      names: [['a', 'b']],
      processes: 2,
      asks: [['a'], ['b']],
      readers: [times(strong, 3), elsewhere(times(strong, 3))],
      mostLoads: 3,
      without: 'replaced once',
    },
  },
]

/** One value by its key, one by its tag. */
const mixed = { tags: 1, keys: 2, names: [[], ['a']], snapshots: 1 } as const
/** Two values of one tag. */
const together = { tags: 1, keys: 2, names: [['a'], ['a']], snapshots: 1 } as const

const snapshots: readonly Draft[] = [
  {
    name: 'snapshots, two tags',
    setting: { ...apart, snapshots: 1, warm: true, readers: [ofY(strong)], writers: [write('a', 'b')] },
    larger: {
      ...apart,
      snapshots: 1,
      warm: true,
      readers: [ofY(strong)],
      writers: [write('a', 'b'), write('b')],
    },
  },
  {
    name: 'snapshots, two values of one tag',
    setting: { ...together, warm: true, readers: [ofY(strong)], writers: [write('a')] },
    larger: { ...together, warm: true, readers: [ofY(strong)], writers: [write('a'), write('a')] },
  },
  {
    name: 'snapshots, one stamp is compared for each tag',
    breaks: 'torn',
    setting: {
      ...together,
      warm: true,
      readers: [ofY(strong)],
      writers: [write('a')],
      without: 'second look compares the stamps of every value',
    },
  },
  {
    name: 'snapshots, a key and a tag',
    setting: { ...mixed, readers: [ofY(strong)], writers: [write('x', 'a')] },
    larger: {
      ...mixed,
      warm: true,
      readers: [ofY(strong)],
      writers: [write('x', 'a')],
      evictions: true,
      stampsLost: true,
    },
  },
  {
    name: 'snapshots, queued releases',
    setting: { ...mixed, warm: true, readers: [ofY(strong)], writers: [stuck(write('x', 'a'))] },
  },
  {
    name: 'snapshots, a writer whose guards do not arrive, one view asked for',
    breaks: 'torn',
    setting: { ...mixed, warm: true, readers: [], writers: [stuck(write('x', 'a'))], strict: true },
  },
  {
    name: 'snapshots do not ask the queue',
    breaks: 'stale',
    setting: {
      ...mixed,
      warm: true,
      readers: [],
      writers: [stuck(write('x', 'a'))],
      without: 'queue asked by snapshots',
    },
  },
  {
    name: 'snapshots, no second look at stamps',
    breaks: 'torn',
    setting: {
      ...apart,
      snapshots: 1,
      warm: true,
      readers: [ofY(strong)],
      writers: [write('a', 'b')],
      without: 'second look at stamps',
    },
  },
  {
    name: 'snapshots, no second look at values',
    breaks: 'torn',
    setting: {
      ...mixed,
      warm: true,
      readers: [ofY(strong)],
      writers: [write('x', 'a')],
      without: 'second look at values',
    },
  },
  {
    name: 'snapshots, what is absent at the second look counts as the same',
    breaks: 'torn',
    setting: {
      ...mixed,
      warm: true,
      readers: [ofY(strong)],
      writers: [write('x', 'a')],
      without: 'second look takes absent for changed',
    },
  },
  {
    name: 'snapshots, fills in the background',
    breaks: 'torn',
    setting: {
      ...mixed,
      readers: [ofY(strong)],
      writers: [write('x', 'a')],
      without: 'fills awaited by snapshots',
    },
  },
]

/** How many states there are, and how many in the larger setting. */
const STATES: Readonly<Record<string, readonly [number, number?]>> = {
  tags: [15073, 127476],
  'tags, key and tag in one write': [9403, 90498],
  'tags, two of one value': [15435, 129013],
  'tags, only the first of two is judged': [1021],
  'tags, the stamp is read after the load': [319],
  'tags, stamps evicted': [1383],
  'tags, stamps are counted, and the count is lost': [315],
  'tags, writers do not guard them': [227],
  'tags, writers do not guard them, and die': [49],
  'tags, overlapping writers, the first release ends all guards': [4215],
  'tags, guard lost under a writer': [966],
  'tags, guard lost, a release leaves stamps': [907],
  'tags, guard lost under a writer that dies, no feed': [1522],
  'tags, somebody else, feed': [2866],
  'tags, the creation of a stamp arrives twice': [696],
  'tags, a row moves': [1489],
  'tags, a row moves, and an old map names one side': [177],
  'tags, a value is written through under the stamps of the release': [243],
  'tags, a demoted server answers': [1093],
  'tags, their server restarts from a snapshot, feed': [13459, 236418],
  'tags, their server restarts, no new generation': [310],
  'tags, their server restarts, G2 asked for': [9196],
  'tags, a lease is left beside a guard': [19],
  'tags, a fallen value is a fallback': [357],
  'tags, a look from before the value removes it': [364],
  'tags, loads for one invalidation': [3332, 31959],
  'tags, one load for an invalidation is not enough': [380],
  'tags, refresh': [1438, 155413],
  'tags, invalidateAll of tags': [732, 24904],
  'tags, invalidateAll of values': [1438, 22098],
  'tags, an old look at the generation of values removes a value': [1771],
  'tags, L1, invalidateAll of values': [3012],
  'tags, L1, an old copy of the generation of values removes a value': [2590],
  'tags, readers share a look at the generation of values': [12031, 87279],
  'tags, what a look under way has found lets a value stand': [10123],
  'tags, their generation is read at the fill': [553],
  'tags, L1, invalidateAll of tags, a strong reader': [3012, 43277],
  'tags, L1, an old copy of the generation removes a value': [2590],
  'tags, L1, invalidateAll of tags, lost messages': [9904],
  'tags, L1, copies of the generation are used without proof': [105],
  'tags, L1, their new generation dooms nothing': [31],
  'tags, L1, their new generation empties nothing': [31],
  'tags, L1, a name learnt from the value, invalidateAll of tags': [798],
  'tags, L1, a copy of the generation from before the name was listed': [33],
  'tags, L1, own invalidateAll of tags': [1427],
  'tags, L1, own invalidateAll of tags, known once it is heard': [28],
  'tags, L1': [1695, 117141],
  'tags, L1, messages about tags doom nothing': [87],
  'tags, L1, messages about tags empty nothing': [99],
  'tags, L1, a flight is listed once the stamps are here': [146],
  'tags, L1, stamps evicted, somebody else, feed': [3281],
  'tags, L1, the invalidation of an absent tag is not told': [94],
  'tags, L1, own writes': [2121, 42066],
  'tags, L1, a process does not forget what hangs on the tags it writes': [86],
  'tags, L1, a process forgets only before it writes': [98],
  'tags, L1, lost messages': [9760],
  'tags, L1, flights of an unproven stream are kept': [471],
  'tags, queued releases': [2742, 75635],
  'tags, the queue is asked for the key only': [56],
  'tags, the queue is asked once the stamps are here': [119],
  'tags, late names, queued releases': [4735],
  'tags, late names are not asked for in the queue': [3650],
  'tags, late names': [10702, 128103],
  'tags, late names, the stamp is read after the load': [813],
  'tags, late names, the stamp was seen during the load': [837],
  'tags, late names, a value moves from one to another': [3315, 49027],
  'tags, late names, a second load': [829, 35959],
  'tags, late names, invalidateAll of tags': [1544, 20314],
  'tags, late names, their generation is read after the load': [1342],
  'tags, late names, L1, invalidateAll of tags': [1222],
  'tags, late names, L1, a new generation was heard during the load': [1098],
  'tags, late names, L1, lost messages': [21060, 102303],
  'tags, late names, loads of one that is new': [15],
  'tags, late names, loads of one that is never remembered': [9],
  'tags, late names, own write, then joining': [6322],
  'tags, late names, own invalidateAll of tags, then joining': [2771],
  'tags, late names, a write that is not confirmed, then joining': [6042],
  'tags, late names, an own write ends no joining': [55],
  'tags, late names, in one process with the store, then joining': [4808],
  'tags, late names, in one process with the store, a message ends no joining': [114],
  'tags, deploy, the old process does not know them': [680, 12919],
  'tags, deploy, L1': [3192, 62942],
  'tags, deploy, values that lack names are found': [162],
  'tags, deploy, an old writer does not name them': [15],
  'tags, deploy, two processes whose names differ': [1064],
  'tags, deploy, two processes that take turns': [1125],
  'snapshots, two tags': [4087, 41986],
  'snapshots, two values of one tag': [1192, 14433],
  'snapshots, one stamp is compared for each tag': [1195],
  'snapshots, a key and a tag': [5781, 121249],
  'snapshots, queued releases': [7472],
  'snapshots, a writer whose guards do not arrive, one view asked for': [536],
  'snapshots do not ask the queue': [774],
  'snapshots, no second look at stamps': [3175],
  'snapshots, no second look at values': [2164],
  'snapshots, what is absent at the second look counts as the same': [2802],
  'snapshots, fills in the background': [3062],
}

/** The rows about tags and snapshots. */
export const TAG_ROWS: readonly Row[] = [
  ...stamps,
  ...generations,
  ...local,
  ...queue,
  ...lateNames,
  ...deploy,
  ...snapshots,
].map(({ larger, ...row }) => {
  const [states, more] = STATES[row.name] ?? [0]
  return { ...row, states, ...(larger && { larger: { setting: larger, states: more ?? 0 } }) }
})
