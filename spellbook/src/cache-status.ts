import type { Fields } from './http/prepared-head.ts'
import type { Answer, Written } from './spells.ts'

/** Where an answer came from, in one word for people. */
export const origin = (answer: Answer<unknown>): 'cache' | 'database' =>
  answer.from === 'origin' ? 'database' : 'cache'

/**
 * Says how the cache handled a read, for example `spellbook; hit; ttl=599; detail=local`, or
 * `spellbook; fwd=miss; stored; ttl=600`. `fwd` means that the database was asked: `bypass` without a cache, `stale`
 * because what was there had expired, `miss` otherwise; then `detail` says why, unless nothing was there at all.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9211
 */
export function cacheStatus(answer: Answer<unknown>): string {
  const parts = ['spellbook']
  let detail: string = answer.why
  if (answer.from !== 'origin') {
    parts.push('hit')
    if (answer.why === 'fresh') detail = answer.from
  } else if (answer.why === 'off') {
    parts.push('fwd=bypass')
  } else {
    parts.push(answer.why === 'expired' ? 'fwd=stale' : 'fwd=miss')
    if (answer.kept) parts.push('stored')
    if (answer.joined) parts.push('collapsed')
  }
  if (answer.ttlMs !== undefined) parts.push(`ttl=${Math.floor(answer.ttlMs / 1000)}`)
  if (detail !== 'missing') parts.push(`detail=${detail}`)
  return parts.join('; ')
}

/**
 * Says what a change did to the cache, for example `spellbook; fwd=method; detail=invalidated`. Every change goes to the
 * database. `queued`: the cache could not be told yet, and is not used for the changed rows until it has been. `unchanged`:
 * there was nothing to change, and what is cached stays.
 */
export function writeStatus({ invalidation }: Pick<Written<unknown>, 'invalidation'>): string {
  if (invalidation === 'off') return 'spellbook; fwd=bypass; detail=off'
  return `spellbook; fwd=method; detail=${WRITE_DETAILS[invalidation]}`
}

const WRITE_DETAILS = { applied: 'invalidated', queued: 'queued', none: 'unchanged' } as const

/**
 * Of an error, for example `spellbook; detail=not-asked`. It says neither `hit` nor `fwd`: no answer came either way.
 *
 * @param detail - Why there is none, as a token.
 */
export const errorStatus = (detail: string): string => `spellbook; detail=${detail}`

/**
 * How many seconds ago the cached value was loaded; `undefined` if the answer does not come from the cache. @see
 * https://www.rfc-editor.org/rfc/rfc9111#section-5.1
 */
export const ageS = ({ from, ageMs }: Answer<unknown>): number | undefined =>
  from === 'origin' || ageMs === undefined ? undefined : Math.floor(ageMs / 1000)

/**
 * Says how long a read or a change took, and how much of that the cache and the database did.
 *
 * @see https://www.w3.org/TR/server-timing/
 */
export function serverTiming({
  timings: { totalMs, sharedMs, loadMs },
}: Pick<Answer<unknown>, 'timings'>): string {
  return `${totalTiming(totalMs)}, cache;dur=${fixed(sharedMs)}, database;dur=${fixed(loadMs)}`
}

/** To the microsecond. For a hit two of three numbers are zero, and writing one takes as long as the hit. */
const fixed = (ms: number): string => (ms === 0 ? '0.000' : ms.toFixed(3))

/** The timing of an answer of which only the total is known. */
export const totalTiming = (totalMs: number): string => `total;dur=${totalMs.toFixed(3)}`

/** The header fields that tell the client where an answer came from. */
export function sourceFields(read: Answer<unknown>): Fields {
  const fields = ['cache-status', cacheStatus(read), 'server-timing', serverTiming(read)]
  const age = ageS(read)
  if (age !== undefined) fields.push('age', String(age))
  return fields
}
