import { html, svg } from '/lib/lit-html/lit-html.js'

/** The pictures of the views, on a field of 24 by 24. */
const ICONS = {
  path: svg`<circle cx="5" cy="6" r="2" /><circle cx="12" cy="12" r="2" /><circle cx="19" cy="18" r="2" />
    <path d="M6.6 7.3 10.4 10.7M13.6 13.3 17.4 16.7" />`,
  book: svg`<path d="M5 4.5A1.5 1.5 0 0 1 6.5 3H19v15H6.5A1.5 1.5 0 0 0 5 19.5zM5 19.5A1.5 1.5 0 0 0 6.5 21H19v-3" />
    <path d="m12 6.5 1 2.2 2.2 1-2.2 1-1 2.3-1-2.3-2.2-1 2.2-1z" />`,
  laboratory: svg`<path d="M9 3h6M10 3v6l-5.5 9.5A1.7 1.7 0 0 0 6 21h12a1.7 1.7 0 0 0 1.5-2.5L14 9V3M7.5 15h9" />`,
  race: svg`<path d="M6 3v18M18 3v18M6 8h10M13 5l3 3-3 3M18 16H8M11 13l-3 3 3 3" />`,
}

/**
 * The links to the views.
 *
 * @param {readonly import('./views.js').View[]} views
 * @param {import('./views.js').View} current
 */
export const linksTo = (views, current) =>
  views.map(
    view => html`<a href=${view.path} aria-current=${view === current ? 'page' : 'false'}>
      <svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[view.icon]}</svg>${view.name}</a
    >`,
  )
