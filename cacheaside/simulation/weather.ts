import type { Random } from './random.ts'

/** What may go wrong; `faults.ts` says how. */
const FAULTS = [
  'cut',
  'half-open',
  'mute stream',
  'slow stream',
  'dying stream',
  'change in a gap',
  'refused invalidations',
  'loss',
  'stream reset',
  'change during a reset',
  'reset amid a reload',
  'reset at a heartbeat',
  'reset at a fill',
  'change in silence',
  'silence after a heartbeat',
  'change during a look',
  'crash',
  'death in a write',
  'pause',
  'sleep',
  'wall clock',
  'evict',
  'evict in doubt',
  'plant',
  'forget generations',
  'restart empty',
  'restart from a snapshot',
  'fail over',
  'split',
  'reply lost',
  'reply added',
  'database away',
  'database restart',
  'session ends',
  'session vanishes',
] as const

/** One kind of fault. */
export type Fault = (typeof FAULTS)[number]

/** What a history is played in. Probabilities are per message, per load or per commit. */
export interface Weather {
  readonly name: string
  /** Faults per hundred operations, and how often each kind is among them. */
  readonly faultsPerHundred: number
  readonly faults: Readonly<Partial<Record<Fault, number>>>
  /** Whether caches live in one process with their store, as an embedded one. */
  readonly embedded: boolean
  /** How often there is a change feed. Without one nothing is promised of what its writer could not invalidate. */
  readonly feed: number
  /** Of all operations: changes behind the library's back, which only the feed tells of. */
  readonly foreignWrites: number
  /** Messages that take about as long as anybody waits for them. */
  readonly slow: number
  /** How long these take at most. Left out: twice as long as anybody waits. */
  readonly slowMs?: number
  /** How long replies take at most, all of them. Left out: as other messages do. */
  readonly slowRepliesMs?: number
  /** Messages that arrive up to seconds late, after an error or in silence. */
  readonly late: number
  /** Whether a process has one connection for commands, on which only their order says which reply is to which. */
  readonly inOrder?: boolean
  /** Whether there are two such connections, as to a Cluster: the tags lie on a node of their own. */
  readonly isOnCluster?: boolean
  /** Replies that are lost. */
  readonly deaf: number
  /** What ends a token, delivered a second time, late. */
  readonly repeated: number
  /** Loads that take about as long as their limit, or fail. */
  readonly slowLoads: number
  readonly failedLoads: number
  /** Commits of which nobody knows whether they happen; of which the server says that they did not; that take long. */
  readonly doubtfulCommits: number
  readonly refusedCommits: number
  readonly slowCommits: number
  /** Whether the database may take back what it has acknowledged, when it crashes. */
  readonly takesBack: boolean
  /** Whether no request is lost, so that a lease or claim without a load has to be given back. */
  readonly givesBack?: boolean
  /** Whether nothing is in the way of a write. */
  readonly isQuiet?: boolean
  /** Whether the last quarter of a history only reads, while faults go on: what they leave behind is not mended by a write. */
  readonly readsAtLast?: boolean
  /** Of all operations: writes. Left out: one in twenty to one in five. */
  readonly writes?: number
  /** Of all operations, after the writes: up to where they invalidate one row by hand, and then a keyspace. Left out: two for three writes. */
  readonly invalidations?: { readonly one: number; readonly all: number }
  /**
   * How often the process is asked again that was asked last, which is also the one that things happen to. Left out: no more
   * often than any other.
   */
  readonly affinity?: number
  /** Of all reads: strong ones. Left out: about a third. */
  readonly strong?: number
  /** How old a default read may be. Left out: as the seed has it. */
  readonly localMaxStaleMs?: number
  /** Whether no process has an L1, so that default readers wait for each other's flights. */
  readonly withoutLocal?: boolean
  /** Whether everybody is after one row. */
  readonly isHot?: boolean
  /** Which rows everybody is after. Left out: as many as the seed says. */
  readonly rows?: readonly number[]
  /** Most processes. Left out: four. */
  readonly processes?: number
  /** For how long after its deadline a guard is still found on the server. Left out: not at all. */
  readonly lagMs?: number
  /** For how many keys a process can remember that their invalidation is not confirmed. Left out: for all of them, mostly. */
  readonly roomOfQueue?: number
  /** Writers that have something else to do between their commit and their release, for up to two seconds. Left out: none. */
  readonly lingering?: number
  /** Whether values expire soon, and may be served for a while if their loads fail or are slow. */
  readonly fallsBack?: boolean
  /** Whether no value expires: what is old stays. */
  readonly isLasting?: boolean
  /** Whether every process but the first reaches the server by requests alone: it hears nothing, has no L1 and no relay. */
  readonly isStreamless?: boolean
  /** Whether two versions of the program run at once, with values of different shapes; with tags, such that name different tags. */
  readonly deploys: boolean
  /** Whether one of these versions names no tags at all. */
  readonly namesNone?: boolean
  /** Whether there are values of several rows, which depend on tags. */
  readonly tags?: boolean
  /** Of the reads of such values: snapshots. Left out: a fifth. Half of them are of two values of one tag, if this is given. */
  readonly snapshots?: number
  /** How many registers there is room for on the server. Left out: there is room enough. */
  readonly room?: number
  /** Whether commands that create a stamp are delivered twice, too, which no client may do: to see that it is missed. */
  readonly repeatsStamps?: boolean
}

