// A race as it is looked at: which one, how far, and whether it goes on by itself.
import { playRace, races } from '/race/engine.js'
import { addressOf, placeIn } from './place.js'

/** @typedef {import('/race/engine.js').Outcome} Outcome */

/** How long a step is shown when the race goes on by itself. */
export const SPEEDS = { slow: 4000, normal: 2200, quick: 1000 }

export class Player {
  /** @type {import('/race/engine.js').Race} */
  race
  step
  /** What each side came to; empty while it is played. @type {readonly Outcome[]} */
  outcomes = []
  /** Why it could not be played. @type {string | undefined} */
  trouble
  /** @type {keyof typeof SPEEDS} */
  speed = 'normal'
  /** Which side is shown where there is no room for both. @type {import('/race/engine.js').SideName} */
  side = 'plain'
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  #changed

  /**
   * @param {string} search - Of the page's address.
   * @param {() => void} changed - Called when something else is to be shown.
   * @param {AbortSignal} signal
   */
  constructor(search, changed, signal) {
    const place = placeIn(search, races)
    this.race = /** @type {import('/race/engine.js').Race} */ (races.find(({ name }) => name === place.race))
    this.step = place.step
    this.#changed = changed
    signal.addEventListener('abort', () => this.pause())
  }

  get last() {
    return this.race.beats.length
  }

  get isPlaying() {
    return this.#timer !== undefined
  }

  get address() {
    return addressOf({ race: this.race.name, step: this.step })
  }

  /** Plays the race on both sides, to its end. */
  async load() {
    try {
      this.outcomes = await Promise.all([playRace(this.race.name, 'plain'), playRace(this.race.name, 'ours')])
    } catch (error) {
      this.trouble = String(error)
    }
    this.#changed()
  }

  /** Shows a step, and stays there. @param {number} step */
  goTo(step) {
    this.pause()
    this.#show(step)
  }

  /** Shows this side where there is no room for both. @param {import('/race/engine.js').SideName} side */
  look(side) {
    this.side = side
    this.#changed()
  }

  play() {
    if (this.step === this.last) this.#show(1)
    this.#goOn()
    this.#changed()
  }

  pause() {
    clearTimeout(this.#timer)
    if (this.#timer === undefined) return
    this.#timer = undefined
    this.#changed()
  }

  #goOn() {
    this.#timer = setTimeout(() => {
      this.#show(this.step + 1)
      if (this.step < this.last) this.#goOn()
      else this.pause()
    }, SPEEDS[this.speed])
  }

  /** @param {number} step */
  #show(step) {
    const next = Math.min(Math.max(step, 1), this.last)
    if (next === this.step) return
    this.step = next
    this.#changed()
  }
}
