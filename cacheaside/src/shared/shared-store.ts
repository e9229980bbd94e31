/**
 * What any shared store must promise, in three parts: registers, one per key, and what may be done to them
 * ({@link SharedRegisters}); the stream in which every process hears of invalidations ({@link SharedStream}); and which
 * registers these are ({@link SharedIdentity}). {@link SharedStore} is their sum. The embedded store (`memory/`) and the
 * store on Redis implement it. One contract suite runs against both; each part has a suite of its own.
 *
 * A register is absent, or one string in one of four states (`register.ts` draws them):
 *
 * - `V` a value, with a nonce and the times it is good for;
 * - `L` a lease: one reader is loading, and only its token may fill;
 * - `S` a stamp: a tag stands. Values hold the stamps that they were loaded under, and count while those stand;
 * - `W` a guard: writers are at work, each with a deadline of its own; nothing may be filled.
 *
 * A text that begins with one of these letters and cannot be read is of a later version of this library. Fills, swaps, drops
 * and claims leave it alone. Every operation leaves a guard of a later version standing, and operations of writers make it
 * dirty.
 *
 * Two rules carry everything. Removing is always safe and storing never is, so only storing compares. An operation that
 * *creates* a token (lease, stamp, guard, claim) is sent at most once per token; one that *ends* a token may run late and
 * repeatedly. All times in registers are the store's own.
 */

/** What a store answers to {@link SharedRegisters.look}: what the register holds; `null`: it is absent; {@link TOO_LARGE}. */
export type LookReply = string | null | typeof TOO_LARGE

/** What a store answers to {@link SharedRegisters.lease}: see there. */
export type LeaseReply = string | null | typeof REFUSED | typeof TOO_LARGE

/** The answer of a store that has no room for a lease and holds nothing under the key. */
export const REFUSED: unique symbol = Symbol('refused')

/**
 * The answer of a store that does not hand out what the register may hold: it, or all that was asked for together with it, is
 * too large to come in time. No lease was taken. The reader goes to the origin and keeps nothing.
 */
export const TOO_LARGE: unique symbol = Symbol('too large')

/** A tag as it stood before a value was loaded under it. */
export interface Stamp {
  /** The tag's key, as text: at least 1 and at most 512 UTF-16 units. */
  readonly name: string
  /** The token of its stamp: 16 characters. */
  readonly token: string
  /** The generation of its keyspace: 16 characters. */
  readonly generation: string
}

/** A value to be stored; the store adds a nonce and stamps its own time. */
export interface Fill {
  /** Generation of the keyspace, as it was read before the load (or before the guard) began. */
  readonly generation: string
  /** Shape version of the keyspace's values. */
  readonly shape: number
  /** Milliseconds from the store's acceptance for which the value is fresh. */
  readonly freshMs: number
  /** Milliseconds after that for which it may still be of use as a stale value. */
  readonly staleMs: number
  /** What the load cost, in milliseconds. */
  readonly costMs: number
  /** The tags that it was loaded under, at most 64, sorted by name, each once. Left out: none. */
  readonly tags?: readonly Stamp[]
  /** The encoded value; `undefined` is the mark of an absent row. */
  readonly text: string | undefined
}

/** What {@link SharedRegisters.swap} and {@link SharedRegisters.drop} compare a register with. */
export type Expected = { readonly prefix: string } | { readonly exactly: string }

/**
 * What a guard found: `new`, `renewed` (its token was there), `rejoined` (it should have been there and was not), or
 * `barred` (a guard of a later version stands, which this one cannot join: it stays, and is dirty now).
 */
export type GuardReply = 'new' | 'renewed' | 'rejoined' | 'barred'

/** What a release found and did. */
export interface ReleaseReply {
  /** Whether the token was still in the guard. If not, somebody may have read or filled meanwhile. */
  readonly held: boolean
  /** Whether the value given for write-through was stored. */
  readonly stored: boolean
}

/** What the broadcast stream tells a process. */
export interface StreamListener {
  /** The value under this key must not be used any more. */
  invalidated(key: string): void
  /** The same for every key of the keyspace. */
  keyspaceInvalidated(keyspace: string): void
  /** A heartbeat sent through this store was heard, with its text. Those of other processes may be told as well. */
  heartbeat(text: string): void
  /** Messages may have been lost, or the store may be another one than before, or closed: nothing kept can be trusted. */
  interrupted(reason: string): void
}

/** What a heartbeat's exchange brings back. */
export interface HeartbeatReply {
  /** The store's own time in milliseconds since 1970. */
  readonly timeMs: number
  /** The generations of the keyspaces asked for, in their order. */
  readonly generations: readonly string[]
}

/**
 * A look at the registers that changes nothing: it creates no lease and no generation, and where the server can be asked
 * for it, what is looked at does not count as used. On connections of its own, so that it holds up nobody else's
 * commands. Every method may reject; one that does has changed nothing either.
 */