const CALM: Weather = {
  name: 'calm',
  faultsPerHundred: 0,
  faults: {},
  embedded: false,
  feed: 0.2,
  foreignWrites: 0,
  slow: 0.03,
  late: 0,
  deaf: 0,
  repeated: 0,
  slowLoads: 0.03,
  failedLoads: 0.05,
  doubtfulCommits: 0,
  refusedCommits: 0.05,
  slowCommits: 0.1,
  takesBack: false,
  deploys: false,
}

/** Faults that are only in the weather that is about them: the storm is older, and its seeds are kept. */
const HAVE_A_WEATHER: ReadonlySet<Fault> = new Set<Fault>([
  'change in a gap',
  'refused invalidations',
  'change during a reset',
  'change in silence',
  'silence after a heartbeat',
  'reset amid a reload',
  'reset at a heartbeat',
  'reset at a fill',
  'evict in doubt',
  'change during a look',
  'split',
  'reply lost',
  'reply added',
])

/** Weathers in which each value is one row. */
const PLAIN: readonly Weather[] = [
  { ...CALM, slow: 0, givesBack: true, isQuiet: true },
  { ...CALM, name: 'slow', slow: 0.25, givesBack: true },
  { ...CALM, name: 'deaf', slow: 0, deaf: 0.06, givesBack: true },
  {
    ...CALM,
    name: 'embedded',
    embedded: true,
    feed: 0.7,
    foreignWrites: 0.05,
    faultsPerHundred: 3,
    faults: { evict: 4, 'wall clock': 2, 'session ends': 2, 'database restart': 1 },
    doubtfulCommits: 0.05,
  },
  {
    ...CALM,
    name: 'lossy',
    late: 0.03,
    repeated: 0.1,
    faultsPerHundred: 5,
    faults: { loss: 3, evict: 2, 'stream reset': 1, 'slow stream': 2 },
    doubtfulCommits: 0.1,
  },
  {
    ...CALM,
    name: 'partitions',
    late: 0.01,
    slowLoads: 0.12,
    faultsPerHundred: 6,
    faults: { cut: 3, 'half-open': 3, 'mute stream': 4, 'slow stream': 4, 'stream reset': 2 },
    doubtfulCommits: 0.05,
  },
  {
    ...CALM,
    name: 'crashes',
    feed: 0.4,
    late: 0.01,
    repeated: 0.03,
    faultsPerHundred: 5,
    faults: { crash: 4, pause: 4, sleep: 2, 'wall clock': 2, evict: 1 },
    doubtfulCommits: 0.05,
    slowCommits: 0.4,
  },
  {
    ...CALM,
    name: 'evictions',
    faultsPerHundred: 15,
    faults: { evict: 12, pause: 2, plant: 1, 'forget generations': 1 },
    doubtfulCommits: 0.05,
    slowCommits: 0.4,
    repeated: 0.05,
    late: 0.01,
  },
  {
    ...CALM,
    name: 'restarts',
    feed: 1,
    faultsPerHundred: 4,
    faults: { 'restart empty': 2, 'restart from a snapshot': 4, 'fail over': 4, 'mute stream': 1, evict: 1 },
    doubtfulCommits: 0.03,
    foreignWrites: 0.02,
    late: 0.01,
  },
  {
    ...CALM,
    name: 'feed',
    feed: 1,
    foreignWrites: 0.12,
    faultsPerHundred: 6,
    faults: {
      'database away': 2,
      'database restart': 3,
      'session ends': 4,
      'session vanishes': 2,
      crash: 3,
      cut: 1,
      'restart from a snapshot': 1,
    },
    doubtfulCommits: 0.1,
    takesBack: true,
  },
  {
    ...CALM,
    name: 'deploys',
    deploys: true,
    faultsPerHundred: 5,
    faults: { plant: 3, evict: 2, 'stream reset': 1 },
  },
  {
    ...CALM,
    name: 'promotions',
    feed: 1,
    faultsPerHundred: 5,
    faults: { 'restart from a snapshot': 5, 'fail over': 5, 'session ends': 1, crash: 2, 'database away': 1 },
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'relays',
    feed: 1,
    foreignWrites: 0.25,
    faultsPerHundred: 12,
    faults: { crash: 5, 'session vanishes': 3, 'session ends': 3, cut: 3, loss: 3, 'half-open': 1 },
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'rollbacks',
    feed: 1,
    foreignWrites: 0.1,
    faultsPerHundred: 4,
    faults: { 'database restart': 5, 'session ends': 1 },
    takesBack: true,
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'deafness',
    faultsPerHundred: 10,
    faults: {
      'dying stream': 8,
      'mute stream': 4,
      'slow stream': 4,
      'stream reset': 4,
      'half-open': 2,
      sleep: 2,
    },
    isLasting: true,
  },
  {
    ...CALM,
    name: 'doubts',
    late: 0.03,
    faultsPerHundred: 8,
    faults: { cut: 4, loss: 3, evict: 2, crash: 1 },
    doubtfulCommits: 0.35,
    slowCommits: 0.4,
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'failures',
    slow: 0.1,
    slowLoads: 0.3,
    failedLoads: 0.4,
    faultsPerHundred: 6,
    faults: { 'slow stream': 4, 'stream reset': 1, evict: 1 },
    isHot: true,
    fallsBack: true,
  },
  {
    ...CALM,
    name: 'crowds',
    repeated: 0.1,
    late: 0.02,
    faultsPerHundred: 10,
    faults: { 'death in a write': 6, crash: 1, evict: 2, pause: 1 },
    doubtfulCommits: 0.05,
    slowCommits: 0.4,
    writes: 0.03,
    lingering: 0.7,
    isHot: true,
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'storm',
    feed: 1,
    foreignWrites: 0.04,
    late: 0.02,
    repeated: 0.05,
    faultsPerHundred: 12,
    faults: Object.fromEntries(FAULTS.filter(fault => !HAVE_A_WEATHER.has(fault)).map(fault => [fault, 1])),
    doubtfulCommits: 0.1,
    refusedCommits: 0.05,
    slowCommits: 0.3,
    takesBack: true,
  },
  {
    ...CALM,
    name: 'reconnections',
    slow: 0.3,
    faultsPerHundred: 6,
    faults: { 'change during a reset': 4, 'change in a gap': 1 },
    writes: 0.01,
    invalidations: { one: 0.02, all: 0.02 },
    affinity: 0.9,
    isHot: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'silence',
    slow: 0.6,
    slowMs: 28,
    slowLoads: 0.1,
    faultsPerHundred: 8,
    faults: { 'change in silence': 1 },
    writes: 0.01,
    invalidations: { one: 0.01, all: 0.01 },
    affinity: 0.95,
    strong: 0.02,
    localMaxStaleMs: 100,
    withoutLocal: true,
    isHot: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'refusals',
    faultsPerHundred: 8,
    faults: { 'refused invalidations': 1 },
    writes: 0.2,
    invalidations: { one: 0.23, all: 0.28 },
    isLasting: true,
  },
  {
    ...CALM,
    name: 'backlogs',
    slow: 0.25,
    faultsPerHundred: 20,
    faults: { loss: 6, cut: 1, evict: 2 },
    doubtfulCommits: 0.35,
    slowCommits: 0.6,
    writes: 0.2,
    rows: [0, 1],
    roomOfQueue: 1,
  },
  {
    ...CALM,
    name: 'leftovers',
    repeated: 0.05,
    late: 0.02,
    faultsPerHundred: 15,
    faults: { 'death in a write': 3, evict: 6, loss: 1 },
    doubtfulCommits: 0.3,
    slowCommits: 0.4,
    writes: 0.08,
    lingering: 0.3,
    lagMs: 400,
    isHot: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'relapses',
    feed: 1,
    foreignWrites: 0.1,
    faultsPerHundred: 12,
    faults: { 'restart from a snapshot': 3, 'fail over': 2, loss: 6, cut: 3 },
    processes: 2,
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'observers',
    embedded: true,
    feed: 1,
    foreignWrites: 0.25,
    faultsPerHundred: 5,
    faults: { 'database away': 4, 'session ends': 2 },
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'aftermath',
    feed: 0,
    slow: 0,
    slowRepliesMs: 48,
    faultsPerHundred: 4,
    faults: { 'reset amid a reload': 1, 'reset at a heartbeat': 2, 'reset at a fill': 3 },
    writes: 0,
    invalidations: { one: 0, all: 0 },
    affinity: 0.9,
    localMaxStaleMs: 400,
    isHot: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'rejections',
    slowRepliesMs: 48,
    faultsPerHundred: 20,
    faults: { 'refused invalidations': 1 },
    writes: 0.1,
    invalidations: { one: 0.3, all: 0.3 },
    rows: [0, 1],
    isLasting: true,
  },
  {
    ...CALM,
    name: 'splits',
    feed: 1,
    foreignWrites: 0.02,
    writes: 0.02,
    slow: 0.3,
    slowMs: 50,
    faultsPerHundred: 2.5,
    faults: {
      split: 8,
      'fail over': 1,
      'session ends': 1,
      'session vanishes': 1,
      crash: 1,
      pause: 1,
      loss: 1,
    },
    readsAtLast: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'shifts',
    inOrder: true,
    slow: 0.1,
    slowMs: 50,
    faultsPerHundred: 12,
    faults: { 'reply lost': 1, 'reply added': 2 },
  },
  {
    ...CALM,
    name: 'requests',
    isStreamless: true,
    feed: 0.5,
    foreignWrites: 0.02,
    slow: 0.1,
    late: 0.01,
    slowLoads: 0.12,
    faultsPerHundred: 5,
    faults: { cut: 3, 'half-open': 2, loss: 2, evict: 2, crash: 2, pause: 2, 'restart from a snapshot': 1 },
    doubtfulCommits: 0.05,
    invalidations: { one: 0.2, all: 0.25 },
    strong: 0.1,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'versions',
    embedded: true,
    deploys: true,
    faultsPerHundred: 5,
    faults: { evict: 3, plant: 1 },
    withoutLocal: true,
  },
]

