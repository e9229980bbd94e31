import type { Cache } from 'cacheaside'
import type { Spell, SpellTable } from './spell-table.ts'

const TEN_MINUTES_MS = 600_000

/** The same with cacheaside. */
export function ourSpells(cache: Cache, table: SpellTable) {
  const spells = cache.keyspace('spell', {
    load: (id: number) => table.find(id),
    ttlMs: TEN_MINUTES_MS,
  })
  return {
    key: (id: number) => spells.key(id),

    find(id: number): Promise<Spell | undefined> {
      return spells.get(id)
    },

    async update(id: number): Promise<Spell> {
      const { value } = await spells.write(id, () => table.update(id))
      return value
    },
  }
}
