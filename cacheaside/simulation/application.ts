import type {
  Cache,
  CacheEvent,
  CacheOptions,
  CommittedEntry,
  Key,
  Keyspace,
  ReadOptions,
} from '../src/index.ts'
import type { SimulatedClock } from '../src/testing/index.ts'
import { quiet } from '../test/heard-warnings.ts'
import type { Library } from '../test/protections/library.ts'
import type { Checker, Row } from './checker.ts'
import { type Database, DatabaseError } from './database.ts'
import { Debts } from './debts.ts'
import { Link } from './link.ts'
import type { Primary } from './primary.ts'
import { ProcessClock } from './process-clock.ts'
import type { Random } from './random.ts'
import { type Settings, TIMES } from './settings.ts'
import { KEYSPACES, ROWS, type Subjects, TAGS } from './subjects.ts'
import { type Begun, type Named, optionsOf, passagesOf, TaggedValues, type Target } from './tagged-values.ts'
import type { Trail } from './trail.ts'
import type { Weather } from './weather.ts'

/** What a caller who gives up is told. */
class Gone extends Error {}

/** The shared server, as somebody sees it who looks at its registers too. */
interface ObservedServer extends Primary {
  /** Grows with everything that it loses. */
  readonly losses: number
  /** What the register of a key holds. */
  inspect(key: string): string | undefined
  /** Whose tokens stand in the guard of a key, and for how many milliseconds from now. */
  holders(key: string): ReadonlyMap<string, number> | undefined
}

/** What surrounds a process. */
export interface Surroundings {
  readonly clock: SimulatedClock
  readonly random: Random
  readonly trail: Trail
  readonly weather: Weather
  readonly library: Library
  readonly checker: Checker
  readonly database: Database
  readonly server: ObservedServer
  /** What each key and tag shows. */
  readonly subjects: Subjects
  readonly hasFeed: boolean
  /** The rows that this history is about. */
  readonly rows: readonly number[]
}

/** A read that has not been answered. */
interface Waiting {
  readonly sinceMs: number
  readonly limitMs: number
  readonly disturbances: number
  readonly what: string
}

const LINGERING_MS = 2_000
/** Which part of the reads are strong. */
const USUALLY_STRONG = 0.35
/** The longest asking: once, waiting for another's load, and once more. */
const ASKING_MS = 2 * TIMES.sharedTimeoutMs + TIMES.busyWaitMs
/** The longest passage: a look and asking, the load, and a fill that is waited for. */
const PASSAGE_MS = 2 * TIMES.sharedTimeoutMs + ASKING_MS + TIMES.loadTimeoutMs
/** A drifting clock, a timer's granularity, and the turns that a reply is given to be seen in. */
const SLACK_MS = 40
/** Beside it, for what depends on tags: stamps asked for at three moments, one of them behind another key of a batch. */
const STAMPS_MS = 4 * TIMES.sharedTimeoutMs

/**
 * One process of the simulated application: the real cache on a clock and a network of its own. It remembers what it was
 * told, so that what it is told later can be compared.
 */
export class Application {
  readonly name: string
  readonly clock: ProcessClock
  readonly link: Link
  readonly cache: Cache
  /** Reads that wait, to be looked at in the end. */
  readonly waiting = new Set<Waiting>()
  writing = 0
  writes = 0
  fencedWrites = 0
  readonly #world: Surroundings
  readonly #random: Random
  readonly #checker: Checker
  readonly #database: Database
  readonly #shape: number
  readonly #spaces: Keyspace<number, Row>[] = []
  readonly #maxLoads: number
  /** Whether a write that cannot be guarded is not to begin. */
  readonly #mayRefuse: boolean
  #loads = 0
  /** When a load of each key was last under way, or waited for its turn. */
  readonly #loadedMs = new Map<string, number>()
  readonly #loading = new Map<string, number>()
  readonly #ownFloors = new Map<number, { floor: number; forgetting: number }>()
  /** The last version of each subject that it was told is queued. */
  readonly #queuedFloors = new Map<number, number>()
  /** How many writes of this process are at work on a key, so that their guards can be told from others'. */
  readonly #writers = new Map<string, number>()
  /** Writes that ended in doubt, whose commits may still happen: their guards stand on. */
  readonly #doubtful = new Map<string, number>()
  /** When that is over for all of them that had ended by the time when nobody was at work on the key, and their guards. */
  readonly #doubts = new Map<string, { untilMs: number; writes: number; tokens: readonly string[] }>()
  readonly #debts: Debts
  readonly #subjects: Subjects
  /** Values of several rows, if there are any. */
  readonly tagged: TaggedValues | undefined
  #invalidating = 0
  /** What waits for a commit in doubt. */
  #onDoubt: (keys: readonly string[]) => void = () => {}

