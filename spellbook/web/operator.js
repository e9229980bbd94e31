// What is open to those who look after this Spellbook: with ADMIN_TOKEN, if one is set.

const KEPT_AS = 'operator-token'
/** @type {Set<() => void>} */
const waiting = new Set()

/**
 * Keeps a token, until the browser's tab is closed.
 *
 * @param {string} token
 */
export function keepToken(token) {
  sessionStorage.setItem(KEPT_AS, token)
  for (const wake of waiting) wake()
}

/**
 * Resolves when another token was given, or the signal aborts.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function nextToken(signal) {
  return new Promise(resolve => {
    const wake = () => {
      waiting.delete(wake)
      resolve()
    }
    waiting.add(wake)
    signal.addEventListener('abort', wake, { once: true })
  })
}

/**
 * As `fetch`, with the token, if there is one. An answer of 401 says that it is needed, or is another.
 *
 * @param {string} path
 * @param {RequestInit} [options]
 */
export function operatorFetch(path, options = {}) {
  const token = sessionStorage.getItem(KEPT_AS)
  const headers = new Headers(options.headers)
  if (token !== null) headers.set('authorization', `Bearer ${token}`)
  return fetch(path, { ...options, headers, cache: 'no-store' })
}
