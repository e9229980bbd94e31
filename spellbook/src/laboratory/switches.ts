import type { ChangeFeed, FeedSession, SharedStore } from 'cacheaside'
import type { Database } from '../database.ts'
import { withMethod } from './with-method.ts'

/** What the laboratory has its hand on. It may be turned at any moment. */
export interface Switches {
  databaseDelayMs: number
  cache: 'on' | 'cut' | 'hung'
  feedPaused: boolean
}

/** The switches as they are when nothing is disturbed. */
export const undisturbed = (): Switches => ({ databaseDelayMs: 0, cache: 'on', feedPaused: false })

/** A database that may be far away. Only what the application asks is slow: migrations, feed and health are not. */
export function slowDatabase(inner: Database, switches: Switches): Database {
  const travel = (): Promise<void> | undefined =>
    switches.databaseDelayMs === 0
      ? undefined
      : new Promise(resolve => setTimeout(resolve, switches.databaseDelayMs))
  const query: Database['query'] = async (...given) => {
    await travel()
    return inner.query(...given)
  }
  const transaction: Database['transaction'] = async work => {
    await travel()
    return inner.transaction(work)
  }
  return withMethod(withMethod(inner, 'query', query), 'transaction', transaction)
}

/** What readers and writers do not ask of a store, or what is there without asking. Operators still see into it. */
type NotAsked = 'atHand' | 'distrust' | 'view' | 'ask' | 'answer' | 'subscribe' | 'retain' | 'close'

/** Of the members of a store, those that are cut off: of a new one the compiler asks whether it is. */
const OPERATIONS: Readonly<
  Record<Exclude<keyof SharedStore, NotAsked | 'name' | 'stream' | 'synchronous'>, true>
> = {
  lease: true,
  leaseMany: true,
  stampMany: true,
  renewStamp: true,
  look: true,
  fill: true,
  swap: true,
  drop: true,
  claim: true,
  guard: true,
  release: true,
  invalidate: true,
  generation: true,
  invalidateKeyspace: true,
  heartbeat: true,
  identity: true,
}

/** A shared store, and what makes those hear that wait for an answer while it hangs. */
export interface SwitchedStore<Store extends SharedStore> {
  readonly store: Store
  /** To be called when the switch has been turned: what waits fails, as when a connection is given up. */
  turned(): void
}

/**
 * A shared store whose way may be cut, or hang. Nothing that is asked then is applied. Messages about what is applied still
 * arrive, so what the store says of its stream stays true.
 *
 * @param isReliable - Whether the cache need not expect that it waits in vain. A cache takes that from a store in its own process.
 */
export function switchedStore<Store extends SharedStore>(
  inner: Store,
  switches: Switches,
  isReliable: boolean,
): SwitchedStore<Store> {
  const waiting = new Set<(error: Error) => void>()
  const cut = () => new Error('the laboratory has cut the cache off')
  const reached = (operation: () => unknown): unknown => {
    if (switches.cache === 'on') return operation()
    if (switches.cache === 'cut') return Promise.reject(cut())
    return new Promise((_, reject) => waiting.add(reject))
  }
  const methods = new Map<PropertyKey, unknown>()
  const store = new Proxy(inner, {
    get(target, name) {
      const found: unknown = Reflect.get(target, name, target)
      if (name === 'synchronous') return found === true && isReliable
      if (typeof found !== 'function') return found
      let method = methods.get(name)
      if (method === undefined) {
        method = Object.hasOwn(OPERATIONS, name)
          ? (...given: unknown[]) => reached(() => found.apply(target, given))
          : found.bind(target)
        methods.set(name, method)
      }
      return method
    },
  })
  return {
    store,
    turned() {
      if (switches.cache === 'hung') return
      for (const reject of waiting) reject(cut())
      waiting.clear()
    },
  }
}

/** A change feed that may be paused: changes are committed, and nobody is told. They are when it goes on. */
export const pausableFeed = (inner: ChangeFeed, switches: Switches): ChangeFeed =>
  withMethod(inner, 'open', async opening => pausableSession(await inner.open(opening), switches))

const pausableSession = (inner: FeedSession, switches: Switches): FeedSession =>
  withMethod(inner, 'take', async acknowledge =>
    switches.feedPaused ? { changes: [], more: false, drained: false } : inner.take(acknowledge),
  )
