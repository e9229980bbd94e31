import { repeat } from '/lib/lit-html/directives/repeat.js'
import { html, nothing, svg } from '/lib/lit-html/lit-html.js'
import { time } from '../source.js'
import { kindOf, reasonOf, STEPS, stepsOf } from './steps.js'

/** @typedef {import('./steps.js').Lane} Lane */

/**
 * The last reads, to be opened one by one.
 *
 * @param {readonly Lane[]} lanes - The newest first.
 * @param {boolean} hasLocal
 */
export const laneList = (lanes, hasLocal) => html`<ol class="lanes" reversed>
  ${repeat(
    lanes,
    ({ number }) => number,
    lane => html`<li>
      <details>
        <summary>
          <span class="tag ${kindOf(lane)[0]}">${kindOf(lane)[1]}</span>
          <span class="mono lane-key">${lane.key}</span>
          ${bar(lane)}
          <span class="number">${lane.from === 'local' ? 'at once' : time(lane.totalMs)}</span>
        </summary>
        ${opened(lane, hasLocal)}
      </details>
    </li>`,
  )}
</ol>`

/** The time of a read as a bar: 0.1 ms is short, a second is all of it. What the cache took, the database, and the rest. @param {Lane} lane */
function bar({ totalMs, sharedMs = 0, loadMs = 0 }) {
  const length = Math.min(100, Math.max(3, (Math.log10(Math.max(totalMs, 0.01)) + 1) * 25))
  const share = ms => (totalMs === 0 ? 0 : Math.min(1, ms / totalMs) * length)
  const [shared, load] = [share(sharedMs), share(loadMs)]
  return svg`<svg class="lane-bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rest" width=${length} height="8" rx="1" />
    <rect class="shared" width=${shared} height="8" />
    <rect class="origin" x=${shared} width=${Math.min(load, length - shared)} height="8" />
  </svg>`
}

/** @param {Lane} lane @param {boolean} hasLocal */
function opened(lane, hasLocal) {
  const steps = stepsOf(lane, hasLocal)
  return html`<div class="lane">
    <p>${reasonOf(lane)}</p>
    <ol class="lane-steps">
      ${STEPS.map(
        ([name], i) => html`<li class=${steps[i]?.state ?? ''}>
          <strong>${i + 1} ${name}</strong> <span>${steps[i]?.text ?? nothing}</span>
        </li>`,
      )}
    </ol>
  </div>`
}
