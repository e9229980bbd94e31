import type { Wizard, WizardEntry, WizardFields } from './api.ts'
import type { Queryable } from './database/database.ts'
import { COLUMNS as SPELL_COLUMNS, TIMES } from './spell-table.ts'

/** How many spells a book has room for: fewer than a cached value may have tags. */
export const BOOK_SPELLS = 50

const ENTRY = `id, name, ${TIMES}`
const BOOK = `
  (select coalesce(json_agg(book order by book.id), '[]') from (
    select ${SPELL_COLUMNS} from wizard_spell join spell on id = spell_id where wizard_id = wizard.id
  ) as book) as spells`

const FIND = `select id, name, ${BOOK}, ${TIMES} from wizard where id = $1`
const PAGE = `select ${ENTRY} from wizard where id > $1 order by id limit $2`
const INSERT = `insert into wizard (name) values ($1) returning ${ENTRY}`
const UPDATE = `update wizard set name = $2, updated_at = clock_timestamp() where id = $1 returning ${ENTRY}`
const DELETE = `delete from wizard where id = $1 returning id`
// Others who add to this book wait here, so that the next statement sees what they have added.
const LOCK = `select id from wizard where id = $1 for no key update`
// Locks all that a wizard shows: the row, the spells of the book, and their places in it. In this order, because a deletion
// of a spell locks the spell first, and then removes it from the books.
const LOCK_ROW = `select id from wizard where id = $1 for update`
const LOCK_SPELLS = `
  select id from spell where id in (select spell_id from wizard_spell where wizard_id = $1) order by id for share`
const LOCK_BOOK = `select spell_id from wizard_spell where wizard_id = $1 order by spell_id for share`
const STATE = `
  select exists (select from spell where id = $2) as "isSpell",
    (select count(*)::int from wizard_spell join spell on id = spell_id where wizard_id = $1 and id <> $2) as others`
const ADD = `insert into wizard_spell (wizard_id, spell_id) values ($1, $2) on conflict do nothing`
const REMOVE = `delete from wizard_spell where wizard_id = $1 and spell_id = $2 returning spell_id`

/** The result of adding a spell to a book. `added` also if it was there already. */
export type Added = 'added' | 'no wizard' | 'no spell' | 'full'

/** SQL, and nothing else. Every statement is one snapshot of its own, unless `at` is a transaction. */
export interface WizardTable {
  /** With the spells of the book, in the order of their ids: one statement, so that all is from one moment. */
  find(id: string, signal?: AbortSignal): Promise<Wizard | undefined>
  /** As `find`, and keeps others from changing what is found until the transaction ends. */
  lock(id: string): Promise<Wizard | undefined>
  /** At most `limit` wizards with an id greater than `after`, in the order of their ids. */
  page(after: string, limit: number, signal?: AbortSignal): Promise<WizardEntry[]>
  /** As a spell is inserted. */
  insert(fields: WizardFields): Promise<WizardEntry>
  /** The changed wizard, or `undefined` if there is none with this id. */
  update(id: string, fields: WizardFields): Promise<WizardEntry | undefined>
  /** Whether there was one. Its book goes with it. */
  delete(id: string): Promise<boolean>
  /**
   * Adds a spell to a book. To be called in a transaction.
   *
   * @param before - Called when it can be added, before it is. If it rejects, so does this.
   */
  add(id: string, spellId: string, before?: () => Promise<void>): Promise<Added>
  /** Whether it was there. */
  remove(id: string, spellId: string): Promise<boolean>
}

/** The tables as they are seen at `at`: the database, or a transaction. */
export function wizardTable(at: Queryable): WizardTable {
  return {
    async find(id, signal) {
      const rows = await at.query<Wizard>(FIND, [id], signal)
      return rows[0]
    },
    async lock(id) {
      for (const statement of [LOCK_ROW, LOCK_SPELLS, LOCK_BOOK]) await at.query(statement, [id])
      const rows = await at.query<Wizard>(FIND, [id])
      return rows[0]
    },
    page: (after, limit, signal) => at.query<WizardEntry>(PAGE, [after, limit], signal),
    async insert({ name }) {
      const rows = await at.query<WizardEntry>(INSERT, [name])
      return rows[0]!
    },
    async update(id, { name }) {
      const rows = await at.query<WizardEntry>(UPDATE, [id, name])
      return rows[0]
    },
    async delete(id) {
      const rows = await at.query(DELETE, [id])
      return rows.length > 0
    },
    async add(id, spellId, before) {
      const locked = await at.query(LOCK, [id])
      if (locked.length === 0) return 'no wizard'
      const [state] = await at.query<{ isSpell: boolean; others: number }>(STATE, [id, spellId])
      if (!state!.isSpell) return 'no spell'
      if (state!.others >= BOOK_SPELLS) return 'full'
      await before?.()
      await at.query(ADD, [id, spellId])
      return 'added'
    },
    async remove(id, spellId) {
      const rows = await at.query(REMOVE, [id, spellId])
      return rows.length > 0
    },
  }
}
