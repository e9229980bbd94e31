// One step of a race on one side, as a piece of a sequence diagram. Pieces lie under each other and make one drawing.
import { html, svg } from '/lib/lit-html/lit-html.js'
import { heldText, versionText } from './words.js'

/** @typedef {import('/race/engine.js').Entry} Entry */
/** @typedef {import('/race/engine.js').State} State */

/** The lifelines from left to right: who asks stands outside. @type {readonly import('/race/engine.js').Lifeline[]} */
export const COLUMNS = ['reader', 'cache', 'database', 'writer']

const xOf = lifeline => COLUMNS.indexOf(lifeline) * 25 + 12.5

const ROW = 31
const ARROW_AT = 19
/** A row in which something is held again has room for saying what. */
const CHIP = 20
const PADDING = 12

/**
 * A row of the drawing.
 *
 * @typedef {object} Row
 * @property {Entry} entry
 * @property {State} before
 * @property {number} y
 * @property {number} height
 */

/** What the cache holds, as the class of its lifeline. @param {State} state */
const cacheClass = state => (state.stale ? 'stale' : state.cache.holds.replaceAll(' ', '-'))

/** @param {State} before @param {State} after */
const cacheChanges = (before, after) =>
  cacheClass(before) !== cacheClass(after) || heldText(before) !== heldText(after)

/**
 * @param {readonly Entry[]} entries
 * @param {State} before
 * @returns {Row[]}
 */
function rowsOf(entries, before) {
  let y = PADDING
  return entries.map((entry, at) => {
    const earlier = at === 0 ? before : /** @type {Entry} */ (entries[at - 1]).state
    const changes = cacheChanges(earlier, entry.state) || earlier.database !== entry.state.database
    const row = { entry, before: earlier, y, height: ROW + (changes ? CHIP : 0) }
    y += row.height
    return row
  })
}

/**
 * How high a piece has to be.
 *
 * @param {readonly Entry[]} entries
 * @param {State} before
 */
export const heightOf = (entries, before) =>
  rowsOf(entries, before).reduce((sum, { height }) => sum + height, 2 * PADDING)

/**
 * The piece of a step. The first picture holds the place, and the second fills it, which may be higher.
 *
 * @param {object} piece
 * @param {readonly Entry[]} piece.entries
 * @param {State} piece.before - How it was when the step began.
 * @param {boolean} piece.isDead - Whether the writer was dead by then.
 * @param {number} piece.height
 */
export function pieceOf({ entries, before, isDead, height }) {
  const rows = rowsOf(entries, before)
  return html`<svg class="spacer" width="1" height=${height} aria-hidden="true"></svg>
    <svg class="piece" width="100%" height="100%" aria-hidden="true">
      ${COLUMNS.map(lifeline => lifelineOf(lifeline, rows, before, isDead))}
      ${rows.map(row => (row.entry.to === undefined ? noteOf(row) : arrowOf(row)))} ${rows.map(chipsOf)}
    </svg>`
}

/** The piece of a step that is still to come. */
export const pieceAhead = html`<svg class="spacer" width="1" height="44" aria-hidden="true"></svg>
  <svg class="piece" width="100%" height="100%" aria-hidden="true">
    ${COLUMNS.map(lifeline => {
      const x = `${xOf(lifeline)}%`
      return svg`<line class="life ahead" x1=${x} x2=${x} y1="0" y2="100%" />`
    })}
  </svg>`

/**
 * A lifeline, which shows what is held from moment to moment.
 *
 * @param {import('/race/engine.js').Lifeline} lifeline
 * @param {readonly Row[]} rows
 * @param {State} before
 * @param {boolean} isDead
 */
