import type { EmbeddedStore } from '../src/memory/embedded-shared.ts'
import type { StreamListener } from '../src/shared/shared-store.ts'
import type { Link } from './link.ts'
import type { Operation } from './shared-server.ts'
import type { Trail } from './trail.ts'

/** What a link leads to. */
export interface Primary {
  /** Which life of the server this is. */
  readonly life: number
  readonly isUp: boolean
  /** Who is connected. */
  readonly links: Set<Link>
  /** Does one operation, in one go, and says what came of it. */
  apply(by: Link, operation: Operation, given: readonly unknown[]): Promise<unknown>
}

/** What a life of the server says of itself. */
export const identityOf = (life: number): string => `life ${life}`

/**
 * A primary that has been replaced, for those whose connections still lead to it: it goes on from the state that it had, and
 * nobody else hears of it. The checker is told of nothing that is applied here, as nothing of it will remain.
 */
export class OldPrimary implements Primary {
  readonly isUp = true
  readonly links = new Set<Link>()
  readonly life: number
  readonly #store: EmbeddedStore
  readonly #trail: Trail

  constructor(life: number, store: EmbeddedStore, trail: Trail) {
    this.life = life
    this.#store = store
    this.#trail = trail
    store.subscribe({
      invalidated: key => this.#publish(listener => listener.invalidated(key)),
      keyspaceInvalidated: keyspace => this.#publish(listener => listener.keyspaceInvalidated(keyspace)),
      heartbeat: text => this.#publish(listener => listener.heartbeat(text)),
      interrupted: () => {},
    })
  }

  apply(by: Link, operation: Operation, given: readonly unknown[]): Promise<unknown> {
    if (operation === 'identity') return Promise.resolve(identityOf(this.life))
    this.#trail.note('old', () => `${operation} ${by.name} ${JSON.stringify(given[0])}`)
    const store = this.#store as unknown as Record<
      Operation,
      (...given: readonly unknown[]) => Promise<unknown>
    >
    return store[operation](...given)
  }

  #publish(tell: (listener: StreamListener) => void): void {
    for (const link of this.links) link.publish({ tell, rows: [], floors: [], forgetting: 0 })
  }
}
