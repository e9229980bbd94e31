// Where in a race one is: in the address of the page, so that it can be sent to somebody.

/**
 * @typedef {object} Place
 * @property {string} race
 * @property {number} step - From 1 on.
 */

/**
 * The place that an address names. What it names wrongly is the beginning.
 *
 * @param {string} search
 * @param {readonly import('/race/engine.js').Race[]} races
 * @returns {Place}
 */
export function placeIn(search, races) {
  const parameters = new URLSearchParams(search)
  const race = races.find(({ name }) => name === parameters.get('play')) ?? races[0]
  if (race === undefined) throw new Error('there are no races')
  const step = /^\d{1,3}$/.test(parameters.get('step') ?? '') ? Number(parameters.get('step')) : 1
  return { race: race.name, step: Math.min(Math.max(step, 1), race.beats.length) }
}

/** @param {Place} place */
export const addressOf = ({ race, step }) => `/race?play=${race}${step === 1 ? '' : `&step=${step}`}`
