// The spellbook: spells, wizards and their books; and of every answer, where it came from.
import { html, nothing, render } from '/lib/lit-html/lit-html.js'
import { answerPanel } from '../answer-panel.js'
import { onAnswer } from '../ask.js'
import { say } from '../said.js'
import { headlineOf, time } from '../source.js'
import { Shelf } from '../spellbook/shelf.js'
import { openSpell, spellList } from '../spellbook/spells.js'
import { openBook, wizardList } from '../spellbook/wizards.js'

const KEPT_ANSWERS = 9

/** @type {import('../views.js').Show} */
export function show(host, signal) {
  /** @type {import('../ask.js').Answer[]} */
  const answers = []
  const draw = () => {
    if (!signal.aborted) render(page(shelf, answers), host)
  }
  const shelf = new Shelf(draw)
  onAnswer(answer => {
    answers.unshift(answer)
    answers.length = Math.min(answers.length, KEPT_ANSWERS)
    if (!answer.follows) say(sentenceOf(answer))
    draw()
  }, signal)
  draw()
  shelf.readAll()
}

/** @param {import('../ask.js').Answer} answer */
function sentenceOf({ source, trouble, ms, value, ok }) {
  if (trouble !== '') return trouble
  if (source === undefined)
    return ok ? `${value?.name ?? 'It'}: written to the database.` : 'That did not work.'
  const what = Array.isArray(value) ? 'The list' : (value?.name ?? 'The answer')
  return `${what}: ${headlineOf(source).replace('From', 'from')}, ${time(ms)}.`
}

/**
 * @param {Shelf} shelf
 * @param {readonly import('../ask.js').Answer[]} answers
 */
const page = (shelf, answers) => html`
  <h1>Spellbook</h1>
  <p class="lead">
    Spells in a database, with a cache beside it. Open a spell twice: the second answer comes from the cache. Change it, and no
    reader sees the old one again, nor any book that shows it.
  </p>
  <div class=${shelf.hasOpen ? 'spellbook with-open' : 'spellbook'}>
    <div class="shelf">${spellList(shelf)} ${wizardList(shelf)}</div>
    ${shelf.hasOpen ? html`<div class="reading">${openSpell(shelf)} ${openBook(shelf)}</div>` : nothing}
    <div class="aside">${answerPanel(answers)}</div>
  </div>
`
