/**
 * The write path.
 *
 * 1. **Guard** every key before the function is called: the value and any lease go from the shared store, and until
 *    the guard is released, or its deadline passes, nothing can be stored under the key. Readers go to the origin.
 * 2. **Commit**: the user's function does that. While it runs the guards are renewed. So they end soon after a writer that
 *    died, and not before a slow one ends. Keys known only inside the transaction, such as the id of an INSERT, are guarded by
 *    `guard` before it commits.
 * 3. **Release** every key; or, written through, put the committed value in the guard's place, if nobody else was
 *    there meanwhile. What is not confirmed is queued and retried.
 * 4. **Answer** with the function's value, and with what became of the keys.
 *
 * If the function throws, and it is known that nothing was committed (`commit-in-doubt.ts`), the keys are released at
 * once. Wrap the function that you pass to your `transaction(…)` in `rollsBack`: then each of its errors says so.
 *
 * Why the guard, and not only an invalidation afterwards: 1. a writer commits version 2; 2. a reader finds version 1
 * in the cache, after another has seen version 2; 3. the writer dies before its invalidation, and version 1 stays.
 */
import { CacheError } from './base/errors.ts'
import { heardMs, sinceMs } from './base/heard-time.ts'
import { aFunction, invalidOption } from './base/invalid-option.ts'
import type { Key, Tag } from './base/key.ts'
import { notAtOnce, silencePromise } from './base/thrown.ts'
import { type Identified, idOf } from './base/trace-id.ts'
import type { WriteStepTrace, WriteTrace } from './base/tracing.ts'
import { rolledBack } from './commit-in-doubt.ts'
import { type CommittedEntry, MadeEntry } from './committed-entry.ts'
import { forget } from './forget.ts'
import type { GuardShare } from './guard-holds.ts'
import { emitInvalidation } from './invalidate.ts'
import { checkWriteOptions } from './resolve-options.ts'
import type { CacheParts } from './space.ts'
import { WriteRun } from './under-way.ts'
import { ReportedWrite } from './write-events.ts'

/** What a write's function is given. */
export interface WriteContext {
  /**
   * Guards further keys. To be awaited before the transaction commits, for keys that were not known when the write
   * began.
   *
   * @throws CacheError `INVALID_KEY` if one of them is no key; `UNGUARDED` if one is not confirmed in time and the option
   *   `unguarded` is `'refuse'`; `WRITE_ENDED` if the write's function has ended. Do not catch it, so that the transaction
   *   rolls back.
   */
  guard(...keys: (Key | Tag)[]): Promise<void>
}

/** What became of a write. */
export interface WriteResult<T> {
  /** What the function returned. */
  readonly value: T
  /** `'queued'`: the shared store could not be told yet; it is retried, and this process bypasses the cache meanwhile. */
  readonly invalidation: 'applied' | 'queued'
  /**
   * Whether every key was guarded from before the commit until its release, as confirmed by the store. Only then are
   * strong reads linearizable with this write; unknown counts as no.
   */
  readonly fenced: boolean
}

/** How one write is done. */
export interface WriteOptions<T> {
  /**
   * Write-through: the committed values, as entries of guarded keys, made from what the function returned. Each is
   * stored only if its writer was alone. Must answer at once. If it throws, or answers with anything else, an event `fault` tells, and
   * the keys are only released. Left out: the keys are only released.
   */
  readonly writeThrough?: (value: T) => Iterable<CommittedEntry>
  /** Overrides the cache's option. */
  readonly unguarded?: 'proceed' | 'refuse'
  /** Overrides the cache's option. */
  readonly commitInDoubt?: (error: unknown) => boolean
}

/** Guards, calls the function, releases, answers. */
export function write<T>(
  parts: CacheParts,
  keys: readonly (Key | Tag)[],
  commit: (context: WriteContext) => Promise<T> | T,
  given: WriteOptions<T>,
): Promise<WriteResult<T>> {
  if (typeof commit !== 'function') throw invalidOption('commit', 'a function', commit)
  checkWriteOptions(given)
  const options = { ...given }
  aFunction('writeThrough', options.writeThrough)
  const report = new ReportedWrite(parts)
  const { tracing } = parts
  if (!tracing.hears('write')) return run(parts, report, keys, commit, options)
  const message: WriteTrace = { id: idOf(report), keys }
  report.message = message
  return tracing.trace('write', message, () => run(parts, report, keys, commit, options))
}

