import type { EmbeddedStore } from '../src/memory/embedded-shared.ts'
import type { StreamListener } from '../src/shared/shared-store.ts'
import { identityOf, type LinkEnd, type Operation, type Primary } from './primary.ts'
import type { Trail } from './trail.ts'

/**
 * A primary that has been replaced, for those whose connections still lead to it: it goes on from the state that it had, and
 * nobody else hears of it. The checker is told of nothing that is applied here, as nothing of it will remain.
 */
export class OldPrimary implements Primary {
  readonly isUp = true
  readonly links = new Set<LinkEnd>()
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

  apply(by: LinkEnd, operation: Operation, given: readonly unknown[]): Promise<unknown> {
    if (operation === 'identity') return Promise.resolve(identityOf(this.life))
    this.#trail.note('old', () => `${operation} ${by.name} ${JSON.stringify(given[0])}`)
    const store = this.#store as unknown as Record<
      Operation,
      (...given: readonly unknown[]) => Promise<unknown>
    >
    return store[operation](...given)
  }

  #publish(tell: (listener: StreamListener) => void): void {
    for (const link of this.links) link.publish({ tell, subjects: [], floors: [], forgetting: 0 })
  }
}
