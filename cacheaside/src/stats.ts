import type {
  CacheEvent,
  FailedReadEvent,
  From,
  LoadEvent,
  VerifiedEvent,
  Why,
  WriteEvent,
} from './base/events.ts'

/**
 * What a cache has done since it was made: a fold over its events, which explain every number. Counts only grow; to get a
 * rate, read them twice.
 */
export interface Stats {
  readonly keyspaces: Readonly<Record<string, KeyspaceStats>>
  /** Writes by how they ended, however many keys each has guarded. */
  readonly writes: Readonly<Record<WriteEvent['outcome'], number>>
  /** Entries that L1 let go to make room, or because they had expired. */
  readonly local: { readonly evicted: number; readonly expired: number }
  /** How often the shared store was found not to answer, and whether reads skip it now. */
  readonly shared: { readonly outages: number; readonly available: boolean }
  /** How often the broadcast stream's proof was lost. */
  readonly streamLosses: number
  /** The change feed; all zero without one. */
  readonly feed: FeedStats
  /** Errors in work that nobody waits for. */
  readonly faults: number
}

/** What became of the changes of the feed in this process's relay. */
export interface FeedStats {
  /** Whether it has a session with the origin now. */
  readonly open: boolean
  /** How often a session was lost, or could not be opened for another reason than before. */
  readonly losses: number
  /** Changes that the shared store has acknowledged. */
  readonly applied: number
  /** Changes that it did not acknowledge, once per attempt. */
  readonly retained: number
  /** Milliseconds from commit to acknowledgement, in the last batch of which anything was applied. */
  readonly lagMs: number
  /** The longest of these so far. */
  readonly maxLagMs: number
  /** New generations because the store or the origin may be another one. */
  readonly distrusted: number
  readonly warnings: number
}

/** The counts of one keyspace. */
export interface KeyspaceStats {
  /** Answered reads by where the answer came from: one per caller and key, also for those that joined a flight. */
  readonly reads: Readonly<Record<From, number>>
  /** The same reads by why they were answered so. */
  readonly why: Readonly<Record<Why, number>>
  /** Answered reads that waited for another caller's flight. */
  readonly joined: number
  /** Answered reads of rows that do not exist. */
  readonly absent: number
  /** Reads that were not answered, by how they ended: one per caller and key. */
  readonly failedReads: Readonly<Record<FailedReadEvent['outcome'], number>>
  /** Calls of the loader by how they ended; a batch is one call. */
  readonly loads: Readonly<Record<LoadEvent['outcome'], number>>
  /** Milliseconds that those calls took in all. */
  readonly loadMs: number
  /** Values offered to the shared store. */
  readonly fills: {
    readonly accepted: number
    readonly refused: number
    readonly unconfirmed: number
    readonly unencodable: number
    /** Values that belong under another key than the one they were asked for by. */
    readonly alias: number
    /**
     * Values with too many tags, with tags that `tagsOf` could not tell, or with tags not known before the load: see the
     * `fill` event.
     */
    readonly 'too-many-tags': number
    readonly untagged: number
    readonly 'late-tags': number
  }
  /** Refreshes in the background. */
  readonly refreshes: { readonly began: number; readonly 'left-to-another': number; readonly failed: number }
  /** Guards of writes. */
  readonly guards: {
    readonly confirmed: number
    readonly renewed: number
    readonly rejoined: number
    readonly barred: number
    readonly unconfirmed: number
  }
  /** Releases and invalidations of single keys. */
  readonly invalidations: {
    readonly applied: number
    readonly queued: number
    readonly 'in-doubt': number
    readonly late: number
    readonly collapsed: number
  }
  /** Invalidations of the whole keyspace. */
  readonly keyspaceInvalidations: { readonly applied: number; readonly queued: number; readonly late: number }
  /** Committed values stored by their write. */
  readonly writtenThrough: number
  /** Keys of committed writes that were not fenced; one per key, and not per write. */
  readonly unfenced: number
  /** Stored bytes that could not be read. */
  readonly unreadable: number
  /** Replies that held another key's register. */
  readonly mismatches: number
  /** Observed loads that read a table whose changes do not invalidate the value. */
  readonly undeclared: number
  /**
   * Values with tags that this process has stored, and that left its L1 because of a tag before a read was answered with them: see
   * the `unread` event. Compared with `fills.accepted` it shows how hot the tags are. Always 0 without L1.
   */
  readonly unread: number
  /** Stored values that a sampler has compared with the origin, by what came of it: staleness as it was measured. */
  readonly verified: Readonly<Record<VerifiedEvent['outcome'], number>> & {
    /** The longest time, in milliseconds, for which a stale value is known to have been stale. */
    readonly maxStaleMs: number
  }
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] extends object ? Mutable<T[Name]> : T[Name] }

