// The path of a read: the six steps, drawn; reads run along it as they happen.
import { html, nothing, render } from '/lib/lit-html/lit-html.js'
import { LiveFeed } from '../live-feed.js'
import { keepToken } from '../operator.js'
import { Charts, inWords } from '../path/charts.js'
import { laneList } from '../path/lane-list.js'
import { ownLanes } from '../path/own-lanes.js'
import { layoutOf, picture } from '../path/picture.js'
import { Runners } from '../path/runners.js'
import { reasonOf, STEPS } from '../path/steps.js'
import { tryIt } from '../path/try-it.js'

/** @typedef {import('../path/steps.js').Lane} Lane */

/** Reads that are told together set out one after the other. */
const APART_MS = 70

/** What the page is, by whether it may watch. */
const STATES =
  /** @type {const} @satisfies {Record<import('../live-feed.js').FeedState, [string, string]>} */ ({
    connecting: ['…', 'connecting'],
    live: ['shared', 'live'],
    locked: ['origin', 'your reads only'],
    closed: ['origin', 'your reads only'],
    none: ['origin', 'your reads only'],
    full: ['origin', 'your reads only'],
    away: ['bad', 'no connection'],
  })

/** @type {import('../views.js').Show} */
export function show(host, signal) {
  const narrow = matchMedia('(max-width: 44rem)')
  /** @type {readonly Lane[] | undefined} */
  let held
  let isDue = false
  const isOwn = () => feed.state !== 'live' && feed.state !== 'away' && feed.state !== 'connecting'
  const lanes = () => (isOwn() ? own : feed.lanes)
  const draw = () => {
    isDue = false
    if (signal.aborted) return
    render(
      page({
        feed,
        lanes: held ?? lanes(),
        isHeld: held !== undefined,
        isOwn: isOwn(),
        hold,
        layout: layoutOf(narrow.matches),
      }),
      host,
    )
    charts?.show(feed.samples)
  }
  const drawSoon = () => {
    if (!isDue) requestAnimationFrame(draw)
    isDue = true
  }
  const hold = () => {
    held = held === undefined ? [...lanes()] : undefined
    draw()
  }
  const setOut = lane => {
    if (held === undefined) runners.run(lane)
  }
  /** @type {Charts | undefined} */
  let charts
  const feed = new LiveFeed(({ lanes, fills }) => {
    lanes.forEach((lane, i) => {
      setTimeout(() => setOut(lane), i * APART_MS)
    })
    for (const { number } of fills) {
      const lane = feed.lanes.find(lane => lane.number === number)
      if (lane !== undefined && held === undefined) runners.fill(lane)
    }
    drawSoon()
  }, signal)
  const own = ownLanes(lane => {
    if (!isOwn()) return
    setOut(lane)
    drawSoon()
  }, signal)
  const runners = new Runners(host, layoutOf(narrow.matches), () => feed.hasLocal, signal)
  narrow.addEventListener(
    'change',
    () => {
      runners.relay(layoutOf(narrow.matches))
      draw()
    },
    { signal },
  )
  draw()
  charts = new Charts(host, signal)
}

/**
 * @param {{ feed: LiveFeed, lanes: readonly Lane[], isHeld: boolean, isOwn: boolean, hold: () => void,
 *   layout: import('../path/picture.js').Layout }} shown
 */
const page = ({ feed, lanes, isHeld, isOwn, hold, layout }) => html`
  <h1>The path of a read</h1>
  <p class="lead">
    Every read goes through the same six steps, and stops as soon as it has an answer. Here they run as they happen, and leave
    their times. Press a button, or use the spellbook in another tab.
  </p>
  <section class="card" aria-labelledby="path-title">
    <header>
      <h2 id="path-title">Six steps</h2>
      <span class="tag ${STATES[feed.state][0]}">${STATES[feed.state][1]}</span>
      <button type="button" aria-pressed=${isHeld} @click=${hold}>${isHeld ? 'Go on' : 'Pause'}</button>
    </header>
    ${picture(layout)}
    <p class="last-reason">${lanes[0] === undefined ? 'No read so far.' : html`<strong class="mono">${lanes[0].key}</strong> ${reasonOf(lanes[0])}`}</p>
    ${tryIt()}
  </section>
  ${isOwn ? stranger(feed) : nothing}
  <section class="charts" aria-label="The last two minutes" ?hidden=${isOwn}>${figures(feed)}</section>
  <section class="card" aria-labelledby="lanes-title">
    <header>
      <h2 id="lanes-title">The last reads</h2>
      <span class="quiet number">${isOwn ? nothing : `${feed.reads} so far`}${feed.untold > 0 ? `, ${feed.untold} of them too quick to be shown one by one` : nothing}</span>
    </header>
    ${lanes.length === 0 ? html`<p class="quiet">There will be a line for each. Open one to see why it went as it did.</p>` : nothing}
    ${laneList(lanes, feed.hasLocal)}
  </section>
  <section class="card" aria-labelledby="words-title">
    <header><h2 id="words-title">The steps in words</h2></header>
    <ol class="step-words">
      ${STEPS.map(([name, what]) => html`<li><strong>${name}.</strong> ${what}</li>`)}
    </ol>
  </section>
`

/** @param {LiveFeed} feed */
function figures({ samples }) {
  const { ratio, hit, miss, loads } = inWords(samples)
  return html`
    <figure class="card">
      <figcaption><h3>Hit ratio</h3><span class="number">${ratio}</span></figcaption>
      <div data-chart="ratio" aria-hidden="true"></div>
    </figure>
    <figure class="card">
      <figcaption>
        <h3>Half / 99 of 100 took up to</h3>
        <span class="number"><span class="tag shared">hit</span> ${hit} <span class="tag origin">miss</span> ${miss}</span>
      </figcaption>
      <div data-chart="latency" aria-hidden="true"></div>
    </figure>
    <figure class="card">
      <figcaption><h3>Loads in flight</h3><span class="number">${loads}</span></figcaption>
      <div data-chart="loads" aria-hidden="true"></div>
    </figure>
  `
}

/** What a visitor is told who may not see the reads of others. @param {LiveFeed} feed */
function stranger({ state }) {
  if (state === 'none')
    return html`<p class="card">This Spellbook runs without a cache. You see your own reads.</p>`
  if (state === 'full')
    return html`<p class="card">As many watch as may. You see your own reads, and the others as soon as there is room.</p>`
  const keep = event => {
    event.preventDefault()
    keepToken(event.target.elements.token.value)
    event.target.reset()
  }
  return html`<section class="card" aria-label="Who sees what">
    <p>
      You see your own reads, as the headers of your answers tell them. The reads of others are shown to those who look after this
      Spellbook.
    </p>
    ${
      state === 'locked'
        ? html`<form class="row" @submit=${keep}>
          <label>ADMIN_TOKEN <input name="token" type="password" required autocomplete="off" /></label>
          <button type="submit">Show all reads</button>
        </form>`
        : nothing
    }
  </section>`
}
