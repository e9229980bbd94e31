/** One of the registers of a setting: `x` and `y` are keys of values, `a` and `b` are tags. */
export type Letter = 'x' | 'y' | 'a' | 'b'

/** Who is there, what values are made of, and what can happen: a row of the table about tags. */
export interface TagsSetting {
  readonly tags: 1 | 2
  readonly keys?: 2
  readonly processes?: 2
  /** The names that `tags(id)` gives, by key: known before the load. Every key shows the rows of its names. */
  readonly names?: readonly (readonly Letter[])[]
  /** The names that `tagsOf` gives for the first version of the own row of `x`, and for later ones: known after the load. */
  readonly late?: readonly (readonly Letter[])[]
  /** Other names that `tags(id)` gives in a process, by process: during a deploy. */
  readonly asks?: readonly (readonly Letter[])[]
  readonly readers: readonly ReaderSetting[]
  readonly writers?: readonly WriterSetting[]
  /** Snapshot readers of both keys. */
  readonly snapshots?: number

  /** There is a value at the beginning, under a stamp for each of its names. */
  readonly warm?: true
  /** There are messages, and each process has an L1. */
  readonly local?: true
  /** What has a generation: the keyspace, or the keyspace of the tags. */
  readonly generations?: 'own' | 'tags'
  /** Readers of a process share the looks at the generation of the values that follow a value of another one. */
  readonly sharedLooks?: true
  /** A process that has heard of a tag may not be answered with less: it is the one in which the store is. */
  readonly hearsAtOnce?: true
  /** A process remembers the names of the last value of a key, and the last stamp that it has seen of a name. */
  readonly remembers?: true
  /** A reply arrives later than its command is run, and what was loaded later than it was seen. */
  readonly replies?: true
  /** Values and leases may go at any time. */
  readonly evictions?: true
  /** Stamps may go at any time. */
  readonly stampsLost?: true
  /** A value expires once, and is refreshed. */
  readonly refresh?: true
  /** A creation of a stamp may arrive a second time, once. */
  readonly creationLate?: true
  /** Writers may die. */
  readonly dying?: true
  /** Guards of tags may be lost under writers that live. */
  readonly guardLost?: true
  /** Messages to the first process are lost, once. */
  readonly messagesLost?: true
  /** The server of the first tag restarts from a snapshot, once; a relay draws new generations when it sees it. */
  readonly restart?: true
  /** Another server takes over for the first tag, and the demoted one still answers what needs no right to write. */
  readonly demoted?: true
  /** So many loads under a lease are the most that there may be. */
  readonly mostLoads?: number
  /** A load with late names is followed by a second one under the stamps now known. */
  readonly loadsAgain?: true

  readonly without?: TagProtection | readonly TagProtection[]
  /** Checked also where it is not promised. */
  readonly strict?: true
}

/** A reader, one read after the other. */
export interface ReaderSetting {
  readonly key?: 'y'
  readonly process?: 1
  readonly reads: 'strong' | 'default'
  readonly times?: number
  /** Somebody may join its flight. */
  readonly joined?: true
}

/**
 * A writer. `write` guards its names, commits, and releases them. `invalidate` commits, and invalidates then: also what
 * relays of the feed do, which are in no process. `invalidate all` draws a new generation.
 */
export interface WriterSetting {
  readonly does: 'write' | 'invalidate' | 'invalidate all'
  readonly process?: 0 | 1
  readonly names: readonly Letter[]
  /** The rows that it changes, if not those of its names. */
  readonly rows?: readonly Letter[]
  /** Its guards never arrive, and its releases may be not confirmed. */
  readonly stuck?: true
}

/** What can be taken out. */
export const TAG_PROTECTIONS = [
  'stamps before the load',
  'stamps at random',
  'guards of tags',
  'guards of tags keep other writers',
  'release of a tag removes stamps',
  'invalidation of an absent tag is broadcast',
  'listed before asking',
  'tag messages doom',
  'tag messages empty',
  'own writes of tags forget',
  'own writes of tags forget at their end',
  'own writes of tags end joining',
  'messages about tags end joining',
  'creation of stamps sent once',
  'generation of tags before the load',
  'generation copies once listed',
  'late names compare generations',
  'late generations before the load',
  'generation copies while proven',
  'own generations known at once',
  'generation of tags dooms',
  'generation of tags empties',
  'judged by later looks',
  'shared looks let stand only what was seen before',
  'leases given back beside tags',
  'fallen values are no fallback',
  'every tag judged',
  'late names seen before the load',
  'late names remembered before the load',
  'values lacking names are replaced',
  'replaced once',
  'tagged values are not written through',
  'queue asks for names',
  'queue asks before the stamps',
  'queue asks for late names',
  'unproven flights keep nothing of tags',
  'new generations of tags after a restart',
  'looks that need the right to write',
  'second look at values',
  'second look at stamps',
  'second look compares the stamps of every value',
  'second look takes absent for changed',
  'fills awaited by snapshots',
  'queue asked by snapshots',
] as const

/** One of them. */
export type TagProtection = (typeof TAG_PROTECTIONS)[number]
