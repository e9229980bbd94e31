import type { Row } from './row.ts'
import { TAG_ROWS } from './tags-rows.ts'

const lease: readonly Row[] = [
  {
    name: 'lease and guard',
    setting: { readers: 3, writers: 2, dying: true },
    states: 6222,
    larger: { setting: { readers: 4, writers: 3, dying: true }, states: 119347 },
  },
  { name: 'lease and guard, three writers', setting: { readers: 2, writers: 3, dying: true }, states: 13891 },
  {
    name: 'plain cache-aside',
    breaks: 'G',
    setting: { readers: 3, writers: 1, without: ['lease check', 'guard'] },
    states: 79,
  },
  {
    name: 'no lease check',
    breaks: 'G1',
    setting: { readers: 2, writers: 1, without: 'lease check' },
    states: 29,
  },
  {
    name: 'lease without a guard',
    breaks: 'G2',
    setting: { readers: 3, writers: 1, without: 'guard' },
    states: 127,
  },
  {
    name: 'lease without a guard, the writer dies',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, dying: true, without: 'guard' },
    states: 45,
  },
  {
    name: 'a lease takes the place of a lease',
    breaks: 'G6',
    setting: { readers: 2, without: 'one lease' },
    states: 8,
  },
  {
    name: 'invalidate after somebody else’s commit',
    setting: { readers: 2, writers: 1, foreign: 2, foreignThen: 'invalidate', dying: true },
    states: 7849,
    larger: {
      setting: { readers: 3, writers: 1, foreign: 2, foreignThen: 'invalidate', dying: true },
      states: 28098,
    },
  },
  {
    name: 'invalidate leaves leases',
    breaks: 'G1',
    setting: { readers: 1, foreign: 1, foreignThen: 'invalidate', without: 'invalidation removes leases' },
    states: 25,
  },
  {
    name: 'loader with a snapshot of before its lease',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, without: 'loader takes a new snapshot' },
    states: 39,
  },
  {
    name: 'loader with a snapshot of before its lease, feed',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, feed: true, without: 'loader takes a new snapshot' },
    states: 82,
  },
  {
    name: 'unreadable register',
    setting: { readers: 3, writers: 2, unreadable: true, dying: true },
    states: 12060,
  },
  {
    name: 'unreadable register is replaced without comparing',
    breaks: 'at rest',
    setting: { readers: 2, writers: 1, unreadable: true, dying: true, without: 'swap compares' },
    states: 737,
  },
  {
    name: 'guard of a later version',
    setting: { readers: 2, writers: 2, foreign: 1, later: true, writeThrough: true },
    states: 9121,
  },
  {
    name: 'guard of a later version is replaced by a reader',
    breaks: 'at rest',
    setting: { readers: 1, foreign: 1, later: true, without: 'readers leave later versions alone' },
    states: 21,
  },
  {
    name: 'guard of a later version is replaced by a writer',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      foreign: 1,
      later: true,
      without: 'writers leave guards of later versions',
    },
    states: 67,
  },
  {
    name: 'guard of a later version, invalidations',
    setting: { readers: 2, foreign: 2, foreignThen: 'invalidate', later: true, writeThrough: true },
    states: 251,
  },
  {
    name: 'guard of a later version is removed by an invalidation',
    breaks: 'at rest',
    setting: {
      readers: 1,
      foreign: 2,
      foreignThen: 'invalidate',
      later: true,
      without: 'invalidations leave guards of later versions',
    },
    states: 77,
  },
  {
    name: 'guard of a later version is not told of another writer',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      foreign: 1,
      later: true,
      writeThrough: true,
      without: 'dirty: guards of later versions',
    },
    states: 159,
  },
]

