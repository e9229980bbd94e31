import { createCache, type EvictionPolicyName, embeddedShared } from 'cacheaside'
import { eventually } from '../../test/redis-servers.ts'
import { SILENT } from '../both-ways.ts'
import type { Room } from '../demonstration.ts'

/** How many entries each group has. */
export const PER_GROUP = 50
const BYTES = 4_000
const OFTEN = 30
const HOUR_MS = 3_600_000
const SOON_MS = 600_000

/** The groups, in the order in which they are stored. */
export const GROUPS = ['often', 'recent', 'unread', 'soon', 'lasting'] as const

/** Entries that were used alike. */
export type Group = (typeof GROUPS)[number]

/** How many entries are left of each group. A group that the store cannot have is missing. */
export type Left = Partial<Readonly<Record<Group, number>>>

const idsOf = (group: Group): string[] => Array.from({ length: PER_GROUP }, (_, i) => `${group}-${i}`)
const TEXT = 'x'.repeat(BYTES)
/** What comes when the room is used up: as much as half of all groups. */
const NEW = Array.from({ length: (GROUPS.length * PER_GROUP) / 2 }, (_, i) => `new-${i}`)

/** Fills a small Redis with the groups, then goes on storing, and counts what is left. */
export async function leftInRedis(room: Room, policy: EvictionPolicyName): Promise<Left> {
  const redis = await room.redis({ 'maxmemory-policy': policy, 'maxmemory-samples': '10' })
  const client = await room.client(redis.port)
  const store = (id: string, ttlMs: number | undefined) =>
    ttlMs === undefined ? client.set(id, TEXT) : client.set(id, TEXT, 'PX', ttlMs)
  for (const group of GROUPS) {
    const ttlMs = { often: HOUR_MS, recent: HOUR_MS, unread: HOUR_MS, soon: SOON_MS, lasting: undefined }[
      group
    ]
    await Promise.all(idsOf(group).map(id => store(id, ttlMs)))
    if (group === 'often') for (let time = 0; time < OFTEN; time++) await client.mget(idsOf(group))
  }
  // Redis measures in seconds how long ago something was used.
  const isOld = async () => Number(await client.call('OBJECT', 'IDLETIME', idsOf('lasting').at(-1)!)) >= 2
  if (policy.endsWith('lru')) await eventually(isOld, 'the entries to be old')
  await client.mget(idsOf('recent'))

  const used = /used_memory:(\d+)/.exec(await client.info('memory'))![1]
  await client.config('SET', 'maxmemory', Number(used))
  // Under noeviction each of them is refused.
  for (const id of NEW) await store(id, HOUR_MS).catch(() => {})
  const left = await Promise.all(GROUPS.map(async group => [group, await client.exists(...idsOf(group))]))
  return Object.fromEntries(left)
}

/** The same for the embedded store, in which everything that is read expires. */
export async function leftInEmbedded(room: Room, policy: EvictionPolicyName): Promise<Left> {
  const groups = GROUPS.filter(group => group !== 'lasting')
  const shared = embeddedShared({ policy, samples: 10, maxEntries: groups.length * PER_GROUP })
  const cache = createCache({ shared, fill: 'blocking', logger: SILENT })
  room.atEnd(() => cache.close())
  const entries = cache.keyspace('entry', { load: async () => TEXT, ttlMs: HOUR_MS })
  const soon = cache.keyspace('soon', { load: async () => TEXT, ttlMs: SOON_MS })
  const read = async (group: Group) => {
    for (const id of idsOf(group)) await (group === 'soon' ? soon : entries).get(id)
  }
  for (const group of groups) await read(group)
  for (let time = 0; time < OFTEN; time++) await read('often')
  await read('recent')
  for (const id of NEW) await entries.get(id)
  const isLeft = (id: string) =>
    shared.inspect(`entry:${id}`) !== undefined || shared.inspect(`soon:${id}`) !== undefined
  return Object.fromEntries(groups.map(group => [group, idsOf(group).filter(isLeft).length]))
}
