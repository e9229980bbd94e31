import type { CacheEvent, FailedReadEvent, From, Why, WriteEvent } from './base/events.ts'
import type { KeyspaceStats, Stats } from './stats.ts'

/** An event about one keyspace. */
type KeyspaceEvent = Extract<CacheEvent, { readonly keyspace: string }>

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
      'too-large': 0,
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
      'too-large': 0,
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
    if ('keyspace' in event) this.#foldOfKeyspace(event, this.of(event.keyspace))
    else this.#foldOther(event)
  }

  #foldOfKeyspace(event: KeyspaceEvent, counts: Mutable<KeyspaceStats>): void {
    switch (event.type) {
      case 'read':
        if (event.outcome === 'answered') this.read(counts, event.from, event.why, event.joined, event.absent)
        else this.readFailed(counts, event.outcome)
        return
      case 'load':
        counts.loads[event.outcome]++
        counts.loadMs += event.costMs
        return
      case 'fill':
        counts.fills[event.outcome]++
        return
      case 'refresh':
        counts.refreshes[event.outcome]++
        return
      case 'guard':
        counts.guards[event.outcome]++
        return
      case 'invalidation':
        counts.invalidations[event.outcome]++
        if (event.stored) counts.writtenThrough++
        if (event.unfenced) counts.unfenced++
        return
      case 'keyspace-invalidation':
        counts.keyspaceInvalidations[event.outcome]++
        return
      case 'unreadable':
        counts.unreadable++
        return
      case 'mismatch':
        counts.mismatches++
        return
      case 'undeclared':
        counts.undeclared++
        return
      case 'unread':
        counts.unread++
        return
      case 'verified':
        counts.verified[event.outcome]++
        counts.verified.maxStaleMs = Math.max(counts.verified.maxStaleMs, event.staleMs)
        return
      default:
        event satisfies never
    }
  }

  #foldOther(event: Exclude<CacheEvent, KeyspaceEvent>): void {
    switch (event.type) {
      case 'write':
        this.write(event.outcome)
        return
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
