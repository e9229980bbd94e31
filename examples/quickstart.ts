import { createCache } from 'cacheaside'

const spellTable = new Map([[4, { id: 4, name: 'Earthquake', damage: 40 }]])

const cache = createCache()
const spells = cache.keyspace('spell', {
  load: async (id: number) => spellTable.get(id), // undefined: no such spell
  ttlMs: 600_000,
})

await spells.get(4) // from the origin, and kept
await spells.get(4) // from the cache
await spells.write(4, async () => spellTable.set(4, { id: 4, name: 'Earthquake', damage: 41 })) // 40 is gone
console.log((await spells.get(4))?.damage) // 41
await cache.close()