export interface StoreView {
  /** What a look changes nevertheless, one sentence each, for people. Mostly empty. */
  readonly caveats: readonly string[]
  /**
   * Walks over the keys of all registers, page by page; pages may be empty. A key that is there from the first page to the
   * last comes at least once. One that comes or goes meanwhile may come or not.
   *
   * @param keyspace - Only the keys of this one. Left out: the keys of all of them, and any others with the store's prefix.
   */
  keys(keyspace?: string): AsyncIterable<readonly string[]>
  /** What the registers hold, each at a moment of its own, in the order of the keys; `undefined` for an absent one. */
  peek(keys: readonly string[]): Promise<readonly (string | undefined)[]>
  /** The generations of the keyspaces, in their order; `undefined` for one that has none. */
  generations(keyspaces: readonly string[]): Promise<readonly (string | undefined)[]>
  /**
   * How many milliseconds of each register's life are left, in the order of the keys; `undefined` where there is none, or its
   * life has no end. A view may do without.
   */
  lives?(keys: readonly string[]): Promise<readonly (number | undefined)[]>
  /** The store's own time in milliseconds since 1970. */
  timeMs(): Promise<number>
  /** Ends it. Idempotent. */
  close(): Promise<void>
}

/** What a reader has made of a register's text. It is kept beside the text. */
export interface MadeOfRegister {
  /** The text that it was made of. */
  readonly registerText: string
  /** What it takes beside a parsed text, in bytes. */
  readonly furtherBytes: number
}

/** The registers of a store in this process as a reader finds them without waiting. */
export interface RegistersAtHand {
  /** What the register holds, or what was kept beside that text; `undefined` if it is absent. Counts as an access. */
  get(key: string): string | MadeOfRegister | undefined
  /** Keeps this beside the register for as long as it holds the same text. A store without room for it does not. */
  keep(key: string, made: MadeOfRegister): void
}

/**
 * The registers of a shared store: what is done to them, and to the generations of keyspaces. Every method may reject;
 * the caller counts that as "not confirmed": the operation may have been applied, may be applied later, or never.
 * Registers never resend what creates a token.
 *
 * *Broadcasts first*: the store's {@link SharedStream} tells of it before the register changes.
 */
export interface SharedRegisters {
  /**
   * Takes the lease if the register is absent: on Redis a script with `SET key L<token> NX GET PX leaseMs`.
   *
   * @returns `null`: the lease is ours; a string: what the register holds, left as it was; {@link REFUSED}: absent,
   *   and there is no room for a lease.
   */
  lease(key: string, token: string, leaseMs: number): Promise<LeaseReply>
  /** As {@link SharedRegisters.lease} for many keys in one round trip (one per node); the replies in the order of the requests. */
  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number): Promise<LeaseReply[]>
  /**
   * Takes each request's stamp where the register is absent, for `lifeMs`. In one round trip (one per node), and as
   * {@link SharedRegisters.leaseMany} in all else: a store that refuses writes does not answer.
   *
   * @returns in the order of the requests. `null`: the stamp is ours; a string: what the register holds, left as it was;
   *   {@link REFUSED}: absent, and there is no room for a stamp.
   */
  stampMany(requests: readonly { key: string; token: string }[], lifeMs: number): Promise<LeaseReply[]>
  /**
   * Lets a stamp live for at least `lifeMs` from now, if the register is exactly that stamp. A life is never made shorter.
   *
   * @returns whether it was that stamp.
   */
  renewStamp(key: string, token: string, lifeMs: number): Promise<boolean>
  /**
   * Says what many registers hold, in one round trip (one per node), and changes nothing. A store that refuses writes may
   * answer, so a look proves less than a lease. It is for readers that have another proof of the store being current.
   */
  look(keys: readonly string[]): Promise<LookReply[]>
  /** Only for a store that is `synchronous`: its registers, as they are now. A store may do without. */
  readonly atHand?: RegistersAtHand
  /** Stores a value if the register begins with `prefix`: a lease of ours, or `V`, nonce and claim token of a value being refreshed. */
  fill(key: string, prefix: string, value: Fill): Promise<boolean>
  /** Replaces what was seen by a lease, if it is still there. */
  swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean>
  /** Removes what was seen, if it is still there. So a lease is given back. */
  drop(key: string, seen: Expected): Promise<boolean>
  /**
   * Claims the refresh of the value with this nonce, for `claimMs`; the value stays readable and keeps its life.
   * Refused while another's claim stands. `claimMs` of 0 gives an own claim back.
   */
  claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean>
  /**
   * Puts up a guard or joins the one that stands; value, lease and stamp go. Adds `token` with a deadline `guardMs` ahead,
   * or moves its deadline there if it is in the guard already. Broadcasts first.
   *
   * @param renewal - whether `token` should be there already; if it is not, it joins as new and the guard is dirty.
   */
  guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply>
  /**
   * Takes `token` out of the guard, and the tokens whose deadline has passed. If others are left, the guard stays, dirty. If
   * none is left, the register becomes absent, or `committed` if the token was there and the guard is not dirty. If there is
   * no guard, the register becomes absent. Broadcasts first.
   */
  release(key: string, token: string, committed?: Fill): Promise<ReleaseReply>
  /** Removes a value, lease or stamp; a guard stays, dirty, with its deadlines. Broadcasts first, also when nothing was there. */
  invalidate(key: string): Promise<void>
  /** Reads the keyspace's generation; where there is none, `candidate` becomes it. */
  generation(keyspace: string, candidate: string): Promise<string>
  /** Gives the keyspace a new generation, so that no value stored so far is found again. Broadcasts first. */
  invalidateKeyspace(keyspace: string, generation: string): Promise<void>

  /**
   * Opens a look at the registers, for audits. A store may do without; then it cannot be audited.
   *
   * @throws an error that says why there is no connection.
   */
  view?(): Promise<StoreView>

  /**
   * Told that the answer for `key` was the register of another key, by its mark. Registers that answer over connections end
   * the one that brought it, and interrupt every listener: other answers of that connection may be as wrong.
   *
   * @param prefix - What the register begins with.
   * @returns `false` if an earlier connection brought the same answer: then the register itself is wrong.
   */
  distrust?(key: string, prefix: string): boolean
}

