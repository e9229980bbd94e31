/**
 * The right to load and fill one key: how a read sees it, how a claim is asked for, and how an unused right is given back.
 * `ask.ts` asks for a lease together with what is there.
 */
import type { Why } from './base/events.ts'
import type { Opened } from './shared/codec.ts'
import { claimPrefix, leaseText, type ValueRegister } from './shared/register.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import type { CacheParts, Space } from './space.ts'

/** The right to load and fill is ours. */
export interface Leased<V> {
  readonly kind: 'leased'
  readonly why: Why
  readonly tag?: string | undefined
  /** Read before the load begins; the fill is stamped with it. */
  readonly generation: string
  /** What the register begins with as long as the right is ours. */
  readonly prefix: string
  /** Set when it is a claim to refresh a value that stays readable. */
  readonly claim?: { readonly nonce: string; readonly token: string }
  readonly fallback?: Fallback<V> | undefined
}

/** An expired value that may be served if the load fails. */
export interface Fallback<V> {
  readonly register: ValueRegister
  readonly opened: Opened<V>
}

/** The outcome of step 3 of a read (`ask.ts`): what the shared store says of a key. */
export type Asked<V> =
  | {
      readonly kind: 'found'
      readonly register: ValueRegister
      readonly opened: Opened<V>
      readonly why: 'fresh' | 'stale'
      readonly refresh: boolean
      /** When the reply was judged, by the clock's `nowMs`. */
      readonly atMs: number
    }
  | Leased<V>
  | {
      readonly kind: 'bypass'
      readonly why: Why
      readonly tag?: string | undefined
      readonly fallback?: Fallback<V> | undefined
    }

/**
 * Claims the refresh of a value, which stays readable meanwhile. A claim that is not confirmed in time is given back.
 *
 * @returns `'busy'` if another process refreshes the value, or the value is no longer the one that was seen.
 */
export async function claimRefresh<Id, V>(
  space: Space<Id, V>,
  key: string,
  { nonce, generation }: ValueRegister,
  { fallback, limitMs }: { fallback?: Fallback<V> | undefined; limitMs?: number },
): Promise<Leased<V> | 'busy' | typeof UNCONFIRMED> {
  const { access, clock, options } = space.parts
  const token = clock.token()
  const leased: Leased<V> = {
    kind: 'leased',
    why: 'expired',
    generation,
    prefix: claimPrefix(nonce, token),
    claim: { nonce, token },
    fallback,
  }
  const claimed = await access.run(
    () => access.store.claim(key, nonce, token, options.leaseMs),
    limitMs,
    late => late && giveBack(space, key, leased),
  )
  if (claimed === UNCONFIRMED) giveBack(space, key, leased)
  if (claimed === true) return leased
  return claimed === false ? 'busy' : UNCONFIRMED
}

/** Whether a value that is still fresh is refreshed now. Drawn at random at every hit. */
export function refreshesAhead<Id, V>(
  { options, parts }: Space<Id, V>,
  { costMs }: Pick<ValueRegister, 'costMs'>,
  freshMs: number,
): boolean {
  if (options.refreshAhead === undefined) return false
  return costMs * options.refreshAhead * -Math.log(1 - parts.clock.random()) >= freshMs
}

/** Gives back a lease or a claim that will not be filled. It compares first, so it may come late or twice. */
export function giveBack<Id, V>(
  space: Space<Id, V>,
  key: string,
  asked: Leased<V> | { readonly kind: 'bypass' },
): void {
  if (asked.kind !== 'leased') return
  const { access, background } = space.parts
  const { claim, prefix } = asked
  background(
    access
      .run(async () => {
        if (claim === undefined) await access.store.drop(key, { prefix })
        else await access.store.claim(key, claim.nonce, claim.token, 0)
      })
      .then(() => {}),
  )
}

/** Gives back a lease that may have been granted, if one was asked for. */
export function dropLease({ access, background }: CacheParts, key: string, token: string | undefined): void {
  if (token === undefined) return
  background(access.run(() => access.store.drop(key, { prefix: leaseText(token) })).then(() => {}))
}
