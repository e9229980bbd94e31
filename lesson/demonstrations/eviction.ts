import type { EvictionPolicyName } from 'cacheaside'
import type { Demonstration } from '../demonstration.ts'
import { shown } from '../demonstration.ts'
import { GROUPS, type Group, type Left, leftInEmbedded, leftInRedis, PER_GROUP } from './eviction-groups.ts'

/** A policy, and what is to be seen of it. */
interface Policy {
  readonly name: EvictionPolicyName
  readonly title: string
  /** Whether what is left shows it, on either store. A group that a store cannot have is left out. */
  isShown(left: Left): boolean
}

const all = (left: Left) => GROUPS.reduce((sum, group) => sum + (left[group] ?? 0), 0)
const isFewer = (left: Left, one: Group, than: Group) => left[one]! < left[than]!
/** About half of what comes new replaces something. The rest replaces what is new itself. */
const hasEvicted = (left: Left) => all(left) < PER_GROUP * Object.keys(left).length * 0.9
const keepsLasting = (left: Left) => left.lasting === undefined || left.lasting === PER_GROUP

const POLICIES: readonly Policy[] = [
  {
    name: 'noeviction',
    title: 'nothing goes; what is new is refused',
    isShown: left => all(left) === PER_GROUP * Object.keys(left).length,
  },
  {
    name: 'allkeys-lru',
    title: 'what was used longest ago goes',
    isShown: left =>
      hasEvicted(left) && isFewer(left, 'unread', 'recent') && isFewer(left, 'often', 'recent'),
  },
  {
    name: 'allkeys-lfu',
    title: 'what is used least often goes',
    isShown: left => hasEvicted(left) && isFewer(left, 'unread', 'often'),
  },
  {
    name: 'allkeys-random',
    title: 'anything goes',
    isShown: left => hasEvicted(left) && Object.values(left).every(count => count < PER_GROUP),
  },
  {
    name: 'volatile-lru',
    title: 'what was used longest ago goes, of that which expires',
    isShown: left =>
      hasEvicted(left) &&
      keepsLasting(left) &&
      isFewer(left, 'unread', 'recent') &&
      isFewer(left, 'often', 'recent'),
  },
  {
    name: 'volatile-lfu',
    title: 'what is used least often goes, of that which expires',
    isShown: left => hasEvicted(left) && keepsLasting(left) && isFewer(left, 'unread', 'often'),
  },
  {
    name: 'volatile-random',
    title: 'anything goes of that which expires',
    isShown: left => hasEvicted(left) && keepsLasting(left) && left.recent! < PER_GROUP,
  },
  {
    name: 'volatile-ttl',
    title: 'what expires soonest goes',
    isShown: left => hasEvicted(left) && keepsLasting(left) && isFewer(left, 'soon', 'unread'),
  },
]

const OURS: Policy = {
  name: 's3-fifo',
  title: 'what was not asked for again goes (the embedded store only)',
  isShown: left => hasEvicted(left) && isFewer(left, 'unread', 'often') && isFewer(left, 'unread', 'recent'),
}

const WORDS: Readonly<Record<Group, string>> = {
  often: 'read often, a while ago',
  recent: 'read once, just now',
  unread: 'not read since it came',
  soon: 'the same, and expires soonest',
  lasting: 'the same, and never expires',
}

/** Shows for a policy what is left of each group when the room was used up. */
function demonstrationOf(
  { name, title, isShown }: Policy,
  stores: readonly ('Redis' | 'embedded')[],
): Demonstration {
  return {
    name,
    title,
    async run(room) {
      const left = new Map<string, Left>()
      for (const store of stores)
        left.set(store, store === 'Redis' ? await leftInRedis(room, name) : await leftInEmbedded(room, name))
      room.say(`${`left of ${PER_GROUP}`.padEnd(30)}${stores.map(store => store.padStart(9)).join('')}`)
      for (const group of GROUPS) {
        const counts = stores.map(store => String(left.get(store)![group] ?? '–').padStart(9))
        room.say(`${WORDS[group].padEnd(30)}${counts.join('')}`)
      }
      for (const [store, counts] of left)
        shown(isShown(counts), `${name} on ${store}: ${JSON.stringify(counts)}`)
    },
  }
}

/** The eight policies of Redis, and the one that only we have. */
export const evictions: readonly Demonstration[] = [
  ...POLICIES.map(policy => demonstrationOf(policy, ['Redis', 'embedded'])),
  demonstrationOf(OURS, ['embedded']),
]
