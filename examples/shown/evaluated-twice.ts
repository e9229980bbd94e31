/** What docs/warnings.md shows of a module that is evaluated twice. A test of the library evaluates it twice. */
import { createCache } from 'cacheaside'

const findSpell = async (id: number) => ({ id, name: 'Earthquake' })

function openSpells() {
  const cache = createCache()
  return { cache, spells: cache.keyspace('spell', { load: (id: number) => findSpell(id) }) }
}

const kept = globalThis as { spells?: ReturnType<typeof openSpells> }
kept.spells ??= openSpells()
export const { cache, spells } = kept.spells