/** Of these there is another one each, in which values of several rows depend on tags. */
const TAGGED: Readonly<Record<string, Partial<Weather>>> = {
  calm: { isLasting: true },
  slow: {},
  deaf: {},
  embedded: {},
  lossy: { foreignWrites: 0.02, feed: 0.5 },
  partitions: {},
  crashes: {},
  evictions: { slow: 0, isLasting: true },
  restarts: {},
  feed: {},
  deploys: { slow: 0, isLasting: true, faults: { evict: 2, 'stream reset': 1 } },
  promotions: {},
  doubts: {},
  failures: {},
  storm: {},
  reconnections: {},
  silence: {},
  refusals: {},
  backlogs: {},
  observers: {},
  aftermath: {},
  splits: {},
  shifts: {},
  requests: {},
  versions: { namesNone: true, isLasting: true },
}

/** All kinds of weather. The seed draws one. */
export const WEATHERS: readonly Weather[] = [
  ...PLAIN,
  ...PLAIN.filter(({ name }) => name in TAGGED).map(
    (weather): Weather => ({ ...weather, ...TAGGED[weather.name], name: `tags-${weather.name}`, tags: true }),
  ),
  {
    ...CALM,
    name: 'tags-full',
    tags: true,
    room: 7,
    faultsPerHundred: 5,
    faults: { evict: 1 },
    isLasting: true,
  },
  {
    ...CALM,
    name: 'tags-snapshots',
    tags: true,
    snapshots: 0.7,
    slow: 0.15,
    slowMs: 50,
    faultsPerHundred: 25,
    faults: { evict: 1 },
    writes: 0.2,
    invalidations: { one: 0.22, all: 0.24 },
    isHot: true,
    isLasting: true,
    withoutLocal: true,
  },
  {
    ...CALM,
    name: 'hush',
    feed: 0,
    slow: 0,
    slowRepliesMs: 55,
    slowLoads: 0,
    failedLoads: 0,
    faultsPerHundred: 4,
    faults: { 'silence after a heartbeat': 1 },
    writes: 0,
    invalidations: { one: 0, all: 0 },
    affinity: 0.98,
    strong: 0,
    localMaxStaleMs: 240,
    withoutLocal: true,
    isHot: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'tags-tears',
    tags: true,
    snapshots: 0.9,
    slow: 0.15,
    slowMs: 50,
    slowRepliesMs: 6,
    slowLoads: 0,
    failedLoads: 0,
    slowCommits: 0,
    refusedCommits: 0,
    faultsPerHundred: 5,
    faults: { evict: 1 },
    writes: 0.15,
    invalidations: { one: 0.15, all: 0.15 },
    processes: 2,
    isHot: true,
    isLasting: true,
    withoutLocal: true,
  },
  {
    ...CALM,
    name: 'tags-echoes',
    tags: true,
    slow: 0,
    slowRepliesMs: 40,
    givesBack: true,
    writes: 0,
    invalidations: { one: 0.12, all: 0.12 },
    rows: [0, 1, 2, 3],
    processes: 3,
    strong: 0,
    localMaxStaleMs: 2_000,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'tags-retries',
    tags: true,
    slowRepliesMs: 48,
    slowLoads: 0.3,
    faultsPerHundred: 25,
    faults: { 'refused invalidations': 2, 'slow stream': 1 },
    writes: 0.05,
    invalidations: { one: 0.35, all: 0.35 },
    affinity: 0.6,
    strong: 0.02,
    processes: 2,
    isHot: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'attempts',
    faultsPerHundred: 8,
    faults: { 'evict in doubt': 1 },
    doubtfulCommits: 0.5,
    slowCommits: 0.4,
    writes: 0.01,
    invalidations: { one: 0.01, all: 0.01 },
    affinity: 0.95,
    lingering: 0.7,
    processes: 2,
    isHot: true,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'looks',
    feed: 0,
    slow: 0,
    slowLoads: 0,
    failedLoads: 0,
    faultsPerHundred: 20,
    faults: { 'change during a look': 3, 'slow stream': 1 },
    writes: 0,
    invalidations: { one: 0, all: 0.02 },
    affinity: 0.8,
    strong: 0.15,
    withoutLocal: true,
    rows: [0, 1],
    processes: 3,
    isLasting: true,
  },
  {
    ...CALM,
    name: 'tags-queues',
    tags: true,
    snapshots: 0.9,
    slow: 0.15,
    slowMs: 50,
    slowRepliesMs: 6,
    slowLoads: 0,
    failedLoads: 0,
    slowCommits: 0,
    refusedCommits: 0,
    faultsPerHundred: 12,
    faults: { 'refused invalidations': 1, evict: 2 },
    writes: 0.03,
    invalidations: { one: 0.2, all: 0.2 },
    affinity: 0.7,
    processes: 2,
    isHot: true,
    isLasting: true,
    withoutLocal: true,
  },
  {
    ...CALM,
    name: 'tags-nodes',
    tags: true,
    inOrder: true,
    isOnCluster: true,
    slow: 0.02,
    slowMs: 50,
    faultsPerHundred: 20,
    faults: { 'reply lost': 1 },
  },
]

/** Weathers in which something is done that nobody may do, to see that it is missed. No seed draws them. */
export const CONTROLS: readonly Weather[] = [
  {
    ...CALM,
    name: 'tags-created-twice',
    tags: true,
    slow: 0,
    repeated: 0.9,
    repeatsStamps: true,
    writes: 0.15,
    affinity: 0.5,
    isLasting: true,
  },
]

/** A kind of fault, as often as the weather has it. */
export function drawFault({ faults }: Weather, random: Random): Fault {
  const kinds = Object.entries(faults) as [Fault, number][]
  let left = random.next() * kinds.reduce((sum, [, weight]) => sum + weight, 0)
  for (const [fault, weight] of kinds) {
    left -= weight
    if (left < 0) return fault
  }
  return kinds[0]![0]
}
