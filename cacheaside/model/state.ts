import { count, flag, Kind, oneOf } from './record.ts'

/**
 * One state of the model: what the store, the origin, the processes, the readers and the writers are at.
 *
 * A token, nonce or claim is never a name: it is a flag with its owner, which says that the register holds it. So the
 * names of tokens cannot make two states of one, and owners of one kind can be exchanged.
 */

/** One key: its register, and its row. */
export const KEY = new Kind({
  register: oneOf('absent', 'value', 'lease', 'guard', 'unreadable', 'later'),
  version: count,
  generation: count,
  expired: flag,
  dirty: flag,
  /** Writers who are listed together, because there were too many. */
  merged: flag,
  /** What the snapshot has. */
  savedRegister: oneOf('absent', 'value', 'lease', 'guard', 'unreadable', 'later'),
  savedVersion: count,
  savedGeneration: count,
  savedExpired: flag,
  savedDirty: flag,
  /** The version that a new snapshot of the database sees, and the last one in its log. */
  visible: count,
  logged: count,
  /** The version at the old primary of the database, which nobody changes any more. */
  old: count,
  /** The newest version whose write has resolved, and the newest that any reader has seen. */
  resolved: count,
  seen: count,
})

/** What everybody shares beside the keys. */
export const SHARED = new Kind({
  generation: count,
  savedGeneration: count,
  /** The last number given to a generation, none of which comes twice. */
  drawn: count,
  snapshot: oneOf('none', 'saved', 'restored'),
  /** How far relays are with an identity that has changed. */
  identity: oneOf('same', 'changed', 'between'),
  /** Something has happened that is not ordinary operation. */
  extraordinary: flag,
  /** The store, or the database, has lost what it had acknowledged. */
  forgot: flag,
  generationLost: flag,
  commitLost: flag,
  /** A standby of the database has taken over, and one process still reads the old primary, or has followed. */
  takenOver: oneOf('no', 'not by all', 'by all'),
  messagesLost: flag,
  relayDied: flag,
})

/** A key in a process: what it keeps and has to do. */
export const COPY = new Kind({
  /** The version in L1, plus 1. */
  kept: count,
  messages: count,
  /** The newest version that a write of this process has resolved with. */
  own: count,
  /** `later`: nothing to be done before a commit in doubt can no longer happen. */
  queue: oneOf('none', 'waits', 'later', 'tried', 'tried for the last time'),
  added: flag,
  /** A reply to the queue has been lost. */
  unheard: flag,
})

export const PROCESS = new Kind({ cut: flag })

/** A reader, from its first command until its value is kept or dropped. */
export const READER = new Kind({
  at: oneOf('start', 'ask', 'leased', 'saw', 'swap', 'claim', 'load', 'found', 'fill', 'reply', 'done'),
  version: count,
  floor: count,
  generation: count,
  seenGeneration: count,
  /** Whether the register holds its lease, is the value that it has seen, and carries its claim. */
  lease: flag,
  sees: flag,
  claim: oneOf('none', 'standing', 'passed'),
  savedLease: flag,
  savedSees: flag,
  savedClaim: oneOf('none', 'standing', 'passed'),
  /** Its lease or claim has been neither removed nor outlived. */
  entitled: flag,
  /** Its caller was given the expired value already. */
  answered: flag,
  refreshes: flag,
  doomed: flag,
  /** An invalidation of its key was applied after its load. */
  overtaken: flag,
  accepted: flag,
  /** The store has restarted since its lease. */
  outlived: flag,
})

export const WRITER = new Kind({
  at: oneOf(
    'start',
    'guard',
    'commit',
    'runs',
    'logged',
    'throws',
    'release',
    'orphan',
    'logged orphan',
    'done',
  ),
  /** It was refused an answer about its commit, and has left its keys to the queue. */
  inDoubt: flag,
  generation: count,
  renewed: flag,
  /** In timed settings: since the last guard was sent, and since the statement began. */
  age: count,
  running: count,
  /** How long its doubt has lasted. Only where tokens are shared: others may renew its guard. */
  doubted: count,
})

/** One key of a writer. */
export const PART = new Kind({
  guard: oneOf('unsent', 'confirmed', 'never', 'late', 'arrived', 'joined'),
  /** What the register holds of its token. */
  token: oneOf('none', 'live', 'passed', 'merged'),
  savedToken: oneOf('none', 'live', 'passed', 'merged'),
  /** As far as its writer knows: confirmed, and never found missing. */
  intact: flag,
  /** In truth: the token was taken out by somebody else. */
  gap: flag,
  version: count,
  released: flag,
  /** Its change in the outbox. */
  change: oneOf('none', 'waits', 'applied', 'settled first'),
  queued: flag,
  /** Copies that are still on their way. */
  guardCopy: flag,
  releaseCopy: flag,
  overtaken: flag,
  /** Where tokens are shared: whose it has, counted from 1, and whether it has not ended its part in it. */
  sharesWith: count,
  sharing: flag,
  /** Of the one who began it: others have joined; a commit under it is in doubt; its release is queued. */
  shared: flag,
  doubtful: flag,
  releaseQueued: flag,
})

/** Somebody else's program. */
export const FOREIGN = new Kind({
  at: oneOf('start', 'logged', 'committed', 'done'),
  version: count,
  change: oneOf('none', 'waits', 'applied', 'settled first'),
})

/** One key: its register, and its row. */
export type KeyState = ReturnType<typeof KEY.first>
/** A key in a process. */
export type Copy = ReturnType<typeof COPY.first>
/** A reader. */
export type Reader = ReturnType<typeof READER.first>
/** A writer, with one part for each key. */
export type Writer = ReturnType<typeof WRITER.first> & { parts: Part[] }
/** One key of a writer. */
export type Part = ReturnType<typeof PART.first>
/** Somebody else's program; it changes one key. */
export type Foreign = ReturnType<typeof FOREIGN.first>

/** All of it at one moment. */
export interface State {
  shared: ReturnType<typeof SHARED.first>
  keys: KeyState[]
  processes: ReturnType<typeof PROCESS.first>[]
  /** By process, then key. */
  copies: Copy[]
  /** By process, then key: those in between may be exchanged. */
  readers: Reader[]
  writers: Writer[]
  foreign: Foreign[]
  /** What the last step has broken; no part of the state. */
  broken: string | undefined
}
