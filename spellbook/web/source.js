// Where an answer came from, read out of its headers and put into words. See src/cache-status.ts for what the headers mean.

/**
 * @typedef {import('cacheaside').From} From
 * @typedef {import('cacheaside').Why | 'off'} Why
 */

/**
 * Where an answer came from, and why.
 *
 * @typedef {object} Source
 * @property {From} from
 * @property {Why} why
 * @property {boolean} kept - Whether the answer is in the cache now, as far as is known.
 * @property {boolean} joined - Whether it waited for the load of another reader.
 * @property {number | undefined} ttlS - For how long it stays fresh.
 * @property {{ totalMs: number, sharedMs: number, loadMs: number }} timings - What the server needed for it.
 */

/** What readers are told of each reason. The subject is the answer. */
export const REASONS = /** @type {const} @satisfies {Record<Why, string>} */ ({
  fresh: 'It was kept there by an earlier read and is still fresh. The database was not asked.',
  stale: 'It has just expired. It is served once more while it is read again in the background.',
  'stale-error': 'The database was in trouble, so the last known value was served.',
  missing: 'Nothing was in the cache yet, so the database was asked.',
  expired: 'What was in the cache had expired, so the database was asked.',
  generation: 'The cache has been flushed, so the database was asked.',
  tag: 'Something that it shows has changed since it was cached. So the old value was not used and the database was asked.',
  names: 'What was in the cache was stored by a process that names other tags, so the database was asked.',
  shape: 'What was in the cache has another format, so the database was asked.',
  version: 'What was in the cache was stored by another version, so the database was asked.',
  unreadable: 'What was in the cache could not be read, so the database was asked.',
  busy: 'Another reader was loading it for too long, so the database was asked directly. Nothing was stored.',
  guarded:
    'It was just being changed, so the cache was bypassed. Nothing was stored: that is how no old value stays behind.',
  queued: 'The cache has yet to be told of a change, so it was bypassed. Nothing was stored.',
  'in-doubt':
    'It is not known whether a change was committed, so the cache was bypassed. Nothing was stored.',
  full: 'The cache had no room, so it was bypassed. Nothing was stored.',
  'too-large':
    'What was in the cache is too large to be read from there, so the database was asked. Nothing was stored.',
  snapshot: 'It was read together with others as of one moment. Nothing was stored.',
  unavailable: 'The cache did not answer in time, so it was bypassed. Nothing was stored.',
  off: 'There is no cache here.',
})

/**
 * The reasons for which a read bypasses the cache: it asks the database, and keeps nothing.
 *
 * @type {ReadonlySet<Why>}
 */
export const BYPASSES = new Set([
  'busy',
  'guarded',
  'queued',
  'in-doubt',
  'full',
  'too-large',
  'snapshot',
  'unavailable',
])

/** The short name of each place that answers. */
export const PLACES = /** @type {const} @satisfies {Record<From, string>} */ ({
  local: 'L1, in this process',
  shared: 'the cache',
  origin: 'the database',
})

/** @param {string} text */
function isWhy(text) {
  return Object.hasOwn(REASONS, text)
}

/**
 * What `Cache-Status` and `Server-Timing` say of a read; `undefined` of a change, and of an error without a read.
 *
 * @param {string} method
 * @param {Headers} headers
 * @returns {Source | undefined}
 */
export function sourceOf(method, headers) {
  const status = headers.get('cache-status')
  if (status === null || method !== 'GET') return undefined
  const [, ...parts] = status.split(';').map(part => part.trim())
  const fields = new Map(parts.map(part => /** @type {[string, string]} */ (split(part))))
  const detail = fields.get('detail') ?? ''
  const ttl = fields.get('ttl')
  const isHit = fields.has('hit')
  if (!isHit && !fields.has('fwd')) return undefined
  const from = isHit ? (detail === 'local' ? 'local' : 'shared') : 'origin'
  const unsaid = isHit ? 'fresh' : fields.get('fwd') === 'stale' ? 'expired' : 'missing'
  return {
    from,
    why: /** @type {Why} */ (isWhy(detail) ? detail : unsaid),
    kept: isHit || fields.has('stored'),
    joined: fields.has('collapsed'),
    ttlS: ttl === undefined ? undefined : Number(ttl),
    timings: timingsOf(headers.get('server-timing') ?? ''),
  }
}

/** @param {string} part */
function split(part) {
  const at = part.indexOf('=')
  return at === -1 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)]
}

/** @param {string} text */
function timingsOf(text) {
  const of = name => Number(new RegExp(`\\b${name};dur=([\\d.]+)`).exec(text)?.[1] ?? 0)
  return { totalMs: of('total'), sharedMs: of('cache'), loadMs: of('database') }
}

/**
 * Where an answer came from, as the beginning of a sentence.
 *
 * @param {Source} source
 */
export function headlineOf({ from, joined, why }) {
  if (from === 'local') return 'From L1, the memory of the process'
  if (from === 'shared') return 'From the cache'
  if (joined) return 'From the database, by the load of another reader'
  return BYPASSES.has(why) ? 'From the database, around the cache' : 'From the database'
}

/**
 * Why, in sentences that a newcomer understands.
 *
 * @param {Source} source
 */
export function explain({ from, why, kept, joined, ttlS }) {
  /** @type {string[]} */
  const sentences = [REASONS[why]]
  if (joined)
    sentences.push('Another reader was already loading it, so the database was asked once for both.')
  if (from === 'origin' && kept) sentences.push('It is kept now: the next reader gets it from the cache.')
  if (from !== 'origin' && ttlS !== undefined && ttlS > 0)
    sentences.push(`It stays fresh for ${duration(ttlS)}.`)
  return sentences.join(' ')
}

/**
 * @param {number} seconds
 */
function duration(seconds) {
  if (seconds < 90) return `${seconds} s`
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

/**
 * A time for people: three digits at most.
 *
 * @param {number} ms
 */
export function time(ms) {
  if (ms < 0.0005) return '0 ms'
  if (ms < 1) return `${Number(ms.toPrecision(2))} ms`
  if (ms < 100) return `${ms.toFixed(1)} ms`
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}
