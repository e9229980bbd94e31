import { onAnswer, recentAnswers } from '../ask.js'

/** @typedef {import('./steps.js').Lane} Lane */

/**
 * A read of this page as a lane, from the headers of its answer. For visitors who may not watch what others read.
 *
 * @param {import('../ask.js').Answer} answer
 * @returns {Lane | undefined}
 */
function laneOf({ number, path, source }) {
  if (source === undefined) return undefined
  const { from, why, joined, kept, timings } = source
  /** @type {Lane} */
  const lane = {
    number,
    atMs: Date.now(),
    key: path,
    outcome: 'answered',
    from,
    why,
    ...timings,
    ...(joined ? { joined } : {}),
    ...(kept && from === 'origin' && !joined ? { fill: 'accepted' } : {}),
  }
  return lane
}

/**
 * The reads of this page, the newest first.
 *
 * @param {(lane: Lane) => void} heard - Called with each that is added.
 * @param {AbortSignal} signal
 * @returns {Lane[]}
 */
export function ownLanes(heard, signal) {
  const lanes = recentAnswers.map(laneOf).filter(lane => lane !== undefined)
  onAnswer(answer => {
    const lane = laneOf(answer)
    if (lane === undefined) return
    lanes.unshift(lane)
    lanes.length = Math.min(lanes.length, 50)
    heard(lane)
  }, signal)
  return lanes
}