const guard: readonly Row[] = [
  {
    name: 'guard lost under a writer, feed',
    setting: { readers: 1, writers: 2, guardLost: true, dying: true, feed: true },
    states: 10611,
    larger: { setting: { readers: 2, writers: 2, guardLost: true, dying: true, feed: true }, states: 48438 },
  },
  {
    name: 'guard lost under a writer, somebody else, feed',
    setting: { readers: 2, writers: 1, foreign: 1, guardLost: true, dying: true, feed: true },
    states: 8704,
  },
  {
    name: 'guard lost under a writer that lives',
    setting: { readers: 3, writers: 2, guardLost: true },
    states: 15674,
  },
  {
    name: 'guard lost under a writer that dies, no feed',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, guardLost: true, dying: true },
    states: 192,
  },
  {
    name: 'guard lost, G2 asked for',
    breaks: 'G2',
    setting: { readers: 3, writers: 1, guardLost: true, feed: true, strict: true },
    states: 998,
  },
  {
    name: 'guard lost, a release removes only guards',
    breaks: 'G1',
    setting: { readers: 1, writers: 1, guardLost: true, without: 'release without a guard removes' },
    states: 90,
  },
  {
    name: 'writers sleep past their deadlines',
    setting: { readers: 2, writers: 2, sleeping: true, writeThrough: true },
    states: 12611,
    larger: { setting: { readers: 3, writers: 2, sleeping: true, writeThrough: true }, states: 39437 },
  },
  {
    name: 'guards that are not confirmed',
    setting: { readers: 2, writers: 2, guardStuck: true, writeThrough: true },
    states: 28836,
    larger: { setting: { readers: 3, writers: 2, guardStuck: true, writeThrough: true }, states: 86049 },
  },
  {
    name: 'a renewal nobody answered counts as a good one',
    breaks: 'a write calls itself fenced',
    setting: {
      readers: 1,
      writers: 1,
      guardLost: true,
      renewalStuck: true,
      without: 'unknown renewals count as lost',
    },
    states: 74,
  },
  {
    name: 'renewals that find their guard gone, or are not answered',
    setting: { readers: 2, writers: 2, guardLost: true, renewalStuck: true, writeThrough: true },
    states: 5282,
  },
]

const through: readonly Row[] = [
  {
    name: 'write-through',
    setting: { readers: 3, writers: 2, dying: true, writeThrough: true },
    states: 6474,
  },
  {
    name: 'write-through, three writers',
    setting: { readers: 1, writers: 3, writeThrough: true, dying: true },
    states: 3138,
    larger: { setting: { readers: 3, writers: 3, writeThrough: true, dying: true }, states: 45857 },
  },
  {
    name: 'write-through, somebody else, feed',
    setting: { readers: 1, writers: 2, foreign: 1, feed: true, dying: true, writeThrough: true },
    states: 17303,
    larger: {
      setting: { readers: 2, writers: 2, foreign: 1, feed: true, dying: true, writeThrough: true },
      states: 85767,
    },
  },
  {
    name: 'write-through, guard lost, feed',
    setting: { readers: 1, writers: 2, guardLost: true, feed: true, dying: true, writeThrough: true },
    states: 10818,
  },
  {
    name: 'write-through, guard lost, somebody else, feed',
    setting: {
      readers: 2,
      writers: 1,
      foreign: 1,
      guardLost: true,
      feed: true,
      dying: true,
      writeThrough: true,
    },
    states: 8820,
  },
  {
    name: 'no dirty, two writers',
    breaks: 'G',
    setting: { readers: 1, writers: 2, writeThrough: true, without: 'dirty' },
    states: 94,
  },
  {
    name: 'no dirty, somebody else, feed',
    breaks: 'G1',
    setting: { readers: 1, writers: 1, foreign: 1, feed: true, writeThrough: true, without: 'dirty' },
    states: 132,
  },
  {
    name: 'joining does not make dirty',
    breaks: 'G',
    setting: {
      readers: 1,
      writers: 2,
      dying: true,
      writeThrough: true,
      without: 'dirty: joining',
    },
    states: 368,
  },
  {
    name: 'joining again does not make dirty',
    breaks: 'G1',
    setting: {
      readers: 1,
      writers: 1,
      foreign: 1,
      feed: true,
      guardLost: true,
      writeThrough: true,
      without: ['dirty: joining again', 'confirmed guards only write through'],
    },
    states: 656,
  },
  {
    name: 'an invalidation does not make dirty',
    breaks: 'G1',
    setting: {
      readers: 1,
      writers: 1,
      foreign: 1,
      foreignThen: 'invalidate',
      writeThrough: true,
      without: 'dirty: invalidation',
    },
    states: 107,
  },
  {
    name: 'a release that leaves others does not make dirty',
    breaks: 'G1',
    setting: {
      readers: 1,
      writers: 2,
      guardLost: true,
      writeThrough: true,
      without: 'dirty: release that leaves others',
    },
    states: 596,
  },
  {
    name: 'a guard that arrives twice, and a release that does',
    breaks: 'G1',
    setting: { readers: 1, writers: 2, releaseStuck: true, writeThrough: true, without: 'guard sent once' },
    states: 5177,
  },
  {
    name: 'write-through by writers without a confirmed guard',
    breaks: 'G',
    setting: {
      readers: 1,
      writers: 2,
      guardStuck: true,
      writeThrough: true,
      releaseStuck: true,
      without: 'confirmed guards only write through',
    },
    states: 3882,
  },
]

