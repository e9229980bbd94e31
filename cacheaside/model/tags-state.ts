import { counts, type Form, type Formed, group, list, record } from './forms.ts'
import { count, flag, Kind, oneOf } from './record.ts'

/**
 * One state of the model of tags. Registers are numbered: those of keys first, then those of tags. Each has a row of
 * the origin, which its writers change. What a value shows is written as a version for each row, plus 1; 0 is a row
 * that it does not show.
 *
 * A stamp's token is a number that means nothing but which others are the same.
 */

const REGISTER = new Kind({
  holds: oneOf('absent', 'value', 'lease', 'guard', 'stamp'),
  token: count,
  /** How many stamps were counted: only where they are not drawn at random. */
  counted: count,
  /** What the snapshot, or the demoted server, has. */
  saved: oneOf('none', 'absent', 'stamp'),
  savedToken: count,
  /** A creation that will arrive a second time. */
  lateToken: count,
  /** The origin's row: its newest version, the newest that was invalidated, and the newest that anybody has seen. */
  version: count,
  applied: count,
  seen: count,
})

const NAMED = new Kind({ named: flag, token: count, generation: count })

const SHARED = new Kind({
  generation: count,
  drawn: count,
  savedGeneration: count,
  snapshot: oneOf('none', 'saved', 'restored'),
  identityChanged: flag,
  extraordinary: flag,
  forgot: flag,
  messagesLost: flag,
  creationLate: flag,
  loads: count,
  /** The writers that have committed, in this order, counted from 1, to the base 4. */
  order: count,
})

const PROCESS = new Kind({
  stream: oneOf('proven', 'lost', 'unproven'),
  /** Its copy of the generation, and whether a message about it is under way. */
  copy: count,
  generationMessage: flag,
  /** A look at the generation that its readers share, what it has found, and which generations have fallen, as bits. */
  look: oneOf('none', 'sent', 'answered'),
  lookGeneration: count,
  fallen: count,
})

/** A register in a process. */
const PLACE = new Kind({
  messages: count,
  /** The version that its last message was about, and the newest that a write of this process has resolved with. */
  heard: count,
  own: count,
  queue: oneOf('none', 'waits', 'tried'),
  /** Of a tag: the last stamp that was seen. */
  memory: count,
})

/** A key in a process. */
const ENTRY = new Kind({ kept: flag, replaced: flag })
const LISTED = new Kind({ listed: flag, remembered: flag })

const READER = new Kind({
  at: oneOf(
    'idle',
    'ask',
    'heard',
    'look',
    'swap',
    'claim',
    'load',
    'loaded',
    'late',
    'late heard',
    'fill',
    'keep',
    'reply',
  ),
  left: count,
  looked: oneOf('nothing', 'lease', 'value'),
  lease: flag,
  sees: flag,
  claim: flag,
  /** Reads as a strong one does. */
  strong: flag,
  doomed: flag,
  accepted: flag,
  answered: flag,
  again: flag,
  /** The generation as known, whether it is to be asked for, and whether the store has said it after the value. */
  generation: count,
  asksGeneration: flag,
  generationLater: flag,
  seenGeneration: count,
  /** For which shared look: one that it asked for, one that was under way for the same generation, or the next. */
  waits: oneOf('none', 'asked', 'joined', 'next'),
  joined: flag,
  unjoinable: flag,
})

/** A name in a read. */
const LOOK = new Kind({
  listed: flag,
  look: oneOf('none', 'wanted', 'stamp', 'guard'),
  token: count,
  generation: count,
  /** It ran after the value was seen. */
  later: flag,
  /** What the value that was seen says of it. */
  named: flag,
  seenToken: count,
  seenGeneration: count,
  /** The stamp that the process remembered before the load. */
  before: count,
  /** Its stamp was known when the load began. */
  early: flag,
})

const WRITER = new Kind({
  at: oneOf('start', 'guard', 'commit', 'release', 'done', 'dead'),
})
const PART = new Kind({
  guard: oneOf('unsent', 'arrived'),
  token: oneOf('none', 'live'),
  version: count,
  released: flag,
})

const SNAPSHOT = new Kind({ at: oneOf('idle', 'look', 'load', 'again', 'done') })
const SNAPSHOT_KEY = new Kind({
  got: oneOf('nothing', 'value', 'lease', 'loaded'),
  sees: flag,
  lease: flag,
  again: flag,
})
const SNAPSHOT_NAME = new Kind({ again: flag })
/** A tag of a key: what the value says of it, and what the store has said. */
const SNAPSHOT_SEEN = new Kind({ named: flag, token: count, looked: flag, current: count })

