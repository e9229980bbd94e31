/**
 * How a register looks: one string per key, readable in `redis-cli`, its first character the state.
 *
 * ```
 * V nonce(16) claim-token(16) claim-deadline(13) generation(16) shape(6) filled-at(13) soft-expiry(13) cost(8) kind(1) space, then the encoded value
 * L token(16)
 * S token(16)
 * W dirty(1) then per writer, at most 64: token(16) deadline(13); for all others together: *(16) deadline(13)
 * ```
 *
 * A nonce and the token of a lease or a stamp begin with a version character and the mark of their key (`key-mark.ts`).
 *
 * All fields have a fixed width, so that a script can compare a prefix and overwrite a field in place. Times are
 * whole milliseconds since 1970 by the store's clock. Blank fields are filled with `-`.
 *
 * **Kinds.** The kind of a value is `=`, or `0` for the mark of an absent row, which has no text. A value that was loaded
 * under tags is of the kind `#`, or `~` for an absent row. Its tags come after the space, and then the encoded value:
 *
 * ```
 * count(2) then per tag, at least 1 and at most 64: length of its name(3) name token(16) generation of its keyspace(16)
 * ```
 *
 * Lengths are in UTF-16 units, as JavaScript counts. An earlier version sees these two kinds as those of a later one.
 *
 * **Versions.** The second character of every register is its version: `.` in values, leases and stamps, and `0` or `1`, the
 * dirty flag, in guards. A text that begins with one of the four letters and cannot be read is of a later version. A reader
 * never replaces such a register, and nothing ever replaces a guard of a later version. A later layout of a guard keeps the
 * third character for the older versions: they set it to `1` where they cannot join, and that means *dirty*. See
 * docs/decisions/0009-registers-know-their-version-and-their-key.md.
 */
import { TOKEN_LENGTH } from '../base/clock.ts'
import { detached } from '../base/detached.ts'
import { type Mark, markAt, versionAt } from './key-mark.ts'
import type { Fill, Stamp } from './shared-store.ts'

/** What a register's string says. */
export type Register =
  | ValueRegister
  | LeaseRegister
  | StampRegister
  | GuardRegister
  | LaterRegister
  | UnreadableRegister

/** A stored value. */
export interface ValueRegister {
  readonly state: 'value'
  /** Random per store, so that a comparison never mistakes a later value for this one. */
  readonly nonce: string
  /** Until when somebody's refresh has the claim; 0 when nobody has. */
  readonly claimUntilMs: number
  readonly generation: string
  readonly shape: number
  readonly filledAtMs: number
  readonly softExpiryMs: number
  readonly costMs: number
  /** The tags that it was loaded under, as they stood before the load. Empty where there are none. */
  readonly tags: readonly Stamp[]
  /** The encoded value; `undefined` is the mark of an absent row. */
  readonly text: string | undefined
}
/** One reader is loading. */
export interface LeaseRegister {
  readonly state: 'lease'
  readonly token: string
}
/** A tag stands: values that hold this token were loaded since its last invalidation. */
export interface StampRegister {
  readonly state: 'stamp'
  readonly token: string
}
/** Writers are at work. */
export interface GuardRegister {
  readonly state: 'guard'
  /** Whether anybody besides one writer was here: then nothing may be written through. Never cleared. */
  readonly dirty: boolean
  /** Empty where there are more than this version writes: then they are not told apart, and it stands for its life. */
  readonly holders: readonly Holder[]
}
/** A writer in a guard. */
export interface Holder {
  readonly token: string
  readonly deadlineMs: number
}
/** Begins as a register does, and cannot be read: a later version of this library has written it. */
export interface LaterRegister {
  readonly state: 'later'
  readonly of: 'value' | 'lease' | 'stamp' | 'guard'
}
/** Nothing of ours. */
export interface UnreadableRegister {
  readonly state: 'unreadable'
}

/** A field of fixed width: where it begins and how long it is, in characters. */
export interface Field {
  readonly at: number
  readonly length: number
}

/** Fields of these lengths, one after the other. */
function fields<Name extends string>(first: number, lengths: Record<Name, number>): Record<Name, Field> {
  const placed: Partial<Record<Name, Field>> = {}
  let at = first
  for (const name in lengths) {
    placed[name] = { at, length: lengths[name] }
    at += lengths[name]
  }
  return placed as Record<Name, Field>
}

const TIME_LENGTH = 13

/**
 * Where everything stands in a register: the one place that says so. `parseRegister` and the functions that make
 * registers read it, and the scripts of a store on a server are built from it.
 */
