/**
 * How an invalidation reaches the shared store: of keys and of whole keyspaces, by callers of this process and by the
 * relay of its change feed. (A write ends in a release, which is in `guard-holds.ts`.)
 *
 * A caller's invalidation takes three steps:
 *
 * 1. Forget: this process drops its copies and dooms its flights.
 * 2. Tell the store, which tells all processes. What is not confirmed is queued, and this process bypasses the cache for
 *    it until it is.
 * 3. Forget once more, before the caller is answered: a reader may have found the old value between 1 and 2.
 *
 * A relay takes only step 2, and queues nothing: a change that was not applied stays in its outbox. This process hears
 * of it by the broadcast, as all others do.
 */
import type { InvalidationEvent } from './base/events.ts'
import { heardMs, sinceMs } from './base/heard-time.ts'
import { type Key, keyspaceOf, type Tag } from './base/key.ts'
import { newId } from './base/trace-id.ts'
import type { InvalidateTrace } from './base/tracing.ts'
import { forget, forgetKeyspace } from './forget.ts'
import { markedToken } from './shared/key-mark.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import type { CacheParts } from './space.ts'

/**
 * Invalidates keys for a caller.
 *
 * @returns `'applied'`, or `'queued'` if any key could not be confirmed.
 */
export function invalidateKeys(
  parts: CacheParts,
  keys: readonly (Key | Tag)[],
): Promise<'applied' | 'queued'> {
  const cause = newId()
  const { tracing } = parts
  if (!tracing.hears('invalidate')) return invalidateEach(parts, keys, cause)
  const message: InvalidateTrace = { cause, keys }
  return tracing.trace('invalidate', message, () => invalidateEach(parts, keys, cause), noting(message))
}

const noting = (message: InvalidateTrace) => (outcome: 'applied' | 'queued') => {
  message.outcome = outcome
}

async function invalidateEach(
  parts: CacheParts,
  keys: readonly (Key | Tag)[],
  cause: number,
): Promise<'applied' | 'queued'> {
  const { access, queue } = parts
  const sentMs = heardMs(parts, 'invalidate')
  for (const key of keys) forget(parts, key)
  const applied = await Promise.all(
    keys.map(async key => {
      const reply = await access.run(() => access.store.invalidate(key))
      if (reply === UNCONFIRMED) queue.add(key)
      const durationMs = sinceMs(parts, sentMs)
      emitInvalidation(parts, key, reply !== UNCONFIRMED ? 'applied' : 'queued', { cause, durationMs })
      forget(parts, key)
      return reply !== UNCONFIRMED
    }),
  )
  return applied.every(Boolean) ? 'applied' : 'queued'
}

/**
 * Invalidates a whole keyspace for a caller, by a new generation.
 *
 * @returns as {@link invalidateKeys}.
 */
export function invalidateWhole(parts: CacheParts, keyspace: string): Promise<'applied' | 'queued'> {
  const cause = newId()
  const { tracing } = parts
  if (!tracing.hears('invalidate')) return invalidateAll(parts, keyspace, cause)
  const message: InvalidateTrace = { cause, keys: [], keyspace }
  return tracing.trace('invalidate', message, () => invalidateAll(parts, keyspace, cause), noting(message))
}

async function invalidateAll(
  parts: CacheParts,
  keyspace: string,
  cause: number,
): Promise<'applied' | 'queued'> {
  const { access, clock, queue, emit } = parts
  const sentMs = heardMs(parts, 'invalidate')
  forgetKeyspace(parts, keyspace)
  const reply = await access.run(() =>
    access.store.invalidateKeyspace(keyspace, markedToken(keyspace, clock.token())),
  )
  if (reply === UNCONFIRMED) queue.addKeyspace(keyspace)
  forgetKeyspace(parts, keyspace)
  const outcome = reply === UNCONFIRMED ? 'queued' : 'applied'
  const durationMs = sinceMs(parts, sentMs)
  emit({ type: 'keyspace-invalidation', keyspace, outcome, cause, durationMs })
  return outcome
}

/** Invalidates a key for a relay, because of a batch of its feed. Says whether it was confirmed. */
export async function relayKey(parts: CacheParts, key: Key | Tag, batch: number): Promise<boolean> {
  const { access } = parts
  const sentMs = heardMs(parts, 'relay')
  if ((await access.runBehind(() => access.store.invalidate(key))) === UNCONFIRMED) return false
  emitInvalidation(parts, key, 'applied', { cause: batch, durationMs: sinceMs(parts, sentMs) })
  return true
}

/**
 * Invalidates a whole keyspace for a relay. Says whether it was confirmed.
 *
 * @param batch - The batch of its feed that is the cause. Left out: the store or the origin is not trusted any more.
 */
export async function relayKeyspace(parts: CacheParts, keyspace: string, batch?: number): Promise<boolean> {
  const { access, clock, emit } = parts
  const sentMs = heardMs(parts, 'relay')
  const reply = await access.runBehind(() =>
    access.store.invalidateKeyspace(keyspace, markedToken(keyspace, clock.token())),
  )
  if (reply === UNCONFIRMED) return false
  const cause = batch === undefined ? {} : { cause: batch }
  const durationMs = sinceMs(parts, sentMs)
  emit({ type: 'keyspace-invalidation', keyspace, outcome: 'applied', ...cause, durationMs })
  return true
}

/** Reports what became of the invalidation of a key. */
export function emitInvalidation(
  { emit }: CacheParts,
  key: string,
  outcome: 'applied' | 'queued' | 'in-doubt',
  about: Pick<InvalidationEvent, 'cause' | 'durationMs' | 'unfenced'> & { readonly stored?: boolean },
): void {
  emit({ type: 'invalidation', keyspace: keyspaceOf(key), key, outcome, stored: false, ...about })
}