const sharing: readonly Row[] = [
  {
    name: 'shared guard',
    setting: { readers: 2, writers: 2, sharing: true, dying: true },
    states: 11095,
    larger: { setting: { readers: 1, writers: 3, sharing: true, dying: true }, states: 198378 },
  },
  {
    name: 'shared guard, write-through',
    setting: { readers: 1, writers: 2, sharing: true, writeThrough: true, dying: true },
    states: 2587,
    larger: { setting: { readers: 1, writers: 3, sharing: true, writeThrough: true }, states: 24282 },
  },
  {
    name: 'shared guard in two processes, write-through',
    setting: { readers: 1, writers: 3, processes: 2, sharing: true, writeThrough: true },
    states: 10561,
  },
  {
    name: 'shared guard that is lost, or whose renewals are not answered',
    setting: {
      readers: 1,
      writers: 2,
      sharing: true,
      guardLost: true,
      renewalStuck: true,
      writeThrough: true,
    },
    states: 7405,
  },
  {
    name: 'shared guard, its process sleeps past the deadline',
    setting: { readers: 1, writers: 2, sharing: true, sleeping: true, writeThrough: true },
    states: 15122,
  },
  {
    name: 'shared guard that is not confirmed',
    setting: { readers: 1, writers: 2, sharing: true, guardStuck: true, writeThrough: true },
    states: 37741,
  },
  {
    name: 'shared guard whose end is not confirmed',
    setting: { readers: 1, writers: 2, sharing: true, releaseStuck: true },
    states: 27287,
  },
  {
    name: 'shared guard, commits in doubt, timed',
    setting: { readers: 1, writers: 2, sharing: true, timed: true, doubts: true },
    states: 50419,
  },
  {
    name: 'shared guard, commits in doubt, statements that end',
    setting: { readers: 1, writers: 2, processes: 2, sharing: true, doubts: true, statementsEnd: true },
    states: 11445,
    larger: {
      setting: { readers: 2, writers: 2, processes: 2, sharing: true, doubts: true, statementsEnd: true },
      states: 61857,
    },
  },
  {
    name: 'shared guard, killed writers, timed',
    setting: { readers: 1, writers: 2, sharing: true, timed: true, orphans: true },
    states: 14868,
  },
  {
    name: 'shared guard, released by the first who ends',
    breaks: 'G2',
    setting: { readers: 3, writers: 2, sharing: true, without: 'shared token ends with the last' },
    states: 6848,
  },
  {
    name: 'shared guard, nobody asks for it at the end',
    breaks: 'a write calls itself fenced',
    setting: {
      readers: 1,
      writers: 2,
      sharing: true,
      guardLost: true,
      without: 'shared token asked for at each end',
    },
    states: 324,
  },
  {
    name: 'shared guard, the last writes through',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 2,
      sharing: true,
      writeThrough: true,
      without: 'shared token writes nothing through',
    },
    states: 533,
  },
  {
    name: 'shared guard, a loss is known to whom it was told',
    breaks: 'a write calls itself fenced',
    setting: {
      readers: 1,
      writers: 2,
      sharing: true,
      guardLost: true,
      without: 'shared token known to be lost',
    },
    states: 888,
  },
  {
    name: 'shared guard that is joined after its end',
    breaks: 'G2',
    setting: { readers: 3, writers: 2, sharing: true, without: 'shared token closed at its end' },
    states: 5676,
  },
  {
    name: 'shared guard, released though a commit is in doubt',
    breaks: 'G2',
    setting: {
      readers: 3,
      writers: 2,
      processes: 2,
      sharing: true,
      doubts: true,
      statementsEnd: true,
      without: 'shared token left to a doubt',
    },
    states: 91569,
  },
  {
    name: 'more writers than a guard lists',
    setting: { readers: 1, writers: 3, holders: 1, dying: true },
    states: 11075,
    larger: { setting: { readers: 2, writers: 3, holders: 1, dying: true }, states: 50701 },
  },
  {
    name: 'more writers than a guard lists, write-through',
    setting: { readers: 1, writers: 3, holders: 1, guardLost: true, writeThrough: true },
    states: 24742,
  },
  {
    name: 'more writers than a guard lists, and the last one is left out',
    breaks: 'G2',
    setting: { readers: 3, writers: 2, holders: 1, without: 'too many holders merge' },
    states: 2737,
  },
]

