import type { Spell, SpellTable } from './spell-table.ts'

/** What programs use of a client of Redis. */
export interface PlainClient {
  get(key: string): Promise<string | null>
  /** @param lifeS - After so many seconds it is gone. */
  set(key: string, text: string, lifeS: number): Promise<void>
  del(key: string): Promise<void>
}

const TEN_MINUTES_S = 600

/** Cache-aside as it is usually written. */
export function plainSpells(cache: PlainClient, table: SpellTable) {
  return {
    async find(id: number): Promise<Spell | undefined> {
      const kept = await cache.get(`spell:${id}`)
      if (kept !== null) return JSON.parse(kept)
      const spell = await table.find(id)
      await cache.set(`spell:${id}`, JSON.stringify(spell), TEN_MINUTES_S)
      return spell
    },

    async update(id: number): Promise<Spell> {
      const spell = await table.update(id)
      await cache.del(`spell:${id}`)
      return spell
    },
  }
}
