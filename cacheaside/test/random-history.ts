import { createCache, embeddedShared, type Key, type SharedStore, type StreamListener } from '../src/index.ts'
import { SimulatedClock } from '../src/testing/index.ts'

/**
 * A random history of several processes over one shared store, on a simulated clock: reads of both kinds, batches, writes of
 * one and of two keys, changes behind the library's back, evictions, a network that delays, loses and breaks. Every answer is
 * checked against what the origin had committed, and in the end, when everything has healed, every process against the
 * origin. The same seed gives the same history.
 */
export interface HistoryOptions {
  readonly seed: number
  /** Whether the network breaks and the store forgets; otherwise it only delays. */
  readonly faults: boolean
  readonly operations?: number
  /** The library under test. */
  readonly createCache?: typeof createCache
}

/** What was wrong; empty if nothing was. */
export interface History {
  readonly violations: readonly string[]
  readonly reads: number
  readonly writes: number
  readonly fencedWrites: number
}

const PROCESSES = 3
const KEYS = 4
const MAX_STALE_MS = 2_000

export async function randomHistory({
  seed,
  faults,
  operations = 300,
  createCache: create = createCache,
}: HistoryOptions): Promise<History> {
  const clock = new SimulatedClock({ seed })
  const random = generator(seed)
  const chance = (probability: number) => random() < probability
  const below = (limit: number) => Math.floor(random() * limit)
  const later = (ms: number) => new Promise<void>(resolve => clock.after(ms, resolve))

  /** The origin: the version of each row. What is acknowledged is kept with its moment, for the floors of later reads. */
  const origin = new Array<number>(KEYS).fill(0)
  const acknowledged: { key: number; version: number; atMs: number; by: number; fenced: boolean }[] = []
  const seen = new Array<number>(KEYS).fill(0)
  const weak = new Array<boolean>(KEYS).fill(false)
  const violations: string[] = []
  let reads = 0
  let writes = 0
  let fencedWrites = 0

  const store = embeddedShared({ clock, maxBytes: 2 ** 20 })
  const networks = Array.from({ length: PROCESSES }, () => new Network(store, clock, random))
  const load = async (id: number) => {
    await later(below(30))
    const version = origin[id]!
    await later(below(30))
    return version
  }
  const processes = networks.map(network => {
    const cache = create({
      shared: network.store,
      local: { maxEntries: 3 },
      clock,
      guardMs: 1_000,
      writeTimeoutMs: 5_000,
      loadTimeoutMs: 2_500,
      leaseMs: 3_000,
      localMaxStaleMs: MAX_STALE_MS,
    })
    const space = cache.keyspace('row', {
      load,
      loadMany: async ids => {
        await later(below(30))
        const versions = ids.map(id => [id, origin[id]!] as const)
        await later(below(30))
        return versions
      },
      ttlMs: 3_600_000,
      ...(chance(0.3) ? { ttlMs: 500, staleMs: 400, refreshAhead: 5 } : {}),
    })
    return { cache, space }
  })

  const floorOf = (key: number, strong: boolean, by: number, nowMs: number) => {
    let floor = strong && !faults && !weak[key] ? seen[key]! : 0
    for (const one of acknowledged) {
      if (one.key !== key) continue
      const known = one.by === by || (one.fenced && (strong || one.atMs <= nowMs - MAX_STALE_MS))
      if (known) floor = Math.max(floor, one.version)
    }
    return floor
  }
  const check = (what: string, key: number, strong: boolean, version: number | undefined, floor: number) => {
    reads++
    if (version === undefined || version < floor) {
      violations.push(
        `at ${clock.nowMs()}: ${what} of ${key} gave v${version}, and v${floor} was known before`,
      )
    }
    if (strong) seen[key] = Math.max(seen[key]!, version ?? 0)
  }
  const ignored = () => {}

  const readOne = async (by: number, strong: boolean) => {
    const key = below(KEYS)
    const floor = floorOf(key, strong, by, clock.nowMs())
    const version = await processes[by]!.space.get(key, strong ? { consistency: 'strong' } : undefined)
    check(strong ? 'strong read' : 'read', key, strong, version, floor)
  }
  const readAll = async (by: number, strong: boolean) => {
    const ids = Array.from({ length: KEYS }, (_, key) => key)
    const floors = ids.map(key => floorOf(key, strong, by, clock.nowMs()))
    const versions = await processes[by]!.space.getMany(ids, strong ? { consistency: 'strong' } : undefined)
    for (const key of ids) check('batch', key, strong, versions.get(key), floors[key]!)
  }
  const writeSome = async (by: number) => {
    const { cache, space } = processes[by]!
    const first = below(KEYS)
    const keys = chance(0.3) ? [...new Set([first, below(KEYS)])] : [first]
    const lateKey = chance(0.3) ? below(KEYS) : undefined
    const through = chance(0.5)
    const changed = [...new Set(lateKey === undefined ? keys : [...keys, lateKey])]
    writes++
    const { fenced, value } = await cache.write(
      keys.map(key => space.key(key)),
      async ({ guard }) => {
        await later(below(chance(0.1) ? 2_000 : 40))
        if (lateKey !== undefined) await guard(space.key(lateKey))
        const versions = new Map<number, number>()
        for (const key of changed) versions.set(key, ++origin[key]!)
        await later(below(20))
        return versions
      },
      through
        ? { writeThrough: versions => [...versions].map(([key, version]) => space.entry(key, version)) }
        : {},
    )
    if (fenced) fencedWrites++
    for (const [key, version] of value) {
      if (!fenced) weak[key] = true
      acknowledged.push({ key, version, atMs: clock.nowMs(), by, fenced })
    }
  }
  /** A change by another program, of which the library is told afterwards, until it has been applied. */
  const changeFromOutside = async (by: number) => {
    const key = below(KEYS)
    origin[key]!++
    weak[key] = true
    await later(below(100))
    await processes[by]!.space.invalidate(key)
  }
  const breakSomething = async () => {
    const network = networks[below(PROCESSES)]!
    const lasting = below(8_000)
    const kind = below(5)
    if (kind === 0) network.cut = true
    else if (kind === 1) network.mute = true
    else if (kind === 2) network.lossy = true
    else if (kind === 3) network.streamDelayMs = below(4_000)
    else return void store.invalidate(`row:${below(KEYS)}` as Key)
    await later(lasting)
    network.heal()
  }

  const running: Promise<unknown>[] = []
  for (let i = 0; i < operations; i++) {
    const by = below(PROCESSES)
    const dice = random()
    if (dice < 0.4) running.push(readOne(by, false).catch(ignored))
    else if (dice < 0.6) running.push(readOne(by, true).catch(ignored))
    else if (dice < 0.68) running.push(readAll(by, chance(0.5)).catch(ignored))
    else if (dice < 0.9) running.push(writeSome(by))
    else if (dice < 0.94) running.push(changeFromOutside(by))
    else if (dice < 0.95) running.push(processes[by]!.space.invalidateAll())
    else if (faults) running.push(breakSomething())
    await clock.advance(chance(0.1) ? below(1_500) : below(60))
  }
  for (const network of networks) network.heal()
  await clock.advance(30_000)
  await Promise.all(running)
  for (const [by, { space }] of processes.entries()) {
    for (let key = 0; key < KEYS; key++) {
      const answer = space.read(key)
      await clock.advance(200)
      const { value, from } = await answer
      if (value !== origin[key]) {
        violations.push(
          `at rest: process ${by} serves v${value} of ${key} from ${from}, the origin has v${origin[key]}`,
        )
      }
    }
  }
  for (const { cache } of processes) {
    const closing = cache.close()
    await clock.advance(100)
    await closing
  }
  return { violations, reads, writes, fencedWrites }
}

