import type {
  Batch,
  Change,
  ChangeFeed,
  FeedOpening,
  FeedSession,
  FeedTable,
} from '../src/feed/change-feed.ts'
import type { SimulatedClock } from '../src/testing/index.ts'
import type { ProcessClock } from './process-clock.ts'
import type { Random } from './random.ts'
import type { Trail } from './trail.ts'
import type { Weather } from './weather.ts'

/** What the database answers an error with. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  /** An SQLSTATE, where it was the server that said so. */
  readonly code: string | undefined

  constructor(message: string, code?: string) {
    super(message)
    this.code = code
  }
}

interface Version {
  readonly version: number
  readonly isDeleted: boolean
  readonly atMs: number
}

interface OutboxRow {
  readonly id: number
  /** `undefined`: a change of the whole table. */
  readonly row: number | undefined
  readonly writtenMs: number
  lockedBy: Session | undefined
  /** When it was settled, for as long as the database may take that back. */
  settledMs: number | undefined
}

/** A commit as it is asked for. */
export interface Commit {
  readonly rows: readonly number[]
  readonly clock: ProcessClock | undefined
  /** Whether it is neither refused nor in doubt. */
  readonly isCertain?: boolean
  /** Called at the moment of the commit, whether its process still lives or not. */
  readonly committed: (versions: ReadonlyMap<number, number>) => void
  /** Called when it is known that it will never happen. */
  readonly dropped: () => void
}

const TABLE = 'row'
const LATENCY_MS = 6
/** How long either half of a load takes at most, in different histories. */
const HALF_LOADS_MS = [20, 60, 200]
const LONGEST_LOAD_MS = 1_500
/** If more loads than this were slow, a reader at rest would wait for ever. */
const RARELY = 0.2
/** For how long a settled row of the outbox is left for observers. */
const KEPT_MS = 10_000
const MOST_CHANGES = 20

/**
 * The origin: rows with a history, snapshot reads, commits that may be in doubt or go on after their writer's death, and an
 * outbox that is filled in the same commit. It may crash, and then take back what it acknowledged last.
 */
export class Database {
  readonly outbox: OutboxRow[] = []
  readonly sessions = new Set<Session>()
  readonly memory = new Map<string, string>()
  life = 1
  isAway = false
  /** Whether nothing is to go wrong any more, also where many loads are slow or fail. */
  isHealed = false
  /** Called for each row whose last versions have been forgotten. */
  onTakenBack: (row: number) => void = () => {}
  readonly statementTimeoutMs: number
  readonly #clock: SimulatedClock
  readonly #random: Random
  readonly #trail: Trail
  readonly #weather: Weather
  readonly #halfLoadMs: number
  readonly #rows: Version[][]
  readonly #lost: Map<number, Version>[]
  #lastVersion = 1
  #lastId = 0
  #memoryBefore = new Map<string, string>()

