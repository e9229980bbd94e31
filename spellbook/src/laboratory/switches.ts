import type { ChangeFeed, FeedSession, SharedStore } from 'cacheaside'
import type { Database } from '../database/database.ts'
import { withMethod } from './with-method.ts'

/** The switches of the laboratory. They may be turned at any moment. */
export interface Switches {
  databaseDelayMs: number
  cache: 'on' | 'cut' | 'hung'
  feedPaused: boolean
}

/** The switches as they are when nothing is disturbed. */
export const undisturbed = (): Switches => ({ databaseDelayMs: 0, cache: 'on', feedPaused: false })

/** A database that may be far away. Only the application's own statements are slow: migrations, feed and health are not. */
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

/** Members of a store that need no way to it, or that readers and writers do not use. Operators still see into the store. */
type NotAsked =
  | 'atHand'
  | 'distrust'
  | 'view'
  | 'ask'
  | 'answer'
  | 'subscribe'
  | 'retain'
  | 'close'
  | 'keysAtOnce'

/** The members of a store that are cut off. For a new member the compiler asks for a decision. */
const OPERATIONS: Readonly<
  Record<Exclude<keyof SharedStore, NotAsked | 'name' | 'stream' | 'synchronous' | 'maxValueBytes'>, true>
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

/** A shared store, and a function that ends the waiting for its answers. */
export interface SwitchedStore<Store extends SharedStore> {
  readonly store: Store
  /** To be called when the switch has been turned: waiting commands fail, as with a lost connection. */
  turned(): void
}

/**
 * A shared store whose connection may be cut, or hang. Commands are not applied then. Messages about applied changes still
 * arrive, so the store's statements about its stream stay true.
 *
 * @param isReliable - Whether the cache may rely on an answer, as it does with a store in its own process.
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

/** A change feed that may be paused: changes are still committed, and handed out when it goes on. */
export const pausableFeed = (inner: ChangeFeed, switches: Switches): ChangeFeed =>
  withMethod(inner, 'open', async opening => pausableSession(await inner.open(opening), switches))

const pausableSession = (inner: FeedSession, switches: Switches): FeedSession =>
  withMethod(inner, 'take', async acknowledge =>
    switches.feedPaused ? { changes: [], more: false, drained: false } : inner.take(acknowledge),
  )
