import type { CacheEvent, FeedWarningCode } from './base/events.ts'
import { messageOf } from './base/thrown.ts'
import type { WarningCode, Warnings } from './base/warnings.ts'
import { HAPPENED } from './feed/change-feed.ts'

type Tell<Type extends CacheEvent['type']> = (
  warnings: Warnings,
  event: CacheEvent & { readonly type: Type },
  isQueueEmpty: () => boolean,
) => void

/** Warnings of a feed that have a code of their own. */
const FEED_CODES: { readonly [Code in FeedWarningCode]?: WarningCode } = {
  KEY_TYPE: 'FEED_KEY_TYPE',
  UNKNOWN_KEYSPACE: 'UNKNOWN_KEYSPACE',
}

/** The codes that end when the feed does not find their cause any more. */
const FEED_FINDINGS = ['FEED_WARNING', 'FEED_KEY_TYPE'] as const

/** The events that an operator has to know of, and their words. Many reads or fills with the same trouble are one cause. */
const TELL: { readonly [Type in CacheEvent['type']]?: Tell<Type> } = {
  shared(warnings, { state, error }) {
    if (state === 'available') warnings.end('SHARED_UNAVAILABLE', '', `the shared store is available again`)
    else
      warnings.begin('SHARED_UNAVAILABLE', '', {
        message: `the shared store is unavailable, reads go to the origin${because(error)}`,
        error,
      })
  },

  stream(warnings, { state, reason }) {
    if (state === 'proven')
      warnings.end('STREAM_UNPROVEN', '', `the broadcasts of the shared store arrive again`)
    if (state === 'unheard')
      warnings.begin('STREAM_UNPROVEN', '', {
        message: `no broadcast of the shared store arrives, and without them L1 is not used: ${reason}`,
      })
  },

  fill(warnings, { outcome, keyspace, key, error, bytes }) {
    if (outcome === 'unencodable')
      warnings.once('UNKEPT', keyspace, {
        message: `a value of ${keyspace} cannot be kept, and every read of it goes to the origin, for example ${key}${because(error)}`,
        error,
      })
    if (outcome === 'too-large')
      warnings.once('LARGE_VALUE', keyspace, {
        message: `a value of ${keyspace} is larger than the shared store takes (maxValueBytes), and every read of it goes to the origin, for example ${key} with ${bytes} bytes`,
      })
    if (outcome === 'accepted') warnings.end('SHARED_FULL', '', `the shared store has room again`)
  },

  load(warnings, { outcome, keyspace }) {
    if (outcome === 'loaded') warnings.end('LOADS_FAIL', keyspace, `loads of ${keyspace} succeed again`)
  },

  refresh(warnings, { outcome, keyspace, error }) {
    if (outcome === 'failed') warnOfLoads(warnings, keyspace, error)
  },

  invalidation: warnOfQueue,
  'keyspace-invalidation': warnOfQueue,

  unreadable(warnings, { keyspace, reason, key, error }) {
    warnings.once('UNREADABLE', `${keyspace} ${reason}`, {
      message: `a stored value of ${keyspace} cannot be read (${reason}) and is loaded again, for example ${key}${because(error)}`,
      error,
    })
  },

  verified(warnings, { outcome, keyspace, key, staleMs }) {
    if (outcome === 'stale')
      warnings.begin('STALE_FOUND', keyspace, {
        message: `a stale value of ${keyspace} was found: ${key}, for ${Math.round(staleMs)} ms at least`,
        instance: key,
      })
    else if (outcome !== 'skipped')
      warnings.end(
        'STALE_FOUND',
        keyspace,
        `the stale value of ${keyspace} that was found last is not stale any more: ${key}`,
        key,
      )
  },

  undeclared(warnings, { keyspace, key, tables, unwatched }) {
    const read = [...tables, ...unwatched].join(', ')
    warnings.once('UNDECLARED', `${keyspace} ${read}`, {
      message: `values of ${keyspace} depend on ${read}, and no change there invalidates them, for example ${key}`,
    })
  },

  fault(warnings, { during, error }) {
    const message = `${during} failed${because(error)}`
    warnings.begin('FAULT', during, { message, error })
  },

  mended(warnings, { of, what }) {
    if (of === 'fault') warnings.end('FAULT', what, `${what} works again`)
    else
      for (const code of FEED_FINDINGS)
        warnings.end(code, what, `the change feed does not find this any more: ${what}`)
  },

  feed(warnings, { state, error }) {
    if (state === 'open') {
      if (!warnings.end('FEED_LOST', '', 'the change feed is open again'))
        warnings.each('FEED_OPEN', { message: 'the change feed is open' })
    } else
      warnings.begin('FEED_LOST', '', {
        message: `the change feed is lost, and changes by other programs do not reach the cache${because(error)}`,
        error,
      })
  },

  'feed-warning'(warnings, { message, code }) {
    // What has happened may happen again.
    if (HAPPENED.has(code)) warnings.each('FEED_WARNING', { message }, message)
    else warnings.begin(FEED_CODES[code] ?? 'FEED_WARNING', message, { message })
  },

  'feed-distrust'(warnings, { keyspaces, reason }) {
    const message = `all cached values of ${keyspaces.join(', ')} are invalid now: ${reason}`
    warnings.each('FEED_DISTRUST', { message })
  },
}

function warnOfQueue(
  warnings: Warnings,
  { outcome, keyspace }: CacheEvent & { readonly type: 'invalidation' | 'keyspace-invalidation' },
  isQueueEmpty: () => boolean,
): void {
  if (outcome === 'queued' || outcome === 'collapsed')
    warnings.begin('INVALIDATIONS_QUEUED', '', {
      message: `an invalidation of ${keyspace} is not applied yet and is tried again; until it is, other processes may find old values`,
    })
  else if (outcome === 'late' && isQueueEmpty())
    warnings.end('INVALIDATIONS_QUEUED', '', 'all invalidations are applied')
}

/**
 * Warns of an event, or of its end, if an operator has to know of it.
 *
 * @param isQueueEmpty - Whether every invalidation has been applied.
 */
export function warnOf(warnings: Warnings, event: CacheEvent, isQueueEmpty: () => boolean): void {
  const tell = TELL[event.type] as Tell<CacheEvent['type']> | undefined
  tell?.(warnings, event, isQueueEmpty)
}

/** Warns of why the shared store is unavailable, where nobody knew when it became so. */
export function warnOfReason(warnings: Warnings, error: unknown): void {
  warnings.more('SHARED_UNAVAILABLE', '', {
    message: `the shared store is still unavailable${because(error)}`,
    error,
  })
}

/** Warns that loads fail. No caller gets an error, because an old value is served in their place. */
export function warnOfLoads(warnings: Warnings, keyspace: string, error: unknown): void {
  warnings.begin('LOADS_FAIL', keyspace, {
    message: `loads of ${keyspace} fail, and old values are served meanwhile${because(error)}`,
    error,
  })
}

const because = (error: unknown): string => (error === undefined ? '' : `: ${messageOf(error)}`)