  constructor(
    world: { clock: SimulatedClock; random: Random; trail: Trail; weather: Weather },
    rows: number,
    statementTimeoutMs: number,
  ) {
    this.#clock = world.clock
    this.#random = world.random.fork()
    this.#trail = world.trail
    this.#weather = world.weather
    this.statementTimeoutMs = statementTimeoutMs
    this.#halfLoadMs = this.#random.pick(HALF_LOADS_MS)
    this.#rows = Array.from({ length: rows }, () => [
      { version: 1, isDeleted: this.#random.chance(0.25), atMs: Number.NEGATIVE_INFINITY },
    ])
    this.#lost = Array.from({ length: rows }, () => new Map())
  }

  /** The number of the row's version that is committed now. */
  current(row: number): number {
    return this.#rows[row]!.at(-1)!.version
  }

  /** The version that is there now; `undefined` if the row is not. */
  visible(row: number): number | undefined {
    const { version, isDeleted } = this.#rows[row]!.at(-1)!
    return isDeleted ? undefined : version
  }

  /** The last version of the row that says that it was deleted, also if it was taken back since; 0 if none does. */
  lastDeletion(row: number): number {
    let last = this.#rows[row]!.findLast(({ isDeleted }) => isDeleted)?.version ?? 0
    for (const { isDeleted, version } of this.#lost[row]!.values())
      if (isDeleted) last = Math.max(last, version)
    return last
  }

  /** Whether this version of the row says that it was deleted. */
  isDeleted(row: number, version: number): boolean {
    const found = this.#rows[row]!.findLast(one => one.version === version) ?? this.#lost[row]!.get(version)
    return found!.isDeleted
  }

  /** Whether this version of the row was committed, and lost in a crash. */
  hasTakenBack(row: number, version: number): boolean {
    return this.#lost[row]!.has(version)
  }

  /** Why nobody can have read this version, if so: it is too old, was never committed, or not what the row was. */
  implausible(
    row: number,
    version: number | undefined,
    floor: number,
    mayBeLost: boolean,
  ): string | undefined {
    const known = this.#rows[row]!
    if (version === undefined) {
      // Most often the last one: the search begins at the end, and ends at the floor.
      for (let i = known.length - 1; i >= 0 && known[i]!.version >= floor; i--)
        if (known[i]!.isDeleted) return undefined
      if (mayBeLost)
        for (const lost of this.#lost[row]!.values())
          if (lost.isDeleted && lost.version >= floor) return undefined
      return 'and the row existed throughout'
    }
    if (version < floor) return 'which is stale'
    const found = known.findLast(one => one.version === version)
    if (found !== undefined) return found.isDeleted ? 'which is deleted' : undefined
    const lost = this.#lost[row]!.get(version)
    if (lost === undefined) return 'which was never committed'
    return mayBeLost ? undefined : 'which the database has taken back'
  }

  /** One statement on a new snapshot: it is taken at some moment of the load, and answered later. */
  load(clock: ProcessClock, rows: readonly number[]): Promise<Map<number, number | undefined>> {
    const mayFail = !(this.isHealed && this.#weather.slowLoads > RARELY)
    const slow =
      mayFail && this.#random.chance(this.#weather.slowLoads) ? this.#random.below(LONGEST_LOAD_MS) : 0
    const fails = mayFail && this.#random.chance(this.#weather.failedLoads)
    return new Promise((resolve, reject) => {
      this.#clock.after(1 + this.#random.below(this.#halfLoadMs), () => {
        const life = this.life
        const seen = new Map(rows.map(row => [row, this.visible(row)]))
        this.#clock.after(1 + this.#random.below(this.#halfLoadMs) + slow, () => {
          const isLost = fails || this.isAway || life !== this.life
          clock.deliver(() => (isLost ? reject(new DatabaseError('the load failed')) : resolve(seen)))
        })
      })
    })
  }

  /** Sends a commit. It happens, if it does, within the statement timeout, also if its sender dies. */
  commit(commit: Commit): Promise<ReadonlyMap<number, number>> {
    const { clock, isCertain = false } = commit
    const weather = this.#weather
    const isRefused = !isCertain && this.#random.chance(weather.refusedCommits)
    const isDoubtful = !isCertain && this.#random.chance(weather.doubtfulCommits)
    const isSlow = this.#random.chance(weather.slowCommits)
    const takesMs = 1 + this.#random.below(isSlow ? this.statementTimeoutMs - LATENCY_MS : 15)
    const life = this.life
    return new Promise((resolve, reject) => {
      const answer = (run: () => void) =>
        clock === undefined
          ? run()
          : this.#clock.after(1 + this.#random.below(LATENCY_MS), () => clock.deliver(run))
      // The connection breaks at any moment, before the commit or after it.
      if (isDoubtful)
        this.#clock.after(1 + this.#random.below(2 * takesMs), () =>
          answer(() => reject(new DatabaseError('connection lost'))),
        )
      this.#clock.after(takesMs, () => {
        if (isRefused || this.isAway || life !== this.life) {
          commit.dropped()
          const code = isRefused ? '23505' : undefined
          return answer(() => reject(new DatabaseError('not committed', code)))
        }
        const versions = this.#apply(commit.rows)
        commit.committed(versions)
        if (!isDoubtful) answer(() => resolve(versions))
      })
    })
  }

  #apply(rows: readonly number[]): Map<number, number> {
    const version = ++this.#lastVersion
    const atMs = this.#clock.nowMs()
    const versions = new Map<number, number>()
    for (const row of rows) {
      const wasDeleted = this.#rows[row]!.at(-1)!.isDeleted
      const isDeleted = this.#random.chance(wasDeleted ? 0.2 : 0.15)
      this.#rows[row]!.push({ version, isDeleted, atMs })
      versions.set(row, version)
      this.#enqueue(row)
      this.#trail.note('database', () => `row ${row} is v${version}${isDeleted ? ', deleted' : ''}`)
    }
    return versions
  }

  /** A change of everything, of which only the table is recorded: TRUNCATE, or an outbox that was too long. */
  changeAll(): void {
    this.#apply(this.#rows.map((_, row) => row))
    this.outbox.splice(this.outbox.length - this.#rows.length)
    this.#enqueue(undefined)
  }

  #enqueue(row: number | undefined): void {
    const id = ++this.#lastId
    this.outbox.push({ id, row, writtenMs: this.#clock.nowMs(), lockedBy: undefined, settledMs: undefined })
  }

  /**
   * Ends all sessions and whatever was under way.
   *
   * @param losesMs - How much of what was committed before is lost.
   */
  crash(losesMs: number): void {
    this.life++
    const sinceMs = this.#clock.nowMs() - losesMs
    this.#trail.note('database', () => `restarts, and loses the last ${losesMs} ms`)
    for (const session of [...this.sessions]) session.end('the server was restarted')
    if (losesMs === 0) return
    this.#rows.forEach((versions, row) => {
      const before = versions.length
      while (versions.at(-1)!.atMs >= sinceMs) {
        const lost = versions.pop()!
        this.#lost[row]!.set(lost.version, lost)
      }
      if (versions.length < before) this.onTakenBack(row)
    })
    for (let i = this.outbox.length - 1; i >= 0; i--) {
      const change = this.outbox[i]!
      change.lockedBy = undefined
      if (change.settledMs !== undefined && change.settledMs >= sinceMs) change.settledMs = undefined
      if (change.writtenMs >= sinceMs) this.outbox.splice(i, 1)
    }
    this.memory.clear()
    for (const [name, identity] of this.#memoryBefore) this.memory.set(name, identity)
  }

  /** What was remembered before the last change of it may be what is remembered after a crash. */
  remember(keyspaces: readonly string[], identity: string, instead?: string): void {
    this.#memoryBefore = new Map(this.memory)
    for (const name of keyspaces)
      if (instead === undefined || this.memory.get(name) === instead) this.memory.set(name, identity)
  }

  /** How many changes wait in the outbox to be applied. */
  get waitingChanges(): number {
    return this.outbox.filter(({ settledMs }) => settledMs === undefined).length
  }

  /** Removes what nobody needs any more. */
  prune(): void {
    const untilMs = this.#clock.nowMs() - KEPT_MS
    while (
      this.outbox.length > 0 &&
      this.outbox[0]!.settledMs !== undefined &&
      this.outbox[0]!.writtenMs < untilMs
    )
      this.outbox.shift()
  }

  /** The change feed as one process reads it. */
  feed(clock: ProcessClock, table: FeedTable): ChangeFeed {
    const world = { clock: this.#clock, random: this.#random, trail: this.#trail }
    return {
      name: 'simulated',
      tables: new Map([[TABLE, table]]),
      pollMs: 250,
      timeoutMs: 800,
      open: async opening => {
        const session = new Session(this, world, clock, opening, this.#weather.takesBack)
        await session.answer(() => session.begin())
        return session
      },
    }
  }
}

/** A relay's session with the outbox: shared by locks, or observing where each process has a store of its own. */
export class Session implements FeedSession {
  origin = ''
  readonly server = 'the only one'
  readonly mayTakeBack: boolean
  readonly #database: Database
  readonly #world: { readonly clock: SimulatedClock; readonly random: Random; readonly trail: Trail }
  readonly #clock: ProcessClock
  readonly #opening: FeedOpening
  #life = 0
  #hasEnded = false
  #isMute = false
  /** Up to where an observer has come. */
  #seenId = 0
  #seenMs = 0
  #lookedId = 0

  constructor(
    database: Database,
    world: { readonly clock: SimulatedClock; readonly random: Random; readonly trail: Trail },
    clock: ProcessClock,
    opening: FeedOpening,
    mayTakeBack: boolean,
  ) {
    this.#database = database
    this.#world = world
    this.#clock = clock
    this.#opening = opening
    this.mayTakeBack = mayTakeBack
  }

  /** A round trip: what is asked is done on the server, unless the session has ended there. */
  answer<T>(work: () => T): Promise<T> {
    const { clock, random } = this.#world
    return new Promise((resolve, reject) => {
      clock.after(1 + random.below(LATENCY_MS), () => {
        if (this.#isMute) return
        if (this.#database.isAway || (this.#life !== 0 && this.#hasEnded))
          return this.#clock.deliver(() => reject(new DatabaseError('the session has ended', '57P01')))
        let answer: T
        try {
          answer = work()
        } catch (error) {
          return this.#clock.deliver(() => reject(error))
        }
        clock.after(1 + random.below(LATENCY_MS), () => {
          if (!this.#isMute) this.#clock.deliver(() => resolve(answer))
        })
      })
    })
  }

  begin(): void {
    this.#life = this.#database.life
    this.origin = `life ${this.#life}`
    this.#seenId = this.#database.outbox.at(-1)?.id ?? 0
    this.#seenMs = this.#world.clock.nowMs()
    this.#database.sessions.add(this)
    this.#world.trail.note('feed', () => 'a session begins')
  }

  take(after: string | undefined): Promise<Batch> {
    return this.answer(() => (this.#opening.isPrivate ? this.#look() : this.#take(Number(after ?? 0))))
  }

  #take(after: number): Batch {
    const waiting = this.#database.outbox.filter(({ id, settledMs }) => id > after && settledMs === undefined)
    const taken = waiting.filter(({ lockedBy }) => lockedBy === undefined).slice(0, MOST_CHANGES)
    for (const change of taken) change.lockedBy = this
    const drained = waiting.length === 0
    return {
      changes: taken.map(change => this.#changeOf(change)),
      more: taken.length === MOST_CHANGES,
      drained,
    }
  }

  /** What has come since the last look that was settled; nobody else is kept from it. */
  #look(): Batch {
    const nowMs = this.#world.clock.nowMs()
    if (nowMs - this.#seenMs > KEPT_MS - 2_000)
      throw new DatabaseError('the outbox was not looked at for long')
    const fresh = this.#database.outbox.filter(({ id }) => id > this.#seenId)
    this.#lookedId = fresh.at(-1)?.id ?? this.#seenId
    if (fresh.length === 0) this.#seenMs = nowMs
    for (const change of fresh) change.settledMs ??= nowMs
    this.#database.prune()
    return { changes: fresh.map(change => this.#changeOf(change)), more: false, drained: true }
  }

  #changeOf({ id, row, writtenMs }: OutboxRow): Change {
    const ageMs = this.#world.clock.nowMs() - writtenMs
    return {
      id: String(id),
      table: TABLE,
      rows: row === undefined ? undefined : [{ id: String(row) }],
      ageMs,
    }
  }

  settle(applied: readonly Change[]): Promise<void> {
    return this.answer(() => {
      const ids = new Set(applied.map(({ id }) => Number(id)))
      if (this.#opening.isPrivate) {
        const left = this.#database.outbox.find(
          ({ id }) => id > this.#seenId && id <= this.#lookedId && !ids.has(id),
        )
        this.#seenId = left === undefined ? this.#lookedId : left.id - 1
        this.#seenMs = this.#world.clock.nowMs()
        return
      }
      for (const change of this.#database.outbox) {
        if (change.lockedBy !== this) continue
        change.lockedBy = undefined
        if (ids.has(change.id)) change.settledMs = this.#world.clock.nowMs()
      }
      this.#database.prune()
    })
  }

  remembered(): Promise<ReadonlyMap<string, string>> {
    return this.answer(() => new Map(this.#database.memory))
  }

  remember(keyspaces: readonly string[], identity: string, instead?: string): Promise<void> {
    return this.answer(() => this.#database.remember(keyspaces, identity, instead))
  }

  async close(): Promise<void> {
    this.abandon()
  }

  abandon(): void {
    this.#leave()
    this.#isMute = true
  }

  /** The server ends it, and says so. */
  end(reason: string): void {
    this.#leave()
    this.#clock.deliver(() => this.#opening.lost(new DatabaseError(reason, '57P01')))
  }

  /** Its network is gone, or its process: the server keeps what it had locked until a limit ends that. */
  vanish(): void {
    this.#isMute = true
    this.#world.clock.after(1_600, () => this.#leave())
  }

  belongsTo(clock: ProcessClock): boolean {
    return this.#clock === clock
  }

  #leave(): void {
    this.#hasEnded = true
    this.#database.sessions.delete(this)
    for (const change of this.#database.outbox) if (change.lockedBy === this) change.lockedBy = undefined
  }
}
