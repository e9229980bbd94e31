import {
  type AnsweredReadEvent,
  type Cache,
  type CacheEvent,
  type CacheOptions,
  createCache,
  type EmbeddedSharedOptions,
  type SharedStore,
} from '../src/index.ts'
import {
  type FaultySharedStore,
  faultySharedStore,
  plantableShared,
  SimulatedClock,
} from '../src/testing/index.ts'
import { type Heard, notingLogger } from './heard-warnings.ts'
import { watch } from './leftovers.ts'

/** A row of the origin. */
export interface Spell {
  readonly id: number
  readonly name: string
  readonly damage: number
}

export const fireball: Spell = { id: 4, name: 'Fireball', damage: 30 }

/** One process of a test: a cache of its own, and everything it has reported. */
export interface Process {
  readonly cache: Cache
  readonly events: readonly CacheEvent[]
  /** What it has warned of. */
  readonly warnings: readonly Heard[]
  /** Those events of one type. */
  eventsOf<Type extends CacheEvent['type']>(type: Type): readonly (CacheEvent & { readonly type: Type })[]
  /** The reads that were answered. */
  answers(): readonly AnsweredReadEvent[]
}

/** The time, the shared store and the processes of one test. */
export interface World {
  readonly clock: SimulatedClock
  /** What the register of a key holds. */
  inspect(key: string): string | undefined
  plant(key: string, text: string, lifeMs?: number): void
  /** A process whose shared store is `shared`; left out: the embedded one itself, without a network. */
  process(options?: Omit<CacheOptions, 'clock' | 'shared'>, shared?: SharedStore): Process
  /** A breakable network to the store. */
  network(): FaultySharedStore
}

/** Opens a world with simulated time and one shared store, checked after the test for what it has left behind. */
export function openWorld(storeOptions: Omit<EmbeddedSharedOptions, 'clock'> = {}, seed = 1): World {
  const clock = new SimulatedClock({ seed })
  const { store: inner, plant } = plantableShared(Object.assign({ clock }, storeOptions))
  const touched = new Set<string>()
  const store = noting(inner, touched)
  const caches: Cache[] = []
  watch({ clock, caches, store: inner, touched })
  return {
    clock,
    inspect: key => inner.inspect(key),
    plant,
    process(options = {}, shared = store) {
      const events: CacheEvent[] = []
      const logger = notingLogger()
      const cache = createCache({ logger, ...options, clock, shared })
      cache.listen(event => void events.push(event))
      caches.push(cache)
      return {
        cache,
        events,
        warnings: logger.heard,
        eventsOf: type => events.filter(event => event.type === type) as never,
        answers: () => events.filter(event => event.type === 'read' && event.outcome === 'answered') as never,
      }
    },
    network: () => faultySharedStore(store, { clock }),
  }
}

/** The same store; the keys whose registers it may come to hold are noted. */
function noting<Store extends SharedStore>(store: Store, touched: Set<string>): Store {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return (...args: unknown[]) => {
        const [first] = args
        if (typeof first === 'string') touched.add(first)
        if (Array.isArray(first)) for (const { key } of first) touched.add(key)
        return Reflect.apply(member, target, args)
      }
    },
  })
}

/** An origin with rows that can be changed, and a record of what was asked of it. */
export function spellTable(...rows: Spell[]) {
  const spells = new Map(rows.map(row => [row.id, row]))
  const asked: number[][] = []
  return {
    /** The ids of each call of a loader. */
    asked,
    rows: spells,
    find: async (id: number): Promise<Spell | undefined> => {
      asked.push([id])
      return spells.get(id)
    },
    findMany: async (ids: readonly number[]): Promise<Map<number, Spell>> => {
      asked.push([...ids])
      return new Map(ids.flatMap(id => (spells.has(id) ? [[id, spells.get(id)!]] : [])))
    },
    update(id: number, damage: number): Spell {
      const row = { ...spells.get(id)!, damage }
      spells.set(id, row)
      return row
    },
  }
}

/** Resolves after simulated milliseconds: what a loader waits for that takes its time. */
export function passing(clock: SimulatedClock, ms: number): Promise<void> {
  return new Promise(resolve => void clock.after(ms, resolve))
}

/** Lets simulated milliseconds pass while something is under way, by the end of which it must have settled. */
export async function within<T>(clock: SimulatedClock, ms: number, work: Promise<T>): Promise<T> {
  let settled = false
  const noted = work.finally(() => {
    settled = true
  })
  noted.catch(() => {})
  await clock.advance(ms)
  if (!settled) throw new Error(`not settled within ${ms} ms; ${clock.describeTimers()}`)
  return noted
}