function noCounts(): Mutable<KeyspaceStats> {
  return {
    reads: { local: 0, shared: 0, origin: 0 },
    why: {
      fresh: 0,
      stale: 0,
      'stale-error': 0,
      missing: 0,
      expired: 0,
      generation: 0,
      tag: 0,
      names: 0,
      shape: 0,
      version: 0,
      unreadable: 0,
      busy: 0,
      guarded: 0,
      queued: 0,
      'in-doubt': 0,
      full: 0,
      snapshot: 0,
      unavailable: 0,
    },
    joined: 0,
    absent: 0,
    failedReads: { failed: 0, 'timed-out': 0, aborted: 0, overloaded: 0 },
    loads: { loaded: 0, failed: 0, 'timed-out': 0, aborted: 0, overloaded: 0 },
    loadMs: 0,
    fills: {
      accepted: 0,
      refused: 0,
      unconfirmed: 0,
      unencodable: 0,
      alias: 0,
      'too-many-tags': 0,
      untagged: 0,
      'late-tags': 0,
    },
    refreshes: { began: 0, 'left-to-another': 0, failed: 0 },
    guards: { confirmed: 0, renewed: 0, rejoined: 0, barred: 0, unconfirmed: 0 },
    invalidations: { applied: 0, queued: 0, 'in-doubt': 0, late: 0, collapsed: 0 },
    keyspaceInvalidations: { applied: 0, queued: 0, late: 0 },
    writtenThrough: 0,
    unfenced: 0,
    unreadable: 0,
    mismatches: 0,
    undeclared: 0,
    unread: 0,
    verified: { equal: 0, stale: 0, unreadable: 0, orphaned: 0, skipped: 0, maxStaleMs: 0 },
  }
}

