import { type Cache, type EmbeddedShared, embeddedShared, type SharedStore } from 'cacheaside'
import type { CacheConfig } from '../config.ts'
import type { Database } from '../database/database.ts'
import type { Serving, ServingParts } from '../serving.ts'
import { uncachedSpells } from '../uncached-spells.ts'
import { type Bench, type Experiment, type Result, run, SUBJECT } from './experiments.ts'
import {
  configOf,
  emptiesCache,
  impossibleIn,
  type Settings,
  type SettingsChange,
  settingsOf,
} from './settings.ts'
import { type SwitchedStore, type Switches, slowDatabase, switchedStore, undisturbed } from './switches.ts'
import { type Counts, WatchedSpells } from './watched-spells.ts'

/** An action that is impossible now, or in this configuration. */
export class LaboratoryError extends Error {
  override readonly name = 'LaboratoryError'
  readonly status: 400 | 409

  constructor(status: 400 | 409, message: string) {
    super(message)
    this.status = status
  }
}

/** What the page shows. */
export interface LaboratoryState {
  readonly settings: Settings
  /** As it was set at the start. */
  readonly defaults: Settings
  readonly counts: Counts & { readonly loads: number }
  /** What the shared store holds, if it is in this process. */
  readonly store: { readonly entries: number; readonly bytes: number; readonly evictions: number } | undefined
  /** The experiment that runs. */
  readonly running: string | undefined
  readonly result: Result | { readonly name: string; readonly trouble: string } | undefined
}

/** What a laboratory is opened with. */
export interface LaboratoryParts {
  readonly database: Database
  readonly config: CacheConfig
  /** The shared store that was opened for this configuration. */
  readonly shared: SharedStore
  /** Opens a cache as the application is served with, with switches that may be turned. */
  readonly open: (
    served: Pick<ServingParts, 'database' | 'shared' | 'config'>,
    switches: Switches,
  ) => Promise<Serving>
}

/**
 * Switches for the running Spellbook: its database may be slow, its cache cut off or hung, its feed paused, and the cache
 * opened again with another policy, size or time to live. The settings end with the process.
 */
export class Laboratory {
  readonly #parts: LaboratoryParts
  readonly #defaults: Settings
  readonly #switches = undisturbed()
  readonly #database: Database
  readonly #watched: WatchedSpells
  #settings: Settings
  #serving!: Serving
  #served!: Serving
  #switched!: SwitchedStore<SharedStore>
  #store: SharedStore
  #loads = 0
  #running: { readonly name: string; readonly abort: AbortController; over: Promise<void> } | undefined
  #result: LaboratoryState['result']
  /** One change at a time. */
  #turn: Promise<unknown> = Promise.resolve()
  #isClosed = false

  private constructor(parts: LaboratoryParts) {
    this.#parts = parts
    this.#store = parts.shared
    this.#defaults = this.#settings = settingsOf(parts.config)
    this.#database = slowDatabase(parts.database, this.#switches)
    this.#watched = new WatchedSpells(() => this.#serving.spells)
  }

  /** Opens it, and removes what an earlier one has left behind. */
  static async open(parts: LaboratoryParts): Promise<Laboratory> {
    const laboratory = new Laboratory(parts)
    await parts.database.query('delete from spell where name = $1', [SUBJECT])
    await laboratory.#open()
    return laboratory
  }

  /** What is served at the moment. Its spells stay the same when the cache is opened again. */
  get serving(): Serving {
    return this.#served
  }

  get state(): LaboratoryState {
    const store = this.#embedded?.stats()
    return {
      settings: this.#settings,
      defaults: this.#defaults,
      counts: { ...this.#watched.counts, loads: this.#loads },
      store: store && { entries: store.entries, bytes: store.bytes, evictions: store.evictions },
      running: this.#running?.name,
      result: this.#result,
    }
  }

  /**
   * Changes some of the settings.
   *
   * @throws LaboratoryError if one cannot be changed here, or an experiment needs the cache as it is.
   */
  set(change: SettingsChange): Promise<void> {
    const impossible = impossibleIn(this.#settings, change)
    if (impossible.length > 0)
      throw new LaboratoryError(400, `${impossible.join(' and ')} cannot be changed here.`)
    return this.#oneByOne(() => this.#apply({ ...this.#settings, ...change } as Settings))
  }

  /** Undoes all changes, ends the experiment, and sets the counts to zero. */
  reset(): Promise<void> {
    return this.#oneByOne(async () => {
      // An experiment may wait for what hangs.
      this.#undisturb()
      await this.#endExperiment()
      await this.#apply(this.#defaults, true)
      this.#result = undefined
      this.#watched.forget()
      this.#loads = 0
    })
  }