/** How many there are of everything. */
export interface Sizes {
  readonly keys: number
  readonly tags: number
  readonly processes: number
  readonly readers: number
  readonly writers: number
  readonly snapshots: number
}

/** How states of such a size are written down. */
export function stateForm({ keys, tags, processes, readers, writers, snapshots }: Sizes) {
  const rows = keys + tags
  const entry = group<Entry>({
    own: record(ENTRY),
    content: counts(rows),
    names: list(record(LISTED), tags),
  })
  return group<TagsStateParts>({
    shared: record(SHARED),
    registers: list(record(REGISTER), rows),
    values: list(
      group<Value>({ own: counts(2), content: counts(rows), names: list(record(NAMED), tags) }),
      keys,
    ),
    processes: list(
      group<Process>({ own: record(PROCESS), places: list(record(PLACE), rows), entries: list(entry, keys) }),
      processes,
    ),
    readers: list(
      group<Reader>({
        own: record(READER),
        content: counts(rows),
        floor: counts(rows),
        joinedFloor: counts(rows),
        names: list(record(LOOK), tags),
      }),
      readers,
    ),
    writers: list(
      group<Writer>({ own: record(WRITER), content: counts(rows), parts: list(record(PART), rows) }),
      writers,
    ),
    snapshots: list(
      group<Snapshot>({
        own: record(SNAPSHOT),
        floor: counts(rows),
        keys: list(
          group<SnapshotKey>({
            own: record(SNAPSHOT_KEY),
            content: counts(rows),
            seen: list(record(SNAPSHOT_SEEN), tags),
          }),
          keys,
        ),
        names: list(record(SNAPSHOT_NAME), tags),
      }),
      snapshots,
    ),
  }) satisfies Form<TagsStateParts>
}

type RecordOf<K> = K extends Kind<infer R> ? R : never

/** The register of a key or a tag, and its row. */
export type Register = RecordOf<typeof REGISTER>
/** The value in the register of a key. `own` is the generation of its keyspace, and whether it has expired. */
export interface Value {
  own: number[]
  content: number[]
  names: RecordOf<typeof NAMED>[]
}
/** A key in a process: what is kept of it in L1, and the names of its last value. */
export interface Entry {
  own: RecordOf<typeof ENTRY>
  content: number[]
  names: RecordOf<typeof LISTED>[]
}
/** A process. */
export interface Process {
  own: RecordOf<typeof PROCESS>
  places: RecordOf<typeof PLACE>[]
  entries: Entry[]
}
/** A name in a read. */
export type Look = RecordOf<typeof LOOK>
/** A reader, from its first command until its value is kept or dropped. */
export interface Reader {
  own: RecordOf<typeof READER>
  content: number[]
  floor: number[]
  joinedFloor: number[]
  names: Look[]
}
/** A writer. */
export interface Writer {
  own: RecordOf<typeof WRITER>
  /** What the origin was right after its commit. */
  content: number[]
  parts: RecordOf<typeof PART>[]
}
/** A key in a snapshot read. */
export interface SnapshotKey {
  own: RecordOf<typeof SNAPSHOT_KEY>
  content: number[]
  seen: RecordOf<typeof SNAPSHOT_SEEN>[]
}
/** A snapshot reader. */
export interface Snapshot {
  own: RecordOf<typeof SNAPSHOT>
  floor: number[]
  keys: SnapshotKey[]
  names: RecordOf<typeof SNAPSHOT_NAME>[]
}
interface TagsStateParts {
  shared: RecordOf<typeof SHARED>
  registers: Register[]
  values: Value[]
  processes: Process[]
  readers: Reader[]
  writers: Writer[]
  snapshots: Snapshot[]
}

/** All of it at one moment; what the last step has broken is no part of it. */
export type TagsState = Formed<ReturnType<typeof stateForm>> & { broken: string | undefined }

/** Whatever holds the token of a stamp of this tag: `each` may change it. */
export function eachToken(
  state: TagsState,
  tag: number,
  keys: number,
  each: (token: number) => number,
): void {
  const register = state.registers[keys + tag]!
  register.token = each(register.token)
  register.savedToken = each(register.savedToken)
  register.lateToken = each(register.lateToken)
  for (const { names } of state.values) names[tag]!.token = each(names[tag]!.token)
  for (const { places } of state.processes) places[keys + tag]!.memory = each(places[keys + tag]!.memory)
  for (const { names } of state.readers) {
    const look = names[tag]!
    look.token = each(look.token)
    look.seenToken = each(look.seenToken)
    look.before = each(look.before)
  }
  for (const snapshot of state.snapshots) {
    for (const { seen } of snapshot.keys) {
      const one = seen[tag]!
      one.token = each(one.token)
      one.current = each(one.current)
    }
  }
}
