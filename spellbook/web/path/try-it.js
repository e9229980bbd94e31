// Requests that show each kind of read. They are real: they go over the same API as all others.
import { html } from '/lib/lit-html/lit-html.js'
import { ask } from '../ask.js'
import { say } from '../said.js'
import { headlineOf, time } from '../source.js'

/** The browser sends no more at once to one server. */
const READERS = 6

/** The spell that is read: the first of the list. */
async function aSpell() {
  const { value } = await ask('GET', '/spells?limit=1', undefined, true)
  return value?.[0]
}

/** @param {import('../ask.js').Answer} answer */
function tell({ source, trouble, ms }) {
  say(source === undefined ? trouble : `${headlineOf(source)}, ${time(ms)}.`)
}

/** Writes what is there already. For the cache it is a write like any other. */
const rewrite = spell => ask('PUT', `/spells/${spell.id}`, { damage: spell.damage })

const read = spell => ask('GET', `/spells/${spell.id}`)

/** In a moment that is shorter than a write. @returns {Promise<void>} */
const soon = () => new Promise(resolve => setTimeout(resolve, 2))

const ACTS = /** @type {const} */ ([
  ['Read a spell', 'twice: the second is a hit', async () => tell(await read(await aSpell()))],
  [
    'Write it and read it',
    'what was cached has ended: a miss',
    async () => {
      const spell = await aSpell()
      await rewrite(spell)
      tell(await read(spell))
    },
  ],
  [
    'Six readers at once',
    'of a key that is not there: one load for all',
    async () => {
      const spell = await aSpell()
      await rewrite(spell)
      const [first] = await Promise.all(Array.from({ length: READERS }, () => read(spell)))
      if (first !== undefined) tell(first)
    },
  ],
  [
    'Read while it is written',
    'a read that meets the guard of the writer bypasses the cache',
    async () => {
      const spell = await aSpell()
      /** @type {Promise<import('../ask.js').Answer>[]} */
      const asked = []
      for (let i = 0; i < 3; i++) {
        asked.push(rewrite(spell))
        for (let j = 0; j < 3; j++) {
          asked.push(read(spell))
          await soon()
        }
      }
      const answers = await Promise.all(asked)
      const met = answers.find(({ source }) => source?.why === 'guarded') ?? answers.at(-1)
      if (met !== undefined) tell(met)
    },
  ],
  [
    'Read what is not there',
    'twice: that there is none is remembered',
    async () => tell(await ask('GET', `/spells/${900_000 + new Date().getMinutes()}`)),
  ],
])

/** The buttons. */
export const tryIt = () => html`<div class="acts">
  ${ACTS.map(
    ([name, what, act]) => html`<button type="button" class="act" @click=${act}>
      <strong>${name}</strong> <span>${what}</span>
    </button>`,
  )}
</div>`