/** Folds events into {@link Stats}. */
export class StatsFold {
  readonly #keyspaces: Record<string, Mutable<KeyspaceStats>> = Object.create(null)
  readonly #writes = { committed: 0, failed: 0, 'in-doubt': 0, refused: 0 }
  readonly #local = { evicted: 0, expired: 0 }
  readonly #shared = { outages: 0, available: true }
  readonly #feed = {
    open: false,
    losses: 0,
    applied: 0,
    retained: 0,
    lagMs: 0,
    maxLagMs: 0,
    distrusted: 0,
    warnings: 0,
  }
  #streamLosses = 0
  #faults = 0

  /** The counts of one keyspace, to be added to. */
  of(keyspace: string): Mutable<KeyspaceStats> {
    this.#keyspaces[keyspace] ??= noCounts()
    return this.#keyspaces[keyspace]
  }

  /** Adds an answered read, as a `read` event would, but without allocating an event for which nobody listens. */
  read(counts: Mutable<KeyspaceStats>, from: From, why: Why, joined: boolean, absent: boolean): void {
    if (joined) counts.joined++
    if (from !== 'origin' && why === 'fresh') this.hit(counts, from, absent)
    else {
      counts.reads[from]++
      counts.why[why]++
      if (absent) counts.absent++
    }
  }

  /** Adds a read that was not answered, as {@link StatsFold.read} does. */
  readFailed(counts: Mutable<KeyspaceStats>, outcome: FailedReadEvent['outcome']): void {
    counts.failedReads[outcome]++
  }

  /** Adds a write, as {@link StatsFold.read} does. */
  write(outcome: WriteEvent['outcome']): void {
    this.#writes[outcome]++
  }

  /** Adds a fresh hit. Counts by a literal name, which is several times as fast as by a variable. */
  hit(counts: Mutable<KeyspaceStats>, from: 'local' | 'shared', absent: boolean): void {
    if (from === 'local') counts.reads.local++
    else counts.reads.shared++
    counts.why.fresh++
    if (absent) counts.absent++
  }

  fold(event: CacheEvent): void {
    switch (event.type) {
      case 'read': {
        const counts = this.of(event.keyspace)
        if (event.outcome === 'answered') this.read(counts, event.from, event.why, event.joined, event.absent)
        else this.readFailed(counts, event.outcome)
        return
      }
      case 'load': {
        const counts = this.of(event.keyspace)
        counts.loads[event.outcome]++
        counts.loadMs += event.costMs
        return
      }
      case 'fill':
        this.of(event.keyspace).fills[event.outcome]++
        return
      case 'refresh':
        this.of(event.keyspace).refreshes[event.outcome]++
        return
      case 'write':
        this.write(event.outcome)
        return
      case 'guard':
        this.of(event.keyspace).guards[event.outcome]++
        return
      case 'invalidation': {
        const counts = this.of(event.keyspace)
        counts.invalidations[event.outcome]++
        if (event.stored) counts.writtenThrough++
        if (event.unfenced) counts.unfenced++
        return
      }
      case 'keyspace-invalidation':
        this.of(event.keyspace).keyspaceInvalidations[event.outcome]++
        return
      case 'unreadable':
        this.of(event.keyspace).unreadable++
        return
      case 'mismatch':
        this.of(event.keyspace).mismatches++
        return
      case 'undeclared':
        this.of(event.keyspace).undeclared++
        return
      case 'unread':
        this.of(event.keyspace).unread++
        return
      case 'verified': {
        const { verified } = this.of(event.keyspace)
        verified[event.outcome]++
        verified.maxStaleMs = Math.max(verified.maxStaleMs, event.staleMs)
        return
      }
      case 'discard':
        this.#local[event.reason]++
        return
      case 'shared':
        this.#shared.available = event.state === 'available'
        if (event.state === 'unavailable') this.#shared.outages++
        return
      case 'stream':
        if (event.state === 'unproven') this.#streamLosses++
        return
      case 'feed':
        this.#feed.open = event.state === 'open'
        if (event.state === 'lost') this.#feed.losses++
        return
      case 'feed-batch':
        if (event.outcome === 'failed') return
        this.#feed.applied += event.applied
        this.#feed.retained += event.changes - event.applied
        if (event.applied === 0) return
        this.#feed.lagMs = event.lagMs
        this.#feed.maxLagMs = Math.max(this.#feed.maxLagMs, event.lagMs)
        return
      case 'feed-distrust':
        this.#feed.distrusted += event.keyspaces.length
        return
      case 'feed-warning':
        this.#feed.warnings++
        return
      case 'fault':
        this.#faults++
        return
      case 'mended':
        return
      default:
        event satisfies never
    }
  }

  /** A copy of what has been counted so far. */
  snapshot(): Stats {
    return copyOf({
      keyspaces: this.#keyspaces,
      writes: this.#writes,
      local: this.#local,
      shared: this.#shared,
      streamLosses: this.#streamLosses,
      feed: this.#feed,
      faults: this.#faults,
    })
  }
}

/** A copy of counts, whatever their names: faster than a structured clone. */
function copyOf<T extends object>(counts: T): T {
  const copy = { ...counts }
  for (const name of Object.keys(copy) as (keyof T)[]) {
    const count = copy[name]
    if (typeof count === 'object' && count !== null) copy[name] = copyOf(count)
  }
  return copy
}