  constructor(name: string, world: Surroundings, settings: Settings, isStreamless: boolean) {
    this.name = name
    this.#world = world
    this.#random = world.random.fork()
    this.#checker = world.checker
    this.#subjects = world.subjects
    this.#debts = new Debts(world.checker, world.subjects)
    this.#database = world.database
    const hasShapes = world.weather.deploys && world.weather.tags !== true
    this.#shape = hasShapes ? this.#random.between(1, 2) : 1
    this.clock = new ProcessClock(
      world.clock,
      this.#random.fork(),
      world.library.clockOver,
      this.#random.between(-60_000, 60_000),
      1 + (this.#random.next() - 0.5) / 100,
    )
    this.link = new Link(name, world.server, this.clock, world, isStreamless)
    const { local, ...others } = settings.cache()
    const options = isStreamless || local === undefined ? others : { ...others, local }
    this.#maxLoads = options.maxLoads!
    this.#mayRefuse = options.unguarded === 'refuse'
    this.cache = world.library.createCache({ ...options, ...this.#wiring() })
    for (const [keyspace, rows] of KEYSPACES) {
      const space = this.cache.keyspace<number, Row>(keyspace, {
        ...settings.keyspace,
        shape: this.#shape,
        load: row => this.#load([row]).then(found => found.get(row)),
        ...(settings.loadsMany ? { loadMany: (asked: readonly number[]) => this.#load(asked) } : {}),
      })
      for (const row of rows) this.#spaces[row] = space
    }
    if (settings.tags !== undefined) this.tagged = this.#taggedValues(settings, settings.tags)
  }

  #taggedValues(settings: Settings, tags: NonNullable<Settings['tags']>): TaggedValues {
    const reader = {
      name: this.name,
      cache: this.cache,
      checker: this.#checker,
      shape: this.#shape,
      plainKey: (row: number) => this.key(row),
      plainSpace: (row: number) => this.#spaces[row]!,
      begin: (subject: number, isStrong: boolean) => this.#begin(subject, isStrong),
      ownFloor: (subject: number) => this.#ownFloor(subject),
      writtenFloor: (subject: number) => this.#writtenFloor(subject),
      queuedFloor: (subject: number) => this.#queuedFloor(subject),
      hearsAtOnce: this.link.synchronous,
      isExcused: ({ crossings }: Begun) => this.link.hasStrayed(crossings),
      timed: (what: string, passages: number, read: (signal: AbortSignal | undefined) => Promise<void>) =>
        this.#timed(what, passages, read),
      load: (keys: readonly string[], rows: readonly number[]) => this.#loadOf(keys, rows),
    }
    const { deploys, namesNone = false, snapshots } = this.#world.weather
    const of = { ...settings, tags, deploys, namesNone, ...(snapshots === undefined ? {} : { snapshots }) }
    return new TaggedValues(reader, this.#subjects, this.#random.fork(), of)
  }

  #wiring(): CacheOptions {
    const names = this.#world.weather.tags === true ? [...TAGS.keys()] : []
    const keys = ({ id }: { id?: string }) => {
      const row = Number(id)
      return this.tagged === undefined ? [this.key(row)] : [this.key(row), this.tagged.tagOf(row)]
    }
    const feed =
      this.#world.hasFeed && this.link.stream !== 'none'
        ? { feed: this.#database.feed(this.clock, { keys, keyspaces: [...KEYSPACES.keys(), ...names] }) }
        : {}
    // A load whose turn has not come by its time limit was waited for until now, though nobody has seen it begin.
    const onEvent = (event: CacheEvent) => {
      if (event.type === 'load')
        for (const key of event.keys) this.#loadedMs.set(key, this.#world.clock.nowMs())
    }
    return {
      shared: this.link,
      clock: this.clock,
      logger: quiet,
      ...(this.#world.weather.givesBack ? { onEvent } : {}),
      ...feed,
    }
  }

  /** The key of a row. */
  key(row: number): Key {
    return this.#spaces[row]!.key(row)
  }

  /** Any key or tag that there is. */
  anyKey(random: Random): string {
    return this.tagged === undefined ? this.key(random.below(ROWS)) : random.pick(this.#subjects.all).key
  }

  async #load(rows: readonly number[]): Promise<Map<number, Row | undefined>> {
    const shape = this.#shape
    const found = await this.#loadOf(
      rows.map(row => this.key(row)),
      rows,
    )
    return new Map(
      [...found].map(([row, version]) => [row, version === undefined ? undefined : { row, version, shape }]),
    )
  }

  /** One load for these keys, by a snapshot of these rows. */
  async #loadOf(keys: readonly string[], rows: readonly number[]): Promise<Map<number, number | undefined>> {
    if (++this.#loads > this.#maxLoads)
      this.#checker.accuse(`${this.name} runs ${this.#loads} loads, and the limit is ${this.#maxLoads}`)
    for (const key of keys) add(this.#loading, key, 1)
    try {
      return await this.#database.load(this.clock, rows)
    } finally {
      this.#loads--
      for (const key of keys) {
        add(this.#loading, key, -1)
        this.#loadedMs.set(key, this.#world.clock.nowMs())
      }
    }
  }

  /**
   * For how long a lease or claim may stand here without a load. Before its load: as long as asking may take, as one of a batch
   * may have to wait for another key of the batch. After it, which is less: until the reply to the fill is waited for no
   * longer. Then it is given back, and that arrives.
   */
  get idleLeaseMs(): number {
    return ASKING_MS + SLACK_MS + this.link.longestMs
  }

  /** Since when nobody here has been loading the key. */
  idleSinceMs(key: string): number {
    if ((this.#loading.get(key) ?? 0) > 0 || this.cache.stats().now.queuedLoads > 0)
      this.#loadedMs.set(key, this.#world.clock.nowMs())
    return this.#loadedMs.get(key) ?? 0
  }

  /** One read of some kind, checked. */
  async read(row: number): Promise<void> {
    const random = this.#random
    const dice = random.next()
    const isStrong = random.chance(this.#world.weather.strong ?? USUALLY_STRONG)
    if (dice < 0.08) return this.peek(row)
    if (dice < 0.3) return this.#readMany(isStrong)
    const how = isStrong ? 'strong read' : 'read'
    const mark = this.#begin(row, isStrong)
    const space = this.#spaces[row]!
    await this.#timed(`${how} of ${row}`, passagesOf(isStrong), async signal => {
      const options = optionsOf(isStrong, signal)
      const value = dice < 0.7 ? await this.#explained(space, mark, options) : await space.get(row, options)
      this.#answered(mark, value, how)
    })
  }

  /** One read of some kind of a value that shows this row beside others, checked. */
  async readTagged(row: number): Promise<void> {
    await this.tagged!.read(row, this.#random.chance(this.#world.weather.strong ?? USUALLY_STRONG))
  }

  /** A read that tells how long it has asked the shared server. */
  async #explained(
    space: Keyspace<number, Row>,
    mark: Begun,
    options: ReadOptions,
  ): Promise<Row | undefined> {
    const row = mark.subject
    const { disturbances } = this.clock
    const { value, why, joined, timings } = await space.read(row, options)
    const { sharedMs } = timings
    if (options.consistency === 'strong' && (why === 'stale' || why === 'stale-error'))
      this.#checker.accuse(`a strong read of ${row} by ${this.name} was served what had expired`)
    if (why === 'stale-error') this.#fellBack(mark, value, joined)
    if (sharedMs > ASKING_MS + SLACK_MS && !joined && disturbances === this.clock.disturbances)
      this.#checker.accuse(
        `a read of ${row} by ${this.name} asked for ${sharedMs.toFixed(0)} ms, and may for ${ASKING_MS}`,
      )
    return value
  }

  /**
   * A read was served an old value because the load failed, or is slow. It knows more now than when it began: what it has
   * heard meanwhile. A reader that was granted a lease also knows that nothing is there any more. If its load fails, it gives
   * the lease back and falls back in one go.
   */
  #fellBack(mark: Begun, value: Row | undefined, joined: boolean): void {
    const row = mark.subject
    this.#answered({ ...mark, ownFloor: this.#ownFloor(row) }, value, 'fallback')
    if (!joined && this.link.givenBack.get(this.key(row)) === this.clock.wakings)
      this.#checker.accuse(`${this.name} fell back on a value of row ${row} that is no longer there`)
  }

  #begin(subject: number, isStrong: boolean): Begun {
    const mark = this.#checker.begin(subject, isStrong, this.#shape, this.#ownFloor(subject))
    return { ...mark, crossings: this.link.crossings }
  }

  /** A read has been answered: it is judged, unless the process was astray meanwhile. */
  #answered(mark: Begun, value: Row | undefined, how: string): void {
    if (!this.link.hasStrayed(mark.crossings)) this.#checker.answered(mark, value, this.name, how)
  }

  /** What this process knows of a row under a key: from a write of its own, and from what it has heard. */
  #ownFloor(subject: number): number {
    const { forgetting } = this.#checker
    const heard = this.link.heard.get(subject)
    return Math.max(
      this.#writtenFloor(subject),
      heard?.forgetting === forgetting ? (heard.floors[heard.subjects.indexOf(subject)] ?? 0) : 0,
    )
  }

  /** Of that: from its own writes and invalidations alone. */
  #writtenFloor(subject: number): number {
    const own = this.#ownFloors.get(subject)
    return own?.forgetting === this.#checker.forgetting ? own.floor : 0
  }

  /** A version of it that this process was told is queued, and that nobody has invalidated yet. */
  #queuedFloor(subject: number): number {
    const floor = this.#queuedFloors.get(subject) ?? 0
    return this.#checker.strongFloor(subject) < floor ? floor : 0
  }

  #remember(subject: number, version: number): void {
    const floor = Math.max(version, this.#ownFloor(subject))
    this.#ownFloors.set(subject, { floor, forgetting: this.#checker.forgetting })
  }

  /** What L1 holds now. */
  peek(row: number): void {
    const mark = this.#begin(row, false)
    const found = this.#spaces[row]!.peek(row)
    if (found !== undefined) this.#answered(mark, found.value, 'peek')
  }

  async #readMany(isStrong: boolean): Promise<void> {
    const space = this.#random.pick([...new Set(this.#spaces)])
    const rows = [...KEYSPACES.get(space.name)!]
    const marks = rows.map(row => this.#begin(row, isStrong))
    await this.#timed(`batch of ${space.name}`, passagesOf(isStrong), async signal => {
      const values = await space.getMany(rows, optionsOf(isStrong, signal))
      for (const mark of marks)
        this.#answered(mark, values.get(mark.subject), isStrong ? 'strong batch' : 'batch')
    })
  }

  /** A caller who gives up soon. */
  #impatience(): AbortController {
    const controller = new AbortController()
    this.clock.after(1 + this.#random.below(60), () => controller.abort(new Gone(this.name)))
    return controller
  }

  /** Watches over how long a read takes, and what it fails with. */
  async #timed(
    what: string,
    passages: number,
    read: (signal: AbortSignal | undefined) => Promise<void>,
  ): Promise<void> {
    const signal = this.#random.chance(0.06) ? this.#impatience().signal : undefined
    const passageMs = this.tagged === undefined ? PASSAGE_MS : PASSAGE_MS + STAMPS_MS
    const limitMs = passages * passageMs + SLACK_MS
    const sinceMs = this.#world.clock.nowMs()
    const waiting: Waiting = { sinceMs, limitMs, disturbances: this.clock.disturbances, what }
    this.waiting.add(waiting)
    try {
      await read(signal)
    } catch (error) {
      if (!isExpected(error, signal))
        this.#checker.accuse(`${what} by ${this.name} failed: ${describe(error)}`)
    }
    this.waiting.delete(waiting)
    const tookMs = this.#world.clock.nowMs() - sinceMs
    if (tookMs > limitMs && waiting.disturbances === this.clock.disturbances)
      this.#checker.accuse(
        `${what} by ${this.name} took ${tookMs.toFixed(0)} ms, and may take ${limitMs.toFixed(0)}`,
      )
  }

  /** One write of one row or several, checked. */
  async write(): Promise<void> {
    const random = this.#random
    const { rows: hot } = this.#world
    const rows = random.chance(0.25) ? hot.filter(() => random.chance(0.5)) : [random.pick(hot)]
    const late = random.chance(0.25) ? [random.pick(hot)] : []
    const all = [...new Set([...rows, ...late])]
    const through = random.chance(0.5)
    const pondersMs = random.chance(0.06) ? random.below(1_500) : random.below(25)
    const { forgetting } = this.#checker
    const { crossings } = this.link
    const named = this.tagged?.named(rows, late, random) ?? this.#keysOf(rows, late)
    const keys = [...new Set([...named.first, ...named.late])]
    for (const key of keys) add(this.#writers, key, 1)
    const covered = new Map<number, boolean>()
    this.writing++
    this.writes++
    try {
      const { value, fenced, invalidation } = await this.cache.write(
        named.first,
        async ({ guard }) => {
          this.#mustBeGuarded(named.first)
          await this.clock.later(1 + pondersMs)
          await guard(...named.late)
          this.#mustBeGuarded(named.late)
          const committed = await this.#commit(all, keys, covered)
          if (random.chance(this.#world.weather.lingering ?? 0))
            await this.clock.later(random.below(LINGERING_MS))
          return committed
        },
        through ? { writeThrough: versions => this.#entries(versions, keys) } : {},
      )
      if (fenced) this.fencedWrites++
      if (!this.link.hasStrayed(crossings))
        this.#wrote(value, keys, { fenced, invalidation }, forgetting, covered)
    } catch (error) {
      const isKnown = error instanceof DatabaseError || codeOf(error) === 'UNGUARDED'
      if (!isKnown) this.#checker.accuse(`a write by ${this.name} failed: ${describe(error)}`)
      if (codeOf(error) === undefined) this.#isInDoubt(keys)
    }
    for (const key of keys) {
      add(this.#writers, key, -1)
      this.#noteDoubts(key)
    }
    this.writing--
  }

  /** Calls `run` when the commit of one of its writes is in doubt, with the keys of that write. */
  whenInDoubt(run: (keys: readonly string[]) => void): void {
    this.#onDoubt = run
  }

  #isInDoubt(keys: readonly string[]): void {
    for (const key of keys) add(this.#doubtful, key, 1)
    const run = this.#onDoubt
    this.#onDoubt = () => {}
    run(keys)
  }

  /** What a write of these rows names: at first, and when it is under way. */
  #keysOf(rows: readonly number[], late: readonly number[]): Named {
    return { first: rows.map(row => this.key(row)), late: late.map(row => this.key(row)) }
  }

  /** What a write hands over to be stored: also for values of several rows, of which nothing may be. */
  #entries(versions: ReadonlyMap<number, number>, keys: readonly string[]): CommittedEntry[] {
    const entries = [...versions].map(([row, version]) =>
      this.#spaces[row]!.entry(row, this.#rowOf(row, version)),
    )
    return this.tagged === undefined ? entries : [...entries, ...this.tagged.entries(keys)]
  }

  /** Where no write may go on without its guards, it has been told of them. */
  #mustBeGuarded(keys: readonly string[]): void {
    if (!this.#mayRefuse) return
    for (const key of keys) {
      const tokens = this.link.tokens.get(key) ?? []
      if (![...tokens].some(token => this.link.confirmed.has(token)))
        this.#checker.accuse(
          `${this.name} goes on with a write of ${this.#subjects.nameOf(key)} without its guard`,
        )
    }
  }

  #rowOf(row: number, version: number): Row | undefined {
    return this.#database.isDeleted(row, version) ? undefined : { row, version, shape: this.#shape }
  }

  #commit(
    rows: readonly number[],
    keys: readonly string[],
    covered: Map<number, boolean>,
  ): Promise<ReadonlyMap<number, number>> {
    const { losses } = this.#world.server
    const { disturbances } = this.clock
    const sent = new Map(keys.map(key => [key, this.#lastingGuard(key)]))
    return this.#database.commit({
      rows,
      clock: this.clock,
      committed: versions => {
        const isQuiet = losses === this.#world.server.losses && disturbances === this.clock.disturbances
        for (const key of keys) {
          this.#committed(key, versions, covered, disturbances)
          const token = sent.get(key)
          if (token !== undefined && isQuiet && !this.#world.server.holders(key)?.has(token))
            this.#checker.accuse(
              `${this.#subjects.nameOf(key)} was committed by ${this.name} when its guard had been taken away`,
            )
        }
      },
      dropped: () => {},
    })
  }

  /** What a commit means for what one key or tag shows that its write has named. */
  #committed(
    key: string,
    versions: ReadonlyMap<number, number>,
    covered: Map<number, boolean>,
    disturbances: number,
  ): void {
    const isAlone = this.#writersOf(key) === 1
    const isCovered = this.#isGuarded(key)
    for (const subject of this.#subjects.ofKey(key)) {
      const version = versions.get(this.#subjects.all[subject]!.row)
      if (version === undefined) continue
      this.#debts.owe(subject, version, disturbances)
      if (isCovered || isAlone) covered.set(subject, isCovered)
      if (isCovered) this.#checker.fenced(subject, version)
      if (isCovered || this.#isAnyStanding(key)) this.#checker.applied(subject)
      else if (this.#world.server.inspect(key) === undefined) this.#checker.vanished(subject)
    }
  }

  /** The only guard of this process on the key, if it stands for longer than any commit can take. */
  #lastingGuard(key: string): string | undefined {
    this.#forgetDoubts(key)
    const [token, ...others] = this.link.tokens.get(key) ?? []
    if (token === undefined || others.length > 0 || this.#writersOf(key) > 1) return undefined
    const leftMs = this.#world.server.holders(key)?.get(token) ?? 0
    return leftMs > this.#database.statementTimeoutMs ? token : undefined
  }

  /**
   * Whether all guards of this process on the key stand. Writers share a token, so there may be fewer than writers; one
   * that has none is guarded by those of the others for as long as they stand.
   */
  #isGuarded(key: string): boolean {
    this.#forgetDoubts(key)
    const tokens = this.link.tokens.get(key)
    const holders = this.#world.server.holders(key)
    if (tokens === undefined || holders === undefined) return false
    for (const token of tokens) if (!holders.has(token)) return false
    return tokens.size > 0
  }

  /** Whether a guard of this process stands. Then nothing is there to be found, after any commit. */
  #isAnyStanding(key: string): boolean {
    const holders = this.#world.server.holders(key)
    return [...(this.link.tokens.get(key) ?? [])].some(token => holders?.has(token) === true)
  }

  #writersOf(key: string): number {
    this.#forgetDoubts(key)
    return (this.#writers.get(key) ?? 0) + (this.#doubtful.get(key) ?? 0)
  }

  /** Where nobody is at work on the key, all guards that were not released are those of commits in doubt. */
  #noteDoubts(key: string): void {
    const writes = this.#doubtful.get(key) ?? 0
    if (writes === 0 || (this.#writers.get(key) ?? 0) > 0) return
    const untilMs = this.#world.clock.nowMs() + this.#database.statementTimeoutMs
    this.#doubts.set(key, { untilMs, writes, tokens: [...(this.link.tokens.get(key) ?? [])] })
  }

  /** Once these commits have happened, or never will, their guards protect nobody. */
  #forgetDoubts(key: string): void {
    const doubts = this.#doubts.get(key)
    if (doubts === undefined || doubts.untilMs > this.#world.clock.nowMs()) return
    this.#doubts.delete(key)
    add(this.#doubtful, key, -doubts.writes)
    for (const token of doubts.tokens) this.link.tokens.get(key)?.delete(token)
  }

  /** A write has been answered: what it was told must be true. */
  #wrote(
    versions: ReadonlyMap<number, number>,
    keys: readonly string[],
    { fenced, invalidation }: { fenced: boolean; invalidation: 'applied' | 'queued' },
    forgetting: number,
    covered: ReadonlyMap<number, boolean>,
  ): void {
    for (const [row, version] of versions) {
      this.#world.trail.note(
        this.name,
        () => `wrote v${version} of ${row}, ${fenced ? 'fenced' : 'unfenced'}, ${invalidation}`,
      )
      if (this.#world.weather.isQuiet && (!fenced || invalidation !== 'applied'))
        this.#checker.accuse(
          `${this.name} could not fence v${version} of row ${row}, and nothing was in the way`,
        )
    }
    if (forgetting !== this.#checker.forgetting) return
    for (const subject of keys.flatMap(key => this.#subjects.ofKey(key))) {
      const { key, row } = this.#subjects.all[subject]!
      const version = versions.get(row)
      if (version === undefined) continue
      const what = `v${version} of ${this.#subjects.nameOf(key)}`
      this.#remember(subject, version)
      if (invalidation === 'queued') this.#queuedFloors.set(subject, version)
      if (invalidation === 'applied' && this.#checker.strongFloor(subject) < version)
        this.#checker.accuse(`${this.name} was told that ${what} was applied, and it was not`)
      if (fenced && covered.get(subject) === false)
        this.#checker.accuse(`${this.name} was told that ${what} was fenced, and it was not`)
    }
  }

  /**
   * Changes rows behind the library's back, mostly, and says so afterwards: of one row, or of a whole keyspace. Where values
   * depend on tags, it mostly says so of the row's tag, or of all tags of a kind.
   */
  async invalidate(row: number | undefined): Promise<void> {
    const target = this.tagged?.target(row, this.#random) ?? this.#target(row)
    const { subjects, what } = target
    const rows = [...new Set(subjects.map(subject => this.#subjects.all[subject]!.row))]
    if (this.#random.chance(0.7)) await this.#changeBehind(rows)
    const { forgetting } = this.#checker
    const { crossings } = this.link
    const floors = subjects.map(subject => this.#database.current(this.#subjects.all[subject]!.row))
    subjects.forEach((subject, i) => {
      this.#debts.owe(subject, floors[i]!, this.clock.disturbances)
    })
    this.#invalidating++
    const outcome = await target.invalidate()
    this.#invalidating--
    this.#world.trail.note(this.name, () => `invalidated ${what}: ${outcome}`)
    if (forgetting !== this.#checker.forgetting || this.link.hasStrayed(crossings)) return
    subjects.forEach((subject, i) => {
      this.#remember(subject, floors[i]!)
      if (outcome === 'queued') this.#queuedFloors.set(subject, floors[i]!)
      if (outcome === 'applied' && this.#checker.strongFloor(subject) < floors[i]!)
        this.#checker.accuse(`${this.name} was told that ${what} was invalidated, and it was not`)
    })
  }

  #target(row: number | undefined): Target {
    const subjects = row === undefined ? KEYSPACES.get(this.#random.pick([...KEYSPACES.keys()]))! : [row]
    const space = this.#spaces[subjects[0]!]!
    return row === undefined
      ? { what: space.name, subjects, invalidate: () => space.invalidateAll() }
      : { what: `row ${row}`, subjects, invalidate: () => space.invalidate(row) }
  }

  async #changeBehind(rows: readonly number[]): Promise<void> {
    const nothing = () => {}
    const commit = { rows, clock: this.clock, isCertain: true, committed: nothing, dropped: nothing }
    // Where the database is away nothing has changed.
    await this.#database.commit(commit).catch(nothing)
  }

  /** Where it has nothing more to do, nothing is left undone. */
  lookForDebts(): void {
    if (this.#debts.isEmpty || this.link.isAstray || this.writing > 0 || this.#invalidating > 0) return
    if (this.cache.stats().now.queuedInvalidations > 0) return
    for (const left of this.#debts.settle(this.clock.disturbances))
      this.#checker.accuse(`${this.name} has nothing more to do, and has not invalidated ${left}`)
  }

  /** At rest: what it answers for a row by every kind of read. */
  async atRest(
    row: number,
    wait: <T>(answer: Promise<T>) => Promise<T>,
  ): Promise<Map<string, number | undefined>> {
    const space = this.#spaces[row]!
    const found = new Map<string, number | undefined>()
    const peeked = space.peek(row)
    if (peeked !== undefined) found.set('L1', peeked.value?.version)
    for (const [how, isStrong] of [
      ['read', false],
      ['strong read', true],
      ['read again', false],
    ] as const) {
      const answer = await wait(retrying(() => space.read(row, optionsOf(isStrong, undefined))))
      found.set(`${how} from ${answer.from}`, answer.value?.version)
    }
    return found
  }

  /** The process is gone, at this moment, whatever it was doing. */
  crash(): void {
    this.clock.kill()
    this.waiting.clear()
    for (const session of [...this.#database.sessions])
      if (session.belongsTo(this.clock)) session.end('its process is gone')
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by)
}

/** The simulated database still fails now and then; a user would try again, and so does this. */
export async function retrying<T>(read: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await read()
    } catch (error) {
      if (!isExpected(error, undefined)) throw error
    }
  }
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code

/** Whether a read may fail like this: as the loader does, at its time limit, or because its own caller gave up. */
function isExpected(error: unknown, signal: AbortSignal | undefined): boolean {
  if (error instanceof DatabaseError || codeOf(error) === 'LOAD_TIMEOUT') return true
  return signal?.aborted === true && error === signal.reason
}

const describe = (error: unknown): string => (error instanceof Error ? error.message : String(error))
