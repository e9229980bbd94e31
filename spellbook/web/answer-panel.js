import { repeat } from '/lib/lit-html/directives/repeat.js'
import { html, nothing, svg } from '/lib/lit-html/lit-html.js'
import { explain, headlineOf, time } from './source.js'

/** @typedef {import('./ask.js').Answer} Answer */

/** How far along the trail an answer came from. */
const REACH = { local: 1, shared: 2, origin: 3 }
const STATIONS = /** @type {const} */ ([
  ['you', 'You', 30],
  ['local', 'L1', 116],
  ['shared', 'Cache', 202],
  ['origin', 'Database', 288],
])

/**
 * From you to where the answer was, as a drawing.
 *
 * @param {Answer | undefined} answer
 */
function trail(answer) {
  const from = answer?.source?.from
  const reach = from === undefined ? 0 : REACH[from]
  return svg`<svg class="trail ${from ?? ''}" viewBox="0 0 320 62" aria-hidden="true">
    <path class="track" d="M30 20H288" />
    ${reach === 0 ? nothing : svg`<path class="gone" d="M30 20H${STATIONS[reach]?.[2]}" />`}
    ${STATIONS.map(
      (
        [name, label, x],
        i,
      ) => svg`<g class=${i <= reach && reach > 0 ? `station ${name} on` : `station ${name}`}>
        <circle cx=${x} cy="20" r=${i === reach && reach > 0 ? 10 : 7} />
        <text x=${x} y="52">${label}</text>
      </g>`,
    )}
  </svg>`
}

/**
 * How much of a time was spent where.
 *
 * @param {Answer} answer
 */
function timesOf({ ms, source }) {
  if (source === undefined)
    return html`<dl class="times"><div><dt>This browser waited</dt><dd>${time(ms)}</dd></div></dl>`
  const { totalMs, sharedMs, loadMs } = source.timings
  return html`<dl class="times">
    <div><dt>This browser waited</dt><dd>${time(ms)}</dd></div>
    <div><dt>The server read for</dt><dd>${time(totalMs)}</dd></div>
    <div><dt>of that, in the cache</dt><dd>${time(sharedMs)}</dd></div>
    <div><dt>of that, in the database</dt><dd>${loadMs === 0 ? 'not asked' : time(loadMs)}</dd></div>
  </dl>`
}

/** @param {Answer} answer */
function wordsOf({ source, trouble, method, ok }) {
  if (source !== undefined)
    return html`<p class="headline">${headlineOf(source)}</p>
      <p>${trouble === '' ? nothing : `${trouble} `}${explain(source)}</p>`
  if (!ok) return html`<p class="headline bad">That did not work</p><p>${trouble}</p>`
  return html`<p class="headline">Written to the database</p>
    <p>
      ${method === 'POST' ? 'The cache no longer remembers that there was none, and lists are read again.' : 'What was cached of it has ended, in every process: the next read asks the database.'}
    </p>`
}

/**
 * The last answer, and where it came from.
 *
 * @param {readonly Answer[]} answers - The newest first.
 */
export function answerPanel(answers) {
  const [last] = answers
  return html`<section class="card answer" aria-labelledby="answer-title">
    <header><h2 id="answer-title">Where the answer came from</h2></header>
    ${last === undefined ? html`<p class="quiet">Open a spell to see it.</p>` : html`<p class="mono request">${last.method} ${last.path}</p>`}
    ${trail(last)}
    ${last === undefined ? nothing : html`${wordsOf(last)}${timesOf(last)}`}
    ${answers.length < 2 ? nothing : earlier(answers.slice(1))}
  </section>`
}

/** @param {readonly Answer[]} answers */
const earlier = answers => html`<details class="earlier" open>
  <summary>Before that</summary>
  <ol reversed>
    ${repeat(
      answers,
      ({ number }) => number,
      ({ method, path, source, status, ms }) => html`<li>
        <span class="mono request">${method} ${path}</span>
        <span class="tag ${tagOf(source, status)[0]}">${tagOf(source, status)[1]}</span>
        <span class="number">${time(ms)}</span>
      </li>`,
    )}
  </ol>
</details>`

/**
 * @param {Answer['source']} source
 * @param {number} status
 */
function tagOf(source, status) {
  if (source !== undefined)
    return [source.from, { local: 'L1', shared: 'cache', origin: 'database' }[source.from]]
  return status >= 200 && status < 400 ? ['', 'written'] : ['bad', status === 0 ? 'no answer' : `${status}`]
}
