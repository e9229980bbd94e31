// The laboratory as the page talks to it.
import { nextToken, operatorFetch } from '../operator.js'

/** How often it is asked how things stand. */
const EVERY_MS = 500
/** So many answers are kept for the chart. */
const KEPT = 80

/**
 * What was asked between two answers.
 *
 * @typedef {object} Moment
 * @property {number} reads
 * @property {number} fromDatabase
 * @property {number} failed
 */

export class LabClient {
  /** @type {import('../../src/laboratory/laboratory.js').LaboratoryState | undefined} */
  state
  /** Why there is none. @type {{ status: number, detail: string } | undefined} */
  closed
  /** What the last change was refused for. */
  trouble = ''
  /** @type {readonly Moment[]} */
  moments = []
  #changed
  #signal

  /**
   * @param {() => void} changed
   * @param {AbortSignal} signal
   */
  constructor(changed, signal) {
    this.#changed = changed
    this.#signal = signal
  }

  /** Asks again and again, while somebody looks. */
  async watch() {
    while (!this.#signal.aborted) {
      if (!document.hidden) await this.#ask('state')
      // Another token may open it; nothing else does, for as long as this Spellbook runs.
      if (this.closed?.status === 401) await nextToken(this.#signal)
      else if (this.closed !== undefined) return
      else await new Promise(resolve => setTimeout(resolve, EVERY_MS))
    }
  }

  /** @param {Record<string, unknown>} change */
  set(change) {
    return this.#tell('settings', change)
  }

  reset() {
    this.moments = []
    return this.#tell('reset', {})
  }

  /** @param {Record<string, unknown>} experiment */
  begin(experiment) {
    return this.#tell('experiments', experiment)
  }

  /** @param {string} path @param {Record<string, unknown>} body */
  async #tell(path, body) {
    this.trouble = ''
    await this.#ask(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  }

  /** @param {string} path @param {RequestInit} [options] */
  async #ask(path, options) {
    try {
      const response = await operatorFetch(`/laboratory/${path}`, { ...options, signal: this.#signal })
      const body = await response.json()
      if (response.ok) this.#take(body)
      else if (options === undefined || response.status === 401)
        this.closed = { status: response.status, ...body }
      else this.trouble = body.detail
    } catch (error) {
      if (this.#signal.aborted) return
      this.trouble = `There was no answer: ${error}`
    }
    this.#changed()
  }

  #take(state) {
    const before = this.state?.counts
    this.closed = undefined
    this.state = state
    if (before === undefined) return
    const since = name => Math.max(0, state.counts[name] - before[name])
    const moment = { reads: since('reads'), fromDatabase: since('fromDatabase'), failed: since('failed') }
    this.moments = [...this.moments, moment].slice(-KEPT)
  }
}