export const LAYOUT = {
  /** The first characters. */
  letters: { value: 'V', lease: 'L', stamp: 'S', guard: 'W' },
  timeLength: TIME_LENGTH,
  value: fields(1, {
    nonce: TOKEN_LENGTH,
    claimToken: TOKEN_LENGTH,
    claimUntil: TIME_LENGTH,
    generation: TOKEN_LENGTH,
    shape: 6,
    filledAt: TIME_LENGTH,
    softExpiry: TIME_LENGTH,
    cost: 8,
    kind: 1,
    space: 1,
  }),
  lease: fields(1, { token: TOKEN_LENGTH }),
  stamp: fields(1, { token: TOKEN_LENGTH }),
  /** `laterDirty` lies in a guard of a later version, and stands for `dirty` there. */
  guard: { dirty: { at: 1, length: 1 }, laterDirty: { at: 2, length: 1 } },
  /** One writer in a guard, counted from where it begins. The first begins after the guard's own fields. */
  holder: fields(0, { token: TOKEN_LENGTH, deadline: TIME_LENGTH }),
} as const

const end = ({ at, length }: Field): number => at + length

/** Where the first writer of a guard begins. */
export const HOLDERS_AT = end(LAYOUT.guard.dirty)
/** How many characters a writer takes. */
export const HOLDER_LENGTH = end(LAYOUT.holder.deadline)

/**
 * How many writers a guard lists. A writer that comes when there are so many is not listed, and shares one deadline with all
 * others of its kind, under the token {@link MERGED}. So the work on a guard is bounded, however many writers a key has.
 */
export const MAX_HOLDERS = 64
/** Stands for the writers that are not listed. No token has such characters. */
export const MERGED = '*'.repeat(TOKEN_LENGTH)
/** The longest guard that this version writes. A longer one is not read. */
export const MAX_GUARD_LENGTH = HOLDERS_AT + (MAX_HOLDERS + 1) * HOLDER_LENGTH

const SHAPE_LENGTH = LAYOUT.value.shape.length
const COST_LENGTH = LAYOUT.value.cost.length
const CLAIM_AT = LAYOUT.value.claimToken.at
const CLAIM_UNTIL_AT = LAYOUT.value.claimUntil.at
const GENERATION_AT = LAYOUT.value.generation.at
const SHAPE_AT = LAYOUT.value.shape.at
const FILLED_AT = LAYOUT.value.filledAt.at
const SOFT_EXPIRY_AT = LAYOUT.value.softExpiry.at
const COST_AT = LAYOUT.value.cost.at
const KIND_AT = LAYOUT.value.kind.at
const TEXT_AT = end(LAYOUT.value.space)

/** The fields of a claim where there is none. */
export const NO_CLAIM = '-'.repeat(TOKEN_LENGTH + TIME_LENGTH)
const NO_TIME = '-'.repeat(TIME_LENGTH)
const KIND_VALUE = '='
const KIND_ABSENT = '0'
const KIND_TAGGED_VALUE = '#'
const KIND_TAGGED_ABSENT = '~'

/** How many tags a value has at most. */
export const MAX_TAGS = 64
/** How long the name of a tag is at most, in UTF-16 units. */
export const MAX_TAG_LENGTH = 512
const TAG_COUNT_LENGTH = 2
const TAG_LENGTH_LENGTH = 3
/** The tags of a value that has none. */
const NO_TAGS: readonly Stamp[] = Object.freeze([])

/** The largest shape version that fits its field. */
export const MAX_SHAPE = 10 ** SHAPE_LENGTH - 1

const digits = (value: number, length: number): string => String(Math.round(value)).padStart(length, '0')

/** A time or amount from a fixed-width field; `NaN` if it holds anything but digits. */
function number(text: string, at: number, length: number): number {
  let value = 0
  for (let i = at; i < at + length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (!(digit >= 0 && digit <= 9)) return Number.NaN
    value = value * 10 + digit
  }
  return value
}

const UNREADABLE: UnreadableRegister = { state: 'unreadable' }
const LATER_VALUE: LaterRegister = { state: 'later', of: 'value' }
const LATER_LEASE: LaterRegister = { state: 'later', of: 'lease' }
const LATER_STAMP: LaterRegister = { state: 'later', of: 'stamp' }
const LATER_GUARD: LaterRegister = { state: 'later', of: 'guard' }

/**
 * Reads a register's string. A text that begins with another letter is unreadable. One that begins with one of ours, and has
 * not exactly its form, is of a later version. Never throws.
 */
