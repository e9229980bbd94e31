/**
 * The views, in the order of their links. To add one: a module under `views` that exports `show`, its styles under `styles`, a line
 * here, its path in `src/web-page.ts`.
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
 * @property {readonly string[]} styles - Files of its own under `styles`, without `.css`.
 * @property {() => Promise<{ show: Show }>} load
 */

/** @type {readonly View[]} */
export const VIEWS = [
  {
    path: '/',
    name: 'Spellbook',
    icon: 'book',
    styles: ['spellbook', 'answer'],
    load: () => import('./views/spellbook.js'),
  },
  {
    path: '/path',
    name: 'Path of a read',
    icon: 'path',
    styles: ['path', 'lanes'],
    load: () => import('./views/path.js'),
  },
  {
    path: '/race',
    name: 'Play the race',
    icon: 'race',
    styles: ['race'],
    load: () => import('./views/race.js'),
  },
  {
    path: '/laboratory',
    name: 'Laboratory',
    icon: 'laboratory',
    styles: ['race', 'answer', 'laboratory'],
    load: () => import('./views/laboratory.js'),
  },
]
