// The shell: shows one view at a time and moves between them without loading the page again.
import { render } from '/lib/lit-html/lit-html.js'
import { linksTo } from './shell-links.js'
import { VIEWS } from './views.js'

/** @typedef {import('./views.js').View} View */

const NAME = 'Spellbook'
const place = /** @type {HTMLElement} */ (document.getElementById('view'))
const links = /** @type {HTMLElement} */ (document.getElementById('views'))

/** Ends the view that is shown: its listeners, timers and requests. */
let leaving = new AbortController()

/** @returns {View} */
const viewAt = path => VIEWS.find(view => view.path === path) ?? /** @type {View} */ (VIEWS[0])

/**
 * Loads the styles of a view, once. Without them it is shown all the same.
 *
 * @param {string} name
 * @returns {Promise<void>}
 */
function style(name) {
  const href = `/styles/${name}.css`
  if (document.querySelector(`link[href="${href}"]`) !== null) return Promise.resolve()
  const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href })
  document.head.append(link)
  return new Promise(resolve => {
    link.onload = link.onerror = () => resolve()
  })
}

/** @param {View} view */
async function show(view) {
  leaving.abort()
  leaving = new AbortController()
  const { signal } = leaving
  document.title = view.name === NAME ? NAME : `${view.name} – ${NAME}`
  render(linksTo(VIEWS, view), links)
  const [{ show }] = await Promise.all([view.load(), ...view.styles.map(style)])
  // The visitor may have gone on while it was loaded.
  if (signal.aborted) return
  const host = document.createElement('div')
  place.replaceChildren(host)
  show(host, signal)
}

/** @param {MouseEvent} event */
function follow(event) {
  const link = event.target instanceof Element ? event.target.closest('a') : null
  if (link === null || link.origin !== location.origin || link.hash !== '' || link.target !== '') return
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
  const view = VIEWS.find(({ path }) => path === link.pathname)
  if (!isPlain || view === undefined) return
  event.preventDefault()
  if (link.pathname !== location.pathname) history.pushState(null, '', link.pathname)
  scrollTo(0, 0)
  // Where a page that is loaded begins, also for a screen reader.
  place.focus({ preventScroll: true })
  show(view)
}

document.addEventListener('click', follow)
addEventListener('popstate', () => show(viewAt(location.pathname)))
show(viewAt(location.pathname))
