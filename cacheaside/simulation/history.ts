import type { Library } from '../test/protections/library.ts'
import { Application, retrying, type Surroundings } from './application.ts'
import { Checker } from './checker.ts'
import { Database } from './database.ts'
import { STRIKES, type StruckWorld } from './faults.ts'
import { Random } from './random.ts'
import {
  drawSettings,
  LASTING_MS,
  MAX_STALE_MS,
  SETTLING_MS,
  type Settings,
  STATEMENT_TIMEOUT_MS,
} from './settings.ts'
import { SharedServer } from './shared-server.ts'
import { COMPOSITES, PLAIN_SUBJECTS, ROWS, TAGGED_SUBJECTS, tagNameOf } from './subjects.ts'
import { Trail } from './trail.ts'
import { CONTROLS, drawFault, type Fault, WEATHERS, type Weather } from './weather.ts'
import { WorldClock } from './world-clock.ts'

/** Which history is played, and with what. */
export interface HistoryOptions {
  readonly seed: number
  /** The library as it is shipped, or a mutant of it. */
  readonly library: Library
  /** Whether the trail is to be kept. */
  readonly withTrail?: boolean
  /** The name of the only weather to be played in; left out: as the seed has it. */
  readonly weather?: string
}

/** What came of it. */
export interface History {
  readonly seed: number
  readonly weather: string
  /** What was wrong; empty if nothing was. */
  readonly violations: readonly string[]
  readonly operations: number
  /** Answers that were checked. */
  readonly reads: number
  readonly writes: number
  readonly fencedWrites: number
  readonly faults: number
  readonly trail: Trail
}

const OPERATIONS = 200
/** Of how many requests the slow ones make a network on which hardly anything is done at the first attempt. */
const STAYS_SLOW = 0.1
const LAST_ATTEMPTS = 10
/** How often everybody reads everything at last, at most. */
const MOST_ROUNDS = 12
/** The share of them that may change something, where the last ones only read. */
const CHANGING = 0.75
const LONGEST_FAULT_MS = 2_500
const SHORT_FAULT_MS = 300
/** How fast operations follow one another: at most so many milliseconds, mostly. */
const PACES_MS = [8, 25, 80]
/** Which part of the reads are of values with tags, where there are any. */
const READS_TAGGED = 0.75
/** Which part of the operations are writes. */
const WRITES = [0.05, 0.1, 0.2]

/**
 * One history: a world is made out of the seed, several processes read and write in it while things go wrong, then nothing
 * goes wrong any more, and at last every process and the shared server are compared with the origin.
 */
export async function playHistory(options: HistoryOptions): Promise<History> {
  const unhandled: unknown[] = []
  const note = (error: unknown) => void unhandled.push(error)
  process.on('unhandledRejection', note)
  try {
    const stage = new Stage(options)
    const { checker } = stage.world
    // A library that is broken enough also breaks what is around it.
    await stage.play().catch(error => checker.accuse(`the history ended: ${String(error)}`))
    for (const error of unhandled) checker.accuse(`nobody handled a rejection: ${String(error)}`)
    return stage.history
  } finally {
    process.off('unhandledRejection', note)
  }
}

/** What is there besides the processes. */
interface World extends Surroundings, StruckWorld {
  readonly weather: Weather
  readonly server: SharedServer
}

class Stage {
  readonly world: World
  readonly #seed: number
  readonly #settings: Settings
  readonly #localMaxStaleMs: number
  readonly #paceMs: number
  readonly #writes: number
  readonly #peeks: boolean
  readonly #random: Random
  readonly #applications: Application[] = []
  readonly #ended = { writes: 0, fencedWrites: 0 }
  #operations = 0
  #faults = 0
  #incarnations = 0
  /** Which process was asked last. */
  #asked = 0
  #isSettling = false

