import { UNCONFIRMED } from './shared-access.ts'

/** A reader that has seen a value of another generation than the one that it knew. */
interface Waiter {
  /** The generation of that value. */
  readonly seen: string
  /** Whether the value was seen before the look began. */
  readonly isBefore: boolean
  readonly resolve: (found: string | typeof UNCONFIRMED) => void
}

/** The looks at the generation of one keyspace. */
interface Looks {
  /** The readers that wait for the look under way. Empty: no look is under way. */
  waiters: readonly Waiter[]
  /** The readers that wait for the look after it. */
  next: readonly Waiter[]
  /** Generations that a later one has followed; the last ones. */
  readonly fallen: Set<string>
}

const MOST_FALLEN = 8

/**
 * Looks at the generations of keyspaces on behalf of readers who have seen a value of another generation than they knew.
 *
 * What they knew may be older than the value:
 *
 * 1. a process has a copy of generation 1; 2. the keyspace is invalidated, and another process stores a value of generation
 * 2; 3. the first process finds that value before it hears of the invalidation, and would remove it.
 *
 * So a value falls only by a look that began after its generation had been seen. Many readers share one look: at most one is
 * under way for a keyspace, and the generations that it shows to have fallen are remembered. A reader that joins a look only
 * learns that a generation has fallen, never that it stands: the look may have run before an invalidation, and the reader may
 * have begun after it.
 */
export class GenerationLooks {
  readonly #read: (keyspace: string) => Promise<string | typeof UNCONFIRMED>
  readonly #looks = new Map<string, Looks>()

  /** @param read - Reads the generation of a keyspace from the store; never rejects. */
  constructor(read: (keyspace: string) => Promise<string | typeof UNCONFIRMED>) {
    this.#read = read
  }

  /** Whether a look has shown that a later generation has followed this one. */
  hasFallen(keyspace: string, generation: string): boolean {
    return this.#looks.get(keyspace)?.fallen.has(generation) === true
  }

  /**
   * The generation of a keyspace, once a value of the generation `seen` was found. Differs from `seen` only if that has
   * fallen.
   *
   * @param seen - The generation of a value that was seen just now.
   */
  after(keyspace: string, seen: string): Promise<string | typeof UNCONFIRMED> {
    const looks = this.#of(keyspace)
    return new Promise(resolve => {
      const isJoined = looks.waiters.some(waiter => waiter.isBefore && waiter.seen === seen)
      if (looks.waiters.length === 0) this.#begin(keyspace, looks, [{ seen, isBefore: true, resolve }])
      else if (isJoined) looks.waiters = [...looks.waiters, { seen, isBefore: false, resolve }]
      else looks.next = [...looks.next, { seen, isBefore: true, resolve }]
    })
  }

  /** A later generation has followed this one. */
  note(keyspace: string, fallen: string): void {
    add(this.#of(keyspace), fallen)
  }

  /** The store may be another one: forgets what has fallen. */
  forget(): void {
    for (const { fallen } of this.#looks.values()) fallen.clear()
  }

  #of(keyspace: string): Looks {
    const looks = this.#looks.get(keyspace) ?? { waiters: [], next: [], fallen: new Set() }
    this.#looks.set(keyspace, looks)
    return looks
  }

  #begin(keyspace: string, looks: Looks, waiters: readonly Waiter[]): void {
    looks.waiters = waiters
    looks.next = []
    void this.#read(keyspace).then(found => this.#heard(keyspace, looks, found))
  }

  #heard(keyspace: string, looks: Looks, found: string | typeof UNCONFIRMED): void {
    const { waiters, next, fallen } = looks
    if (found !== UNCONFIRMED) {
      fallen.delete(found)
      for (const { seen, isBefore } of waiters) if (isBefore && seen !== found) add(looks, seen)
    }
    const isAnswered = ({ seen, isBefore }: Waiter) => isBefore || found === UNCONFIRMED || fallen.has(seen)
    const left = waiters.filter(waiter => !isAnswered(waiter))
    looks.waiters = []
    const again = [...left.map(waiter => ({ ...waiter, isBefore: true })), ...next]
    if (again.length > 0) this.#begin(keyspace, looks, again)
    for (const waiter of waiters) if (isAnswered(waiter)) waiter.resolve(found)
  }
}

/** Adds a fallen generation; a full set loses its oldest. */
function add({ fallen }: Looks, generation: string): void {
  fallen.add(generation)
  for (const oldest of fallen) if (fallen.size > MOST_FALLEN) fallen.delete(oldest)
}
