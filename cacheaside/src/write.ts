import type { Timer } from './base/clock.ts'
import { CacheError } from './base/errors.ts'
import { invalidOption } from './base/invalid-option.ts'
import { type Key, keyspaceOf } from './base/key.ts'
import { aFunction, checkWriteOptions } from './options.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import type { Fill } from './shared/shared-store.ts'
import type { Parts } from './space.ts'

/**
 * The write path.
 *
 * 1. **Guard** every key before the function is called: the value and any lease go from the shared store, and until
 *    the guard is released, or its deadline passes, nothing can be stored under the key. Readers go to the origin.
 * 2. **Commit**: the user's function does that. While it runs the guards are renewed, so that they end soon after a
 *    writer that died, and not before one that is slow. Keys known only inside the transaction, such as the id of an
 *    INSERT, are guarded by `guard` before it commits.
 * 3. **Release** every key; or, written through, put the committed value in the guard's place, if nobody else was
 *    there meanwhile. What is not confirmed is queued and retried.
 * 4. **Answer** with the function's value, and with the truth about the rest.
 *
 * Why the guard, and not only an invalidation afterwards: 1. a writer commits version 2; 2. a reader finds version 1
 * in the cache, after another has seen version 2; 3. the writer dies before its invalidation, and version 1 stays.
 */

/** What a write's function is given. */
export interface WriteContext {
  /**
   * Guards further keys. To be awaited before the transaction commits, for keys that were not known when the write
   * began.
   *
   * @throws CacheError `UNGUARDED` if it is not confirmed in time and the option `unguarded` is `'refuse'`: the
   *   function should let it pass, so that the transaction is rolled back.
   */
  guard(...keys: Key[]): Promise<void>
}

/** What became of a write. */
export interface WriteResult<T> {
  /** What the function returned. */
  readonly value: T
  /** `'queued'`: the shared store could not be told yet; it is retried, and this process goes round the cache meanwhile. */
  readonly invalidation: 'applied' | 'queued'
  /**
   * Whether every key was guarded from before the commit until its release, as confirmed by the store. Only then are
   * strong reads linearizable with this write; unknown counts as no.
   */
  readonly fenced: boolean
}

/** A committed value for a key, made by a keyspace's `entry()`. */
export interface CommittedEntry {
  readonly key: Key
  /** @internal */
  readonly fill: (generation: string) => Fill | undefined
}

/** How one write is done. */
export interface WriteOptions<T> {
  /**
   * Write-through: the committed values, as entries of guarded keys, made from what the function returned. Each is
   * stored only if its writer was alone. Left out: the keys are only released.
   */
  readonly writeThrough?: (value: T) => Iterable<CommittedEntry>
  /** Overrides the cache's option. */
  readonly unguarded?: 'proceed' | 'refuse'
  /** Overrides the cache's option. */
  readonly commitInDoubt?: (error: unknown) => boolean
}

/** One guarded key. */
interface Guarded {
  readonly key: Key
  readonly token: string
  /** Settles when the store has confirmed it, or its time is up; never rejects. */
  confirming: Promise<void>
  /** Confirmed in time, and never found missing. */
  intact: boolean
  /** The keyspace's generation, read before guarding; only for write-through. */
  generation: string | undefined
}

/** Guards, calls the function, releases, answers. */
export async function write<T>(
  parts: Parts,
  forget: Forget,
  keys: readonly Key[],
  commit: (context: WriteContext) => Promise<T> | T,
  options: WriteOptions<T>,
): Promise<WriteResult<T>> {
  if (typeof commit !== 'function') throw invalidOption('commit', 'a function', commit)
  checkWriteOptions(options)
  aFunction('writeThrough', options.writeThrough)
  const session = new WriteSession(
    parts,
    forget,
    options.unguarded ?? parts.options.unguarded,
    options.writeThrough !== undefined,
  )
  let value: T
  try {
    await session.guard(keys)
    value = await commit({ guard: async (...more) => session.guard(more) })
  } catch (error) {
    const inDoubt = options.commitInDoubt ?? parts.options.commitInDoubt
    // A guard that was refused is thrown before the function was called, or inside it before the commit.
    if (!session.refused(error) && isInDoubt(parts, inDoubt, error)) session.abandon()
    else await session.release()
    throw error
  } finally {
    // Also after an error: the commit may have happened all the same.
    parts.committed()
  }
  const through = new Map<Key, CommittedEntry>()
  try {
    // Complete before the release: what throws half-way must not keep the keys from being released.
    for (const entry of options.writeThrough?.(value) ?? []) through.set(entry.key, entry)
  } catch (error) {
    parts.emit({ type: 'fault', during: 'writeThrough', error })
  }
  return { value, ...(await session.release(through)) }
}

