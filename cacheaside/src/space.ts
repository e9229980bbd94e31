/** What the read path and the write path are handed: the parts of a cache, and what is known of one keyspace. */
import type { Clock } from './base/clock.ts'
import type { CacheEvent, From, Why } from './base/events.ts'
import type { Key } from './base/key.ts'
import type { Identified } from './base/trace-id.ts'
import type { Operation, Tracing } from './base/tracing.ts'
import type { Warnings } from './base/warnings.ts'
import type { GuardHolds } from './guard-holds.ts'
import { Flight } from './local/flight.ts'
import type { FoundKeys } from './local/found-keys.ts'
import type { LoadLimit } from './local/load-limit.ts'
import type { LoadRun } from './local/load-run.ts'
import type { LocalStore } from './local/local-store.ts'
import type { QueuedFlight } from './local/queued-flight.ts'
import type { ReadRegisters } from './local/read-registers.ts'
import type { SingleFlight } from './local/single-flight.ts'
import type { ResolvedCacheOptions, ResolvedKeyspaceOptions } from './resolve-options.ts'
import type { BroadcastStream, GenerationCopy } from './shared/broadcast-stream.ts'
import { ABSENT, type Envelope, type Opened } from './shared/codec.ts'
import type { InvalidationQueue } from './shared/invalidation-queue.ts'
import type { ValueRegister } from './shared/register.ts'
import type { SeenStamps } from './shared/seen-stamps.ts'
import type { SharedAccess } from './shared/shared-access.ts'
import type { RegistersAtHand } from './shared/shared-store.ts'
import type { StatsFold } from './stats-fold.ts'
import type { Tagging } from './tagging.ts'

/** What all keyspaces of a cache share. */
export interface CacheParts {
  readonly clock: Clock
  readonly options: ResolvedCacheOptions
  readonly access: SharedAccess
  readonly stream: BroadcastStream
  readonly queue: InvalidationQueue
  readonly holds: GuardHolds
  readonly local: LocalStore
  readonly flights: SingleFlight<Answer>
  /** Which keys a look is likely to find. Left out if asking for a lease costs nothing more. */
  readonly found: FoundKeys | undefined
  /** What registers said lately. Left out if the store is in this process, or L1 keeps what was read. */
  readonly readRegisters: ReadRegisters<OpenedRegister> | undefined
  /** Which stamps of tags this process has seen. */
  readonly seenStamps: SeenStamps
  readonly limit: LoadLimit
  readonly emit: (event: CacheEvent) => void
  readonly stats: StatsFold
  /** What an operator has to hear of without asking. */
  readonly warnings: Warnings
  /** Refuses what is no key, and tells of keys whose keyspace nobody has defined. Throws `INVALID_KEY`. */
  readonly checkKeys: (keys: readonly string[]) => void
  /** The keyspaces of tags, by their names. */
  readonly tags: ReadonlyMap<string, unknown>
  /** Who follows the operations of the cache. */
  readonly tracing: Tracing
  /** Whether anybody listens to events, or follows this operation: if not, a read is counted without making an event. */
  readonly isHeard: (operation: Operation) => boolean
  /** Whether anybody is told of reads that L1 has answered. */
  readonly hearsHits: () => boolean
  readonly closed: () => boolean
  /**
   * For a call on a cache that is closed: refuses it, unless it is made inside a load or a write that is under way, of which it
   * is a part. Throws `CLOSED`.
   */
  readonly assertInside: (signal: AbortSignal | undefined) => void
  /** To be called when something was committed here, or may have been: the change feed holds it, too. */
  readonly committed: () => void
  /** Work that nobody waits for, but `close` does. It must not reject. */
  readonly background: (work: Promise<void>) => void
  /** The same without a promise: the work has begun. */
  readonly beginWork: () => void
  /** Work that has begun by {@link CacheParts.beginWork} has ended. */
  readonly endWork: () => void
}

/** The register of a value, as one keyspace has read it: its text tells its key, and the value has passed codec, schema and `idOf`. */
export interface OpenedRegister {
  readonly space: Space<never, unknown>
  readonly register: ValueRegister
  readonly opened: Opened<unknown>
}

/** What the read path needs to know of one keyspace. */
export interface Space<Id, V> {
  readonly name: string
  readonly options: ResolvedKeyspaceOptions<Id, V>
  readonly envelope: Envelope<V>
  readonly parts: CacheParts
  /** Where its reads are counted. */
  readonly counts: ReturnType<StatsFold['of']>
  readonly keyOf: (id: Id) => Key
  /** Which tags its values depend on; left out: none. */
  readonly tagging: Tagging<Id, V> | undefined
  /** Where a fresh value is found without waiting: in a store of this process, behind no L1. */
  readonly atHand: RegistersAtHand | undefined
  /** The stream's copy of the keyspace's generation. */
  readonly generation: GenerationCopy
  /** What loads have cost lately, in milliseconds: how long to wait for somebody else's. */
  usualCostMs: number | undefined
  /** Whether most keys of the last batch were there: then it is cheaper to look first, and to ask for leases after. */
  batchesAreFound: boolean
}

/** How a caller wants one value read. */
export interface ReadRequest<Id> {
  readonly id: Id
  readonly key: Key
  readonly strong: boolean
}

/**
 * Begins to track a flight. It is doomed by invalidations from here on, before its first command is sent.
 *
 * @param parent - The load whose loader leads it.
 * @param sameAs - Whose number events name it by; left out: one of its own.
 */
export function beginFlight<Id, V>(
  space: Space<Id, V>,
  key: Key,
  nowMs: number,
  background: boolean,
  parent: LoadRun | undefined,
  sameAs?: Identified,
): Flight<Answer> {
  const flight = new Flight<Answer>(key, space.name, nowMs, background, parent, sameAs)
  space.parts.flights.begin(flight)
  return flight
}

/** A flight to wait for, or one that has yet to begin, and whether somebody else leads it. */
export interface Joining {
  readonly flight: Flight<Answer> | QueuedFlight<Answer>
  readonly joined: boolean
}

/** What a flight answers its callers with. */
export interface Answer<V = unknown> {
  readonly opened: Opened<V>
  /** Whether the origin has no such row. */
  readonly absent: boolean
  readonly from: From
  readonly why: Why
  /** Whether the value is, or is about to be, in a level of the cache. */
  readonly kept: boolean
  /** When the value was stored, and until when it is fresh, by the clock's `nowMs`; unknown for what is not kept. */
  readonly filledAtMs: number | undefined
  readonly freshUntilMs: number | undefined
  readonly sharedMs: number
  readonly loadMs: number
  /** The tag that has invalidated a value, or because of which the store was bypassed. */
  readonly tag?: string | undefined
}

/** What a read has spent so far: on asking the shared store, and in the loader. */
export interface Spent {
  readonly sharedMs: number
  readonly loadMs: number
}

/** A value that was found, and what its register says of its age. */
export interface Found<V> {
  readonly register: Pick<ValueRegister, 'filledAtMs' | 'softExpiryMs'>
  readonly opened: Opened<V>
}

export function foundAnswer<Id, V>(
  space: Space<Id, V>,
  { register, opened }: Found<V>,
  why: Why,
  { sharedMs, loadMs }: Spent,
): Answer<V> {
  const { stream } = space.parts
  return {
    opened,
    absent: opened === ABSENT,
    from: 'shared',
    why,
    kept: true,
    filledAtMs: stream.oursFromStores(register.filledAtMs),
    freshUntilMs: stream.oursFromStores(register.softExpiryMs),
    sharedMs,
    loadMs,
  }
}
