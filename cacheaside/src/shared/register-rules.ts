/**
 * What each operation does to a register: the rules of {@link SharedRegisters} as pure functions. They take what is there,
 * and give the answer and what is there afterwards. The embedded store is these rules over a map; the scripts of the store on
 * Redis do the same on the server, and a property test holds them against these.
 *
 * Each rule is given the register's text, `undefined` for an absent one, and the store's own time.
 */
import {
  claimPrefix,
  type GuardRegister,
  guardText,
  HOLDERS_AT,
  type Holder,
  laterGuardText,
  leaseText,
  MAX_HOLDERS,
  MERGED,
  parseRegister,
  stampText,
  valueText,
  withClaim,
} from './register.ts'
import type { Expected, Fill, GuardReply, ReleaseReply } from './shared-store.ts'

/** What there is under a key. */
export type RegisterText = string | undefined

/** What becomes of a register. */
export type Change =
  /** It stays as it is. */
  | { readonly to: 'same' }
  | { readonly to: 'absent' }
  /** A value, a lease or a stamp, until then. It needs room, which a store may not have. */
  | { readonly to: 'stored'; readonly text: string; readonly untilMs: number }
  /** A guard, until then. It is taken beyond every bound. */
  | { readonly to: 'guarded'; readonly text: string; readonly untilMs: number }
  /** A text of the same length, in place: its life stays as it is. */
  | { readonly to: 'changed'; readonly text: string }

/** What an operation answers, and what it makes of the register. */
export interface Step<Reply> {
  readonly reply: Reply
  readonly change: Change
  /** What replaces both if the store has no room for what is to be stored. */
  readonly withoutRoom?: Step<Reply>
}

/** A value to be stored, and the nonce it is given: a `markedToken` of its key. */
export interface NewValue {
  readonly fill: Fill
  /** Makes the nonce. Called once, and only if the value is stored. */
  readonly nonce: () => string
}

const SAME: Change = { to: 'same' }
const ABSENT: Change = { to: 'absent' }
const REJECTED: Step<boolean> = { reply: false, change: SAME }

/** The lease of {@link SharedRegisters.lease}, where the register is absent. Anything else is answered, and stays. */
export const leased = (token: string, leaseMs: number, nowMs: number): Change => ({
  to: 'stored',
  text: leaseText(token),
  untilMs: nowMs + leaseMs,
})

/** The stamp of {@link SharedRegisters.stampMany}, where the register is absent. Anything else is answered, and stays. */
export const stamped = (token: string, lifeMs: number, nowMs: number): Change => ({
  to: 'stored',
  text: stampText(token),
  untilMs: nowMs + lifeMs,
})

/**
 * {@link SharedRegisters.renewStamp}.
 *
 * @param lifeUntilMs - When the register's life ends. Left out: it may end at any time.
 */
export function stampRenewed(
  text: RegisterText,
  token: string,
  lifeMs: number,
  nowMs: number,
  lifeUntilMs = 0,
): Step<boolean> {
  const stamp = stampText(token)
  if (text !== stamp) return REJECTED
  const untilMs = nowMs + lifeMs
  if (lifeUntilMs >= untilMs) return { reply: true, change: SAME }
  return { reply: true, change: { to: 'stored', text: stamp, untilMs }, withoutRoom: REJECTED }
}

/** {@link SharedRegisters.fill}. */
export function filled(text: RegisterText, prefix: string, value: NewValue, nowMs: number): Step<boolean> {
  if (!stands(text, { prefix })) return REJECTED
  return { reply: true, change: stored(value, nowMs), withoutRoom: REJECTED }
}

/** {@link SharedRegisters.swap}. */
export function swapped(
  text: RegisterText,
  seen: Expected,
  token: string,
  leaseMs: number,
  nowMs: number,
): Step<boolean> {
  if (!stands(text, seen)) return REJECTED
  return { reply: true, change: leased(token, leaseMs, nowMs), withoutRoom: REJECTED }
}

/** {@link SharedRegisters.drop}. */
export const dropped = (text: RegisterText, seen: Expected): Step<boolean> =>
  stands(text, seen) ? { reply: true, change: ABSENT } : REJECTED

/** {@link SharedRegisters.claim}. */
export function claimed(
  text: RegisterText,
  nonce: string,
  token: string,
  claimMs: number,
  nowMs: number,
): Step<boolean> {
  const register = text === undefined ? undefined : parseRegister(text)
  if (text === undefined || register?.state !== 'value' || register.nonce !== nonce) return REJECTED
  const own = text.startsWith(claimPrefix(nonce, token))
  if (claimMs === 0)
    return own ? { reply: true, change: { to: 'changed', text: withClaim(text, undefined) } } : REJECTED
  if (!own && register.claimUntilMs > nowMs) return REJECTED
  const claim = { token, untilMs: nowMs + claimMs }
  return { reply: true, change: { to: 'changed', text: withClaim(text, claim) } }
}

