import type { Cluster, Redis } from 'ioredis'
import { Origin, type Spell } from './origin.ts'
import { clientOf } from './redis-client.ts'
import type { Steps } from './steps.ts'
import type { ProcessOptions, Seen, SeenTogether, Status, Subject, WriteHow, Written } from './subject.ts'

const CHANNEL = 'plain-changes'
const DEFAULT_TTL_MS = 600_000

interface Stored {
  readonly version: number | null
  readonly storedMs: number
}

/**
 * Cache-aside as it is usually written, for comparison: GET, on a miss SELECT and SET; UPDATE, then DEL. With one load
 * per key and process at a time, as most libraries have it. With `local` also copies in this process, which are
 * removed when a process publishes that it changed a row. Books are kept with hand-written tags: a set per row, which names
 * the books that show it.
 */
export class PlainSubject implements Subject {
  readonly #origin: Origin
  readonly #steps: Steps
  readonly #redis: Redis | Cluster
  readonly #listener: Redis | Cluster | undefined
  readonly #local = new Map<number, Stored>()
  readonly #flights = new Map<number, Promise<Stored>>()
  readonly #options: ProcessOptions
  readonly #ttlMs: number
  readonly #staleMs: number
  #working = 0

  constructor(options: ProcessOptions, steps: Steps) {
    const { postgres, statementTimeoutMs, poolSize, commandTimeoutMs } = options
    this.#options = options
    this.#steps = steps
    this.#origin = new Origin(postgres, steps, statementTimeoutMs, poolSize, options.shown)
    this.#redis = clientOf(
      options.store,
      commandTimeoutMs === undefined
        ? {}
        : {
            commandTimeout: commandTimeoutMs,
            autoResendUnfulfilledCommands: false,
            enableOfflineQueue: false,
          },
    )
    this.#ttlMs = options.keyspace?.ttlMs ?? DEFAULT_TTL_MS
    this.#staleMs = options.keyspace?.staleMs ?? 0
    if (options.local !== true) return
    this.#listener = clientOf(options.store)
    this.#listener.on('message', (_channel: string, id: string) => void this.#local.delete(Number(id)))
  }

  /** Waits until it is connected, where commands would not wait for that, and changes of other processes are heard. */
  async begin(): Promise<void> {
    // The first attempt may fail on a busy machine; the client goes on by itself.
    if (this.#options.commandTimeoutMs !== undefined) {
      const isReady = new Promise(resolve => this.#redis.once('ready', resolve))
      this.#redis.connect().catch(() => {})
      await isReady
    }
    await this.#listener?.subscribe(CHANNEL)
  }

  async get(id: number): Promise<Seen> {
    const beganMs = performance.now()
    const local = this.#local.get(id)
    const tookMs = () => performance.now() - beganMs
    if (local !== undefined) return { version: local.version, from: 'local', why: '', tookMs: tookMs() }
    const cached = await this.#tolerant(this.#redis.get(`plain:${id}`))
    if (cached === null) {
      const { version } = await this.#joinOrLoad(id)
      return { version, from: 'origin', why: '', tookMs: tookMs() }
    }
    const stored = JSON.parse(cached) as Stored
    if (this.#staleMs > 0 && Date.now() - stored.storedMs > this.#ttlMs) void this.#joinOrLoad(id)
    else this.#keep(id, stored)
    return { version: stored.version, from: 'shared', why: '', tookMs: tookMs() }
  }

  async getMany(ids: readonly number[]): Promise<(number | null)[]> {
    const cached = await this.#redis.mget(...ids.map(id => `plain:${id}`))
    const versions = new Map<number, number | null>()
    const missing = ids.filter((id, i) => {
      const text = cached[i]
      if (typeof text === 'string') versions.set(id, (JSON.parse(text) as Stored).version)
      return typeof text !== 'string'
    })
    if (missing.length > 0) {
      const found = new Map((await this.#origin.findMany(missing)).map(spell => [spell.id, spell]))
      for (const id of missing) versions.set(id, (await this.#store(id, found.get(id))).version)
    }
    return ids.map(id => versions.get(id) ?? null)
  }

  async write(id: number, how: WriteHow = {}): Promise<Written> {
    const beganMs = performance.now()
    const spell = (await this.#origin.raise([id], how))[0]!
    await this.#steps.pass('release', id)
    const told = this.#tolerant<unknown>(
      how.through === true ? this.#store(id, spell) : this.#forget(await this.#dependentsOf(id)),
    )
    await this.#steps.pass('releasing', id)
    await told
    await this.#tolerant(this.#redis.publish(CHANNEL, String(id)))
    const tookMs = performance.now() - beganMs
    return { version: spell.version, invalidation: 'applied', fenced: false, tookMs }
  }

  async writeAll(ids: readonly number[]): Promise<Written[]> {
    const spells = await this.#origin.raise(ids)
    for (const id of ids) {
      await this.#tolerant(this.#forget(await this.#dependentsOf(id)))
      await this.#tolerant(this.#redis.publish(CHANNEL, String(id)))
    }
    return spells.map(({ version }) => ({ version, invalidation: 'applied', fenced: false, tookMs: 0 }))
  }

  async move(from: number, to: number): Promise<void> {
    await this.#origin.move(from, to)
    for (const id of [from, to]) await this.#forget(await this.#dependentsOf(id))
  }

  async snapshot(ids: readonly number[]): Promise<SeenTogether> {
    return { versions: await this.getMany(ids), isLoaded: false }
  }

  /** What shows a row: itself, or the books in its set. */
  async #dependentsOf(id: number): Promise<readonly number[]> {
    if ((this.#options.shown ?? 'row') === 'row') return [id]
    return (await this.#tolerant(this.#redis.smembers(`plain-shows:${id}`)))?.map(Number) ?? []
  }

  async #forget(ids: readonly number[]): Promise<void> {
    for (const id of ids) {
      this.#local.delete(id)
      await this.#redis.del(`plain:${id}`)
    }
  }

  status(): Status {
    return {
      working: this.#working,
      queued: 0,
      loads: this.#origin.loads,
      mostLoads: this.#origin.mostLoads,
      hasProof: true,
      storeIsAvailable: true,
      feedIsOpen: true,
      maxLagMs: 0,
      distrusted: 0,
      localEntries: this.#local.size,
      pauseMs: 0,
      lostMs: 0,
    }
  }

  #joinOrLoad(id: number): Promise<Stored> {
    let flight = this.#options.loadsApart === true ? undefined : this.#flights.get(id)
    if (flight === undefined) {
      this.#working++
      flight = this.#origin
        .find(id)
        .then(spell => this.#store(id, spell))
        .finally(() => {
          this.#working--
          this.#flights.delete(id)
        })
      this.#flights.set(id, flight)
    }
    return flight
  }

  async #store(id: number, spell: Spell | undefined): Promise<Stored> {
    const stored = { version: spell?.version ?? null, storedMs: Date.now() }
    const lifeMs = this.#ttlMs + this.#staleMs
    await this.#tolerant(this.#redis.set(`plain:${id}`, JSON.stringify(stored), 'PX', lifeMs))
    for (const shown of spell?.spells ?? [])
      await this.#tolerant(this.#redis.sadd(`plain-shows:${shown}`, String(id)))
    await this.#steps.pass('filled', id)
    this.#keep(id, stored)
    return stored
  }

  #keep(id: number, stored: Stored): void {
    if (this.#options.local === true) this.#local.set(id, stored)
  }

  /** With a limit on commands a failure is passed over, as a program does whose cache must not break it. */
  #tolerant<T>(command: Promise<T>): Promise<T | null> {
    return this.#options.commandTimeoutMs === undefined ? command : command.catch(() => null)
  }
}