const doubt: readonly Row[] = [
  {
    name: 'killed writers, timed',
    setting: { readers: 3, writers: 1, timed: true, orphans: true, dying: true },
    states: 1853,
  },
  {
    name: 'killed writers, timed, two of them',
    setting: { readers: 2, writers: 2, timed: true, orphans: true },
    states: 15107,
  },
  {
    name: 'commits in doubt, timed',
    setting: { readers: 1, writers: 2, timed: true, doubts: true },
    states: 8888,
    larger: { setting: { readers: 2, writers: 2, timed: true, doubts: true }, states: 28136 },
  },
  {
    name: 'commits in doubt, timed, guards that are not confirmed',
    setting: { readers: 2, writers: 1, timed: true, doubts: true, guardStuck: true },
    states: 5429,
  },
  {
    name: 'killed writer, its statement outlives its guard',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, timed: true, orphans: true, without: 'statement ends in time' },
    states: 251,
  },
  {
    name: 'slow writer, guard not renewed',
    breaks: 'G2',
    setting: { readers: 3, writers: 1, timed: true, strict: true, without: 'renewal' },
    states: 1342,
  },
  {
    name: 'commit in doubt, released',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, timed: true, doubts: true, without: 'doubt' },
    states: 258,
  },
  {
    name: 'commit in doubt, released by the queue too early',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, timed: true, doubts: true, without: 'doubt waits' },
    states: 628,
  },
  {
    name: 'commit in doubt, unguarded, not invalidated',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      timed: true,
      doubts: true,
      guardStuck: true,
      without: 'doubt invalidates',
    },
    states: 182,
  },
  {
    name: 'commits in doubt, statements that end, invalidations queued',
    setting: {
      readers: 2,
      writers: 1,
      doubts: true,
      statementsEnd: true,
      foreign: 1,
      foreignThen: 'invalidate',
      releaseStuck: true,
    },
    states: 11614,
  },
  {
    name: 'killed writer, its statement goes on for ever, no feed',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, orphans: true },
    states: 92,
  },
  {
    name: 'killed writers, their statements go on for ever, feed',
    setting: { readers: 2, writers: 2, orphans: true, feed: true, dying: true },
    states: 15633,
  },
  {
    name: 'commit in doubt, released, feed',
    setting: { readers: 2, writers: 1, doubts: true, feed: true, without: 'doubt' },
    states: 398,
  },
]

const queue: readonly Row[] = [
  {
    name: 'queued releases',
    setting: { readers: 2, writers: 1, processes: 2, releaseStuck: true, guardStuck: true },
    states: 6553,
  },
  {
    name: 'queued releases, write-through',
    setting: { readers: 2, writers: 1, processes: 2, releaseStuck: true, writeThrough: true },
    states: 1213,
    larger: {
      setting: { readers: 2, writers: 2, processes: 2, releaseStuck: true, writeThrough: true },
      states: 86241,
    },
  },
  {
    name: 'queued invalidations',
    setting: { readers: 2, foreign: 2, foreignThen: 'invalidate', processes: 2, releaseStuck: true },
    states: 2857,
  },
  {
    name: 'unconfirmed releases are not queued',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, releaseStuck: true, guardStuck: true, without: 'release queued' },
    states: 68,
  },
  {
    name: 'a process with a queue does not bypass the store',
    breaks: 'G2',
    setting: { readers: 1, writers: 1, releaseStuck: true, guardStuck: true, without: 'queue bypass' },
    states: 70,
  },
  {
    name: 'a queue that does not count additions',
    breaks: 'at rest',
    setting: {
      readers: 2,
      foreign: 2,
      foreignThen: 'invalidate',
      processes: 2,
      releaseStuck: true,
      without: 'queue counts additions',
    },
    states: 2312,
  },
  {
    name: 'a process dies with its queue, no feed',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, releaseStuck: true, guardStuck: true, queueLost: true },
    states: 165,
  },
  {
    name: 'a process dies with its queue, feed',
    setting: { readers: 2, writers: 1, releaseStuck: true, guardStuck: true, queueLost: true, feed: true },
    states: 14903,
  },
]

