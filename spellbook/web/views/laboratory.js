// The laboratory: hands on the running Spellbook, and what is seen of it.
import { html, nothing, render, svg } from '/lib/lit-html/lit-html.js'
import { LabClient } from '../laboratory/lab-client.js'
import { keepToken } from '../operator.js'
import { say } from '../said.js'

/** @type {import('../views.js').Show} */
export function show(host, signal) {
  /** @type {string | undefined} */
  let running
  const draw = () => {
    if (signal.aborted) return
    render(page(lab), host)
    if (running !== undefined && lab.state !== undefined && lab.state.running === undefined)
      say(`${NAMES[running]}: ${resultText(lab.state)}`)
    running = lab.state?.running
  }
  const lab = new LabClient(draw, signal)
  draw()
  lab.watch()
}

const NAMES = {
  crowd: '500 readers of one cold key',
  fill: 'Fill it until it evicts',
  traffic: 'A writer among readers',
}

const DELAYS = [0, 20, 100, 300, 1000]
const TTLS = [1_000, 5_000, 60_000, 600_000]
const SIZES = [65_536, 262_144, 1_048_576, 67_108_864]
const POLICIES = [
  's3-fifo',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'volatile-ttl',
  'noeviction',
]

const page = lab => html`
  <h1>Laboratory</h1>
  <p class="lead">
    Hands on this running Spellbook: slow its database, cut its cache off, and see what readers get. Nothing of it is kept: a reset
    undoes it, and so does a restart.
  </p>
  ${lab.closed === undefined ? nothing : closed(lab.closed)}
  ${lab.state === undefined ? nothing : open(lab, lab.state)}
`

const closed = ({ status, detail }) => html`
  <section class="card lab-closed" aria-labelledby="closed-title">
    <h2 id="closed-title">The laboratory is closed here</h2>
    <p>${status === 401 ? 'It is for those who have the ADMIN_TOKEN of this Spellbook.' : detail}</p>
    ${
      status === 401
        ? html`<form
          class="row"
          @submit=${event => {
            event.preventDefault()
            keepToken(String(new FormData(event.target).get('token')))
          }}
        >
          <label>ADMIN_TOKEN <input name="token" type="password" required autocomplete="off" /></label>
          <button class="main">Enter</button>
        </form>`
        : html`<p class="quiet">
          <code>LAB=on</code> opens it. That is the default of an embedded <code>npm start</code> on the loopback.
        </p>`
    }
  </section>
`

const open = (lab, state) => html`
  <p class="bad" role="alert">${lab.trouble}</p>
  <div class="lab">${switches(lab, state)} ${seen(lab, state)} ${experiments(lab, state)}</div>
`

const sizeText = bytes => (bytes < 2 ** 20 ? `${bytes / 1024} KiB` : `${bytes / 2 ** 20} MiB`)
const timeText = ms =>
  ms === 0 ? 'none' : ms < 1000 ? `${ms} ms` : ms < 60_000 ? `${ms / 1000} s` : `${ms / 60_000} min`

/** What is offered, and what is set even if that is not offered. */
const withSet = (offered, set) => (offered.includes(set) ? offered : [...offered, set].sort((a, b) => a - b))

function choice(lab, label, name, offered, set, textOf) {
  return html`<label
    >${label}
    <select
      @change=${event => {
        const { value } = event.target
        lab.set({ [name]: typeof set === 'number' ? Number(value) : value })
      }}
    >
      ${offered.map(one => html`<option value=${one} ?selected=${one === set}>${textOf(one)}</option>`)}
    </select>
  </label>`
}

const switches = (lab, { settings }) => html`
  <section class="card" aria-labelledby="switches-title">
    <header>
      <h2 id="switches-title">Switches</h2>
      <button type="button" @click=${() => lab.reset()}>Reset everything</button>
    </header>
    <div class="lab-switches">
      ${choice(lab, 'Extra time to reach the database', 'databaseDelayMs', withSet(DELAYS, settings.databaseDelayMs), settings.databaseDelayMs, timeText)}
      ${choice(lab, 'The cache', 'cache', ['on', 'cut', 'hung'], settings.cache, cacheText)}
      ${choice(lab, 'Values are fresh for', 'ttlMs', withSet(TTLS, settings.ttlMs), settings.ttlMs, timeText)}
      ${settings.policy === undefined ? nothing : choice(lab, 'What is evicted', 'policy', POLICIES, settings.policy, String)}
      ${
        settings.maxBytes === undefined
          ? nothing
          : choice(
              lab,
              'Memory of the cache',
              'maxBytes',
              withSet(SIZES, settings.maxBytes),
              settings.maxBytes,
              sizeText,
            )
      }
      ${
        settings.feedPaused === undefined
          ? nothing
          : choice(
              { set: ({ feedPaused }) => lab.set({ feedPaused: feedPaused === 'paused' }) },
              'The change feed',
              'feedPaused',
              ['on', 'paused'],
              settings.feedPaused ? 'paused' : 'on',
              String,
            )
      }
    </div>
    <p class="quiet small">
      Another policy, size or time begins with an empty cache.
      ${
        settings.feedPaused === undefined
          ? 'There is no change feed: this process has database and cache to itself.'
          : 'A paused feed is paused in this process: another one on the same database goes on.'
      }
      ${settings.policy === undefined ? 'Policy and memory of a Redis are for its operator.' : nothing}
    </p>
  </section>
`

const cacheText = mode => ({ on: 'answers', cut: 'is cut off', hung: 'hangs' })[mode]