  constructor({ seed, library, withTrail = false, weather: wanted }: HistoryOptions) {
    this.#seed = seed
    const clock = new WorldClock({ seed })
    const random = new Random(seed)
    this.#random = random.fork()
    const drawn = random.pick(WEATHERS)
    const weather = [...WEATHERS, ...CONTROLS].find(({ name }) => name === wanted) ?? drawn
    const trail = new Trail(clock, withTrail)
    const database = new Database({ clock, random, trail, weather }, ROWS, STATEMENT_TIMEOUT_MS)
    const drawnMs = random.pick(MAX_STALE_MS)
    const localMaxStaleMs = weather.localMaxStaleMs ?? drawnMs
    const subjects = weather.tags === true ? TAGGED_SUBJECTS : PLAIN_SUBJECTS
    const checker = new Checker(clock, trail, database, subjects, localMaxStaleMs)
    database.onTakenBack = row => checker.tookBack(row)
    const server = new SharedServer({ clock, random, trail, library, weather }, checker, subjects)
    const hasFeed = random.chance(weather.feed)
    this.#localMaxStaleMs = localMaxStaleMs
    this.#settings = drawSettings(random, localMaxStaleMs, weather)
    const rows = Array.from({ length: ROWS }, (_, row) => row)
    for (let least = random.pick([1, 1, 2, 3, ROWS]); rows.length > least; )
      rows.splice(random.below(rows.length), 1)
    if (weather.isHot) rows.length = 1
    if (weather.rows !== undefined) rows.splice(0, rows.length, ...weather.rows)
    this.#paceMs = random.pick(PACES_MS)
    this.#writes = weather.writes ?? random.pick(WRITES)
    this.#peeks = random.chance(0.5)
    this.world = {
      clock,
      random,
      trail,
      weather,
      library,
      checker,
      database,
      server,
      subjects,
      hasFeed,
      rows,
    }
    const processes = random.between(2, weather.processes ?? 4)
    for (let i = 0; i < processes; i++) this.#start(i)
  }

  get history(): History {
    const { checker, weather, trail } = this.world
    const count = (name: 'writes' | 'fencedWrites') =>
      this.#applications.reduce((sum, application) => sum + application[name], this.#ended[name])
    return {
      seed: this.#seed,
      weather: weather.name,
      violations: checker.violations,
      operations: this.#operations,
      reads: checker.reads,
      writes: count('writes'),
      fencedWrites: count('fencedWrites'),
      faults: this.#faults,
      trail,
    }
  }

