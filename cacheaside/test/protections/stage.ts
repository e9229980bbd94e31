import type {
  Cache,
  CacheOptions,
  EmbeddedSharedOptions,
  Keyspace,
  KeyspaceOptions,
} from '../../src/index.ts'
import {
  type FaultySharedStore,
  faultySharedStore,
  type Gate,
  gate,
  type PlantableShared,
  SimulatedClock,
} from '../../src/testing/index.ts'
import { quiet } from '../heard-warnings.ts'
import { withoutStream } from '../without-stream.ts'
import type { Library, Patch } from './library.ts'

/** What a scenario found: that everything was right, or else what was wrong. */
export type Verdict = 'right' | (string & {})

/** One interleaving, and what it shows. */
export interface Protection {
  /** What the library does, as a sentence that begins with the public verb. */
  readonly name: string
  readonly scenario: (library: Library) => Promise<Verdict>
  /** What protects it: taken out, the scenario must report exactly what goes wrong. */
  readonly controls: readonly Control[]
}

/** The library with something missing. */
export interface Control {
  readonly without: string
  readonly patches: readonly Patch[]
  readonly reports: string
}

/** How a linearizable read is asked for. */
export const STRONG = { consistency: 'strong' } as const
/** An L1 with room for everything. */
export const L1 = { maxEntries: 1_000 } as const
/** What a promise is while nobody has settled it. */
export const PENDING: unique symbol = Symbol('pending')

/** One process: its cache, its keyspace of spells, and the network between it and the shared store. */
export interface Process {
  readonly link: FaultySharedStore
  readonly cache: Cache
  readonly spells: Keyspace<number, number>
}

/** How a process differs from the usual one, which has no L1. */
export interface ProcessOptions {
  readonly cache?: CacheOptions
  readonly spells?: Partial<KeyspaceOptions<number, number>>
  /** Whether it reaches the store by requests alone. */
  readonly isStreamless?: boolean
  /** Does something to the network before the process begins to listen. */
  readonly network?: (link: FaultySharedStore) => void
}

/**
 * The database: every row has the same version, 1 in the beginning. It has no history; what a load has seen it
 * answers with when its gate opens.
 */
class Origin {
  /** `undefined`: there are no rows. */
  version: number | undefined = 1
  /** How often a loader was called. */
  loads = 0
  readonly #stops: Gate<void>[] = []

  /** Commits, and answers with the row. */
  commit(version: number): number {
    this.version = version
    return version
  }

  /** The next load sees the row as it is when it begins, and answers when the gate is opened. */
  stopNextLoad(): Gate<void> {
    const stop = gate()
    this.#stops.push(stop)
    return stop
  }

  readonly load = async (): Promise<number | undefined> => {
    this.loads++
    const seen = this.version
    await this.#stops.shift()?.wait()
    return seen
  }

  readonly loadMany = async (ids: readonly number[]): Promise<(readonly [number, number | undefined])[]> => {
    const seen = await this.load()
    return ids.map(id => [id, seen] as const)
  }
}

/** The time, the database and the shared store of one scenario, and the processes that play in it. */
export class Stage {
  readonly clock = new SimulatedClock()
  readonly origin = new Origin()
  readonly store: PlantableShared['store']
  readonly plant: PlantableShared['plant']
  readonly #library: Library

  constructor(library: Library, storeOptions: EmbeddedSharedOptions = {}) {
    this.#library = library
    const { store, plant } = library.plantableShared({ ...storeOptions, clock: this.clock })
    this.store = store
    this.plant = plant
  }

  /** A process with a network between it and the store, which the scenario may break. Its stream, if it has one, is proven. */
  async process({ cache = {}, spells = {}, isStreamless, network }: ProcessOptions = {}): Promise<Process> {
    const reached = isStreamless ? withoutStream(this.store) : this.store
    const link = faultySharedStore(reached, { clock: this.clock })
    network?.(link)
    const own = this.#library.createCache({ logger: quiet, ...cache, clock: this.clock, shared: link })
    await this.clock.drain()
    return { link, cache: own, spells: this.#spells(own, spells) }
  }

  /** A process on the store itself, as when it is embedded: no network, messages are heard at once. */
  embedded({ cache = {}, spells = {} }: ProcessOptions = {}): Omit<Process, 'link'> {
    const own = this.#library.createCache({ logger: quiet, ...cache, clock: this.clock, shared: this.store })
    return { cache: own, spells: this.#spells(own, spells) }
  }

  #spells(cache: Cache, options: ProcessOptions['spells']): Keyspace<number, number> {
    const { load, loadMany } = this.origin
    return cache.keyspace('spell', { load, loadMany, ttlJitter: 0, ...options })
  }

  /** What the promise has come to without any time passing, or {@link PENDING}. */
  now<T>(promise: Promise<T>): Promise<T | typeof PENDING> {
    return this.within(0, promise)
  }

  /** What the promise has come to when `ms` have passed, or {@link PENDING}. Rejects as it does. */
  async within<T>(ms: number, promise: Promise<T>): Promise<T | typeof PENDING> {
    let settle: () => Promise<T> | typeof PENDING = () => PENDING
    promise.then(
      value => {
        settle = () => Promise.resolve(value)
      },
      error => {
        settle = () => Promise.reject(error)
      },
    )
    await this.clock.advance(ms)
    return settle()
  }

  /** Whether writers are at work on spell 4, as far as the store knows. */
  get guarded(): boolean {
    return this.store.inspect('spell:4')?.startsWith('W') === true
  }
}

/** The verdict on what somebody got. */
export function got(who: string, answer: unknown, right: unknown): Verdict {
  return answer === right ? 'right' : `${who} got ${shown(answer)}, not ${shown(right)}`
}

/** The verdict on whether something is the case that must not be. */
export function unless(wrong: boolean, what: string): Verdict {
  return wrong ? what : 'right'
}

/** The first verdict that is not right. */
export function all(...verdicts: readonly Verdict[]): Verdict {
  return verdicts.find(verdict => verdict !== 'right') ?? 'right'
}

/** An answer as the verdicts name it. */
export function shown(answer: unknown): string {
  if (answer === PENDING) return 'no answer'
  if (typeof answer === 'number') return `v${answer}`
  return answer instanceof Error ? answer.message : String(answer)
}

/** What a promise rejects with, as a value. */
export function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    error => error,
  )
}
