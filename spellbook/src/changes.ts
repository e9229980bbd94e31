import type { Spell, SpellChange, Wizard, WizardEntry, WizardFields } from './api.ts'
import type { Queryable } from './database/database.ts'
import { spellTable } from './spell-table.ts'
import { type Added, wizardTable } from './wizard-table.ts'

/**
 * A condition of a change: is given the present row, and says whether the change may be made. The row is read in the
 * transaction that makes the change, and locked until it ends, so nobody changes it in between.
 */
export type Condition<Row> = (present: Row) => boolean

/** The condition of a change does not hold. Nothing was changed. */
export class ConditionError extends Error {
  override readonly name = 'ConditionError'
  constructor() {
    super('the condition of the change does not hold')
  }
}

/** Locks a row, and all that is shown with it, until the transaction ends. `undefined`: there is none. */
type Lock<Row> = (id: string) => Promise<Row | undefined>

/** @throws ConditionError if there is a row of which the condition does not hold. */
async function check<Row>(lock: Lock<Row>, id: string, condition: Condition<Row> | undefined): Promise<void> {
  if (condition === undefined) return
  const present = await lock(id)
  if (present !== undefined && !condition(present)) throw new ConditionError()
}

/**
 * The changes of existing rows. All of them reject with a {@link ConditionError} if only their condition stands in the way.
 *
 * @param at - A transaction. For a change of one statement, which has no condition, it may be the database itself.
 */
export function changesIn(at: Queryable) {
  const [spells, wizards] = [spellTable(at), wizardTable(at)]
  return {
    async updateSpell(
      id: string,
      change: SpellChange,
      condition?: Condition<Spell>,
    ): Promise<Spell | undefined> {
      await check(spells.lock, id, condition)
      return spells.update(id, change)
    },
    async deleteSpell(id: string, condition?: Condition<Spell>): Promise<boolean> {
      await check(spells.lock, id, condition)
      return spells.delete(id)
    },
    async updateWizard(
      id: string,
      fields: WizardFields,
      condition?: Condition<Wizard>,
    ): Promise<WizardEntry | undefined> {
      await check(wizards.lock, id, condition)
      return wizards.update(id, fields)
    },
    async deleteWizard(id: string, condition?: Condition<Wizard>): Promise<boolean> {
      await check(wizards.lock, id, condition)
      return wizards.delete(id)
    },
    /** Several statements, also without a condition. */
    addToBook: (id: string, spellId: string, condition?: Condition<Wizard>): Promise<Added> =>
      wizards.add(id, spellId, () => check(wizards.lock, id, condition)),
    async removeFromBook(id: string, spellId: string, condition?: Condition<Wizard>): Promise<boolean> {
      if (condition === undefined) return wizards.remove(id, spellId)
      const present = await wizards.lock(id)
      if (!present?.spells.some(spell => String(spell.id) === spellId)) return false
      if (!condition(present)) throw new ConditionError()
      return wizards.remove(id, spellId)
    },
  }
}
