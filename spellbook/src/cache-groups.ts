import { type Item, serializeList } from 'structured-headers'
import type { Wizard } from './api.ts'
import { endsOf } from './spells.ts'

/**
 * The tags of the cache, for caches between Spellbook and its clients: the groups that an answer belongs to, and the groups
 * that a change ends. A group is named as the key or the tag is.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9875
 */

/** No cache has to take more of them in one field, or longer ones. */
const MOST_GROUPS = 32
const MOST_CHARACTERS = 32

const named = (name: string) => ({ key: (id: string | number) => `${name}:${id}` })
const lists = named('list')
const shown = named('shown')
const [spells, wizards] = [named('spell'), named('wizard')]
const ends = endsOf({ spells, wizards }, { lists, shown })

/**
 * A list of strings, as fields are written.
 *
 * @throws TypeError if that is more than every cache has to take: it would miss an invalidation.
 * @see https://www.rfc-editor.org/rfc/rfc9651
 */
export function groupList(groups: readonly string[]): string {
  if (groups.length > MOST_GROUPS || groups.some(({ length }) => length > MOST_CHARACTERS))
    throw new TypeError(`more than ${MOST_GROUPS} groups, or one of more than ${MOST_CHARACTERS} characters`)
  if (groups.length === 1 && PLAIN.test(groups[0]!)) return `"${groups[0]}"`
  return serializeList(groups.map((group): Item => [group, new Map()]))
}

/** Names that need only quotes around them. A hit on a spell has such a name. */
const PLAIN = /^[\w:-]+$/

/** Of what is shown: `Cache-Groups`. */
export const groupsOf = {
  spell: (id: string | number): string => groupList([spells.key(id)]),
  spellPage: (): string => SPELL_PAGE,
  /** If there are too many spells to name, every change of any spell ends the group: that is correct, but less exact. */
  wizard: ({ id, spells: book }: Wizard): string => {
    const all = [wizards.key(id), ...book.map(spell => shown.key(spell.id))]
    return groupList(all.length > MOST_GROUPS ? [wizards.key(id), lists.key('spells')] : all)
  },
  wizardPage: (): string => WIZARD_PAGE,
}

const SPELL_PAGE = groupList([lists.key('spells')])
const WIZARD_PAGE = groupList([lists.key('wizards')])

/** Of what was changed: `Cache-Group-Invalidation`. */
export const endedGroups = {
  spell: (id: string | number): string => groupList(ends.spell(String(id))),
  wizard: (id: string | number): string => groupList(ends.wizard(String(id))),
  book: (wizardId: string): string => groupList(ends.book(wizardId)),
}
