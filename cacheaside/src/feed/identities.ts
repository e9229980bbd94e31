import type { CacheEvent } from '../base/events.ts'
import type { FeedSession } from './change-feed.ts'
import type { RelayTarget } from './relay.ts'

/**
 * Whether the shared store and the origin are still the ones under which the keyspaces got their generations.
 *
 * The feed's changes are applied once, so a store that forgets an invalidation that it had acknowledged is stale for
 * ever: 1. an invalidation is applied, and its change removed from the outbox; 2. the store restarts from a snapshot
 * taken before that, or its replica takes over without it; 3. the old value is there again. In the same way an origin
 * can forget a commit that was loaded from it. So the identity of both is remembered beside the outbox, for each
 * keyspace, and a keyspace whose identity is another one, or unknown, gets a new generation *before* the new one is
 * remembered.
 *
 * For each keyspace, and not once for all: a process knows only its own, and must not remember for another's.
 */
export class Identities {
  readonly #target: RelayTarget
  readonly #emit: (event: CacheEvent) => void
  /** What the store's own process remembers: all there is, where nobody else uses it or an identity is not known. */
  readonly #own = new Map<string, string>()
  #names: ReadonlySet<string> = new Set()
  #doubt: string | undefined = 'the relay has begun'
  #distrust: string | undefined

  constructor(target: RelayTarget, emit: (event: CacheEvent) => void) {
    this.#target = target
    this.#emit = emit
  }

  /** The names of all keyspaces that are known to use the store, in this process or another. */
  get names(): ReadonlySet<string> {
    return new Set([...this.#names, ...this.#target.keyspaces()])
  }

  /** A connection was made anew: what cannot be compared counts as changed. */
  reconnected(reason: string): void {
    this.#doubt = reason
  }

  /** Something was lost for certain, or may have been without a trace: nothing that is remembered counts. */
  distrust(reason: string): void {
    this.#distrust = reason
  }

  /**
   * Compares, and gives new generations where it must. Rejects only if the session does.
   *
   * @returns whether it came to an end; if not, it is to be done again.
   */
  async verify(session: FeedSession): Promise<boolean> {
    const remembered = this.#target.isPrivate ? this.#own : await session.remembered()
    this.#names = new Set(remembered.keys())
    const store = await this.#target.identity()
    if (store === undefined) return false
    const isKnown = store !== '' && session.origin !== ''
    const identity = isKnown ? `${store} ${session.origin}` : ''
    if (this.#doubt !== undefined && !isKnown) this.#distrust = this.#doubt
    this.#doubt = undefined
    const records = isKnown ? remembered : this.#own
    const reason = this.#distrust
    const suspects = [...this.names].filter(name => reason !== undefined || records.get(name) !== identity)
    if (suspects.length === 0) return true
    const replies = await Promise.all(suspects.map(name => this.#target.invalidateKeyspace(name)))
    const done = suspects.filter((_, i) => replies[i])
    if (done.length > 0) {
      if (isKnown && !this.#target.isPrivate) await session.remember(done, identity)
      else for (const name of done) this.#own.set(name, identity)
      this.#emit({
        type: 'feed-distrust',
        keyspaces: done,
        reason: reason ?? 'the identity of the store or of the origin is not the one remembered',
      })
    }
    if (done.length < suspects.length) return false
    // A reason that was given meanwhile is another one.
    if (this.#distrust === reason) this.#distrust = undefined
    return true
  }
}
