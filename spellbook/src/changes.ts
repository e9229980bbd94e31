import type { Spell, SpellChange, Wizard, WizardEntry, WizardFields } from './api.ts'
import type { Database, Transaction } from './database.ts'
import { spellTable } from './spell-table.ts'
import { type Added, wizardTable } from './wizard-table.ts'

/**
 * What a change may depend on: told what is there, and whether the change may be made. What is there is read in the
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

/** Runs a transaction. */
export type Within = <T>(work: (transaction: Transaction) => Promise<T>) => Promise<T>

/** Locks a row, and all that is shown with it, until the transaction ends. `undefined`: there is none. */
type Lock<Row> = (id: string) => Promise<Row | undefined>

/** @throws ConditionError if there is a row of which the condition does not hold. */
async function check<Row>(lock: Lock<Row>, id: string, condition: Condition<Row>): Promise<Row | undefined> {
  const present = await lock(id)
  if (present !== undefined && !condition(present)) throw new ConditionError()
  return present
}

/**
 * The changes of rows that are there. Without a condition each is one statement; with one it is a transaction.
 * All of them reject with a {@link ConditionError} if the change could be made but for its condition.
 *
 * @param within - How a transaction is run.
 */
export function changesIn(database: Database, within: Within) {
  const [spells, wizards] = [spellTable(database), wizardTable(database)]
  return {
    updateSpell(id: string, change: SpellChange, condition?: Condition<Spell>): Promise<Spell | undefined> {
      if (condition === undefined) return spells.update(id, change)
      return within(async transaction => {
        const inside = spellTable(transaction)
        await check(inside.lock, id, condition)
        return inside.update(id, change)
      })
    },
    deleteSpell(id: string, condition?: Condition<Spell>): Promise<boolean> {
      if (condition === undefined) return spells.delete(id)
      return within(async transaction => {
        const inside = spellTable(transaction)
        await check(inside.lock, id, condition)
        return inside.delete(id)
      })
    },
    updateWizard(
      id: string,
      fields: WizardFields,
      condition?: Condition<Wizard>,
    ): Promise<WizardEntry | undefined> {
      if (condition === undefined) return wizards.update(id, fields)
      return within(async transaction => {
        const inside = wizardTable(transaction)
        await check(inside.lock, id, condition)
        return inside.update(id, fields)
      })
    },
    deleteWizard(id: string, condition?: Condition<Wizard>): Promise<boolean> {
      if (condition === undefined) return wizards.delete(id)
      return within(async transaction => {
        const inside = wizardTable(transaction)
        await check(inside.lock, id, condition)
        return inside.delete(id)
      })
    },
    addToBook(id: string, spellId: string, condition?: Condition<Wizard>): Promise<Added> {
      return within(transaction => {
        const inside = wizardTable(transaction)
        return inside.add(id, spellId, async () => {
          if (condition !== undefined) await check(inside.lock, id, condition)
        })
      })
    },
    removeFromBook(id: string, spellId: string, condition?: Condition<Wizard>): Promise<boolean> {
      if (condition === undefined) return wizards.remove(id, spellId)
      return within(async transaction => {
        const inside = wizardTable(transaction)
        const present = await inside.lock(id)
        if (!present?.spells.some(spell => String(spell.id) === spellId)) return false
        if (!condition(present)) throw new ConditionError()
        return inside.remove(id, spellId)
      })
    },
  }
}
