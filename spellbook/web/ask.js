import { sourceOf } from './source.js'

/**
 * An answer of the server, or that none came.
 *
 * @typedef {object} Answer
 * @property {number} number - Counts the answers of this page.
 * @property {string} method
 * @property {string} path
 * @property {number} status - 0: no answer came.
 * @property {boolean} ok
 * @property {any} value - The parsed body; `undefined` if there is none.
 * @property {Headers} headers
 * @property {number} ms - How long this browser waited.
 * @property {import('./source.js').Source | undefined} source - Where it came from; `undefined` if nothing was read.
 * @property {string} trouble - What went wrong, for people; empty if nothing did.
 * @property {boolean} follows - Whether it was asked for by the page itself, after something that the visitor did.
 */

/** So many answers are remembered for views that are opened later. */
const REMEMBERED = 50

/**
 * The last answers, the newest first.
 *
 * @type {Answer[]}
 */
export const recentAnswers = []

let count = 0
/** @type {Set<(answer: Answer) => void>} */
const listeners = new Set()

/**
 * Hears of every answer, until the signal aborts.
 *
 * @param {(answer: Answer) => void} listener
 * @param {AbortSignal} signal
 */
export function onAnswer(listener, signal) {
  listeners.add(listener)
  signal.addEventListener('abort', () => listeners.delete(listener))
}

/**
 * Sends a request. It never throws.
 *
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {boolean} [follows] - See {@link Answer}.
 * @returns {Promise<Answer>}
 */
export async function ask(method, path, body, follows = false) {
  const began = performance.now()
  /** @type {RequestInit} */
  const options = { method, cache: 'no-store' }
  if (body !== undefined) {
    options.body = JSON.stringify(body)
    options.headers = { 'content-type': 'application/json' }
  }
  const number = ++count
  /** @type {Answer} */
  let answer
  try {
    const response = await fetch(path, options)
    const { ok, status, headers } = response
    const text = await response.text()
    const ms = performance.now() - began
    const value = text === '' ? undefined : JSON.parse(text)
    const trouble = ok ? '' : troubleOf(status, value)
    answer = {
      number,
      method,
      path,
      status,
      ok,
      value,
      headers,
      ms,
      source: sourceOf(method, headers),
      trouble,
      follows,
    }
  } catch (error) {
    const ms = performance.now() - began
    const trouble = `No answer: ${error instanceof Error ? error.message : error}`
    const nothing = { value: undefined, headers: new Headers(), source: undefined }
    answer = { number, method, path, status: 0, ok: false, ms, trouble, follows, ...nothing }
  }
  recentAnswers.unshift(answer)
  recentAnswers.length = Math.min(recentAnswers.length, REMEMBERED)
  for (const listener of listeners) listener(answer)
  return answer
}

/**
 * What a problem says, and of which part.
 *
 * @param {number} status
 * @param {any} problem
 */
function troubleOf(status, problem) {
  const flaws = (problem?.errors ?? []).map(flaw => `${flaw.pointer ?? flaw.parameter} ${flaw.detail}`)
  return [problem?.detail ?? `The answer was ${status}.`, ...flaws].join(' ')
}