async function run<T>(
  parts: CacheParts,
  report: ReportedWrite,
  keys: readonly (Key | Tag)[],
  commit: (context: WriteContext) => Promise<T> | T,
  options: WriteOptions<T>,
): Promise<WriteResult<T>> {
  const session = new WriteSession(
    parts,
    report,
    options.unguarded ?? parts.options.unguarded,
    options.writeThrough !== undefined,
  )
  let value: T
  try {
    await session.guard(keys)
    report.guarded()
    value = await session.commit(commit)
    session.returned()
    report.returned()
  } catch (error) {
    session.returned()
    report.returned()
    const inDoubt = options.commitInDoubt ?? parts.options.commitInDoubt
    // A guard that was refused is thrown before the function was called, or inside it before the commit.
    const isRefused = session.refused(error)
    const isDoubtful = !isRefused && isInDoubt(parts, inDoubt, error)
    if (isDoubtful) session.abandon()
    else await session.release()
    report.ended(isDoubtful ? 'in-doubt' : isRefused ? 'refused' : 'failed', session.keys, { error })
    throw error
  } finally {
    // Also after an error: the commit may still have happened.
    parts.committed()
  }
  const committed = new Map<Key | Tag, CommittedEntry>()
  try {
    // All entries are made before the release: an error half-way must not keep the keys from being released.
    for (const entry of entriesOf(options, value)) committed.set(entry.key, entry)
  } catch (error) {
    parts.emit({ type: 'fault', during: 'writeThrough', error })
  }
  const released = await session.release(committed)
  report.ended('committed', session.keys, released)
  return { value, ...released }
}

/** The entries to be written through. Throws for what no keyspace has made. */
function* entriesOf<T>({ writeThrough }: WriteOptions<T>, value: T): Iterable<MadeEntry> {
  if (writeThrough === undefined) return
  const entries: unknown = writeThrough(value)
  if (silencePromise(entries)) throw notAtOnce('writeThrough')
  for (const entry of entries as Iterable<unknown>) {
    silencePromise(entry)
    if (!MadeEntry.is(entry))
      throw new TypeError("writeThrough: expected entries made by a keyspace's entry()")
    yield entry
  }
}

/** Whether the user's rule says that the commit is in doubt. If the rule throws, it is. */
function isInDoubt(parts: CacheParts, inDoubt: (error: unknown) => boolean, thrown: unknown): boolean {
  try {
    const answer = inDoubt(thrown)
    if (silencePromise(answer)) throw notAtOnce('commitInDoubt')
    return answer
  } catch (error) {
    parts.emit({ type: 'fault', during: 'commitInDoubt', error })
    return true
  }
}

/** As `Promise.all`, which makes three promises where the only one is enough. */
const allOf = <T>(works: readonly Promise<T>[]): Promise<T[]> =>
  works.length === 1 ? works[0]!.then(one => [one]) : Promise.all(works)

/** The guards of one write, from the first guard to the last release. */
class WriteSession {
  readonly #parts: CacheParts
  readonly #report: Identified
  readonly #unguarded: 'proceed' | 'refuse'
  readonly #readsGenerations: boolean
  readonly #guards = new Map<Key | Tag, GuardShare>()
  readonly #beganMs: number
  #ended = false
  readonly #refusals = new Set<unknown>()
  readonly #run: WriteRun

  constructor(
    parts: CacheParts,
    report: Identified,
    unguarded: 'proceed' | 'refuse',
    readsGenerations: boolean,
  ) {
    this.#parts = parts
    this.#report = report
    this.#unguarded = unguarded
    this.#readsGenerations = readsGenerations
    this.#beganMs = parts.clock.nowMs()
    this.#run = new WriteRun(parts, this.#guards.keys())
  }

  /** What it has guarded. */
  get keys(): Iterable<Key | Tag> {
    return this.#guards.keys()
  }

  /** Whether this error is a refusal that the session itself threw, of a guard or of a key. */
  refused(error: unknown): boolean {
    return this.#refusals.has(error)
  }

