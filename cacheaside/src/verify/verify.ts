import { checkSignal } from '../base/abort.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { aFunction, checkClock, invalidOption, knownNames, wholeNumber } from '../base/invalid-option.ts'
import { messageOf } from '../base/thrown.ts'
import type { ChangeFeed } from '../feed/change-feed.ts'
import { planOf } from '../feed/plan.ts'
import { parseRegister, type Register } from '../shared/register.ts'
import type { SharedStore, StoreView } from '../shared/shared-store.ts'
import type { AuditedKeyspace } from './audited-keyspace.ts'
import { Examiner } from './examiner.ts'
import type { Finding, Outcome, PendingChange, SkippedOutcome } from './outcome.ts'
import { limited, Pace, pause } from './pace.ts'
import { Tally, type VerifyReport } from './report.ts'
import { openTimedView } from './timed-view.ts'
import { Encounters, Reservoir } from './walk.ts'

/** The options of {@link verify}. */
export interface VerifyOptions {
  /** The store that the caches use, or another way to it with the same prefix. It is not closed. */
  readonly shared: SharedStore
  /** The audited keyspaces. Values of other keyspaces of the cache count as orphaned; tags are skipped. */
  readonly keyspaces: readonly AuditedKeyspace[]
  /** The caches' feed, to find the change that a stale value has missed. Left out: findings do not name it. */
  readonly feed?: ChangeFeed
  /** Only the keyspaces of these names. Then orphans of other keyspaces are not looked for. Left out: all. */
  readonly only?: readonly string[]
  /** How many keys are looked at, picked at random from all. Left out: all of them. */
  readonly sample?: number
  /** Most values that are read from the origin per second; a batch counts as its number of values. @defaultValue 500 */
  readonly rate?: number
  /**
   * After how many milliseconds a value that differs is compared again. It must be longer than the feed's lag; otherwise
   * values that are being invalidated are reported. @defaultValue 2000
   */
  readonly graceMs?: number
  /** How long each answer of the store, and each call of a loader, may take, in milliseconds. @defaultValue 10,000 */
  readonly timeoutMs?: number
  /** How many findings are listed; all are counted. @defaultValue 1000 */
  readonly maxFindings?: number
  /**
   * Called after each batch. If it is given and there is no `sample`, the keys are counted first. Left out: nothing is
   * called.
   */
  readonly onProgress?: (progress: Progress) => void
  /** Ends it; it then rejects with the signal's reason. Left out: it ends when all keys are done. */
  readonly signal?: AbortSignal
  /** Time, timers and randomness. @defaultValue `systemClock` */
  readonly clock?: Clock
}

/** How far a verification is. */
export interface Progress {
  /** Keys looked at so far. */
  readonly done: number
  /** Keys that there were when they were counted. */
  readonly of: number
  readonly stale: number
}

/** The defaults of {@link verify}. */
export const DEFAULT_VERIFY_OPTIONS = {
  rate: 500,
  graceMs: 2_000,
  timeoutMs: 10_000,
  maxFindings: 1_000,
} as const satisfies Partial<VerifyOptions>

type Resolved = VerifyOptions &
  Required<Pick<VerifyOptions, keyof typeof DEFAULT_VERIFY_OPTIONS>> & { readonly clock: Clock }

const OPTION_NAMES = [
  ...Object.keys(DEFAULT_VERIFY_OPTIONS),
  ...['shared', 'keyspaces', 'feed', 'only', 'sample', 'onProgress', 'signal', 'clock'],
]
const MOST_TOGETHER = 50
/** Most suspects at once: beyond that, they are examined again first. */
const MOST_SUSPECTS = 10_000
const FAILED_IN_A_ROW = 20
const LOADS_AT_ONCE = 4
/** At least so many keys of each other keyspace are remembered, to tell whether they are tags. */
const LEAST_OTHERS = 100
/** Why a register of a keyspace that is not audited is no orphan: it is a tag, or somebody is using it. */
const NOT_LEFT: Partial<Record<Register['state'] | 'absent', SkippedOutcome['why']>> = {
  absent: 'gone',
  stamp: 'stamp',
  guard: 'guarded',
  lease: 'leased',
  later: 'version',
}

/**
 * Compares what the shared store holds with the origin, and counts what is stale. It writes to neither. `Examiner` explains
 * how.
 *
 * @throws CacheError `INVALID_OPTIONS`; an error that says why the store or the origin cannot be read; what a function
 * of an audited keyspace throws; the signal's reason.
 */
export async function verify(options: VerifyOptions): Promise<VerifyReport> {
  const resolved = resolve(options)
  const view = await openTimedView(resolved.shared, resolved)
  try {
    return await new Verification(resolved, view).run()
  } finally {
    await view.close()
  }
}

