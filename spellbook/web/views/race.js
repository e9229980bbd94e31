// Play the race: the same order of events by plain cache-aside and by cacheaside, step by step. Both have really been played,
// in this browser, by the library itself: see /race/engine.js.
import { html, nothing, render } from '/lib/lit-html/lit-html.js'
import { ourSpells, plainSpells, races } from '/race/engine.js'
import { COLUMNS, heightOf, pieceAhead, pieceOf } from '../race/diagram.js'
import { addressOf } from '../race/place.js'
import { Player, SPEEDS } from '../race/player.js'
import {
  heldText,
  lineOf,
  momentText,
  nameOf,
  SIDE_NAMES,
  SIDES,
  spokenBeat,
  verdictOf,
  versionText,
  wentWrong,
} from '../race/words.js'
import { say } from '../said.js'

/** @typedef {import('/race/engine.js').Outcome} Outcome */
/** @typedef {import('/race/engine.js').State} State */

/** @type {State} */
const BEGINNING = {
  reader: undefined,
  writer: undefined,
  cache: { holds: 'nothing' },
  database: 1,
  stale: false,
}

/** @type {import('../views.js').Show} */
export function show(host, signal) {
  let shown = 0
  const draw = () => {
    if (signal.aborted) return
    render(page(player, copy), host)
    if (shown === player.step || player.outcomes.length === 0) return
    if (shown > 0) tell(host, player)
    shown = player.step
  }
  const copy = async () => {
    await navigator.clipboard.writeText(location.href)
    say('The link is copied.')
  }
  const player = new Player(location.search, draw, signal)
  document.title = `${player.race.title} – Play the race – Spellbook`
  document.addEventListener('keydown', event => onKey(event, player), { signal })
  draw()
  player.load().then(() => {
    if (!signal.aborted && player.step > 1) bringIntoView(host)
  })
}

/** Says what the step has brought, puts it into the address, and scrolls to it. */
function tell(host, player) {
  history.replaceState(history.state, '', player.address)
  const { race, step, last, outcomes } = player
  const sides = outcomes.map(outcome => spokenBeat(outcome, step - 1, race.writer))
  say(`Step ${step} of ${last}. ${race.beats[step - 1].title} ${sides.join(' ')}`)
  bringIntoView(host)
}

function bringIntoView(host) {
  const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches
  host
    .querySelector('.beat[aria-current]')
    ?.scrollIntoView({ block: 'nearest', behavior: isStill ? 'instant' : 'smooth' })
}

/** @param {KeyboardEvent} event @param {Player} player */
function onKey(event, player) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return
  // Where a key has a meaning of its own it keeps it.
  if (event.target instanceof Element && event.target.closest('input, select, textarea, pre')) return
  const steps = { ArrowRight: player.step + 1, ArrowLeft: player.step - 1, Home: 1, End: player.last }
  const step = steps[event.key]
  if (step === undefined) return
  event.preventDefault()
  player.goTo(step)
}

const page = (player, copy) => html`
  <h1>Play the race</h1>
  <p class="lead">
    Two caches, and the same things happen to both in the same order. Your browser has just played them, with the library itself:
    nothing here is a recording.
  </p>
  <nav class="races" aria-label="Races">
    ${races.map(race => raceLink(race, player.race))}
  </nav>
  <section class="race showing-${player.side}" aria-labelledby="race-title">
    <h2 id="race-title">${player.race.title}</h2>
    <p class="about">${player.race.about}</p>
    ${player.trouble === undefined ? nothing : html`<p class="bad" role="alert">${player.trouble}</p>`}
    <div class="race-top">${controls(player, copy)} ${heads(player)}</div>
    <ol class="beats">
      ${player.race.beats.map((beat, at) => beatOf(player, beat, at))}
    </ol>
    ${verdicts(player)} ${transcript(player)}
  </section>
  ${sources}
`

const raceLink = (race, current) => html`
  <a
    class="button"
    href=${addressOf({ race: race.name, step: 1 })}
    aria-current=${race === current ? 'page' : 'false'}
    @click=${follow}
    >${race.title}</a
  >
`

/** Another race is another address of this view. @param {MouseEvent} event */
function follow(event) {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return
  event.preventDefault()
  event.stopPropagation()
  history.pushState(null, '', /** @type {HTMLAnchorElement} */ (event.currentTarget).href)
  dispatchEvent(new PopStateEvent('popstate'))
}

const controls = (player, copy) => html`
  <div class="controls">
    <div class="steps" role="group" aria-label="Steps">
      <button type="button" ?disabled=${player.step === 1} @click=${() => player.goTo(player.step - 1)}>Back</button>
      <button
        type="button"
        class="main"
        ?disabled=${player.step === player.last}
        @click=${() => player.goTo(player.step + 1)}
      >
        Next
      </button>
      <button type="button" @click=${() => (player.isPlaying ? player.pause() : player.play())}>
        ${player.isPlaying ? 'Pause' : 'Play'}
      </button>
      <label class="speed"
        ><span class="unseen">Speed</span>
        <select
          @change=${event => {
            player.speed = event.target.value
          }}
        >
          ${Object.keys(SPEEDS).map(
            speed => html`<option value=${speed} ?selected=${speed === player.speed}>${speed}</option>`,
          )}
        </select>
      </label>
      <button type="button" class="copy" @click=${copy}>Copy link</button>
    </div>
    <p class="now">
      <span class="count">${player.step} of ${player.last}</span>
      <span class="now-title">${player.race.beats[player.step - 1].title}</span>
    </p>
    <div class="sides" role="group" aria-label="The side that is shown">
      ${SIDES.map(
        (side, at) => html`
          <button
            type="button"
            aria-pressed=${String(player.side === side)}
            @click=${() => player.look(side)}
          >
            ${SIDE_NAMES[side]} ${statusOf(stateAt(player.outcomes[at], player.step))}
          </button>
        `,
      )}
    </div>
  </div>
`