/** What the user's rule says of an error; a rule that throws leaves it in doubt. */
function isInDoubt(parts: Parts, inDoubt: (error: unknown) => boolean, thrown: unknown): boolean {
  try {
    return inDoubt(thrown)
  } catch (error) {
    parts.emit({ type: 'fault', during: 'commitInDoubt', error })
    return true
  }
}

/**
 * Invalidates keys, at once or, where the shared store cannot be told, later.
 *
 * @returns `'applied'`, or `'queued'` if any key could not be confirmed.
 */
export async function invalidate(
  parts: Parts,
  forget: Forget,
  keys: readonly Key[],
): Promise<'applied' | 'queued'> {
  const { access, queue } = parts
  for (const key of keys) forget(key)
  const applied = await Promise.all(
    keys.map(async key => {
      const reply = await access.run(() => access.store.invalidate(key))
      if (reply === UNCONFIRMED) queue.add(key)
      report(parts, key, reply !== UNCONFIRMED, false)
      forget(key)
      return reply !== UNCONFIRMED
    }),
  )
  return applied.every(Boolean) ? 'applied' : 'queued'
}

/** Removes a key from L1 and dooms its flights, in this process and at once. */
export type Forget = (key: string) => void

function report(parts: Parts, key: string, applied: boolean, stored: boolean): void {
  parts.emit({
    type: 'invalidation',
    keyspace: keyspaceOf(key),
    key,
    outcome: applied ? 'applied' : 'queued',
    stored,
  })
}

/** The guards of one write, from the first guard to the last release. */
class WriteSession {
  readonly #parts: Parts
  readonly #forget: Forget
  readonly #unguarded: 'proceed' | 'refuse'
  readonly #readsGenerations: boolean
  readonly #guards = new Map<Key, Guarded>()
  readonly #pending = new Set<Promise<unknown>>()
  readonly #beganMs: number
  #renewal: Timer | undefined
  #ended = false
  readonly #refusals = new Set<unknown>()

  constructor(parts: Parts, forget: Forget, unguarded: 'proceed' | 'refuse', readsGenerations: boolean) {
    this.#parts = parts
    this.#forget = forget
    this.#unguarded = unguarded
    this.#readsGenerations = readsGenerations
    this.#beganMs = parts.clock.nowMs()
    this.#renewLater()
  }

  /** Whether this error is the refusal that the session itself threw. */
  refused(error: unknown): boolean {
    return this.#refusals.has(error)
  }