export function parseRegister(text: string): Register {
  switch (text[0]) {
    case 'V':
      return parseValue(text)
    case 'L':
      return text.length === end(LAYOUT.lease.token) && versionAt(text, LAYOUT.lease.token.at) !== 'later'
        ? { state: 'lease', token: text.slice(LAYOUT.lease.token.at) }
        : LATER_LEASE
    case 'S':
      return text.length === end(LAYOUT.stamp.token) && versionAt(text, LAYOUT.stamp.token.at) !== 'later'
        ? { state: 'stamp', token: text.slice(LAYOUT.stamp.token.at) }
        : LATER_STAMP
    case 'W':
      return parseGuard(text)
    default:
      return UNREADABLE
  }
}

function parseValue(text: string): Register {
  const kind = text[KIND_AT]
  if (text.length < TEXT_AT || text[KIND_AT + 1] !== ' ') return LATER_VALUE
  if (versionAt(text, LAYOUT.value.nonce.at) === 'later') return LATER_VALUE
  let tags = NO_TAGS
  let textAt = TEXT_AT
  if (kind !== KIND_VALUE && !(kind === KIND_ABSENT && text.length === TEXT_AT)) {
    const section = parseTags(text, kind)
    if (section === undefined) return LATER_VALUE
    tags = section.tags
    textAt = section.endsAt
  }
  const unclaimed = text.startsWith(NO_TIME, CLAIM_UNTIL_AT)
  const register: ValueRegister = {
    state: 'value',
    nonce: text.slice(1, CLAIM_AT),
    claimUntilMs: unclaimed ? 0 : number(text, CLAIM_UNTIL_AT, TIME_LENGTH),
    generation: text.slice(GENERATION_AT, SHAPE_AT),
    shape: number(text, SHAPE_AT, SHAPE_LENGTH),
    filledAtMs: number(text, FILLED_AT, TIME_LENGTH),
    softExpiryMs: number(text, SOFT_EXPIRY_AT, TIME_LENGTH),
    costMs: number(text, COST_AT, COST_LENGTH),
    tags,
    text: kind === KIND_ABSENT || kind === KIND_TAGGED_ABSENT ? undefined : text.slice(textAt),
  }
  const sum =
    register.claimUntilMs + register.shape + register.filledAtMs + register.softExpiryMs + register.costMs
  return Number.isNaN(sum) ? LATER_VALUE : register
}

/** The tags of a value and where its text begins; `undefined` if it has not exactly the form of this version. */
function parseTags(
  text: string,
  kind: string | undefined,
): { readonly tags: readonly Stamp[]; readonly endsAt: number } | undefined {
  if (kind !== KIND_TAGGED_VALUE && kind !== KIND_TAGGED_ABSENT) return undefined
  const count = number(text, TEXT_AT, TAG_COUNT_LENGTH)
  if (!(count >= 1 && count <= MAX_TAGS)) return undefined
  const tags: Stamp[] = []
  let at = TEXT_AT + TAG_COUNT_LENGTH
  for (let i = 0; i < count; i++) {
    const length = number(text, at, TAG_LENGTH_LENGTH)
    if (!(length >= 1 && length <= MAX_TAG_LENGTH)) return undefined
    const nameAt = at + TAG_LENGTH_LENGTH
    const tokenAt = nameAt + length
    const generationAt = tokenAt + TOKEN_LENGTH
    at = generationAt + TOKEN_LENGTH
    if (at > text.length || versionAt(text, tokenAt) === 'later') return undefined
    tags.push({
      // Names are remembered for longer than the register.
      name: detached(text.slice(nameAt, tokenAt)),
      token: text.slice(tokenAt, generationAt),
      generation: text.slice(generationAt, at),
    })
  }
  if (kind === KIND_TAGGED_ABSENT && at !== text.length) return undefined
  return { tags, endsAt: at }
}

function parseGuard(text: string): Register {
  const dirty = text[1]
  if (dirty !== '0' && dirty !== '1') return LATER_GUARD
  // Written by an older version, which listed all writers, or by somebody else. It is not read: a long text must not take
  // long.
  if (text.length > MAX_GUARD_LENGTH) return { state: 'guard', dirty: true, holders: [] }
  if ((text.length - HOLDERS_AT) % HOLDER_LENGTH !== 0) return LATER_GUARD
  const holders: Holder[] = []
  for (let at = HOLDERS_AT; at < text.length; at += HOLDER_LENGTH) {
    const deadlineMs = number(text, at + TOKEN_LENGTH, TIME_LENGTH)
    if (Number.isNaN(deadlineMs)) return LATER_GUARD
    holders.push({ token: text.slice(at, at + TOKEN_LENGTH), deadlineMs })
  }
  return holders.length === 0 ? LATER_GUARD : { state: 'guard', dirty: dirty === '1', holders }
}