/**
 * The broadcast stream of a shared store: every process hears of every invalidation, and proves by heartbeats that it
 * does. What was broadcast before a heartbeat was sent is heard before that heartbeat; if it may have been lost,
 * listeners are interrupted. A method that rejects is "not confirmed", as in {@link SharedRegisters}.
 */
export interface SharedStream {
  /**
   * Whether every listener has always heard of an invalidation before the call that caused it resolves. True only inside one
   * process; such a store needs no heartbeats.
   */
  readonly synchronous: boolean
  /**
   * `'none'`: this process hears nothing, because it reaches the store only by requests. A cache on it keeps no L1, runs no
   * relay, and reads a keyspace's generation from the store for every default read, as for a strong one. It never subscribes,
   * and `heartbeat` (always with an empty text) is only the exchange: it must fail where writes would. What the registers
   * broadcast may still be heard by processes that have a stream. Left out: there is a stream.
   */
  readonly stream?: 'none'

  /** Starts to listen, until the returned function is called. A listener that throws does not affect the others. */
  subscribe(listener: StreamListener): () => void
  /**
   * Sends `text` through the stream and, in the same exchange, reads the registers' time, and their generations as
   * {@link SharedRegisters.generation} does.
   */
  heartbeat(text: string, keyspaces: readonly { name: string; candidate: string }[]): Promise<HeartbeatReply>
}

/**
 * Whether the registers of a shared store are still the same. The relay of a change feed asks: it must not count a change as
 * applied by registers that have lost it.
 */
export interface SharedIdentity {
  /**
   * Says which registers these are: the same text for as long as they are certain to hold everything that was
   * acknowledged, and another one as soon as that may have changed, by a restart, a failover, another server or
   * another prefix. Read from the store at every call. Relays compare it with what they remember beside the change
   * feed, and give every keyspace a new generation when it differs.
   *
   * @returns a text without control characters; `''` if it cannot be known, which counts as a change each time.
   */
  identity(): Promise<string>
}

/**
 * A way for people to ask the processes that use a shared store, for example for the keys that they read most. The cache does
 * not depend on it, and a store may do without. Questions and answers may be lost without a sign.
 */
export interface SharedInquiries {
  /**
   * Answers questions from now on.
   *
   * @param respond - Called with each question. `undefined`: this process has no answer. Its rejections are ignored.
   * @returns ends it; idempotent.
   */
  answer?(respond: (question: string) => Promise<string | undefined>): () => void
  /**
   * Asks all processes that answer, and waits for so many milliseconds.
   *
   * @returns their answers, in the order in which they came.
   * @throws an error that says why there is no connection.
   */
  ask?(question: string, forMs: number): Promise<readonly string[]>
}

/** A shared store: registers, their stream and their identity, with a name and an end. */
export interface SharedStore extends SharedRegisters, SharedStream, SharedIdentity, SharedInquiries {
  /** For events and error messages: `'embedded'`, `'redis'`. */
  readonly name: string
  /** The most bytes of UTF-8 that the text of a value may have. A larger one is not offered to the store. Left out: no bound. */
  readonly maxValueBytes?: number
  /**
   * How many keys of a keyspace one call should ask for, at least 1, so that its answer comes in time. A larger `getMany` is
   * read in pieces, one after the other. Left out: any number.
   */
  keysAtOnce?(keyspace: string): number
  /**
   * Tells the store that a cache uses it. A store that opens connections keeps them for as long as any cache does, and
   * opens them again for the next one. A store may do without: then only {@link SharedStore.close} ends it.
   *
   * @returns to be called when the cache is closed; idempotent.
   */
  retain?(): () => void
  /**
   * Ends the connections that the store itself opened, even if caches still use it. Every listener is interrupted, and no
   * later call is confirmed. Those caches then read the origin and keep nothing. Idempotent.
   */
  close(): Promise<void>
}
