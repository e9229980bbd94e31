import type { Cache, CacheEvent, CacheOptions, Key, Keyspace, ReadOptions } from '../src/index.ts'
import type { SimulatedClock } from '../src/testing/index.ts'
import { quiet } from '../test/heard-warnings.ts'
import type { Library } from '../test/protections/library.ts'
import type { Checker, ReadMark, Row } from './checker.ts'
import { type Database, DatabaseError } from './database.ts'
import { Debts } from './debts.ts'
import { Link } from './link.ts'
import type { Primary } from './primary.ts'
import { ProcessClock } from './process-clock.ts'
import type { Random } from './random.ts'
import { KEYSPACES, rowOf, type Settings, TIMES } from './settings.ts'
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

/** A read that has begun. */
interface Begun extends ReadMark {
  readonly crossings: number
}

const LINGERING_MS = 2_000
/** Which part of the reads are strong. */
const USUALLY_STRONG = 0.35
const STRONG = { consistency: 'strong' } as const
/** The longest asking: once, waiting for another's load, and once more. */
const ASKING_MS = 2 * TIMES.sharedTimeoutMs + TIMES.busyWaitMs
/** The longest passage: a look and asking, the load, and a fill that is waited for. */
const PASSAGE_MS = 2 * TIMES.sharedTimeoutMs + ASKING_MS + TIMES.loadTimeoutMs
/** A drifting clock, a timer's granularity, and the turns that a reply is given to be seen in. */
const SLACK_MS = 40

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
  /** When a load of each row was last under way, or waited for its turn. */
  readonly #loadedMs = new Map<number, number>()
  readonly #loading = new Map<number, number>()
  readonly #ownFloors = new Map<number, { floor: number; forgetting: number }>()
  /** How many writes of this process are at work on a row, so that their guards can be told from others'. */
  readonly #writers = new Map<number, number>()
  /** Writes that ended in doubt, whose commits may still happen: their guards stand on. */
  readonly #doubtful = new Map<number, number>()
  /** When that is over for all of them that had ended by the time when nobody was at work on the row, and their guards. */
  readonly #doubts = new Map<number, { untilMs: number; writes: number; tokens: readonly string[] }>()
  readonly #debts: Debts
  #invalidating = 0

  constructor(name: string, world: Surroundings, settings: Settings, isStreamless: boolean) {
    this.name = name
    this.#world = world
    this.#random = world.random.fork()
    this.#checker = world.checker
    this.#debts = new Debts(world.checker)
    this.#database = world.database
    this.#shape = world.weather.deploys ? this.#random.between(1, 2) : 1
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
  }

  #wiring(): CacheOptions {
    const keys = (row: { id?: string }) => [this.key(Number(row.id))]
    const feed =
      this.#world.hasFeed && this.link.stream !== 'none'
        ? { feed: this.#database.feed(this.clock, { keys, keyspaces: [...KEYSPACES.keys()] }) }
        : {}
    // A load whose turn has not come by its time limit was waited for until now, though nobody has seen it begin.
    const onEvent = (event: CacheEvent) => {
      if (event.type === 'load')
        for (const key of event.keys) this.#loadedMs.set(rowOf(key), this.#world.clock.nowMs())
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

  async #load(rows: readonly number[]): Promise<Map<number, Row | undefined>> {
    if (++this.#loads > this.#maxLoads)
      this.#checker.accuse(`${this.name} runs ${this.#loads} loads, and the limit is ${this.#maxLoads}`)
    for (const row of rows) add(this.#loading, row, 1)
    try {
      const found = await this.#database.load(this.clock, rows)
      const shape = this.#shape
      return new Map(
        [...found].map(([row, version]) => [
          row,
          version === undefined ? undefined : { row, version, shape },
        ]),
      )
    } finally {
      this.#loads--
      for (const row of rows) {
        add(this.#loading, row, -1)
        this.#loadedMs.set(row, this.#world.clock.nowMs())
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

  /** Since when nobody here has been loading the row. */
  idleSinceMs(row: number): number {
    const { queuedLoads } = this.cache.stats().now
    if (queuedLoads > 0 || (this.#loading.get(row) ?? 0) > 0)
      this.#loadedMs.set(row, this.#world.clock.nowMs())
    return this.#loadedMs.get(row) ?? 0
  }

  /** One read of some kind, checked. */
  async read(row: number): Promise<void> {
    const random = this.#random
    const dice = random.next()
    const isStrong = random.chance(this.#world.weather.strong ?? USUALLY_STRONG)
    if (dice < 0.08) return this.peek(row)
    if (dice < 0.3) return this.#readMany(isStrong)
    const stop = random.chance(0.06) ? this.#impatience() : undefined
    const options: ReadOptions = {
      ...(isStrong ? STRONG : {}),
      ...(stop === undefined ? {} : { signal: stop.signal }),
    }
    const how = isStrong ? 'strong read' : 'read'
    const mark = this.#begin(row, isStrong)
    const space = this.#spaces[row]!
    await this.#timed(`${how} of ${row}`, isStrong, stop?.signal, async () => {
      const value = dice < 0.7 ? await this.#explained(space, mark, options) : await space.get(row, options)
      this.#answered(mark, value, how)
    })
  }

  /** A read that tells how long it has asked the shared server. */
  async #explained(
    space: Keyspace<number, Row>,
    mark: Begun,
    options: ReadOptions,
  ): Promise<Row | undefined> {
    const { row } = mark
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
    const { row } = mark
    this.#answered({ ...mark, ownFloor: this.#ownFloor(row) }, value, 'fallback')
    if (!joined && this.link.givenBack.get(this.key(row)) === this.clock.wakings)
      this.#checker.accuse(`${this.name} fell back on a value of row ${row} that is no longer there`)
  }

  #begin(row: number, isStrong: boolean): Begun {
    const mark = this.#checker.begin(row, isStrong, this.#shape, this.#ownFloor(row))
    return { ...mark, crossings: this.link.crossings }
  }

  /** A read has been answered: it is judged, unless the process was astray meanwhile. */
  #answered(mark: Begun, value: Row | undefined, how: string): void {
    if (!this.link.hasStrayed(mark.crossings)) this.#checker.answered(mark, value, this.name, how)
  }

  /** What this process knows of a row: from a write of its own, and from what it has heard. */
  #ownFloor(row: number): number {
    const { forgetting } = this.#checker
    const own = this.#ownFloors.get(row)
    const heard = this.link.heard.get(row)
    return Math.max(
      own?.forgetting === forgetting ? own.floor : 0,
      heard?.forgetting === forgetting ? (heard.floors[heard.rows.indexOf(row)] ?? 0) : 0,
    )
  }

  #remember(row: number, version: number): void {
    const floor = Math.max(version, this.#ownFloor(row))
    this.#ownFloors.set(row, { floor, forgetting: this.#checker.forgetting })
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
    const stop = this.#random.chance(0.06) ? this.#impatience() : undefined
    const options: ReadOptions = {
      ...(isStrong ? STRONG : {}),
      ...(stop === undefined ? {} : { signal: stop.signal }),
    }
    await this.#timed(`batch of ${space.name}`, isStrong, stop?.signal, async () => {
      const values = await space.getMany(rows, options)
      for (const mark of marks)
        this.#answered(mark, values.get(mark.row), isStrong ? 'strong batch' : 'batch')
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
    isStrong: boolean,
    signal: AbortSignal | undefined,
    read: () => Promise<void>,
  ): Promise<void> {
    // A strong read may have to wait for the passage before its own.
    const limitMs = (isStrong ? 2 : 1) * PASSAGE_MS + SLACK_MS
    const sinceMs = this.#world.clock.nowMs()
    const waiting: Waiting = { sinceMs, limitMs, disturbances: this.clock.disturbances, what }
    this.waiting.add(waiting)
    try {
      await read()
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
    for (const row of all) add(this.#writers, row, 1)
    const covered = new Map<number, boolean>()
    this.writing++
    this.writes++
    try {
      const { value, fenced, invalidation } = await this.cache.write(
        rows.map(row => this.key(row)),
        async ({ guard }) => {
          this.#mustBeGuarded(rows)
          await this.clock.later(1 + pondersMs)
          await guard(...late.map(row => this.key(row)))
          this.#mustBeGuarded(late)
          const committed = await this.#commit(all, covered)
          if (random.chance(this.#world.weather.lingering ?? 0))
            await this.clock.later(random.below(LINGERING_MS))
          return committed
        },
        through
          ? {
              writeThrough: versions =>
                [...versions].map(([row, version]) =>
                  this.#spaces[row]!.entry(row, this.#rowOf(row, version)),
                ),
            }
          : {},
      )
      if (fenced) this.fencedWrites++
      if (!this.link.hasStrayed(crossings)) this.#wrote(value, fenced, invalidation, forgetting, covered)
    } catch (error) {
      const isKnown = error instanceof DatabaseError || codeOf(error) === 'UNGUARDED'
      if (!isKnown) this.#checker.accuse(`a write by ${this.name} failed: ${describe(error)}`)
      if (codeOf(error) === undefined) for (const row of all) add(this.#doubtful, row, 1)
    }
    for (const row of all) {
      add(this.#writers, row, -1)
      this.#noteDoubts(row)
    }
    this.writing--
  }

  /** Where no write may go on without its guards, it has been told of them. */
  #mustBeGuarded(rows: readonly number[]): void {
    if (!this.#mayRefuse) return
    for (const row of rows) {
      const tokens = this.link.tokens.get(this.key(row)) ?? []
      if (![...tokens].some(token => this.link.confirmed.has(token)))
        this.#checker.accuse(`${this.name} goes on with a write of row ${row} without its guard`)
    }
  }

  #rowOf(row: number, version: number): Row | undefined {
    return this.#database.isDeleted(row, version) ? undefined : { row, version, shape: this.#shape }
  }

  #commit(rows: readonly number[], covered: Map<number, boolean>): Promise<ReadonlyMap<number, number>> {
    const { server } = this.#world
    const { losses } = server
    const { disturbances } = this.clock
    const sent = new Map(rows.map(row => [row, this.#lastingGuard(row)]))
    return this.#database.commit({
      rows,
      clock: this.clock,
      committed: versions => {
        for (const row of versions.keys()) {
          const isAlone = this.#writersOf(row) === 1
          const isCovered = this.#isGuarded(row)
          this.#debts.owe(row, versions.get(row)!, disturbances)
          if (isCovered || isAlone) covered.set(row, isCovered)
          if (isCovered || this.#isAnyStanding(row)) this.#checker.applied(row)
          else if (server.inspect(this.key(row)) === undefined) this.#checker.vanished(row)
          const token = sent.get(row)
          const isQuiet = losses === server.losses && disturbances === this.clock.disturbances
          if (token !== undefined && isQuiet && !server.holders(this.key(row))?.has(token))
            this.#checker.accuse(
              `row ${row} was committed by ${this.name} when its guard had been taken away`,
            )
        }
      },
      dropped: () => {},
    })
  }

  /** The only guard of this process on the row, if it stands for longer than any commit can take. */
  #lastingGuard(row: number): string | undefined {
    this.#forgetDoubts(row)
    const [token, ...others] = this.link.tokens.get(this.key(row)) ?? []
    if (token === undefined || others.length > 0 || this.#writersOf(row) > 1) return undefined
    const leftMs = this.#world.server.holders(this.key(row))?.get(token) ?? 0
    return leftMs > this.#database.statementTimeoutMs ? token : undefined
  }

  /**
   * Whether all guards of this process on the row stand. Writers share a token, so there may be fewer than writers; one
   * that has none is guarded by those of the others for as long as they stand.
   */
  #isGuarded(row: number): boolean {
    this.#forgetDoubts(row)
    const key = this.key(row)
    const tokens = this.link.tokens.get(key)
    const holders = this.#world.server.holders(key)
    if (tokens === undefined || holders === undefined) return false
    for (const token of tokens) if (!holders.has(token)) return false
    return tokens.size > 0
  }

  /** Whether a guard of this process stands. Then nothing is there to be found, after any commit. */
  #isAnyStanding(row: number): boolean {
    const key = this.key(row)
    const holders = this.#world.server.holders(key)
    return [...(this.link.tokens.get(key) ?? [])].some(token => holders?.has(token) === true)
  }

  #writersOf(row: number): number {
    this.#forgetDoubts(row)
    return (this.#writers.get(row) ?? 0) + (this.#doubtful.get(row) ?? 0)
  }

  /** Where nobody is at work on the row, all guards that were not released are those of commits in doubt. */
  #noteDoubts(row: number): void {
    const writes = this.#doubtful.get(row) ?? 0
    if (writes === 0 || (this.#writers.get(row) ?? 0) > 0) return
    const untilMs = this.#world.clock.nowMs() + this.#database.statementTimeoutMs
    this.#doubts.set(row, { untilMs, writes, tokens: [...(this.link.tokens.get(this.key(row)) ?? [])] })
  }

  /** Once these commits have happened, or never will, their guards protect nobody. */
  #forgetDoubts(row: number): void {
    const doubts = this.#doubts.get(row)
    if (doubts === undefined || doubts.untilMs > this.#world.clock.nowMs()) return
    this.#doubts.delete(row)
    add(this.#doubtful, row, -doubts.writes)
    for (const token of doubts.tokens) this.link.tokens.get(this.key(row))?.delete(token)
  }

  /** A write has been answered: what it was told must be true. */
  #wrote(
    versions: ReadonlyMap<number, number>,
    fenced: boolean,
    invalidation: 'applied' | 'queued',
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
      if (forgetting !== this.#checker.forgetting) continue
      this.#remember(row, version)
      if (invalidation === 'applied' && this.#checker.strongFloor(row) < version)
        this.#checker.accuse(
          `${this.name} was told that v${version} of row ${row} was applied, and it was not`,
        )
      if (fenced && covered.get(row) === false)
        this.#checker.accuse(
          `${this.name} was told that v${version} of row ${row} was fenced, and it was not`,
        )
    }
  }

  /** Changes rows behind the library's back, mostly, and says so afterwards: of one row, or of a whole keyspace. */
  async invalidate(row: number | undefined): Promise<void> {
    const rows = row === undefined ? KEYSPACES.get(this.#random.pick([...KEYSPACES.keys()]))! : [row]
    if (this.#random.chance(0.7)) await this.#changeBehind(rows)
    const { forgetting } = this.#checker
    const { crossings } = this.link
    const floors = rows.map(one => this.#database.current(one))
    const space = this.#spaces[rows[0]!]!
    rows.forEach((one, i) => {
      this.#debts.owe(one, floors[i]!, this.clock.disturbances)
    })
    this.#invalidating++
    const outcome = await (row === undefined ? space.invalidateAll() : space.invalidate(row))
    this.#invalidating--
    this.#world.trail.note(this.name, () => `invalidated ${row ?? space.name}: ${outcome}`)
    if (forgetting !== this.#checker.forgetting || this.link.hasStrayed(crossings)) return
    rows.forEach((one, i) => {
      this.#remember(one, floors[i]!)
      if (outcome === 'applied' && this.#checker.strongFloor(one) < floors[i]!)
        this.#checker.accuse(`${this.name} was told that row ${one} was invalidated, and it was not`)
    })
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
    // The simulated database still fails now and then; a user would try again, and so does this.
    for (const [how, options] of [
      ['read', {}],
      ['strong read', STRONG],
      ['read again', {}],
    ] as const) {
      const answer = await wait(retrying(() => space.read(row, options)))
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

function add(counts: Map<number, number>, row: number, by: number): void {
  counts.set(row, (counts.get(row) ?? 0) + by)
}

async function retrying<T>(read: () => Promise<T>): Promise<T> {
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