/** Whether a register's own text tells its key. Guards do not. */
export const isMarked = (register: Register): register is ValueRegister | LeaseRegister | StampRegister =>
  register.state === 'value' || register.state === 'lease' || register.state === 'stamp'

/** Which key a value, a lease or a stamp belongs to, by its own text. */
export function markOf(register: ValueRegister | LeaseRegister | StampRegister, key: string): Mark {
  return markAt(register.state === 'value' ? register.nonce : register.token, 0, key)
}

/**
 * The string of a value stored at `nowMs`.
 *
 * @param nonce - A `markedToken` of its key.
 * @throws RangeError for more than {@link MAX_TAGS} tags, or one without a name or with one that is too long.
 */
export function valueText(nonce: string, value: Fill, nowMs: number): string {
  const { tags, text } = value
  const isTagged = tags !== undefined && tags.length > 0
  return (
    'V' +
    nonce +
    NO_CLAIM +
    value.generation +
    digits(value.shape, SHAPE_LENGTH) +
    digits(nowMs, TIME_LENGTH) +
    digits(nowMs + value.freshMs, TIME_LENGTH) +
    digits(Math.min(value.costMs, 10 ** COST_LENGTH - 1), COST_LENGTH) +
    (isTagged ? taggedKind(text) : text === undefined ? KIND_ABSENT : KIND_VALUE) +
    ' ' +
    (isTagged ? tagsText(tags) : '') +
    (text ?? '')
  )
}

const taggedKind = (text: string | undefined): string =>
  text === undefined ? KIND_TAGGED_ABSENT : KIND_TAGGED_VALUE

/** The tags of a value, as they stand before its text. */
function tagsText(tags: readonly Stamp[]): string {
  if (tags.length > MAX_TAGS)
    throw new RangeError(`a value has ${tags.length} tags, which is more than ${MAX_TAGS}`)
  let text = digits(tags.length, TAG_COUNT_LENGTH)
  for (const { name, token, generation } of tags) {
    if (name.length < 1 || name.length > MAX_TAG_LENGTH)
      throw new RangeError(`the name of a tag has ${name.length} characters, not 1 to ${MAX_TAG_LENGTH}`)
    text += digits(name.length, TAG_LENGTH_LENGTH) + name + token + generation
  }
  return text
}

/**
 * The string of a value in two parts, without its two times: what comes before them and what after, for a store that
 * stamps them by a clock of its own.
 */
export function valueAroundTimes(nonce: string, value: Fill): readonly [before: string, after: string] {
  const text = valueText(nonce, value, 0)
  return [text.slice(0, FILLED_AT), text.slice(COST_AT)]
}

/** The string of a lease. */
export const leaseText = (token: string): string => 'L' + token

/**
 * The string of a stamp.
 *
 * @param token - A `markedToken` of the tag's name. Version and mark leave it about 60 random bits: it only has to differ
 *   from earlier stamps of the same name.
 */
export const stampText = (token: string): string => 'S' + token

/** The string of a guard. */
export function guardText(dirty: boolean, holders: readonly Holder[]): string {
  let text = dirty ? 'W1' : 'W0'
  for (const { token, deadlineMs } of holders) text += token + digits(deadlineMs, TIME_LENGTH)
  return text
}

/**
 * The string of a later version's guard, once an older version has been there: dirty, and otherwise unchanged. One that is
 * too short for the flag stays as it is.
 */
export function laterGuardText(text: string): string {
  const isOurs = text[1] === '0' || text[1] === '1'
  const { at } = isOurs ? LAYOUT.guard.dirty : LAYOUT.guard.laterDirty
  return text.length > at ? `${text.slice(0, at)}1${text.slice(at + 1)}` : text
}

/** What a value's string begins with: enough to recognise this value and no other, claimed or not. */
export const valuePrefix = (nonce: string): string => 'V' + nonce

/** What the string of a value begins with while `token` has the claim to refresh it. */
export const claimPrefix = (nonce: string, token: string): string => 'V' + nonce + token

/** The same value's string with the claim of `token` until `untilMs`, or with none. */
export function withClaim(text: string, claim: { token: string; untilMs: number } | undefined): string {
  const field = claim === undefined ? NO_CLAIM : claim.token + digits(claim.untilMs, TIME_LENGTH)
  return text.slice(0, CLAIM_AT) + field + text.slice(GENERATION_AT)
}