/** How things stand after so many steps. @returns {State} */
const stateAt = (outcome, step) => (step === 0 ? BEGINNING : (outcome?.states[step - 1] ?? BEGINNING))

const statusOf = state =>
  state.stale ? html`<span class="tag bad">stale</span>` : html`<span class="tag shared">right</span>`

const heads = player => html`
  <div class="heads">
    ${SIDES.map((side, at) => headOf(side, stateAt(player.outcomes[at], player.step), player.race.writer))}
  </div>
`

const headOf = (side, state, writer) => html`
  <div class="head ${side}">
    <p class="side-name">${SIDE_NAMES[side]} ${statusOf(state)}</p>
    <dl class="holders">
      ${COLUMNS.map(
        lifeline => html`
          <div class="holder ${lifeline} ${lifeline === 'cache' && state.stale ? 'stale' : ''}">
            <dt>${nameOf(lifeline, writer)}</dt>
            <dd>${lifeline === 'cache' ? heldText(state) : versionText(state[lifeline])}</dd>
          </div>
        `,
      )}
    </dl>
    <p class="register mono">${state.cache.text ?? 'nothing under spell:4'}</p>
  </div>
`

function beatOf(player, beat, at) {
  const { outcomes, step } = player
  const isReached = at < step
  const current = at === step - 1 ? 'step' : nothing
  const ofBeat = outcomes.map(({ entries }) => entries.filter(entry => entry.beat === at))
  const befores = outcomes.map(outcome => stateAt(outcome, at))
  const height = Math.max(44, ...ofBeat.map((entries, i) => heightOf(entries, befores[i])))
  const piece = i =>
    isReached && outcomes[i] !== undefined
      ? pieceOf({
          entries: ofBeat[i],
          before: befores[i],
          isDead: outcomes[i].entries.some(({ tone, beat }) => tone === 'killed' && beat < at),
          height,
        })
      : pieceAhead
  return html`
    <li class="beat ${isReached ? 'reached' : 'ahead'}" aria-current=${current}>
      <button type="button" class="beat-title" @click=${() => player.goTo(at + 1)}>
        <span class="beat-number">${at + 1}</span> <span>${beat.title}</span>
      </button>
      ${SIDES.map((side, i) => html`<div class="side ${side}">${piece(i)}</div>`)}
    </li>
  `
}

const verdicts = player =>
  player.step < player.last || player.outcomes.length === 0
    ? nothing
    : html`
        <div class="verdicts">
          ${player.outcomes.map(
            outcome => html`
              <section class="verdict ${wentWrong(outcome) ? 'wrong' : 'right'}" aria-labelledby="verdict-${outcome.side}">
                <h3 id="verdict-${outcome.side}">
                  ${SIDE_NAMES[outcome.side]}: ${wentWrong(outcome) ? 'stale' : 'right'}
                </h3>
                ${verdictOf(outcome).map(sentence => html`<p>${sentence}</p>`)}
                ${outcome.warnings.map(warning => html`<p class="quiet">It said: ${warning}</p>`)}
              </section>
            `,
          )}
        </div>
      `

const transcript = ({ outcomes, race, step }) => html`
  <details class="transcript">
    <summary>All of it as text, up to this step</summary>
    <div class="transcripts">
      ${outcomes.map(
        ({ side, entries }) => html`
          <section aria-labelledby="transcript-${side}">
            <h3 id="transcript-${side}">${SIDE_NAMES[side]}</h3>
            <ol>
              ${entries
                .filter(({ beat }) => beat < step)
                .map(
                  entry => html`<li class=${entry.tone}>
                    <span class="moment number">${momentText(entry.ms)}</span> ${lineOf(entry, race.writer)}
                  </li>`,
                )}
            </ol>
          </section>
        `,
      )}
    </div>
  </details>
`

const sources = html`
  <section class="sources" aria-labelledby="sources-title">
    <h2 id="sources-title">What was played</h2>
    <p>
      Each process runs the code below. Every message waits at a gate, and a script opens the gates in the order of the steps: it is
      the same script for both sides. Time is simulated, so a minute takes no minute.
      <a href="/race/engine.js">The module that your browser has loaded</a> is the library as it is written, with the races.
    </p>
    <div class="codes">
      <figure>
        <figcaption>${SIDE_NAMES.plain}</figcaption>
        <pre tabindex="0"><code>${plainSpells.toString()}</code></pre>
      </figure>
      <figure>
        <figcaption>${SIDE_NAMES.ours}</figcaption>
        <pre tabindex="0"><code>${ourSpells.toString()}</code></pre>
      </figure>
    </div>
    <p class="quiet small">
      cacheaside keeps its registers in its embedded store here, which obeys the same rules as the one on Redis. The change feed is
      the simulated one of <code>cacheaside/testing</code>, behind the same relay. In the first race the broadcast to the reader is
      late on purpose: only its lease is left to refuse the fill.
    </p>
  </section>
`