const feed: readonly Row[] = [
  {
    name: 'somebody else, feed',
    setting: { readers: 1, writers: 1, foreign: 2, feed: true, dying: true, relayDying: true },
    states: 8441,
    larger: {
      setting: { readers: 2, writers: 1, foreign: 2, feed: true, dying: true, relayDying: true },
      states: 45363,
    },
  },
  { name: 'somebody else, no feed', breaks: 'at rest', setting: { readers: 1, foreign: 1 }, states: 16 },
  {
    name: 'a relay settles, then applies',
    breaks: 'at rest',
    setting: { readers: 1, foreign: 1, feed: true, relayDying: true, without: 'apply, then settle' },
    states: 42,
  },
  {
    name: 'changes that are decoded before they are visible',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      feed: true,
      decoded: true,
      dying: true,
      without: 'changes applied once visible',
    },
    states: 221,
  },
  {
    name: 'changes that are decoded before they are visible, somebody else',
    breaks: 'at rest',
    setting: { readers: 1, foreign: 1, feed: true, decoded: true, without: 'changes applied once visible' },
    states: 46,
  },
  {
    name: 'decoded changes applied once visible',
    setting: { readers: 2, writers: 2, feed: true, decoded: true, dying: true },
    states: 16505,
  },
  {
    name: 'decoded changes applied once visible, somebody else',
    setting: { readers: 2, writers: 1, foreign: 1, feed: true, decoded: true, dying: true },
    states: 6684,
  },
  {
    name: 'restart from a snapshot, feed',
    setting: {
      readers: 1,
      writers: 1,
      restart: true,
      generations: true,
      feed: true,
      dying: true,
      relayDying: true,
    },
    states: 10404,
    larger: {
      setting: { readers: 2, writers: 1, restart: true, generations: true, feed: true, dying: true },
      states: 35245,
    },
  },
  {
    name: 'restart from a snapshot, no feed',
    breaks: 'at rest',
    setting: { readers: 1, writers: 1, restart: true, generations: true },
    states: 312,
  },
  {
    name: 'restart, identity not compared',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      restart: true,
      generations: true,
      feed: true,
      without: 'identity of the store',
    },
    states: 680,
  },
  {
    name: 'restart, identity remembered before the generation',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      restart: true,
      generations: true,
      feed: true,
      relayDying: true,
      without: 'generation, then remember',
    },
    states: 3022,
  },
  {
    name: 'restart, G2 asked for',
    breaks: 'G2',
    setting: { readers: 2, writers: 1, restart: true, generations: true, feed: true, strict: true },
    states: 10395,
  },
  {
    name: 'restart, G1 asked for: the lease comes back',
    breaks: 'G1',
    setting: { readers: 1, writers: 1, restart: true, generations: true, feed: true, strictFills: true },
    states: 457,
  },
  {
    name: 'restart, G1 asked for, fills only in the life of the store that leased',
    setting: {
      readers: 1,
      writers: 1,
      restart: true,
      generations: true,
      feed: true,
      strictFills: true,
      dying: true,
      instead: 'fill only in the life of the store that leased',
    },
    states: 3655,
  },
  {
    name: 'restart, write-through, feed',
    setting: { readers: 1, writers: 1, restart: true, generations: true, feed: true, writeThrough: true },
    states: 2450,
    larger: {
      setting: { readers: 1, writers: 2, restart: true, generations: true, feed: true, writeThrough: true },
      states: 47605,
    },
  },
  {
    name: 'the database loses a commit, identity not compared',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      feed: true,
      generations: true,
      commitLost: true,
      without: 'identity of the database',
    },
    states: 109,
  },
  {
    name: 'the database loses a commit',
    setting: { readers: 1, writers: 1, feed: true, generations: true, commitLost: true, relayDying: true },
    states: 405,
    larger: {
      setting: { readers: 2, writers: 1, foreign: 1, feed: true, generations: true, commitLost: true },
      states: 14114,
    },
  },
]

