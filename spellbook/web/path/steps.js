// The six steps of a read, as README.md and cacheaside/src/read.ts tell them, and what a read did at each.
import { BYPASSES, PLACES, REASONS, time } from '../source.js'

/**
 * @typedef {Omit<import('../../src/live/wire.ts').Lane, 'why'> & { why?: import('../source.js').Why }} Lane
 * @typedef {'passed' | 'answered' | 'skipped' | 'done' | 'refused' | 'open'} State
 */

/** The steps, and what each does. */
export const STEPS = /** @type {const} */ ([
  ['Local', 'Is a fresh entry in L1, the memory of this process?'],
  ['Join', 'Does another reader already read this key? Then wait for that flight.'],
  ['Shared', 'Ask the shared store in one round trip: found, leased, busy or guarded.'],
  ['Load', 'Call the loader once: it asks the database.'],
  ['Fill', 'Offer the value to the shared store, with the token of the lease. It may be refused.'],
  ['Keep', 'Keep it in L1 until it expires or an invalidation is heard.'],
])

/** What became of a loaded value. */
const FILLS = /** @type {const} @satisfies {Record<NonNullable<Lane['fill']>, string>} */ ({
  accepted: 'the cache took it',
  refused:
    'the cache refused it, because the lease was gone: the key was invalidated meanwhile. So no old value stays behind',
  unconfirmed: 'the cache did not answer',
  unencodable: 'it cannot be stored as text',
  alias: 'it belongs under another id',
  'too-large': 'it is larger than the cache takes',
  'too-many-tags': 'it has too many tags',
  untagged: 'its tags could not be told',
  'late-tags': 'its tags were not known before the load',
})

/** What the shared store said, by why the database was asked. */
const SHARED = /** @type {Readonly<Record<string, string>>} */ ({
  missing: 'nothing there, so a lease was given',
  expired: 'expired, so the right to renew it was given',
  generation: 'flushed, so a lease was given',
  tag: 'a tag of it has changed, so a lease was given',
  busy: 'another reader holds the lease',
  guarded: 'a writer is at work',
  full: 'no room',
  'too-large': 'too large to be read from there',
  unavailable: 'no answer',
})

/** How a read that was not answered ended. */
const ENDS = /** @type {Readonly<Record<string, string>>} */ ({
  failed: 'The load failed. Its error went to the caller, and nothing was kept.',
  'timed-out': 'The load took too long and was given up.',
  aborted: 'The caller did not wait for the answer.',
  overloaded: 'Too many loads were running, so it was refused at once.',
})

/**
 * Whether a read bypassed the cache.
 *
 * @param {Lane} lane
 */
export const isBypass = ({ why }) => why !== undefined && BYPASSES.has(why)

/**
 * What kind of read it was, as a name for colours and a word for people.
 *
 * @param {Lane} lane
 * @returns {[string, string]}
 */
export function kindOf(lane) {
  if (lane.outcome !== 'answered') return ['bad', lane.outcome.replace('-', ' ')]
  if (lane.fill === 'refused') return ['bad', 'fill refused']
  if (lane.from === 'local') return ['local', 'hit in L1']
  if (lane.from === 'shared') return ['shared', 'hit']
  if (isBypass(lane)) return ['bypass', 'bypass']
  return ['origin', lane.joined ? 'miss, joined' : 'miss']
}

/**
 * Why a read went as it went, in sentences.
 *
 * @param {Lane} lane
 */
export function reasonOf(lane) {
  const { outcome, why, from, joined, fill, tag, absent } = lane
  if (outcome !== 'answered' || why === undefined || from === undefined) return ENDS[outcome] ?? ''
  /** @type {string[]} */
  const sentences = [`From ${PLACES[from]}. ${REASONS[why]}`]
  if (tag !== undefined) sentences.push(`The tag was ${tag}.`)
  if (joined)
    sentences.push('It waited for the flight of another reader: the database was asked once for both.')
  if (absent) sentences.push('There is no such row, and that is remembered too.')
  if (fill !== undefined && fill !== 'accepted') sentences.push(`Its value was not stored: ${FILLS[fill]}.`)
  return sentences.join(' ')
}

/**
 * What a read did at each of the six steps.
 *
 * @param {Lane} lane
 * @param {boolean} hasLocal - Whether there is an L1.
 * @returns {{ state: State, text: string }[]}
 */
export function stepsOf(lane, hasLocal) {
  const { from, why = '', joined, sharedMs = 0, loadMs = 0, totalMs, outcome } = lane
  const skipped = /** @type {const} */ ({ state: 'skipped', text: 'not needed' })
  const noLocal = {
    state: /** @type {State} */ ('passed'),
    text: hasLocal ? 'not there' : 'there is no L1 here',
  }
  if (from === 'local')
    return [{ state: 'answered', text: 'there' }, skipped, skipped, skipped, skipped, skipped]
  if (joined)
    return [
      noLocal,
      { state: 'answered', text: `waited ${time(totalMs)} for another reader` },
      skipped,
      skipped,
      skipped,
      skipped,
    ]
  const alone = { state: /** @type {State} */ ('passed'), text: 'no other reader' }
  if (outcome !== 'answered')
    return [
      noLocal,
      alone,
      { state: 'open', text: '' },
      { state: 'refused', text: ENDS[outcome] ?? '' },
      skipped,
      skipped,
    ]
  const keep = {
    state: /** @type {State} */ (hasLocal ? 'done' : 'skipped'),
    text: hasLocal ? 'kept' : 'there is no L1 here',
  }
  if (from === 'shared')
    return [
      noLocal,
      alone,
      { state: 'answered', text: `found in ${time(sharedMs)}` },
      skipped,
      skipped,
      why === 'fresh' ? keep : skipped,
    ]
  const asked = {
    state: /** @type {State} */ ('passed'),
    text: `${SHARED[why] ?? 'not usable'}, ${time(sharedMs)}`,
  }
  const loaded = { state: /** @type {State} */ ('answered'), text: `the database took ${time(loadMs)}` }
  const fill = fillOf(lane)
  return [noLocal, alone, asked, loaded, fill, fill.state === 'done' ? keep : skipped]
}

/**
 * @param {Lane} lane
 * @returns {{ state: State, text: string }}
 */
function fillOf(lane) {
  const { fill, fillMs = 0 } = lane
  if (isBypass(lane) || lane.why === 'off') return { state: 'skipped', text: 'not offered' }
  if (fill === undefined) return { state: 'open', text: 'not known yet' }
  return { state: fill === 'accepted' ? 'done' : 'refused', text: `${FILLS[fill]}, ${time(fillMs)}` }
}