/** A small generator of uniform numbers (mulberry32), apart from the clock's so that both can be drawn from freely. */
function generator(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One process's connections to the store: commands that may overtake each other, and a stream that keeps its order. */
class Network {
  /** Commands and messages are lost, and the process is told when the connection breaks and when it is back. */
  #cut = false
  /** Messages are swallowed, as by a firewall that forgot the connection: nobody is told until it is made anew. */
  mute = false
  /** Some commands, and some replies, are lost. */
  lossy = false
  streamDelayMs = 0
  readonly store: SharedStore
  readonly #clock: SimulatedClock
  readonly #random: () => number
  readonly #listeners = new Set<StreamListener>()
  #lastDeliveryMs = 0

  constructor(inner: SharedStore, clock: SimulatedClock, random: () => number) {
    this.#clock = clock
    this.#random = random
    const through =
      (name: keyof SharedStore) =>
      (...given: unknown[]) =>
        this.#send(() => (inner[name] as (...given: unknown[]) => Promise<unknown>)(...given))
    const store: Record<string, unknown> = { name: 'network', synchronous: false, close: async () => {} }
    const operations = [
      'lease',
      'leaseMany',
      'look',
      'fill',
      'swap',
      'drop',
      'claim',
      'guard',
      'release',
      'invalidate',
      'generation',
      'invalidateKeyspace',
      'heartbeat',
      'identity',
    ] as const
    for (const name of operations) store[name] = through(name)
    store.subscribe = (listener: StreamListener) => this.#subscribe(inner, listener)
    this.store = store as unknown as SharedStore
  }

  set cut(cut: boolean) {
    if (this.#cut === cut) return
    this.#cut = cut
    for (const listener of this.#listeners) listener.interrupted(cut ? 'connection lost' : 'reconnected')
  }

  heal(): void {
    if (this.mute) for (const listener of this.#listeners) listener.interrupted('reconnected')
    this.cut = false
    this.mute = false
    this.lossy = false
    this.streamDelayMs = 0
  }

  #subscribe(inner: SharedStore, listener: StreamListener): () => void {
    this.#listeners.add(listener)
    const stop = inner.subscribe({
      invalidated: key => this.#deliver(() => listener.invalidated(key)),
      keyspaceInvalidated: keyspace => this.#deliver(() => listener.keyspaceInvalidated(keyspace)),
      heartbeat: text => this.#deliver(() => listener.heartbeat(text)),
      interrupted: reason => listener.interrupted(reason),
    })
    return () => {
      this.#listeners.delete(listener)
      stop()
    }
  }

  #deliver(tell: () => void): void {
    if (this.#cut || this.mute) return
    const atMs = Math.max(
      this.#lastDeliveryMs,
      this.#clock.nowMs() + this.streamDelayMs + Math.floor(this.#random() * 15),
    )
    this.#lastDeliveryMs = atMs
    this.#clock.after(atMs - this.#clock.nowMs(), () => {
      if (!this.#cut) tell()
    })
  }

  #send(apply: () => Promise<unknown>): Promise<unknown> {
    const wait = () =>
      new Promise<void>(resolve => this.#clock.after(Math.floor(this.#random() * 12), resolve))
    return (async () => {
      if (this.#cut) throw new Error('connection lost')
      await wait()
      if (this.#cut || (this.lossy && this.#random() < 0.2)) throw new Error('connection lost')
      const reply = await apply()
      await wait()
      if (this.lossy && this.#random() < 0.1)
        await new Promise<void>(resolve => this.#clock.after(500, resolve))
      if (this.#cut || (this.lossy && this.#random() < 0.2)) throw new Error('connection lost')
      return reply
    })()
  }
}
