import type { Clock } from '../base/clock.ts'
import type { CacheEvent } from '../base/events.ts'
import type { FeedSession } from './change-feed.ts'
import type { RelayTarget } from './relay-target.ts'

/** What is remembered of a keyspace while it is given a new generation, with a token: no store's identity. */
const DOUBTED = 'doubted '

const NEW = 'the feed has no record of them, which is normal for a new feed or keyspace'
const FOLLOWED = 'this process has followed the origin to another server'
const OTHER = 'the store or the origin is not the one that the feed has on record'

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
 * For each keyspace, and not once for all: a process knows only its own keyspaces, and must not remember anything for those
 * of another process.
 */
export class Identities {
  readonly #target: RelayTarget
  readonly #clock: Clock
  readonly #emit: (event: CacheEvent) => void
  /** What this process itself remembers. Nothing else is used if the store is private or an identity is unknown. */
  readonly #own = new Map<string, string>()
  #names: ReadonlySet<string> = new Set()
  /** The identity that this process compared last; `''` if it cannot be known. */
  #compared: string | undefined
  /** The server of the origin whose session was compared last. */
  #server: string | undefined
  #doubt: string | undefined = 'the relay has begun'
  #distrust: string | undefined

  constructor(target: RelayTarget, clock: Clock, emit: (event: CacheEvent) => void) {
    this.#target = target
    this.#clock = clock
    this.#emit = emit
  }

  /** The names of all keyspaces that are known to use the store, in this process or another. */
  get names(): ReadonlySet<string> {
    return new Set([...this.#names, ...this.#target.keyspaces()])
  }

  /** A new connection was made: an identity that cannot be compared counts as changed. */
  reconnected(reason: string): void {
    this.#doubt = reason
  }

  /** Something was certainly lost, or may have been lost without a trace: nothing that is remembered counts. */
  distrust(reason: string): void {
    this.#distrust = reason
  }

  /**
   * The keyspaces for which another process has found a different identity. This process's connections may lead to a store
   * that has been replaced; then what it applies does not count. To be asked after changes were taken, and before they are
   * settled. Rejects only if the session does.
   *
   * Without it: 1. a replica is promoted; 2. a process that has followed gives new generations there, and loads v1;
   * 3. another one, whose connection to the old primary still works, takes the change to v2, invalidates the key on the
   * old primary, and settles the change; 4. it follows, and finds the identity that is remembered: v1 stays for ever.
   *
   * A doubt is written down before the new generations are given. So if a look finds no doubt, every value of such a new
   * generation knows all that was committed before that look.
   */
  async doubted(session: FeedSession): Promise<ReadonlySet<string>> {
    if (this.#target.isPrivate || this.#compared === '') return new Set()
    const remembered = await session.remembered()
    return new Set([...remembered.keys()].filter(name => remembered.get(name) !== this.#compared))
  }

  /**
   * Compares, and gives new generations where it must. Rejects only if the session does.
   *
   * What it has compared is remembered only instead of its own doubt. Without that: 1. a process that has followed a promotion
   * writes down its doubt, gives new generations, and loads v1; 2. another one, which compares as well, but on the old primary,
   * writes down its own doubt, and then the identity of the old primary; 3. it takes the change to v2, invalidates the key on
   * the old primary, and settles the change, as nobody seems to doubt; 4. the first one remembers the new identity: v1 stays
   * for ever.
   *
   * Where this process itself has followed the origin to another server, nothing that is remembered counts. Otherwise: 1. a
   * standby of the database takes over; 2. a process that has followed gives new generations, and commits v2; 3. another one, whose
   * connections to the old primary still work, loads v1 there, and stores it under its new generation; 4. it follows, and finds
   * the identity that is remembered: v1 stays until it expires.
   *
   * @returns whether it was completed. If not, it must be done again: the store did not say what it is, or did not confirm a new
   * generation.
   */
  async verify(session: FeedSession): Promise<'done' | 'away' | 'unconfirmed'> {
    const remembered = this.#target.isPrivate ? this.#own : await session.remembered()
    this.#names = new Set(remembered.keys())
    const store = await this.#target.identity()
    if (store === undefined) return 'away'
    const isKnown = store !== '' && session.origin !== ''
    const identity = isKnown ? `${store} ${session.origin}` : ''
    if (this.#doubt !== undefined && !isKnown) this.#distrust = this.#doubt
    this.#doubt = undefined
    const { server = session.origin } = session
    if (this.#server !== undefined && this.#server !== server) this.#distrust ??= FOLLOWED
    this.#server = server
    this.#compared = identity
    const records = isKnown ? remembered : this.#own
    const reason = this.#distrust
    const suspects = [...this.names].filter(name => reason !== undefined || records.get(name) !== identity)
    if (suspects.length === 0) return 'done'
    const isShared = isKnown && !this.#target.isPrivate
    const doubt = DOUBTED + this.#clock.token()
    if (isShared) await session.remember(suspects, doubt)
    const replies = await Promise.all(suspects.map(name => this.#target.invalidateKeyspace(name)))
    const done = suspects.filter((_, i) => replies[i])
    if (done.length > 0) {
      if (isShared) await session.remember(done, identity, doubt)
      else for (const name of done) this.#own.set(name, identity)
      const isNew = done.every(name => !records.has(name))
      this.#emit({ type: 'feed-distrust', keyspaces: done, reason: reason ?? (isNew ? NEW : OTHER) })
    }
    if (done.length < suspects.length) return 'unconfirmed'
    // A reason that came meanwhile still has to be dealt with.
    if (this.#distrust === reason) this.#distrust = undefined
    if (!isShared) return 'done'
    const kept = await session.remembered()
    return done.every(name => kept.get(name) === identity) ? 'done' : 'unconfirmed'
  }
}