const generation: readonly Row[] = [
  {
    name: 'invalidateAll',
    setting: {
      readers: 2,
      writers: 1,
      foreign: 1,
      foreignThen: 'invalidateAll',
      generations: true,
      dying: true,
    },
    states: 4221,
  },
  {
    name: 'invalidateAll, three readers',
    setting: { readers: 3, foreign: 2, foreignThen: 'invalidateAll', generations: true },
    states: 14226,
  },
  {
    name: 'invalidateAll, write-through',
    setting: {
      readers: 2,
      writers: 1,
      foreign: 1,
      foreignThen: 'invalidateAll',
      generations: true,
      writeThrough: true,
    },
    states: 3877,
  },
  {
    name: 'the generation is lost',
    setting: {
      readers: 2,
      foreign: 2,
      foreignThen: 'invalidateAll',
      generations: true,
      generationLost: true,
    },
    states: 5684,
  },
  {
    name: 'the generation is read at the fill',
    breaks: 'G1',
    setting: {
      readers: 1,
      foreign: 1,
      foreignThen: 'invalidateAll',
      generations: true,
      without: 'generation before the load',
    },
    states: 38,
  },
  {
    name: 'the generation of a write-through is read at the release',
    breaks: 'G',
    setting: {
      readers: 1,
      writers: 1,
      foreign: 1,
      foreignThen: 'invalidateAll',
      generations: true,
      writeThrough: true,
      without: 'generation before the guard',
    },
    states: 129,
  },
  {
    name: 'generations are counted, and the count is lost',
    breaks: '',
    setting: {
      readers: 2,
      foreign: 1,
      foreignThen: 'invalidateAll',
      generations: true,
      generationLost: true,
      without: 'generation at random',
    },
    states: 400,
  },
]

const refresh: readonly Row[] = [
  {
    name: 'refresh',
    setting: { readers: 2, writers: 2, refresh: true, dying: true },
    states: 11501,
    larger: { setting: { readers: 3, writers: 2, refresh: true, dying: true }, states: 81498 },
  },
  {
    name: 'refresh, write-through, somebody else, feed',
    setting: {
      readers: 2,
      writers: 1,
      foreign: 1,
      feed: true,
      refresh: true,
      writeThrough: true,
      dying: true,
    },
    states: 23415,
  },
  {
    name: 'a refresh stored over any value',
    breaks: 'G',
    setting: { readers: 2, writers: 1, refresh: true, without: 'refresh compares' },
    states: 621,
  },
  {
    name: 'a claim over a claim',
    breaks: 'G6',
    setting: { readers: 2, refresh: true, without: 'one claim' },
    states: 90,
  },
]

const local: readonly Row[] = [
  {
    name: 'L1, lost messages',
    setting: { readers: 2, writers: 1, processes: 2, local: true, dying: true, messagesLost: true },
    states: 24594,
  },
  {
    name: 'L1, two writers',
    setting: { readers: 1, writers: 2, processes: 2, local: true, dying: true },
    states: 14277,
    larger: { setting: { readers: 2, writers: 2, processes: 2, local: true, dying: true }, states: 208938 },
  },
  {
    name: 'L1, somebody else, feed, lost messages',
    setting: { readers: 2, foreign: 1, processes: 2, local: true, feed: true, messagesLost: true },
    states: 7906,
  },
  {
    name: 'L1, write-through, somebody else, feed',
    setting: {
      readers: 1,
      writers: 1,
      foreign: 1,
      processes: 2,
      local: true,
      feed: true,
      writeThrough: true,
      dying: true,
    },
    states: 16212,
  },
  {
    name: 'L1, restart, feed',
    setting: {
      readers: 1,
      writers: 1,
      processes: 2,
      local: true,
      feed: true,
      generations: true,
      restart: true,
    },
    states: 38536,
    larger: {
      setting: {
        readers: 1,
        writers: 1,
        processes: 2,
        local: true,
        feed: true,
        generations: true,
        restart: true,
        dying: true,
      },
      states: 71850,
    },
  },
  {
    name: 'L1, queued releases',
    setting: { readers: 1, writers: 1, processes: 2, local: true, releaseStuck: true },
    states: 5667,
  },
  {
    name: 'L1 of doomed flights',
    breaks: 'at rest',
    setting: { readers: 2, writers: 1, processes: 2, local: true, without: 'doom' },
    states: 2770,
  },
  {
    name: 'L1, flights doomed until they answer',
    breaks: 'at rest',
    setting: { readers: 2, writers: 1, processes: 2, local: true, without: 'doom until kept' },
    states: 2866,
  },
  {
    name: 'L1, bypassed loads are kept',
    breaks: 'at rest',
    setting: {
      readers: 1,
      writers: 1,
      processes: 2,
      local: true,
      dying: true,
      without: 'bypassed loads kept nowhere',
    },
    states: 335,
  },
  {
    name: 'L1, kept before the fill is accepted',
    setting: {
      readers: 2,
      writers: 1,
      processes: 2,
      local: true,
      dying: true,
      instead: 'keep before the fill is accepted',
    },
    states: 8111,
  },
  {
    name: 'L1, silence dooms no flights',
    breaks: 'at rest',
    setting: {
      readers: 2,
      writers: 1,
      processes: 2,
      local: true,
      messagesLost: true,
      without: 'interruption dooms',
    },
    states: 9762,
  },
  {
    name: 'L1, silence empties nothing',
    breaks: 'at rest',
    setting: {
      readers: 2,
      writers: 1,
      processes: 2,
      local: true,
      messagesLost: true,
      without: 'interruption empties',
    },
    states: 9756,
  },
  {
    name: 'L1, a process does not forget what it writes',
    breaks: 'a process finds',
    setting: { readers: 2, writers: 1, local: true, without: 'own copies forgotten' },
    states: 309,
  },
]

