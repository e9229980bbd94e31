import type { Answer } from './spells.ts'

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
 * Says how long a read took, and how much of that the cache and the database did.
 *
 * @see https://www.w3.org/TR/server-timing/
 */
export function serverTiming({ timings: { totalMs, sharedMs, loadMs } }: Answer<unknown>): string {
  const parts = [
    ['total', totalMs],
    ['cache', sharedMs],
    ['database', loadMs],
  ] as const
  return parts.map(([name, durationMs]) => `${name};dur=${durationMs.toFixed(3)}`).join(', ')
}
