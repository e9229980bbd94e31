import { keyed } from '/lib/lit-html/directives/keyed.js'
import { repeat } from '/lib/lit-html/directives/repeat.js'
import { html, nothing } from '/lib/lit-html/lit-html.js'
import { confirm } from '../confirm.js'
import { NAME_UNITS, typedOver } from './name-field.js'

/**
 * @typedef {import('./shelf.js').Shelf} Shelf
 * @typedef {import('./shelf.js').Spell} Spell
 */

/** @param {number} damage */
const effect = damage => (damage < 0 ? `heals ${-damage}` : `${damage} damage`)

/** @param {Shelf} shelf */
export function spellList(shelf) {
  const { spells, spell } = shelf
  const openId = spell === undefined || spell === 'new' ? undefined : spell.id
  return html`<section class="card" aria-labelledby="spells-title">
    <header>
      <h2 id="spells-title">Spells</h2>
      <button type="button" @click=${() => spells.read()}>Read again</button>
      <button type="button" class="main" @click=${() => shelf.newSpell()}>New spell</button>
    </header>
    ${spells.isRead && spells.rows.length === 0 ? html`<p class="quiet">There are no spells here.</p>` : nothing}
    <ul class="entries">
      ${repeat(
        spells.rows,
        ({ id }) => id,
        ({ id, name, damage }) => html`<li>
          <button
            type="button"
            class="entry"
            aria-current=${id === openId ? 'true' : 'false'}
            @click=${() => shelf.openSpell(id)}
          >
            <span class="entry-name">${name}</span>
            <span class=${damage < 0 ? 'effect heals' : 'effect'}>${effect(damage)}</span>
          </button>
        </li>`,
      )}
    </ul>
    ${pages(spells, 'Pages of spells')} ${lookUp(shelf)}
  </section>`
}

/**
 * The way to the other pages, if there are any.
 *
 * @param {import('../list-pager.js').ListPager<any>} list
 * @param {string} label
 */
export function pages(list, label) {
  if (list.isFirst && list.next === undefined) return nothing
  return html`<nav class="row pages" aria-label=${label}>
    <button type="button" ?disabled=${list.isFirst} @click=${() => list.readFirst()}>From the first</button>
    <button type="button" ?disabled=${list.next === undefined} @click=${() => list.readNext()}>Next page</button>
  </nav>`
}

/** @param {Shelf} shelf */
const lookUp = shelf => html`<form
  class="row foot"
  @submit=${event => {
    event.preventDefault()
    shelf.openSpell(event.target.elements.id.value)
  }}
>
  <label>Look up an id <input name="id" required inputmode="numeric" autocomplete="off" size="6" value="99" /></label>
  <button type="submit">Look it up</button>
  <small class="quiet">The cache also remembers that there is none.</small>
</form>`

/** @param {Shelf} shelf */
export function openSpell(shelf) {
  const { spell } = shelf
  if (spell === undefined) return nothing
  const isNew = spell === 'new'
  const title = isNew ? 'A new spell' : spell.name
  return html`<section class="card open" aria-labelledby="spell-title">
    <header>
      <h2 id="spell-title">${title}</h2>
      ${isNew ? nothing : html`<span class=${spell.damage < 0 ? 'effect heals' : 'effect'}>${effect(spell.damage)}</span>`}
    </header>
    ${keyed(isNew ? 'new' : `${spell.id} ${spell.updated_at}`, spellForm(shelf, spell))}
    ${isNew ? nothing : html`<p class="quiet small">Spell ${spell.id}, changed ${moment(spell.updated_at)}</p>`}
  </section>`
}

/** @param {string} iso */
const moment = iso =>
  html`<time datetime=${iso}>${new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' })}</time>`

/**
 * @param {Shelf} shelf
 * @param {Spell | 'new'} spell
 */
function spellForm(shelf, spell) {
  const isNew = spell === 'new'
  const save = event => {
    event.preventDefault()
    const { name, damage } = event.target.elements
    shelf.saveSpell({
      name: isNew ? name.value : typedOver(spell.name, name.value),
      damage: damage.valueAsNumber,
    })
  }
  const remove = async () => {
    if (!isNew && (await confirm(html`Delete <bdi>${spell.name}</bdi> from all books?`, 'Delete')))
      shelf.deleteSpell(spell)
  }
  return html`<form class="fields" @submit=${save}>
    <label>Name <input name="name" required maxlength=${NAME_UNITS} autocomplete="off" .value=${isNew ? '' : spell.name} /></label>
    <label
      >Damage
      <input name="damage" type="number" required step="1" min="-2147483648" max="2147483647" .value=${isNew ? '10' : `${spell.damage}`} />
      <small>Negative: it heals.</small>
    </label>
    <div class="row">
      <button type="submit" class="main">${isNew ? 'Add' : 'Save'}</button>
      ${isNew ? nothing : html`<button type="button" @click=${() => shelf.openSpell(spell.id)}>Read it again</button>`}
      ${isNew ? nothing : html`<button type="button" class="danger" @click=${remove}>Delete</button>`}
      <button type="button" @click=${() => shelf.closeSpell()}>Close</button>
    </div>
  </form>`
}