  /** Calls the user's function. */
  commit<T>(commit: (context: WriteContext) => Promise<T> | T): Promise<T> | T {
    const { tracing } = this.#parts
    const context: WriteContext = { guard: async (...more) => this.guard(more) }
    const call = () => this.#run.within(() => commit(context))
    if (!tracing.hears('commit')) return call()
    // What it returns may be a query that is sent when it is awaited, and has to be awaited once.
    return tracing.trace('commit', this.#message(this.keys), async () => call())
  }

  /** The function has settled, or was not called. */
  returned(): void {
    this.#run.end()
  }

  #message(keys: Iterable<Key | Tag>): WriteStepTrace {
    return { write: idOf(this.#report), keys: [...keys] }
  }

  /** Guards the keys that are not guarded yet, and waits for all of them. */
  guard(keys: readonly (Key | Tag)[]): Promise<void> {
    if (this.#ended)
      throw new CacheError(
        'WRITE_ENDED',
        'guard() was called after the write had ended: the key is not guarded',
      )
    this.#check(keys)
    const { tracing } = this.#parts
    return tracing.hears('guard')
      ? tracing.trace('guard', this.#message(keys), () => this.#guardAll(keys))
      : this.#guardAll(keys)
  }

  #guardAll(keys: readonly (Key | Tag)[]): Promise<void> {
    const asked = [...new Set(keys)].map(key => [key, this.#guards.get(key) ?? this.#open(key)] as const)
    return allOf(asked.map(([, share]) => share.confirming)).then(() => {
      const lost = asked.filter(([, share]) => !share.intact).map(([key]) => key)
      if (this.#unguarded === 'proceed' || lost.length === 0) return
      throw this.#refusal(
        new CacheError(
          'UNGUARDED',
          `${lost.join(', ')}: the guard was not confirmed within ${this.#parts.options.sharedTimeoutMs} ms`,
        ),
      )
    })
  }

  #check(keys: readonly (Key | Tag)[]): void {
    try {
      this.#parts.checkKeys(keys)
    } catch (error) {
      throw this.#refusal(error as CacheError)
    }
  }

  /** Remembers the refusal itself; the mark also shows in any error that has it as its cause. */
  #refusal(error: CacheError): CacheError {
    this.#refusals.add(error)
    return rolledBack(error)
  }

  #open(key: Key | Tag): GuardShare {
    forget(this.#parts, key)
    const share = this.#parts.holds.guard(key, this.#beganMs, this.#readsGenerations, this.#report)
    this.#guards.set(key, share)
    return share
  }

  /**
   * Ends every guard; those whose end is not confirmed are queued.
   *
   * @param committed - What the write stores; left out: nothing was committed.
   */
  release(
    committed?: ReadonlyMap<Key | Tag, CommittedEntry>,
  ): Promise<{ invalidation: 'applied' | 'queued'; fenced: boolean }> {
    const { tracing } = this.#parts
    return tracing.hears('release')
      ? tracing.trace('release', this.#message(this.keys), () => this.#releaseAll(committed))
      : this.#releaseAll(committed)
  }

  async #releaseAll(
    committed?: ReadonlyMap<Key | Tag, CommittedEntry>,
  ): Promise<{ invalidation: 'applied' | 'queued'; fenced: boolean }> {
    this.#ended = true
    // A guard that arrives after its release would stand until its deadline, for nobody.
    for (const share of this.#guards.values()) await share.confirming
    const sentMs = heardMs(this.#parts, 'release')
    const cause = idOf(this.#report)
    const ended = await allOf(
      [...this.#guards].map(async ([key, share]) => {
        const { applied, fenced, stored } = await share.end(committed?.get(key)?.fill)
        forget(this.#parts, key)
        emitInvalidation(this.#parts, key, applied ? 'applied' : 'queued', {
          stored,
          cause,
          durationMs: sinceMs(this.#parts, sentMs),
          ...(committed !== undefined && !fenced ? { unfenced: true } : {}),
        })
        return { applied, fenced }
      }),
    )
    return {
      invalidation: ended.every(({ applied }) => applied) ? 'applied' : 'queued',
      fenced: ended.every(({ fenced }) => fenced),
    }
  }

  /**
   * The commit is in doubt: it may still happen, until the database has ended the lost session's work. So the guards
   * are left standing and run out by themselves, and once `guardMs` have passed the keys are invalidated once more.
   */
  abandon(): void {
    this.#ended = true
    const { options, queue } = this.#parts
    for (const [key, share] of this.#guards) {
      share.leave()
      queue.addLater(key, options.guardMs)
      forget(this.#parts, key)
      emitInvalidation(this.#parts, key, 'in-doubt', { cause: idOf(this.#report) })
    }
  }
}