class Verification {
  readonly #options: Resolved
  readonly #view: StoreView
  readonly #spaces: ReadonlyMap<string, AuditedKeyspace>
  readonly #examiner: Examiner
  readonly #pace: Pace
  readonly #tally: Tally
  readonly #encounters: Encounters
  readonly #batch: number
  #done = 0
  #of = 0
  #failedInARow = 0
  /** The last reason why a row could not be read. */
  #failure: unknown

  constructor(options: Resolved, view: StoreView) {
    const { keyspaces, clock, graceMs, timeoutMs, rate, maxFindings, signal } = options
    this.#options = options
    this.#view = view
    this.#spaces = new Map(keyspaces.map(space => [space.name, space]))
    this.#pace = new Pace(clock, rate)
    this.#tally = new Tally(options.only ?? this.#spaces.keys(), maxFindings)
    this.#encounters = new Encounters(this.#spaces, Math.max(maxFindings, LEAST_OTHERS))
    this.#batch = Math.min(MOST_TOGETHER, Math.ceil(rate / 4))
    this.#examiner = new Examiner({
      view,
      keyspaces: this.#spaces,
      clock,
      graceMs,
      timeoutMs,
      signal,
      loadsAtOnce: LOADS_AT_ONCE,
      onLoad: count => this.#pace.charge(count),
    })
  }

  async run(): Promise<VerifyReport> {
    const { shared, clock, sample, onProgress } = this.#options
    const beganMs = clock.nowMs()
    const startedAt = new Date(clock.epochMs()).toISOString()
    const picked = sample === undefined ? undefined : await this.#pick(sample)
    if (picked !== undefined) this.#of = picked.length
    else if (onProgress !== undefined)
      for await (const page of this.#keys(new Encounters(this.#spaces, 0))) this.#of += page.length
    for await (const keys of picked === undefined ? this.#keys(this.#encounters) : [picked]) {
      for (let at = 0; at < keys.length; at += this.#batch)
        await this.#examine(keys.slice(at, at + this.#batch))
    }
    while (this.#examiner.suspects > 0) await this.#examineAgain()
    this.#assertOrigin()
    const foreign = await this.#others()
    return {
      store: shared.name,
      startedAt,
      tookMs: Math.round(clock.nowMs() - beganMs),
      ...(picked === undefined ? {} : { sampled: picked.length }),
      total: this.#tally.total,
      keyspaces: this.#tally.keyspaces,
      findings: await this.#withChanges(this.#tally.findings),
      foreign,
      notes: this.#view.caveats,
    }
  }

  /** The keys to be looked at, page by page. */
  async *#keys(encounters: Encounters): AsyncIterable<readonly string[]> {
    const { only, signal } = this.#options
    for (const name of only ?? [undefined]) {
      for await (const page of this.#view.keys(name)) {
        signal?.throwIfAborted()
        yield encounters.sift(page)
      }
    }
  }

  async #pick(count: number): Promise<readonly string[]> {
    const reservoir = new Reservoir(count, this.#options.clock)
    for await (const page of this.#keys(this.#encounters)) for (const key of page) reservoir.add(key)
    return [...new Set(reservoir.kept)]
  }

  async #examine(keys: readonly string[]): Promise<void> {
    await this.#pace.ready(this.#options.signal)
    this.#count(await this.#examiner.examine(keys))
    this.#done += keys.length
    const { onProgress } = this.#options
    await onProgress?.({
      done: this.#done,
      of: Math.max(this.#of, this.#done),
      stale: this.#tally.total.stale,
    })
    while (this.#examiner.dueInMs === 0 || this.#examiner.suspects > MOST_SUSPECTS) await this.#examineAgain()
  }

  /** Waits for the first suspect's grace to end, and examines it and others again. */
  async #examineAgain(): Promise<void> {
    const { clock, signal } = this.#options
    const dueInMs = this.#examiner.dueInMs ?? 0
    if (dueInMs > 0) await pause(clock, dueInMs, signal)
    await this.#pace.ready(signal)
    this.#count(await this.#examiner.examineAgain(this.#batch))
  }

  #count(outcomes: readonly Outcome[]): void {
    this.#options.signal?.throwIfAborted()
    for (const outcome of outcomes) {
      this.#tally.add(outcome)
      if (outcome.kind === 'equal' || outcome.kind === 'stale') this.#failedInARow = 0
      if (outcome.kind !== 'skipped' || outcome.why !== 'failed') continue
      this.#failure = outcome.error
      if (++this.#failedInARow >= FAILED_IN_A_ROW) throw unreadableOrigin(outcome.error)
    }
  }

  /** Throws if not a single value could be compared: then nothing was verified. */
  #assertOrigin(): void {
    const { equal, stale, skipped } = this.#tally.total
    if (skipped.failed > 0 && equal + stale === 0) throw unreadableOrigin(this.#failure)
  }

  /** Counts the registers of other keyspaces: tags and unaudited values. Returns the number of foreign keys. */
  async #others(): Promise<number> {
    const { known, foreign } = await this.#encounters.others(this.#view)
    for (const { name, count, keys } of known) {
      const distinct = [...new Set(keys)]
      let holdsTags = false
      for (let at = 0; at < distinct.length; at += MOST_TOGETHER) {
        for (const outcome of await this.#readOthers(name, distinct.slice(at, at + MOST_TOGETHER))) {
          this.#tally.add(outcome)
          holdsTags ||= outcome.kind === 'skipped' && outcome.why === 'stamp'
        }
      }
      // Keys that were not remembered count as the same kind as those that were.
      if (holdsTags) this.#tally.addStamps(name, count - keys.length)
      else this.#tally.addOrphaned(name, count - keys.length)
    }
    return foreign
  }

  /** The outcomes of the registers of a keyspace that is not audited. */
  async #readOthers(keyspace: string, keys: readonly string[]): Promise<readonly Outcome[]> {
    this.#options.signal?.throwIfAborted()
    const texts = await this.#view.peek(keys)
    return keys.map((key, i) => {
      const text = texts[i]
      const state = text === undefined ? 'absent' : parseRegister(text).state
      const why = NOT_LEFT[state]
      return why === undefined
        ? { kind: 'orphaned', keyspace, key, reason: 'keyspace' }
        : { kind: 'skipped', keyspace, key, why }
    })
  }

  /** The stale ones among the findings, each with the oldest change that it has missed and that is still to come. */
  async #withChanges(findings: readonly Finding[]): Promise<readonly Finding[]> {
    const { feed, clock, timeoutMs } = this.#options
    if (feed?.pending === undefined || findings.every(({ kind }) => kind !== 'stale')) return findings
    const changes = await limited(clock, timeoutMs, feed.pending(), () => {
      return new Error(`the ${feed.name} feed did not answer within ${timeoutMs} ms`)
    })
    const plan = planOf(
      changes,
      feed.tables,
      () => this.#spaces.keys(),
      () => {},
    )
    const byKey: ReadonlyMap<string, typeof changes> = plan.keys
    return findings.map(finding => {
      if (finding.kind !== 'stale') return finding
      // A change may concern a value by its own key, or by a tag that it was loaded under.
      const names = [finding.key, ...(finding.tags ?? [])]
      const missed = names.flatMap(name => [
        ...(byKey.get(name) ?? []),
        ...(plan.keyspaces.get(name.slice(0, name.indexOf(':'))) ?? []),
      ])
      const oldest = missed.sort((a, b) => b.ageMs - a.ageMs)[0]
      if (oldest === undefined) return finding
      const change: PendingChange = { id: oldest.id, table: oldest.table, ageMs: Math.round(oldest.ageMs) }
      return { ...finding, change }
    })
  }
}

