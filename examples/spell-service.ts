import type { Cache } from 'cacheaside'

export interface Spell {
  readonly id: number
  readonly name: string
  readonly damage: number
}

/** The part of a database that this service needs. */
export interface SpellTable {
  find(id: number, options: { signal: AbortSignal }): Promise<Spell | undefined>
  setDamage(id: number, damage: number): Promise<Spell>
}

/** What a program does with spells: the code that the tests beside this file are about. */
export function spellService(cache: Cache, table: SpellTable) {
  const spells = cache.keyspace('spell', {
    load: (id: number, { signal }) => table.find(id, { signal }),
    ttlMs: 600_000,
    staleIfErrorMs: 3_600_000,
  })
  return {
    keyOf: (id: number | string) => spells.key(Number(id)),
    find: (id: number) => spells.get(id),
    setDamage: (id: number, damage: number) => spells.write(id, () => table.setDamage(id, damage)),
  }
}