function lifelineOf(lifeline, rows, before, isDead) {
  const x = `${xOf(lifeline)}%`
  const parts = []
  let from = 0
  let kind = kindOf(lifeline, before, isDead)
  for (const { entry, y } of rows) {
    const isKilled = entry.tone === 'killed' && entry.at === lifeline
    isDead ||= isKilled
    const next = kindOf(lifeline, entry.state, isDead)
    if (next === kind) continue
    parts.push({ from, to: y + ARROW_AT, kind })
    from = y + ARROW_AT
    kind = next
  }
  parts.push({ from, to: '100%', kind })
  return parts.map(
    ({ from, to, kind }) =>
      svg`<line class="life ${lifeline} ${kind}" x1=${x} x2=${x} y1=${from} y2=${to} />`,
  )
}

/**
 * @param {import('/race/engine.js').Lifeline} lifeline
 * @param {State} state
 * @param {boolean} isDead
 */
function kindOf(lifeline, state, isDead) {
  if (lifeline === 'cache') return cacheClass(state)
  if (lifeline === 'database') return 'value'
  if (lifeline === 'writer' && isDead) return 'dead'
  return state[lifeline] === undefined ? 'idle' : 'holding'
}

/** @param {Row} row */
function arrowOf({ entry: { at, to, text, tone }, y }) {
  const [from, until] = [xOf(at), xOf(to)]
  const line = y + ARROW_AT
  // The head is drawn by itself, since the line ends at a share of the width.
  const isRight = until > from
  // Before the first lifeline that the arrow crosses.
  const middle = from + (until - from) / (Math.abs(until - from) > 25 ? 4 : 2)
  const head = isRight ? '-9 -5 0 0 -9 5' : '9 -5 0 0 9 5'
  return svg`<g class="message ${tone}">
    <line x1="${from}%" x2="${until}%" y1=${line} y2=${line} pathLength="1" />
    <svg x="${until}%" y=${line} overflow="visible"><polyline points=${head} /></svg>
    <text x="${middle}%" y=${line - 6}>${text}</text>
    ${tone === 'refused' ? crossAt(`${middle}%`, line) : ''}
  </g>`
}

const crossAt = (x, y) =>
  svg`<svg x=${x} y=${y} overflow="visible"><path class="cross" d="M-5-5 5 5M5-5-5 5" /></svg>`

/** Something that happens at one lifeline. @param {Row} row */
function noteOf({ entry: { at, text, tone }, y }) {
  if (tone === 'waited')
    return svg`<g class="note waited">
      <line x1="2%" x2="98%" y1=${y + 15} y2=${y + 15} /><text x="50%" y=${y + 19}>${text}</text>
    </g>`
  const x = `${xOf(at)}%`
  const side = at === 'writer' ? 'last' : 'first'
  const edge = at === 'writer' ? '99%' : '1%'
  return svg`<g class="note ${tone} ${side}">
    ${tone === 'killed' ? crossAt(x, y + ARROW_AT) : svg`<circle cx=${x} cy=${y + ARROW_AT} r="4" />`}
    <text x=${edge} y=${y + ARROW_AT - 7}>${text}</text>
  </g>`
}

/** What a lifeline holds from here on, where that is something else than before. @param {Row} row */
function chipsOf({ entry: { state }, before, y }) {
  const at = y + ARROW_AT + 15
  const chips = []
  if (cacheChanges(before, state)) {
    const begins = state.stale && !before.stale
    chips.push(chip('cache', cacheClass(state), heldText(state), at))
    if (begins)
      chips.push(
        svg`<svg x="${xOf('cache')}%" y=${at} overflow="visible"><text class="from-here" x="-24" y="4">stale from here</text></svg>`,
      )
  }
  if (state.database !== before.database)
    chips.push(chip('database', 'value', versionText(state.database), at))
  return chips
}

function chip(lifeline, kind, text, y) {
  const width = text.length * 7 + 14
  return svg`<svg class="chip ${lifeline} ${kind}" x="${xOf(lifeline)}%" y=${y} overflow="visible">
    <rect x=${-width / 2} y="-9" width=${width} height="18" rx="9" /><text y="4">${text}</text>
  </svg>`
}