const ms = value =>
  value === undefined
    ? '–'
    : value < 0.01
      ? 'under 0.01 ms'
      : value < 10
        ? `${value.toFixed(2)} ms`
        : `${Math.round(value)} ms`
const count = value => value.toLocaleString('en')

const seen = (lab, { counts, store }) => html`
  <section class="card" aria-labelledby="seen-title">
    <header><h2 id="seen-title">What is seen</h2></header>
    <p class="verdict ${counts.stale === 0 ? 'right' : 'wrong'}">
      <strong class="lab-figure">${count(counts.stale)}</strong> stale answers, of ${count(counts.judged)} that could be judged
    </p>
    <dl class="times">
      ${figure('Reads', count(counts.reads))} ${figure('from the cache', share(counts.fromCache, counts.reads))}
      ${figure('Loads', count(counts.loads))} ${figure('Writes', count(counts.writes))}
      ${figure('Failed', count(counts.failed))} ${figure('Half of the last reads took up to', ms(counts.p50Ms))}
      ${figure('99 of 100 took up to', ms(counts.p99Ms))}
      ${
        store === undefined
          ? nothing
          : html`${figure('In the cache', `${count(store.entries)}, ${Math.round(store.bytes / 1024)} KiB`)}
          ${figure('Evicted', count(store.evictions))}`
      }
    </dl>
    ${chart(lab.moments)}
    <p class="quiet small">
      An answer is stale if it is older than a write that had ended when the reader asked. Each bar is half a second of reads; dark is
      what the database had to answer.
    </p>
  </section>
`

const figure = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`
const share = (part, all) => (all === 0 ? '–' : `${Math.round((part / all) * 100)} %`)

function chart(moments) {
  const most = Math.max(10, ...moments.map(({ reads }) => reads))
  const bar = (value, at, kind) => {
    const height = (value / most) * 60
    return svg`<rect class=${kind} x=${at * 5} y=${60 - height} width="4" height=${height} />`
  }
  return svg`<svg class="lab-chart" viewBox="0 0 400 60" preserveAspectRatio="none" aria-hidden="true">
    ${moments.map(({ reads }, at) => bar(reads, at, 'all'))}
    ${moments.map(({ fromDatabase }, at) => bar(fromDatabase, at, 'database'))}
  </svg>`
}

const ABOUT = {
  crowd: 'All at once ask for a spell that is not cached. How often is the database asked?',
  fill: '24 keys are read often, others once, until many are evicted. Choose a small memory first, and compare policies.',
  traffic: 'Ten seconds. Turn the switches meanwhile, and look for a stale answer.',
}
const ASKED = { crowd: { name: 'crowd' }, fill: { name: 'fill' }, traffic: { name: 'traffic', seconds: 10 } }

const experiments = (lab, state) => html`
  <section class="card lab-wide" aria-labelledby="experiments-title">
    <header><h2 id="experiments-title">Experiments</h2></header>
    <div class="lab-experiments">
      ${Object.keys(NAMES)
        .filter(name => name !== 'fill' || state.store !== undefined)
        .map(
          name => html`
            <div>
              <button
                type="button"
                class="main"
                ?disabled=${state.running !== undefined}
                @click=${() => lab.begin(ASKED[name])}
              >
                ${NAMES[name]}
              </button>
              <p class="quiet small">${ABOUT[name]}</p>
            </div>
          `,
        )}
    </div>
    ${state.running === undefined ? nothing : html`<p class="lab-running">Running: ${NAMES[state.running]} …</p>`}
    ${state.result === undefined ? nothing : html`<div class="lab-result">${resultOf(state)}</div>`}
  </section>
`

/** What an experiment came to, in a sentence. */
function resultText({ result }) {
  if (result === undefined) return 'it was ended.'
  if ('trouble' in result) return `it did not work: ${result.trouble}`
  if (result.name === 'crowd')
    return `${queries(result.loads)} with the cache in ${ms(result.ms)}, ${queries(result.uncachedLoads)} without it in ${ms(result.uncachedMs)}.`
  if (result.name === 'traffic')
    return `${count(result.reads)} reads and ${count(result.writes)} writes, of which ${count(result.failed)} failed.`
  const kept = of => of.filter(Boolean).length
  const often = kept(result.kept.slice(0, result.often))
  const once = result.kept.slice(result.often)
  const left = `${often} of ${result.often} keys that were read often are left, and ${kept(once)} of ${once.length} that were read once.`
  return result.isFull ? `${count(result.evictions)} were evicted. ${left}` : `Nothing was evicted. ${left}`
}

const queries = many => (many === 1 ? 'one query' : `${count(many)} queries`)

function resultOf(state) {
  const { result } = state
  return html`
    <h3>${NAMES[result.name]}</h3>
    <p>${resultText(state)}</p>
    ${
      'kept' in result
        ? html`${keys(result)}
          <p class="quiet small">
            Each square is a key, in the order in which they were first read. The first ${result.often} are read often. A full square is still
            cached, an empty one is evicted.
          </p>`
        : nothing
    }
  `
}

const PER_ROW = 48

/** Every key as a square: in the order in which they were read first. */
function keys({ kept, often }) {
  const rows = Math.ceil(kept.length / PER_ROW)
  return svg`<svg class="lab-keys" viewBox="0 0 ${PER_ROW * 10} ${rows * 10}" aria-hidden="true">
    ${kept.map(
      (isKept, at) =>
        svg`<rect class="${isKept ? 'kept' : 'gone'} ${at < often ? 'often' : ''}" x=${(at % PER_ROW) * 10 + 1} y=${Math.floor(at / PER_ROW) * 10 + 1} width="8" height="8" rx="2" />`,
    )}
  </svg>`
}