function unreadableOrigin(cause: unknown): Error {
  return new Error(`the origin cannot be read: ${messageOf(cause)}`, { cause })
}

function resolve(given: VerifyOptions): Resolved {
  knownNames('options', given, OPTION_NAMES)
  const set = Object.entries(given).filter(([, value]) => value !== undefined)
  const options = Object.assign(
    { clock: systemClock },
    DEFAULT_VERIFY_OPTIONS,
    Object.fromEntries(set) as unknown as VerifyOptions,
  ) as Resolved
  if (typeof options.shared?.lease !== 'function')
    throw invalidOption('shared', 'a shared store', options.shared)
  checkSignal(options.signal)
  checkClock(options.clock)
  aFunction('onProgress', options.onProgress)
  if (options.feed !== undefined && typeof options.feed?.open !== 'function')
    throw invalidOption('feed', 'a change feed, as postgresFeed({ pool, tables }) makes one', options.feed)
  assertKeyspaces(options.keyspaces)
  if (options.only !== undefined && !Array.isArray(options.only))
    throw invalidOption('only', 'an array of names', options.only)
  for (const name of options.only ?? []) {
    if (!options.keyspaces.some(space => space.name === name))
      throw invalidOption('only', `among ${options.keyspaces.map(space => space.name).join(', ')}`, name)
  }
  for (const [name, least] of [
    ['rate', 1],
    ['graceMs', 0],
    ['timeoutMs', 1],
    ['maxFindings', 0],
    ['sample', 1],
  ] as const) {
    const value = options[name]
    if (value !== undefined) wholeNumber(name, value, least, 2 ** 31 - 1)
  }
  return options
}

/**
 * Checks what is to be audited.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function assertKeyspaces(keyspaces: readonly AuditedKeyspace[]): void {
  // Recognised by its methods, not by its class: the configuration file may use another copy of the package.
  const isAudited = (space: AuditedKeyspace) =>
    typeof space?.name === 'string' && typeof space.load === 'function'
  if (!Array.isArray(keyspaces) || keyspaces.length === 0 || !keyspaces.every(isAudited))
    throw invalidOption('keyspaces', 'one or more of auditedKeyspace()', keyspaces)
  const names = keyspaces.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw invalidOption("a keyspace's name", 'named once', twice)
}