const keys: readonly Row[] = [
  {
    name: 'two keys in one write',
    setting: { keys: 2, readers: 1, writers: 2 },
    states: 10121,
    larger: { setting: { keys: 2, readers: 1, writers: 2, dying: true }, states: 61301 },
  },
  {
    name: 'two keys in one write, write-through',
    setting: { keys: 2, readers: 1, writers: 2, writeThrough: true },
    states: 11817,
  },
  {
    name: 'two keys, guard lost, feed',
    setting: { keys: 2, readers: 1, writers: 1, guardLost: true, dying: true, feed: true },
    states: 42662,
    larger: {
      setting: { keys: 2, readers: 1, writers: 1, foreign: 1, guardLost: true, feed: true },
      states: 112711,
    },
  },
  {
    name: 'two keys, queued releases',
    setting: { keys: 2, readers: 1, writers: 1, releaseStuck: true },
    states: 16532,
  },
  {
    name: 'two keys, the second guarded after the commit',
    breaks: 'G2',
    setting: { keys: 2, readers: 3, writers: 1, without: 'guard before the commit' },
    states: 1643,
  },
]

const stream: readonly Row[] = [
  { name: 'stream', setting: { cut: 'told' }, states: 39588 },
  {
    name: 'stream, the process is not told that its connection breaks',
    setting: { cut: 'untold' },
    states: 48434,
  },
  {
    name: 'stream, an interruption empties nothing before the next proof',
    setting: { cut: 'told', leftToProof: true },
    states: 39028,
  },
  { name: 'stream, no proof asked for', breaks: 'G5', setting: { without: 'proof asked for' }, states: 3865 },
  {
    name: 'stream, proof by the moment of hearing',
    breaks: 'G5',
    setting: { without: 'proof by the moment of sending' },
    states: 20281,
  },
  {
    name: 'stream, a missing heartbeat is not noticed',
    breaks: 'G5',
    setting: { cut: 'untold', without: 'missing heartbeat noticed' },
    states: 44980,
  },
  {
    name: 'stream, a new proof empties nothing',
    breaks: 'G5',
    setting: { cut: 'told', without: 'new proof empties' },
    states: 30514,
  },
  {
    name: 'stream, a new proof dooms nothing',
    breaks: 'G5',
    setting: { cut: 'told', without: 'new proof dooms' },
    states: 27250,
  },
  {
    name: 'stream, messages doom nothing',
    breaks: 'G5',
    setting: { without: 'message dooms' },
    states: 14936,
  },
  {
    name: 'stream, old flights are joined',
    breaks: 'G5',
    setting: { without: 'young flights joined only' },
    states: 3863,
  },
  { name: 'no stream', setting: { stream: 'none' }, states: 272 },
  {
    name: 'no stream, no proof asked for',
    breaks: 'G5',
    setting: { stream: 'none', without: 'proof asked for' },
    states: 179,
  },
  {
    name: 'no stream, old flights are joined',
    breaks: 'G5',
    setting: { stream: 'none', without: 'young flights joined only' },
    states: 180,
  },
]

/** All of them. */
export const ROWS: readonly Row[] = [
  ...lease,
  ...guard,
  ...through,
  ...sharing,
  ...doubt,
  ...queue,
  ...feed,
  ...generation,
  ...refresh,
  ...local,
  ...keys,
  ...stream,
  ...TAG_ROWS,
]
