import { keyed } from '/lib/lit-html/directives/keyed.js'
import { repeat } from '/lib/lit-html/directives/repeat.js'
import { html, nothing } from '/lib/lit-html/lit-html.js'
import { confirm } from '../confirm.js'
import { NAME_UNITS, typedOver } from './name-field.js'
import { pages } from './spells.js'

/**
 * @typedef {import('./shelf.js').Shelf} Shelf
 * @typedef {import('./shelf.js').Wizard} Wizard
 */

/** @param {Shelf} shelf */
export function wizardList(shelf) {
  const { wizards, wizard, spells } = shelf
  const openId = wizard === undefined || wizard === 'new' ? undefined : wizard.id
  const isEmpty = wizards.isRead && wizards.rows.length === 0
  return html`<section class="card" aria-labelledby="wizards-title">
    <header>
      <h2 id="wizards-title">Wizards</h2>
      <button type="button" @click=${() => wizards.read()}>Read again</button>
      <button type="button" class="main" @click=${() => shelf.newWizard()}>New wizard</button>
    </header>
    ${
      isEmpty
        ? html`<p class="quiet">A wizard has a book of spells. What is cached of a book ends when one of its spells changes.</p>
            <button type="button" ?disabled=${spells.rows.length === 0} @click=${() => shelf.addExample()}>
              Add Merlin, with three spells
            </button>`
        : nothing
    }
    <ul class="entries">
      ${repeat(
        wizards.rows,
        ({ id }) => id,
        ({ id, name }) => html`<li>
          <button
            type="button"
            class="entry"
            aria-current=${id === openId ? 'true' : 'false'}
            @click=${() => shelf.openWizard(id)}
          >
            <span class="entry-name">${name}</span><span class="quiet">open the book</span>
          </button>
        </li>`,
      )}
    </ul>
    ${pages(wizards, 'Pages of wizards')}
  </section>`
}

/** @param {Shelf} shelf */
export function openBook(shelf) {
  const { wizard } = shelf
  if (wizard === undefined) return nothing
  const isNew = wizard === 'new'
  return html`<section class="card open book" aria-labelledby="book-title">
    <header>
      <h2 id="book-title">${isNew ? 'A new wizard' : html`The book of <bdi>${wizard.name}</bdi>`}</h2>
      ${isNew || !shelf.bookIsNew ? nothing : html`<span class="tag origin">read again: a spell in it changed</span>`}
    </header>
    ${isNew ? nothing : spellsIn(shelf, wizard)}
    ${keyed(isNew ? 'new' : `${wizard.id} ${wizard.updated_at}`, wizardForm(shelf, wizard))}
  </section>`
}

/**
 * @param {Shelf} shelf
 * @param {Wizard} wizard
 */
function spellsIn(shelf, wizard) {
  const inBook = new Set(wizard.spells.map(({ id }) => id))
  const writeInto = event => {
    event.preventDefault()
    shelf.writeInto(wizard, event.target.elements.spell.value)
    event.target.reset()
  }
  return html`${wizard.spells.length === 0 ? html`<p class="quiet">The book is empty.</p>` : nothing}
    <ul class="entries in-book">
      ${repeat(
        wizard.spells,
        ({ id }) => id,
        ({ id, name, damage }) => html`<li>
          <button type="button" class="entry" @click=${() => shelf.openSpell(id)}>
            <span class="entry-name">${name}</span><span class="effect ${damage < 0 ? 'heals' : ''}">${damage}</span>
          </button>
          <button type="button" aria-label=${`Take ${name} out of the book`} @click=${() => shelf.takeOut(wizard, id)}>
            Take out
          </button>
        </li>`,
      )}
    </ul>
    <form class="row" @submit=${writeInto}>
      <label
        >Write in the spell with the id
        <input name="spell" list="known-spells" required inputmode="numeric" autocomplete="off" size="8" />
      </label>
      <datalist id="known-spells">
        ${shelf.spells.rows.filter(({ id }) => !inBook.has(id)).map(({ id, name }) => html`<option value=${id}>${name}</option>`)}
      </datalist>
      <button type="submit">Write it in</button>
      <button type="button" @click=${() => shelf.openWizard(wizard.id)}>Read the book again</button>
    </form>`
}

/**
 * @param {Shelf} shelf
 * @param {Wizard | 'new'} wizard
 */
function wizardForm(shelf, wizard) {
  const isNew = wizard === 'new'
  const save = event => {
    event.preventDefault()
    const { value } = event.target.elements.name
    shelf.saveWizard({ name: isNew ? value : typedOver(wizard.name, value) })
  }
  const remove = async () => {
    if (!isNew && (await confirm(html`Delete <bdi>${wizard.name}</bdi> and the book?`, 'Delete')))
      shelf.deleteWizard(wizard)
  }
  return html`<form class="fields foot" @submit=${save}>
    <label
      >Name of the wizard <input name="name" required maxlength=${NAME_UNITS} autocomplete="off" .value=${isNew ? '' : wizard.name}
    /></label>
    <div class="row">
      <button type="submit" class=${isNew ? 'main' : ''}>${isNew ? 'Add' : 'Rename'}</button>
      ${isNew ? nothing : html`<button type="button" class="danger" @click=${remove}>Delete</button>`}
      <button type="button" @click=${() => shelf.closeWizard()}>Close</button>
    </div>
  </form>`
}