  /**
   * Begins an experiment. How it ends is told by {@link state}.
   *
   * @throws LaboratoryError if one is running, or it needs a cache in this process.
   */
  begin(asked: Experiment): void {
    if (this.#isClosed) throw new LaboratoryError(409, 'The laboratory is closed.')
    if (this.#running !== undefined)
      throw new LaboratoryError(409, `An experiment is running: ${this.#running.name}.`)
    if (asked.name === 'fill' && this.#embedded === undefined)
      throw new LaboratoryError(400, 'The cache is on a server, whose memory is not for filling.')
    const abort = new AbortController()
    const running = { name: asked.name, abort, over: Promise.resolve() }
    this.#running = running
    running.over = run(asked, this.#bench(abort.signal))
      .then(
        result => {
          this.#result = result
        },
        error => {
          this.#result = { name: asked.name, trouble: error instanceof Error ? error.message : String(error) }
        },
      )
      .finally(() => {
        this.#running = undefined
      })
  }

  /** Ends the experiment and what is served. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#undisturb()
    await this.#endExperiment()
    await this.#turn.catch(() => {})
    // The last turn may have disturbed it again.
    this.#undisturb()
    await this.#serving.close()
    if (this.#store !== this.#parts.shared) await this.#store.close()
  }

  async #endExperiment(): Promise<void> {
    this.#running?.abort.abort(new Error('the experiment was ended'))
    await this.#running?.over
  }

  #oneByOne(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn
      .catch(() => {})
      .then(() => {
        if (this.#isClosed) throw new LaboratoryError(409, 'The laboratory is closed.')
        return work()
      })
    this.#turn = turn
    return turn
  }

  async #apply(next: Settings, again = false): Promise<void> {
    const running = this.#running?.name
    const empties = again || emptiesCache(this.#settings, next)
    // A cache expects that a store in its own process answers.
    const reopens =
      empties || (this.#store.synchronous && (next.cache === 'on') !== (this.#settings.cache === 'on'))
    if (reopens && (running === 'fill' || running === 'crowd'))
      throw new LaboratoryError(409, `This experiment needs the cache as it is: ${running}.`)
    if (reopens) await this.#watched.whileHeld(() => this.#reopen(next, empties))
    this.#settings = next
    this.#switches.databaseDelayMs = next.databaseDelayMs
    this.#switches.feedPaused = next.feedPaused ?? false
    this.#switches.cache = next.cache
    this.#switched.turned()
  }

  /**
   * Work under way ends first. Otherwise a writer that has guarded its keys in the old store would commit while readers fill
   * the new one.
   */
  async #reopen(next: Settings, empties: boolean): Promise<void> {
    this.#undisturb()
    await this.#serving.close()
    this.#settings = next
    if (empties) await this.#changeStore()
    await this.#open()
  }

  /** A store in this process is left behind with all that it holds; one on a server is shared with others, and stays. */
  async #changeStore(): Promise<void> {
    const { policy, maxBytes } = this.#settings
    const before = this.#store
    if (policy === undefined || maxBytes === undefined) return
    this.#store = embeddedShared({ policy, maxBytes })
    if (before !== this.#parts.shared) await before.close()
  }

  async #open(): Promise<void> {
    const { config, open } = this.#parts
    this.#switched = switchedStore(this.#store, this.#switches, this.#settings.cache === 'on')
    const served = {
      database: this.#database,
      shared: this.#switched.store,
      config: configOf(config, this.#settings),
    }
    this.#serving = await open(served, this.#switches)
    this.#served = { ...this.#serving, spells: this.#watched.spells, close: () => this.close() }
    this.#cache.listen(event => {
      if (event.type === 'load') this.#loads++
    })
  }

  #undisturb(): void {
    Object.assign(this.#switches, undisturbed())
    this.#switched.turned()
  }

  get #cache(): Cache {
    return this.#serving.spells.cache!
  }

  get #embedded(): Bench['store'] {
    return this.#parts.config.shared.kind === 'embedded' ? (this.#store as EmbeddedShared) : undefined
  }

  #bench(signal: AbortSignal): Bench {
    const laboratory = this
    return {
      spells: this.#watched.spells,
      uncached: uncachedSpells(this.#database),
      // Nobody reads from a cache that does not answer.
      cool: async id => (this.#settings.cache === 'on' ? this.#serving.cool!(id) : undefined),
      loads: () => this.#loads,
      get store() {
        return laboratory.#embedded
      },
      signal,
    }
  }
}
