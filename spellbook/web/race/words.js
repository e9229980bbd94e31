// What the races say in words: for people who read them, and for those who hear them.

/** @typedef {import('/race/engine.js').Entry} Entry */
/** @typedef {import('/race/engine.js').Outcome} Outcome */
/** @typedef {import('/race/engine.js').State} State */
/** @typedef {import('/race/engine.js').SideName} SideName */

/** The sides, in the order in which they are shown. @type {readonly SideName[]} */
export const SIDES = ['plain', 'ours']

/** @type {Readonly<Record<SideName, string>>} */
export const SIDE_NAMES = { plain: 'Plain cache-aside', ours: 'cacheaside' }

/**
 * What a lifeline is called.
 *
 * @param {string} lifeline
 * @param {string} writer - What the writer of this race is called.
 */
export const nameOf = (lifeline, writer) =>
  lifeline === 'writer' ? writer : lifeline[0]?.toUpperCase() + lifeline.slice(1)

/**
 * One thing that has happened, in a line.
 *
 * @param {Entry} entry
 * @param {string} writer
 */
export function lineOf({ at, to, text, tone }, writer) {
  if (tone === 'waited') return text[0]?.toUpperCase() + text.slice(1)
  if (to === undefined) return `${nameOf(at, writer)}: ${text}`
  return `${nameOf(at, writer)} to ${nameOf(to, writer).toLowerCase()}: ${text}`
}

/**
 * What the cache holds, in a word.
 *
 * @param {State} state
 */
export const heldText = ({ cache }) => (cache.holds === 'value' ? `v${cache.version}` : cache.holds)

/** @param {number | undefined} version */
export const versionText = version => (version === undefined ? '–' : `v${version}`)

/**
 * A time as people say it.
 *
 * @param {number} ms
 */
function durationText(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 1000)} seconds`
  return `${Math.round(ms / 60_000)} minutes`
}

/** @param {number} ms */
export const momentText = ms => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`)

/**
 * What has happened on one side in one step, as it is said aloud.
 *
 * @param {Outcome} outcome
 * @param {number} beat
 * @param {string} writer
 */
export function spokenBeat({ side, entries }, beat, writer) {
  const lines = entries.filter(entry => entry.beat === beat).map(entry => lineOf(entry, writer))
  return `${SIDE_NAMES[side]}: ${lines.length === 0 ? 'nothing happens' : lines.join('; ')}.`
}

/**
 * What one side came to, in sentences.
 *
 * @param {Outcome} outcome
 */
export function verdictOf({ now, later, staleMs, ended }) {
  const isWrong = answer => answer.version !== answer.right
  const got = answer => (answer.version === undefined ? 'no answer' : `version ${answer.version}`)
  const sentences = []
  if (isWrong(now) && isWrong(later))
    sentences.push(
      `A reader got ${got(now)} where version ${now.right} was committed, and ${got(later)} a minute later.`,
    )
  else if (isWrong(now)) sentences.push(`A reader got ${got(now)} where version ${now.right} was committed.`)
  else sentences.push(`A reader got ${got(now)}, and ${got(later)} a minute later.`)
  if (staleMs === 0) sentences.push('At no moment did the cache hold an old value.')
  else if (ended) sentences.push(`The cache held an old value for ${durationText(staleMs)}.`)
  else sentences.push('The cache still holds an old value.')
  return sentences
}

/**
 * Whether a reader was given an old value at the end.
 *
 * @param {Outcome} outcome
 */
export const wentWrong = ({ now, later }) => now.version !== now.right || later.version !== later.right
