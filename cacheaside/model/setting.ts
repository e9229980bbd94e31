/** What one row of the table looks at: who takes part, what can go wrong, and which protection is taken out. */
export interface Setting {
  /** Keys, each with a register of its own; every writer writes all of them. 1 by default. */
  readonly keys?: 1 | 2
  /** Readers of each key, one after the other in the processes. */
  readonly readers: number
  /** Writers that use the library, one after the other in the processes. */
  readonly writers?: number
  /** Other programs that commit a change each; and what somebody does about it through the library, if anything. */
  readonly foreign?: number
  readonly foreignThen?: 'invalidate' | 'invalidateAll'
  /** Processes with a life of their own: with an L1, or with a queue. 1 by default. */
  readonly processes?: 1 | 2

  // What is used.
  readonly local?: boolean
  readonly feed?: boolean
  readonly writeThrough?: boolean
  readonly refresh?: boolean
  readonly generations?: boolean
  /** Writers of one process share a token. Which of them began it makes a difference, so that none are exchanged. */
  readonly sharing?: boolean
  /** How many tokens a guard lists; those who come then have one deadline in common. Left out: as many as there are. */
  readonly holders?: number
  /** At the beginning the first register holds something that no version has written. */
  readonly unreadable?: boolean
  /**
   * At the beginning a writer of a later version guards the first register, in a way that nobody else can read. The first
   * foreign program is that writer: it dies after its commit, and its guard ends by itself; or it writes through, if others do.
   */
  readonly later?: boolean
  /** Guards, statements and renewals have their times, in thirds of `guardMs`. */
  readonly timed?: boolean

  // What can go wrong.
  /** A reader or writer dies. */
  readonly dying?: boolean
  /** A writer dies, and its statement still runs in the database. */
  readonly orphans?: boolean
  /** A write's function throws, and its commit is in doubt. */
  readonly doubts?: boolean
  /** The database ends the statement of a writer that is gone before its guard ends; in timed settings, the times decide. */
  readonly statementsEnd?: boolean
  /** The store forgets a guard under a live writer: evicted, flushed. */
  readonly guardLost?: boolean
  /** A live writer sleeps past the deadline of its token. */
  readonly sleeping?: boolean
  /** A guard is not confirmed: it never arrives, or late. */
  readonly guardStuck?: boolean
  /** A release is not confirmed: it never arrives, or late. */
  readonly releaseStuck?: boolean
  /** A process that has something in its queue dies. */
  readonly queueLost?: boolean
  /** The reply to a renewal is lost. */
  readonly renewalStuck?: boolean
  /** Messages to one process are lost, once. */
  readonly messagesLost?: boolean
  /** A relay dies between applying a change and settling it. */
  readonly relayDying?: boolean
  /** The store restarts from a snapshot, or a copy that lags takes over, once. */
  readonly restart?: boolean
  /** The register of the generation is lost, once. */
  readonly generationLost?: boolean
  /** The database loses a commit that it had acknowledged, once. */
  readonly commitLost?: boolean
  /** A standby of the database takes over, once, and the last process reads the old primary for a while. */
  readonly followsLate?: boolean
  /** A change reaches the feed before its commit can be seen. */
  readonly decoded?: boolean

  /** What is taken out. */
  readonly without?: Protection | readonly Protection[]
  /** A way that the library does not take. */
  readonly instead?: 'fill only in the life of the store that leased' | 'keep before the fill is accepted'
  /** Reads count as ordinary operation whatever has happened: what is *not* promised. */
  readonly strict?: boolean
  /** Also a store that has lost acknowledged commands must not be filled by a load from before an invalidation. */
  readonly strictFills?: boolean
}

/** What can be taken out. */
export const PROTECTIONS = [
  'lease check',
  'guard',
  'guard before the commit',
  'guard sent once',
  'confirmed guards only write through',
  'unknown renewals count as lost',
  'dirty',
  'dirty: joining',
  'dirty: joining again',
  'dirty: invalidation',
  'dirty: release that leaves others',
  'release without a guard removes',
  'invalidation removes leases',
  'doubt',
  'doubt waits',
  'doubt invalidates',
  'statement ends in time',
  'renewal',
  'shared token ends with the last',
  'shared token asked for at each end',
  'shared token writes nothing through',
  'token beside another writes nothing through',
  'token beside a doubt writes nothing through',
  'shared token known to be lost',
  'shared token closed at its end',
  'shared token left to a doubt',
  'too many holders merge',
  'release queued',
  'queue bypass',
  'queue counts additions',
  'bypassed loads kept nowhere',
  'doom',
  'doom until kept',
  'interruption empties',
  'interruption dooms',
  'own copies forgotten',
  'apply, then settle',
  'changes applied once visible',
  'identity of the store',
  'identity of the database',
  'distrust of what was followed',
  'generation, then remember',
  'generation before the load',
  'generation before the guard',
  'generation at random',
  'loader takes a new snapshot',
  'swap compares',
  'readers leave later versions alone',
  'writers leave guards of later versions',
  'invalidations leave guards of later versions',
  'dirty: guards of later versions',
  'refresh compares',
  'one claim',
  'one lease',
] as const

/** One of them. */
export type Protection = (typeof PROTECTIONS)[number]