  #start(at: number): void {
    // Somebody must run the relay.
    const isStreamless = this.world.weather.isStreamless === true && at > 0
    const name = `p${at}.${++this.#incarnations}`
    this.#applications[at] = new Application(name, this.world, this.#settings, isStreamless)
  }

  async play(): Promise<void> {
    const { clock, weather } = this.world
    const random = this.#random
    await clock.advance(random.below(800))
    const faults = Math.round((OPERATIONS * weather.faultsPerHundred * (0.5 + random.next())) / 100)
    for (let i = 0; i < OPERATIONS; i++) {
      this.#operate()
      if (random.chance(faults / OPERATIONS)) this.#break(drawFault(weather, random))
      await clock.advance(random.chance(0.04) ? random.below(900) : random.below(this.#paceMs))
      if (this.#peeks) this.#peekEverywhere()
      this.#lookForGrants()
      this.#lookForDebts()
      if (weather.givesBack) this.#lookForIdleLeases()
    }
    await this.#settle()
    this.#lookForDebts()
    if (this.world.hasFeed) this.#lookForChanges()
    await this.#compare()
    if (this.world.hasFeed) this.#lookForInvalidations()
    await this.#close()
  }

  /** One operation of one process, which nobody waits for. */
  #operate(): void {
    const random = this.#random
    const { weather, hasFeed, database } = this.world
    this.#operations++
    const row = random.pick(this.world.rows)
    const changes = weather.readsAtLast !== true || this.#operations <= OPERATIONS * CHANGING
    if (changes && hasFeed && random.chance(weather.foreignWrites)) {
      if (random.chance(0.1)) database.changeAll()
      else
        void database
          .commit({ rows: [row], clock: undefined, committed: () => {}, dropped: () => {} })
          .catch(() => {})
      return
    }
    if (!random.chance(weather.affinity ?? 0)) this.#asked = random.below(this.#applications.length)
    const application = this.#applications[this.#asked]!
    if (application.clock.isDead || application.clock.isPaused) return
    const dice = changes ? random.next() : 1
    const { one = this.#writes * 1.35, all = this.#writes * 1.65 } = weather.invalidations ?? {}
    if (dice < this.#writes) void application.write()
    else if (dice < one) void application.invalidate(row)
    else if (dice < all) void application.invalidate(undefined)
    else if (weather.tags === true && random.chance(READS_TAGGED)) void application.readTagged(row)
    else void application.read(row)
  }

  /** Lets something go wrong. */
  #break(fault: Fault): void {
    const { world } = this
    const random = this.#random
    const struck =
      world.weather.affinity === undefined ? random.below(this.#applications.length) : this.#asked
    const application = this.#applications[struck]!
    const lastingMs = random.below(random.chance(0.5) ? LONGEST_FAULT_MS : SHORT_FAULT_MS)
    this.#faults++
    world.trail.note('fault', () => `${fault}, ${application.name}, ${lastingMs} ms`)
    const until = (heal: () => void) => {
      world.clock.after(lastingMs, () => {
        if (!this.#isSettling) heal()
      })
    }
    const crash = () => this.#crash(application, lastingMs)
    const neighbour = this.#applications[(struck + 1) % this.#applications.length]!
    STRIKES[fault]({ world, random, application, neighbour, until, crash })
  }

  #crash(application: Application, lastingMs: number): void {
    const at = this.#applications.indexOf(application)
    if (application.clock.isDead) return
    this.#bury(application)
    this.world.clock.after(lastingMs, () => {
      if (this.#applications[at] === application) this.#start(at)
    })
  }

  #bury(application: Application): void {
    application.crash()
    this.#ended.writes += application.writes
    this.#ended.fencedWrites += application.fencedWrites
    application.writes = 0
    application.fencedWrites = 0
  }

  /** From now on nothing goes wrong, and what has been going on comes to its end. */
  async #settle(): Promise<void> {
    const { clock, server, database, trail } = this.world
    trail.note('weather', () => 'clears up')
    this.#isSettling = true
    database.isAway = false
    database.isHealed = true
    this.#applications.forEach((application, at) => {
      if (application.clock.isDead) this.#start(at)
      application.clock.resume()
      application.link.heal()
    })
    server.isUp = true
    await clock.advance(SETTLING_MS / 2)
    // On a network that stays slow an invalidation may be tried many times, one a second, before it is confirmed.
    const isQueued = this.#applications.some(({ cache }) => cache.stats().now.queuedInvalidations > 0)
    if (this.world.hasFeed || isQueued) await clock.advance(SETTLING_MS / 2)
    // Nor may a relay get all its answers at one of its attempts, the last ones of which are seconds apart.
    for (let more = 0; more < LAST_ATTEMPTS && this.#isBehind; more++) await clock.advance(SETTLING_MS / 2)
  }

  get #isBehind(): boolean {
    const { database, weather } = this.world
    return weather.slow >= STAYS_SLOW && !weather.embedded && database.waitingChanges > 0
  }

  async #compare(): Promise<void> {
    const { checker, database, weather } = this.world
    for (const application of this.#applications) {
      for (const { what, sinceMs } of application.waiting)
        checker.accuse(`${what} by ${application.name}, begun at ${sinceMs.toFixed(1)}, was never answered`)
      if (application.writing > 0) checker.accuse(`a write by ${application.name} has never ended`)
      const { flights, loads, queuedInvalidations } = application.cache.stats().now
      if (flights + loads + queuedInvalidations > 0)
        checker.accuse(
          `${application.name} at rest: ${flights} flights, ${loads} loads, ${queuedInvalidations} queued`,
        )
      for (let row = 0; row < ROWS; row++) {
        if (!this.world.hasFeed && !checker.isInvalidated(row) && database.current(row) > 1) continue
        const found = await application.atRest(row, answer => this.#wait(answer))
        for (const [how, version] of found) {
          const right = database.visible(row)
          if (version !== right)
            checker.accuse(
              `at rest: ${how} of row ${row} by ${application.name} gives v${version}, the origin has v${right}`,
            )
        }
      }
      await this.#compareComposites(application)
    }
    if (weather.tags === true) await this.#lookForLoads()
  }

  /** The same for values of several rows. */
  async #compareComposites({ tagged, name }: Application): Promise<void> {
    const { checker, database, subjects } = this.world
    for (const key of tagged?.keys ?? []) {
      for (const [how, shown] of await tagged!.atRest(key, read => this.#wait(retrying(read))))
        for (const { row, version } of shown) {
          const isKnown = this.world.hasFeed || checker.isInvalidated(subjects.ofKey(tagNameOf(row))[0]!)
          if (!isKnown || !tagged!.promises(key, row) || version === (database.visible(row) ?? null)) continue
          checker.accuse(
            `at rest: ${how} of ${key} by ${name} shows v${version} of row ${row}, the origin has v${database.visible(row)}`,
          )
        }
    }
  }

  /**
   * At rest everything has been read by everybody, and is found. Versions of the program that name different tags replace each
   * other's values once each, and then leave them alone. A version that has loaded a value and could not keep it, such as after
   * a silence of the stream, has taken the other's away and left nothing in its place: so that begins again.
   */
  async #lookForLoads(): Promise<void> {
    const { checker, weather } = this.world
    const { ttlMs } = this.#settings.keyspace
    const { slow, late, deaf, slowRepliesMs } = weather
    const mayBeSlow = slow + late + deaf > 0 || slowRepliesMs !== undefined
    if (ttlMs !== LASTING_MS || mayBeSlow || weather.room !== undefined) return
    // Such a stream falls silent again and again, which dooms every load that takes a while.
    if (this.#applications.some(({ link }) => link.usualStreamMs >= this.#localMaxStaleMs)) return
    let rounds = weather.deploys ? this.#applications.length + 1 : 1
    for (let round = 1; round <= rounds; round++)
      for (const { tagged, name } of this.#applications)
        for (const key of tagged!.keys) {
          const loaded = await tagged!.whyLoaded(key, read => this.#wait(retrying(read)))
          if (loaded === undefined) continue
          const isLeftAlone = weather.deploys && loaded.why === 'names' && !loaded.kept
          if (weather.deploys && !loaded.kept && rounds < MOST_ROUNDS) rounds++
          if (round === rounds && !isLeftAlone)
            checker.accuse(`at rest: ${name} has loaded ${key} again (${loaded.why})`)
        }
  }

  /** Lets time pass until the promise has settled. */
  async #wait<T>(answer: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = answer.finally(() => {
      isSettled = true
    })
    settled.catch(() => {})
    for (let i = 0; i < 1_000 && !isSettled; i++) await this.world.clock.advance(10)
    if (!isSettled) throw new Error('at rest: a read is not answered within ten seconds')
    return settled
  }

  async #close(): Promise<void> {
    const { clock, checker } = this.world
    for (const { cache } of this.#applications) await this.#wait(cache.close())
    // Whatever has a timer now would go on for ever; late messages, and loads that nobody waits for, come to an end.
    await clock.advance(8_000)
    if (clock.pendingTimers > 0) checker.accuse(`timers are left over: ${clock.describeTimers()}`)
  }

  /** Looks at every L1. Only in some histories, because a look also finds out that the stream is silent. */
  #peekEverywhere(): void {
    for (const application of this.#applications) {
      if (application.clock.isDead || application.clock.isPaused) continue
      for (const row of this.world.rows) application.peek(row)
      for (const key of application.tagged?.keys ?? []) application.tagged!.peek(key)
    }
  }

  /** What may have been granted is given back, whatever happens. */
  #lookForGrants(): void {
    const { clock, checker } = this.world
    for (const { clock: own, link, name } of this.#applications)
      if (!own.isDead && !own.isPaused)
        for (const token of link.grants.overdue(clock.nowMs(), own.disturbances))
          checker.accuse(`${name} has not given back ${token}, which may have been granted`)
  }

  /** What a process has committed is invalidated, sooner or later, unless it dies. */
  #lookForDebts(): void {
    for (const application of this.#applications)
      if (!application.clock.isDead && !application.clock.isPaused) application.lookForDebts()
  }

  /** What the change feed has handed out is applied at last, and no keyspace trusts a server that came back. */
  #lookForChanges(): void {
    const { checker, database, server, weather } = this.world
    // In observers of their own the outbox does not remember what was applied.
    if (!weather.embedded && database.waitingChanges > 0)
      checker.accuse(`at rest: ${database.waitingChanges} changes are left in the outbox`)
    for (const name of server.undoubted)
      checker.accuse(`at rest: ${name} still has the generation with which the server came back`)
  }

  /** What has been settled was applied to the server that there is, also where nobody has kept anything that is too old. */
  #lookForInvalidations(): void {
    const { checker, database, subjects } = this.world
    for (const [subject, { key, row }] of subjects.all.entries()) {
      // What only depends on tags is invalidated by them.
      if (COMPOSITES.has(key)) continue
      const version = database.current(row)
      if (version > 1 && !checker.isInvalidated(subject))
        checker.accuse(`at rest: v${version} of ${subjects.nameOf(key)} was never invalidated`)
    }
  }

  /** Where nothing is lost, what has been granted is given back. Otherwise somebody would wait for it. */
  #lookForIdleLeases(): void {
    const { clock, server, checker } = this.world
    for (const application of this.#applications) {
      const beforeMs = clock.nowMs() - application.idleLeaseMs
      for (const key of server.grantsOf(application.link, beforeMs))
        if (application.idleSinceMs(key) < beforeMs)
          checker.accuse(`${application.name} keeps the lease of ${key}, and loads nothing`)
    }
  }
}
