import type { Party } from './party.ts'

/** The row that the races are about. */
export interface Spell {
  readonly id: number
  readonly name: string
  readonly damage: number
  /** 1, and one more with each change. */
  readonly version: number
}

/** The database as a program sees it. */
export interface SpellTable {
  find(id: number): Promise<Spell | undefined>
  /** Changes the row and commits. */
  update(id: number): Promise<Spell>
}

/** The id of the spell that everybody wants. */
export const SPELL_ID = 4

/** The database: one row. */
export class Database {
  #spell: Spell = { id: SPELL_ID, name: 'Earthquake', damage: 40, version: 1 }
  readonly #committed: () => void

  /** @param committed - Told of each change, as a trigger would be. */
  constructor(committed: () => void) {
    this.#committed = committed
  }

  get version(): number {
    return this.#spell.version
  }

  /** The table over the connection of a process. */
  over(party: Party): SpellTable {
    return {
      find: id =>
        party.exchange('database', {
          asked: 'SELECT',
          run: async () => (id === SPELL_ID ? this.#spell : undefined),
          answered: spell => ({ text: versionText(spell), version: spell?.version }),
        }),
      update: () =>
        party.exchange('database', {
          asked: 'UPDATE, COMMIT',
          run: async () => this.#change(),
          answered: spell => ({ text: `${versionText(spell)} committed`, version: spell.version }),
        }),
    }
  }

  #change(): Spell {
    const { damage, version } = this.#spell
    this.#spell = { ...this.#spell, damage: damage + 1, version: version + 1 }
    this.#committed()
    return this.#spell
  }
}

/** A row in two characters: `v1`. */
const versionText = (spell: Spell | undefined): string =>
  spell === undefined ? 'no row' : `v${spell.version}`