/**
 * {@link SharedRegisters.guard}.
 *
 * @param lifeUntilMs - When the register's life ends, which is asked of a guard that is longer than this version writes.
 *   Left out: `guardMs` from now.
 */
export function guarded(
  text: RegisterText,
  token: string,
  guardMs: number,
  renewal: boolean,
  nowMs: number,
  lifeUntilMs = nowMs + guardMs,
): Step<GuardReply> {
  const later = ofLaterVersion(text)
  if (later !== undefined) return { reply: 'barred', change: later }
  const standing = guardOf(text)
  const isTooLong = standing?.holders.length === 0
  const holders = isTooLong ? [{ token: MERGED, deadlineMs: lifeUntilMs }] : (standing?.holders ?? [])
  const others = holders.filter(holder => holder.token !== token)
  const found = others.length < holders.length
  const joins = standing !== undefined && !found
  // A token that is not found at its renewal was evicted, released or expired while its writer worked. Somebody may have read
  // and filled in between, so this guard has not seen everything either.
  const dirty = standing?.dirty === true || joins || (renewal && !found)
  const change = guard(dirty, withHolder(others, { token, deadlineMs: nowMs + guardMs }))
  if (found) return { reply: 'renewed', change }
  return { reply: renewal ? 'rejoined' : 'new', change }
}

/** A guard's holders with one more, or with the later deadline for those who are not listed. */
function withHolder(others: readonly Holder[], own: Holder): readonly Holder[] {
  const listed = others.filter(({ token }) => token !== MERGED)
  const merged = others.filter(({ token }) => token === MERGED)
  if (listed.length < MAX_HOLDERS) return [...listed, ...merged, own]
  const deadlineMs = Math.max(own.deadlineMs, ...merged.map(holder => holder.deadlineMs))
  return [...listed, { token: MERGED, deadlineMs }]
}

/** {@link SharedRegisters.release}. */
export function released(
  text: RegisterText,
  token: string,
  committed: NewValue | undefined,
  nowMs: number,
): Step<ReleaseReply> {
  const later = ofLaterVersion(text)
  if (later !== undefined) return { reply: { held: false, stored: false }, change: later }
  const standing = guardOf(text)
  if (standing === undefined) return { reply: { held: false, stored: false }, change: ABSENT }
  // Its holders are not known: it stands until its life ends.
  if (standing.holders.length === 0)
    return { reply: { held: false, stored: false }, change: invalidated(text) }
  // Being in the guard is what counts, not the deadline: as long as the register stood, nobody could fill.
  const held = standing.holders.some(holder => holder.token === token)
  const left = standing.holders.filter(holder => holder.token !== token && holder.deadlineMs > nowMs)
  if (left.length > 0) return { reply: { held, stored: false }, change: guard(true, left) }
  const gone: Step<ReleaseReply> = { reply: { held, stored: false }, change: ABSENT }
  if (committed === undefined || !held || standing.dirty) return gone
  return { reply: { held, stored: true }, change: stored(committed, nowMs), withoutRoom: gone }
}

/** {@link SharedRegisters.invalidate}. */
export function invalidated(text: RegisterText): Change {
  const later = ofLaterVersion(text)
  if (later !== undefined) return later
  const standing = guardOf(text)
  if (standing === undefined) return ABSENT
  return { to: 'changed', text: guardText(true, []) + text!.slice(HOLDERS_AT) }
}

function stands(text: RegisterText, seen: Expected): boolean {
  if (text === undefined) return false
  if ('prefix' in seen) return text.startsWith(seen.prefix)
  if (text !== seen.exactly) return false
  // A value is recognised by its nonce. A text that only looks like a register is one of a later version.
  const { state } = parseRegister(text)
  return state === 'unreadable' || state === 'lease' || state === 'stamp'
}

/**
 * What becomes of a guard of a later version, for every operation: it stays, for its writers, and becomes dirty, because
 * somebody else was there. `undefined` for any other register.
 */
function ofLaterVersion(text: RegisterText): Change | undefined {
  const register = text === undefined ? undefined : parseRegister(text)
  if (text === undefined || register?.state !== 'later' || register.of !== 'guard') return undefined
  return { to: 'changed', text: laterGuardText(text) }
}

function guardOf(text: RegisterText): GuardRegister | undefined {
  const register = text === undefined ? undefined : parseRegister(text)
  return register?.state === 'guard' ? register : undefined
}

const guard = (dirty: boolean, holders: readonly Holder[]): Change => ({
  to: 'guarded',
  text: guardText(dirty, holders),
  untilMs: Math.max(...holders.map(({ deadlineMs }) => deadlineMs)),
})

const stored = ({ fill, nonce }: NewValue, nowMs: number): Change => ({
  to: 'stored',
  text: valueText(nonce(), fill, nowMs),
  untilMs: nowMs + fill.freshMs + fill.staleMs,
})