  /** Guards those of the keys that are not guarded yet, and waits for all of them. */
  guard(keys: readonly Key[]): Promise<void> {
    if (this.#ended) throw new Error('guard() was called after the write had ended: the key is not guarded')
    for (const key of keys) keyspaceOf(key)
    const asked = [...new Set(keys)].map(key => this.#guards.get(key) ?? this.#open(key))
    const work = Promise.all(asked.map(({ confirming }) => confirming)).then(() => {
      if (this.#unguarded === 'proceed' || asked.every(({ intact }) => intact)) return
      const names = asked.filter(({ intact }) => !intact).map(({ key }) => key)
      const refusal = new CacheError(
        'UNGUARDED',
        `${names.join(', ')}: the guard was not confirmed within ${this.#parts.options.sharedTimeoutMs} ms`,
      )
      this.#refusals.add(refusal)
      throw refusal
    })
    this.#awaitAtEnd(work)
    return work
  }

  /** A guard that arrives after its release would stand until its deadline, for nobody. */
  #awaitAtEnd(work: Promise<void>): void {
    this.#pending.add(work)
    work.catch(() => {}).finally(() => this.#pending.delete(work))
  }

  #open(key: Key): Guarded {
    const guarded: Guarded = {
      key,
      token: this.#parts.clock.token(),
      confirming: Promise.resolve(),
      intact: false,
      generation: undefined,
    }
    this.#guards.set(key, guarded)
    guarded.confirming = this.#confirm(guarded)
    return guarded
  }

  async #confirm(guarded: Guarded): Promise<void> {
    const { access, stream, options, emit } = this.#parts
    const { key, token } = guarded
    this.#forget(key)
    if (this.#readsGenerations && access.available) {
      const generation = await stream.readGeneration(keyspaceOf(key))
      guarded.generation = generation === UNCONFIRMED ? undefined : generation
    }
    const reply = access.available
      ? await access.run(() => access.store.guard(key, token, options.guardMs, false))
      : UNCONFIRMED
    guarded.intact = reply !== UNCONFIRMED
    emit({
      type: 'guard',
      keyspace: keyspaceOf(key),
      key,
      outcome: guarded.intact ? 'confirmed' : 'unconfirmed',
    })
  }

  #renewLater(): void {
    const { clock, options } = this.#parts
    this.#renewal = clock.after(options.guardMs / 3, () => {
      if (this.#ended || clock.nowMs() - this.#beganMs >= options.writeTimeoutMs) return
      for (const guarded of this.#guards.values()) this.#awaitAtEnd(this.#renew(guarded))
      this.#renewLater()
    })
  }

  async #renew(guarded: Guarded): Promise<void> {
    const { access, options, emit } = this.#parts
    const { key, token } = guarded
    // Where commands overtake each other, a renewal ahead of its guard would find no token, and take that for a loss.
    await guarded.confirming
    if (this.#ended) return
    const reply = await access.run(() => access.store.guard(key, token, options.guardMs, true))
    // A renewal that nobody answered may have found the token missing, and the next one would not tell.
    if (reply !== 'renewed') guarded.intact = false
    const outcome = reply === UNCONFIRMED ? 'unconfirmed' : reply === 'rejoined' ? 'rejoined' : 'renewed'
    emit({ type: 'guard', keyspace: keyspaceOf(key), key, outcome })
  }

  #end(): void {
    this.#ended = true
    this.#renewal?.cancel()
  }

  /** Releases every key; those that are not confirmed are queued. */
  async release(
    through: ReadonlyMap<Key, CommittedEntry> = new Map(),
  ): Promise<{ invalidation: 'applied' | 'queued'; fenced: boolean }> {
    this.#end()
    await Promise.allSettled(this.#pending)
    const released = await Promise.all(
      [...this.#guards.values()].map(guarded => this.#releaseOne(guarded, through.get(guarded.key))),
    )
    return {
      invalidation: released.every(({ applied }) => applied) ? 'applied' : 'queued',
      fenced: released.every(({ fenced }) => fenced),
    }
  }

  async #releaseOne(
    { key, token, intact, generation }: Guarded,
    entry: CommittedEntry | undefined,
  ): Promise<{ applied: boolean; fenced: boolean }> {
    const { access, queue } = this.#parts
    const fill =
      entry !== undefined && generation !== undefined && intact ? entry.fill(generation) : undefined
    const reply = await access.run(() => access.store.release(key, token, fill))
    if (reply === UNCONFIRMED) queue.add(key, token)
    this.#forget(key)
    const applied = reply !== UNCONFIRMED
    report(this.#parts, key, applied, applied && reply.stored)
    return { applied, fenced: applied && intact && reply.held }
  }

  /**
   * The commit is in doubt: it may still happen, until the database has ended the lost session's work. So the guards
   * are left standing and run out by themselves, and once `guardMs` have passed the keys are invalidated once more.
   */
  abandon(): void {
    this.#end()
    const { options, queue } = this.#parts
    for (const key of this.#guards.keys()) {
      queue.addLater(key, options.guardMs)
      this.#forget(key)
      report(this.#parts, key, false, false)
    }
  }
}
