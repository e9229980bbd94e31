/**
 * The views, in the order of their links. To add one: a module under `views` that exports `show`, a line here, its path in
 * `src/web-page.ts`, its styles in `index.html`.
 */

/**
 * Draws a view into an element, which is removed when the visitor leaves.
 *
 * @callback Show
 * @param {HTMLElement} host
 * @param {AbortSignal} signal - Aborts when the visitor leaves: then nothing of the view may go on.
 * @returns {void}
 */

/**
 * @typedef {object} View
 * @property {string} path
 * @property {string} name
 * @property {string} icon - What `shell-links.js` calls its picture.
 * @property {() => Promise<{ show: Show }>} load
 */

/** @type {readonly View[]} */
export const VIEWS = [
  { path: '/', name: 'Spellbook', icon: 'book', load: () => import('./views/spellbook.js') },
  { path: '/race', name: 'Play the race', icon: 'race', load: () => import('./views/race.js') },
]
