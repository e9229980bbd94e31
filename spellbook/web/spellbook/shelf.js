import { ask } from '../ask.js'
import { ListPager } from '../list-pager.js'

/**
 * @typedef {import('../../src/api.ts').Spell} Spell
 * @typedef {import('../../src/api.ts').Wizard} Wizard
 * @typedef {import('../../src/api.ts').WizardEntry} WizardEntry
 */

/** What the visitor sees of the spells and the wizards, and what can be done with them. */
export class Shelf {
  /** @type {ListPager<Spell>} */
  spells
  /** @type {ListPager<WizardEntry>} */
  wizards
  /** The spell that is open; `'new'`: one that is being written. @type {Spell | 'new' | undefined} */
  spell
  /** The wizard whose book is open; `'new'`: one who is being named. @type {Wizard | 'new' | undefined} */
  wizard
  /** Why the open book had to be read again, if it was because of a spell. */
  bookIsNew = false
  #draw

  /** @param {() => void} draw */
  constructor(draw) {
    this.#draw = draw
    this.spells = new ListPager('/spells', draw)
    this.wizards = new ListPager('/wizards', draw)
  }

  get hasOpen() {
    return this.spell !== undefined || this.wizard !== undefined
  }

  async readAll() {
    await Promise.all([this.spells.follow(), this.wizards.follow()])
  }

  /** @param {Spell['id'] | string} id */
  async openSpell(id) {
    const answer = await ask('GET', `/spells/${encodeURIComponent(id)}`)
    if (answer.ok) this.spell = answer.value
    this.#draw()
    bringIntoView()
    return answer
  }

  newSpell() {
    this.spell = 'new'
    this.#draw()
    bringIntoView()
  }

  closeSpell() {
    this.spell = undefined
    this.#draw()
  }

  /** @param {{ name: string, damage: number }} fields */
  async saveSpell(fields) {
    const { spell } = this
    const answer =
      spell === 'new' || spell === undefined
        ? await ask('POST', '/spells', fields)
        : await ask('PUT', `/spells/${spell.id}`, fields)
    if (answer.ok) this.spell = answer.value
    await this.#afterSpell()
    return answer
  }

  /** @param {Spell} spell */
  async deleteSpell(spell) {
    const answer = await ask('DELETE', `/spells/${spell.id}`)
    if (answer.ok) this.spell = undefined
    await this.#afterSpell()
  }

  /** A spell has changed: the list shows it, and so may the book that is open. */
  async #afterSpell() {
    await this.spells.follow()
    if (this.wizard !== undefined && this.wizard !== 'new') await this.openWizard(this.wizard.id, true)
    this.#draw()
  }

  /**
   * @param {Wizard['id']} id
   * @param {boolean} [follows] - See `ask`.
   */
  async openWizard(id, follows = false) {
    const answer = await ask('GET', `/wizards/${id}`, undefined, follows)
    this.wizard = answer.ok ? answer.value : undefined
    this.bookIsNew = answer.source?.why === 'tag'
    this.#draw()
    if (!follows) bringIntoView()
    return answer
  }

  newWizard() {
    this.wizard = 'new'
    this.#draw()
    bringIntoView()
  }

  closeWizard() {
    this.wizard = undefined
    this.#draw()
  }

  /** @param {{ name: string }} fields */
  async saveWizard(fields) {
    const { wizard } = this
    const isNew = wizard === 'new' || wizard === undefined
    const answer = isNew
      ? await ask('POST', '/wizards', fields)
      : await ask('PUT', `/wizards/${wizard.id}`, fields)
    if (answer.ok) await this.openWizard(answer.value.id, true)
    await this.wizards.follow()
    return answer
  }

  /** @param {Wizard} wizard */
  async deleteWizard(wizard) {
    const answer = await ask('DELETE', `/wizards/${wizard.id}`)
    if (answer.ok) this.wizard = undefined
    await this.wizards.follow()
  }

  /** @param {Wizard} wizard @param {string} spellId */
  async writeInto(wizard, spellId) {
    await ask('PUT', `/wizards/${wizard.id}/spells/${encodeURIComponent(spellId)}`)
    await this.openWizard(wizard.id, true)
  }

  /** @param {Wizard} wizard @param {Spell['id']} spellId */
  async takeOut(wizard, spellId) {
    await ask('DELETE', `/wizards/${wizard.id}/spells/${spellId}`)
    await this.openWizard(wizard.id, true)
  }

  /** A first wizard, with the first spells of the list in the book. */
  async addExample() {
    const created = await ask('POST', '/wizards', { name: 'Merlin' })
    if (created.ok) {
      for (const { id } of this.spells.rows.slice(0, 3))
        await ask('PUT', `/wizards/${created.value.id}/spells/${id}`)
      await this.openWizard(created.value.id, true)
    }
    await this.wizards.follow()
  }
}

/** On a small screen what is opened may be far from what was touched. */
function bringIntoView() {
  const opened = document.querySelector('.reading')
  if (opened === null || opened.getBoundingClientRect().top >= 0) return
  const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'instant' : 'smooth'
  opened.scrollIntoView({ block: 'start', behavior })
}
