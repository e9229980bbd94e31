import type { Clock } from '../src/base/clock.ts'
import type { EmbeddedStore } from '../src/memory/embedded-shared.ts'
import {
  claimPrefix,
  leaseText,
  parseRegister,
  stampText,
  type ValueRegister,
} from '../src/shared/register.ts'
import type { Expected, Fill, RegistersAtHand } from '../src/shared/shared-store.ts'
import type { SimulatedClock } from '../src/testing/index.ts'
import type { Library } from '../test/protections/library.ts'
import type { Checker, Row } from './checker.ts'
import { OldPrimary } from './old-primary.ts'
import { identityOf, type LinkEnd, type Message, type Operation, type Primary } from './primary.ts'
import { tokenFrom } from './process-clock.ts'
import type { Random } from './random.ts'
import { COMPOSITES, type Composite, keyspaceOf, type Subjects, shownBy, tagNameOf } from './subjects.ts'
import type { Trail } from './trail.ts'
import type { Weather } from './weather.ts'

/** Whose lease or claim stands, as far as the rules allow it to. */
interface Grant {
  readonly by: LinkEnd
  readonly token: string
  readonly isClaim: boolean
  readonly sinceMs: number
  readonly untilMs: number
}

/** One change of the server's state, so that an earlier state can be made again. */
interface Entry {
  readonly tick: number
  readonly key: string
  readonly text: string | undefined
  readonly untilMs: number
}

/** How a server is to come back. */
export interface Comeback {
  /** With its state as of this tick; left out: empty. */
  readonly asOf?: number
  /** For how long nobody can reach it. */
  readonly awayMs: number
  /** Whether it is another machine, with another clock. */
  readonly elsewhere: boolean
  /** Whose connections go on leading to the machine that is replaced, which nobody notices. */
  readonly staying?: LinkEnd
}

const GENERATION = 'generation '
const MAX_BYTES = 2 ** 20
/** Of each process: reads of one key that may be under way at the same time, and find what others have stored dead. */
const FLIGHTS = 3
const ROUNDING_MS = 1
/** The writers that were there while a guard was missing, or have invalidated. */
const SOMEBODY = 'somebody'

/**
 * The shared server: the real embedded store, and around it what makes a server of it. It evicts anything, guards as well, as
 * a real Redis may; it restarts empty or from a snapshot, or a copy takes its place that is behind; each of its lives has an
 * identity of its own. Whatever is applied, the checker is told of at that moment.
 */
export class SharedServer implements Primary {
  life = 1
  isUp = true
  /** Grows with everything that it loses. */
  losses = 0
  readonly links = new Set<LinkEnd>()
  readonly #clock: SimulatedClock
  readonly #random: Random
  readonly #trail: Trail
  readonly #checker: Checker
  readonly #library: Library
  readonly #subjects: Subjects
  #skewMs = 0
  /** For how long after its deadline a guard is still found. */
  readonly #lagMs: number
  #registers!: ReturnType<Library['registersFor']>
  #store!: EmbeddedStore
  /** Ends the subscription to the store. */
  #unsubscribe = () => {}
  readonly #journal: Entry[] = []
  /** The last entry of each generation. */
  readonly #journaled = new Map<string, string | undefined>()
  readonly #untilMs = new Map<string, number>()
  readonly #grants = new Map<string, Grant>()
  /** Tokens of leases that were given back before they were granted: the one message has overtaken the other. */
  readonly #givenBackEarly = new Set<string>()
  /** Until when the guards of each key have to stand that nobody has released, and that were not lost. */
  readonly #guards = new Map<string, Map<string, number>>()
  /** Who has been at work on each key since it was last without a guard. */
  readonly #company = new Map<string, Set<string>>()
  /** Messages of the operation that is being done. */
  readonly #published: Message[] = []
  /** Which tag each stamp was made for, by its token. */
  readonly #stamped = new Map<string, string>()
  /** How often each value of several rows was stored since something happened that it may depend on. */
  readonly #fills = new Map<string, number>()
  /** Whether that is counted: not where values expire, or replies are taken for others. */
  readonly #countsFills: boolean
  /** Whether there are processes that name fewer tags than others. */
  readonly #mayLackTags: boolean
  readonly #room: number | undefined
  /** The generation of each keyspace, if it has one. */
  readonly #generations = new Map<string, string>()
  /** Those with which it came back the last time. */
  readonly #formerGenerations = new Map<string, string>()

  constructor(
    world: { clock: SimulatedClock; random: Random; trail: Trail; library: Library; weather: Weather },
    checker: Checker,
    subjects: Subjects,
  ) {
    this.#clock = world.clock
    this.#random = world.random.fork()
    const { lagMs, isLasting = false, inOrder = false, deploys } = world.weather
    this.#countsFills = isLasting && !inOrder && !deploys
    this.#mayLackTags = deploys
    this.#room = world.weather.room
    this.#lagMs = lagMs === undefined ? 0 : this.#random.below(lagMs)
    this.#trail = world.trail
    this.#library = world.library
    this.#checker = checker
    this.#subjects = subjects
    this.#boot()
  }

  /** Of the store that it has now. */
  readonly atHand: RegistersAtHand = {
    get: key => this.#store.atHand.get(key),
    keep: (key, made) => this.#store.atHand.keep(key, made),
  }

  /** What the register of a key holds. */
  inspect(key: string): string | undefined {
    return this.#store.inspect(key)
  }

  /** Whose tokens stand in the guard of a key, and for how many milliseconds from now. */
  holders(key: string): ReadonlyMap<string, number> | undefined {
    const text = this.inspect(key)
    const register = text === undefined ? undefined : parseRegister(text)
    if (register?.state !== 'guard') return undefined
    const timeMs = this.#registers.timeMs()
    return new Map(register.holders.map(({ token, deadlineMs }) => [token, deadlineMs - timeMs]))
  }

  /** The keyspaces in which there may be old values again, from before the server came back. */
  get undoubted(): string[] {
    return [...this.#formerGenerations].flatMap(([name, text]) =>
      this.#generations.get(name) === text ? [name] : [],
    )
  }

  /** The keys whose lease or claim this process has been granted before that moment, and which still stand. */
  grantsOf(link: LinkEnd, beforeMs: number): string[] {
    const keys: string[] = []
    for (const [key, grant] of this.#grants)
      if (
        grant.by === link &&
        grant.sinceMs < beforeMs &&
        !this.#givenBackEarly.has(grant.token) &&
        this.#stands(key, this.inspect(key))
      )
        keys.push(key)
    return keys
  }

  /** Does one operation, in one go, and says what came of it. */
  apply(by: LinkEnd, operation: Operation, given: readonly unknown[]): Promise<unknown> {
    if (operation === 'identity') return Promise.resolve(identityOf(this.life))
    const keys = keysOf(operation, given)
    const before = keys.map(key => this.inspect(key))
    const store = this.#store as unknown as Record<
      Operation,
      (...given: readonly unknown[]) => Promise<unknown>
    >
    const reply = store[operation](...given)
    this.#checker.tick++
    keys.forEach((key, i) => {
      const after = this.inspect(key)
      this.#lookForGuards(key, before[i])
      this.#observe(by, operation, key, before[i], after, given, i)
      if (after === before[i]) return
      this.#noteStamp(key, after)
      this.#record(key, after, operation, given)
    })
    if (operation === 'invalidateKeyspace') this.#newGeneration(given[0] as string, given[1] as string)
    if (operation === 'generation' || operation === 'heartbeat') this.#noteGenerations(operation, given)
    // The message goes out first, and means what has been done now.
    for (const message of this.#published.splice(0))
      message.floors = message.subjects.map(subject => this.#checker.strongFloor(subject))
    this.#trail.note(
      'server',
      () =>
        `${operation} ${by.name} ${keys.map((key, i) => `${key} ${brief(before[i])} → ${brief(this.inspect(key))}`).join(', ')}`,
    )
    return reply
  }

  /** Removes a register for want of room, whatever it is. */
  evict(key: string): void {
    if (this.inspect(key) === undefined) return
    this.losses++
    this.#fills.clear()
    this.#trail.note('server', () => `evicts ${key}: ${brief(this.inspect(key))}`)
    this.#registers.delete(key)
    this.#checker.tick++
    this.#grants.delete(key)
    this.#guards.delete(key)
    this.#company.delete(key)
    this.#journal.push({ tick: this.#checker.tick, key, text: undefined, untilMs: 0 })
  }

  /** Somebody puts bytes into a value's register that no version can read. */
  plant(key: string): void {
    const text = this.inspect(key)
    if (text !== undefined && !text.startsWith('V') && !text.startsWith('S')) return
    this.#checker.tick++
    this.#fills.clear()
    this.#grants.delete(key)
    this.#put(key, 'unreadable', this.#registers.timeMs() + 60_000)
  }

  /** Drops the generations, as if they had been evicted. */
  forgetGenerations(): void {
    this.#checker.tick++
    const state = [...this.#stateAsOf(this.#checker.tick)].filter(({ key }) => !key.startsWith(GENERATION))
    for (const name of this.#subjects.ofKeyspace.keys()) this.#recordGeneration(name, undefined)
    this.#trail.note('server', () => 'forgets the generations')
    this.#boot(state)
  }

  /** A tick at which the server was in some earlier state. */
  tickAgo(ms: number): number {
    const share = Math.min(1, ms / Math.max(1, this.#clock.nowMs()))
    const index = Math.floor(this.#journal.length * (1 - share * this.#random.next()))
    return this.#journal[Math.min(index, this.#journal.length - 1)]?.tick ?? 0
  }

  /** Ends this life of the server; the next one begins after a while. */
  restart({ asOf, awayMs, elsewhere, staying }: Comeback): void {
    this.#trail.note('server', () => `restarts ${asOf === undefined ? 'empty' : `as of tick ${asOf}`}`)
    this.#unsubscribe()
    // A process that has stayed with an older one stays there.
    if (staying !== undefined && this.links.has(staying))
      staying.stayWith(new OldPrimary(this.life, this.#store, this.#trail))
    this.life++
    this.losses++
    this.isUp = false
    this.#grants.clear()
    this.#guards.clear()
    this.#company.clear()
    const state = asOf === undefined ? [] : this.#stateAsOf(asOf)
    if (elsewhere) this.#skewMs = this.#random.between(-200, 200)
    this.#boot(state)
    this.#formerGenerations.clear()
    for (const [name, text] of this.#generations) this.#formerGenerations.set(name, text)
    // First the floors fall, then the state is noted: a return to this state finds these floors.
    this.#checker.fellBack(asOf ?? this.#checker.tick)
    if (asOf === undefined) for (const subject of this.#subjects.all.keys()) this.#checker.vanished(subject)
    this.#checker.tick++
    for (const key of this.#untilMs.keys())
      if (!state.some(entry => entry.key === key))
        this.#journal.push({ tick: this.#checker.tick, key, text: undefined, untilMs: 0 })
    for (const entry of state) {
      if (entry.key.startsWith(GENERATION))
        this.#journaled.set(entry.key.slice(GENERATION.length), entry.text)
      this.#journal.push({ ...entry, tick: this.#checker.tick })
    }
    this.#clock.after(awayMs, () => {
      this.isUp = true
    })
    for (const link of this.links) link.serverLost()
  }

  #boot(state: readonly Entry[] = []): void {
    const { embeddedStore, registersFor } = this.#library
    this.#generations.clear()
    this.#fills.clear()
    const room = this.#room === undefined ? {} : { maxEntries: this.#room, policy: 'noeviction' as const }
    this.#registers = registersFor({ clock: this.#serverClock(), maxBytes: MAX_BYTES, ...room })
    if (this.#lagMs > 0) lag(this.#registers, this.#lagMs)
    this.#store = embeddedStore(this.#registers)
    for (const { key, text, untilMs } of state) {
      if (key.startsWith(GENERATION)) {
        this.#store.invalidateKeyspace(key.slice(GENERATION.length), text!)
        this.#generations.set(key.slice(GENERATION.length), text!)
      } else if (text!.startsWith('W')) this.#registers.pin(key, text!, untilMs)
      else this.#registers.put(key, text!, untilMs)
    }
    this.#unsubscribe = this.#store.subscribe({
      invalidated: key => this.#publish(this.#subjects.ofKey(key), listener => listener.invalidated(key)),
      keyspaceInvalidated: keyspace =>
        this.#publish(this.#subjects.ofKeyspace.get(keyspace) ?? [], listener =>
          listener.keyspaceInvalidated(keyspace),
        ),
      heartbeat: text => this.#publish([], listener => listener.heartbeat(text)),
      interrupted: () => {},
    })
  }

  #serverClock(): Clock {
    const world = this.#clock
    const random = this.#random
    const skewMs = this.#skewMs
    return {
      nowMs: () => world.nowMs(),
      coarseMs: () => world.nowMs(),
      epochMs: () => world.epochMs() + skewMs,
      after: (delayMs, run) => world.after(delayMs, run),
      random: () => random.next(),
      token: () => tokenFrom(random),
    }
  }

  #publish(subjects: readonly number[], tell: Message['tell']): void {
    const message: Message = { tell, subjects, floors: [], forgetting: this.#checker.forgetting }
    if (subjects.length > 0) this.#published.push(message)
    for (const link of this.links) link.publish(message)
  }

  #stateAsOf(tick: number): Entry[] {
    const state = new Map<string, Entry>()
    for (const entry of this.#journal) {
      if (entry.tick > tick) break
      state.set(entry.key, entry)
    }
    return [...state.values()].filter(({ text }) => text !== undefined)
  }

  #put(key: string, text: string, untilMs: number): void {
    this.#registers.put(key, text, untilMs)
    this.#untilMs.set(key, untilMs)
    this.#journal.push({ tick: this.#checker.tick, key, text, untilMs })
  }

  #record(key: string, text: string | undefined, operation: Operation, given: readonly unknown[]): void {
    const untilMs = this.#lifeOf(key, text, operation, given)
    this.#untilMs.set(key, untilMs)
    this.#journal.push({ tick: this.#checker.tick, key, text, untilMs })
  }

  /** Until when a register lives that has just changed. */
  #lifeOf(key: string, text: string | undefined, operation: Operation, given: readonly unknown[]): number {
    const timeMs = this.#registers.timeMs()
    if (text === undefined) return 0
    if (operation === 'lease') return timeMs + (given[2] as number)
    if (operation === 'leaseMany' || operation === 'stampMany') return timeMs + (given[1] as number)
    if (operation === 'swap') return timeMs + (given[3] as number)
    if (operation === 'renewStamp')
      return Math.max(this.#untilMs.get(key) ?? 0, timeMs + (given[2] as number))
    const register = parseRegister(text)
    if (register.state === 'guard') return Math.max(...register.holders.map(({ deadlineMs }) => deadlineMs))
    const fill = (operation === 'fill' || operation === 'release' ? given[2] : undefined) as Fill | undefined
    return fill === undefined ? this.#untilMs.get(key)! : timeMs + fill.freshMs + fill.staleMs
  }

  #noteGenerations(operation: Operation, given: readonly unknown[]): void {
    const names =
      operation === 'generation'
        ? [given[0] as string]
        : (given[1] as { name: string }[]).map(({ name }) => name)
    for (const name of names) {
      // The store draws no generation where there is one: what it answers is what it has.
      this.#store.generation(name, '').then(text => {
        this.#generations.set(name, text)
        if (this.#journaled.get(name) !== text) this.#recordGeneration(name, text)
      })
    }
  }

  #newGeneration(name: string, text: string): void {
    this.#generations.set(name, text)
    this.#recordGeneration(name, text)
    this.#applied(this.#subjects.ofKeyspace.get(name) ?? [])
  }

  #recordGeneration(name: string, text: string | undefined): void {
    const untilMs = text === undefined ? 0 : Number.POSITIVE_INFINITY
    this.#journaled.set(name, text)
    this.#journal.push({ tick: this.#checker.tick, key: GENERATION + name, text, untilMs })
  }

  /** What an operation means for the floors, and whether it broke a rule about leases. */
  #observe(
    by: LinkEnd,
    operation: Operation,
    key: string,
    before: string | undefined,
    after: string | undefined,
    given: readonly unknown[],
    at: number,
  ): void {
    const subjects = this.#subjects.ofKey(key)
    switch (operation) {
      case 'lease':
      case 'leaseMany': {
        const token =
          operation === 'lease' ? (given[1] as string) : (given[0] as { token: string }[])[at]!.token
        const leaseMs = (operation === 'lease' ? given[2] : given[1]) as number
        if (before === undefined && after === leaseText(token))
          this.#granted(by, key, token, leaseMs, false, before)
        break
      }
      case 'swap':
        if (before !== after && after === leaseText(given[2] as string)) {
          this.#lookForRemoval(by, key, before)
          this.#granted(by, key, given[2] as string, given[3] as number, false, before)
        }
        break
      case 'claim': {
        const [, nonce, token, claimMs] = given as [string, string, string, number]
        const isOurs = after?.startsWith(claimPrefix(nonce, token)) === true
        if (claimMs > 0 && isOurs) this.#granted(by, key, token, claimMs, true, before)
        else if (claimMs === 0 && before !== after) this.#grants.delete(key)
        break
      }
      case 'fill':
        if (before !== after) this.#stored(by, key, after)
        break
      case 'drop': {
        const seen = given[1] as Expected
        if (before !== after) this.#grants.delete(key)
        else if ('prefix' in seen) this.#givenBackEarly.add(seen.prefix.slice(1))
        break
      }
      case 'guard':
        this.#grants.delete(key)
        if (before?.startsWith('W') !== true) this.#company.set(key, new Set(given[3] ? [SOMEBODY] : []))
        this.#company.get(key)?.add(given[1] as string)
        this.#promised(key).set(given[1] as string, this.#clock.nowMs() + (given[2] as number))
        // A renewal finds nothing that could be taken away, and does not know what others may have committed unguarded.
        if (before?.includes(given[1] as string) !== true) this.#applied(subjects)
        break
      case 'invalidate':
        this.#grants.delete(key)
        this.#company.get(key)?.add(SOMEBODY)
        this.#applied(subjects)
        break
      case 'release': {
        this.#company.get(key)?.add(given[1] as string)
        if (after?.startsWith('V') && before !== after) this.#wroteThrough(by, key, after)
        this.#grants.delete(key)
        this.#promised(key).delete(given[1] as string)
        // Nobody finds a value of an old generation: the register is as good as empty.
        const register = after === undefined ? undefined : parseRegister(after)
        if (register?.state === 'value' && this.#isOfThisGeneration(key, register))
          this.#checker.applied(subjects[0]!, throughVersion(register, this.#checker, subjects[0]!))
        else this.#applied(subjects)
        break
      }
    }
  }

  #noteStamp(key: string, text: string | undefined): void {
    const register = text === undefined ? undefined : parseRegister(text)
    if (register?.state === 'stamp') this.#stamped.set(register.token, key)
  }

  #applied(subjects: readonly number[]): void {
    this.#fills.clear()
    for (const subject of subjects) this.#checker.applied(subject)
  }

  /** A committed value was let in: only a writer who was alone knows that it was the last one. */
  #wroteThrough(by: LinkEnd, key: string, text: string): void {
    if (COMPOSITES.has(key))
      this.#checker.accuse(`${by.name} has written through ${key}, whose tags nobody has looked at`)
    if ((this.#company.get(key)?.size ?? 0) > 1)
      this.#checker.accuse(`${by.name} has written through ${this.#subjects.nameOf(key)}, and was not alone`)
    this.#stored(by, key, text)
  }

  #promised(key: string): Map<string, number> {
    const standing = this.#guards.get(key) ?? new Map<string, number>()
    this.#guards.set(key, standing)
    return standing
  }

  /** Whether all guards of the key stand whose time has not passed: until then nothing can be stored. */
  #lookForGuards(key: string, text: string | undefined): void {
    const standing = this.#guards.get(key)
    if (standing === undefined) return
    for (const [token, untilMs] of standing) {
      const isOver = untilMs - ROUNDING_MS <= this.#clock.nowMs()
      const isThere = text?.startsWith('W') === true && text.includes(token)
      if (!isOver && !isThere) this.#checker.accuse(`a guard of ${key} did not stand until its deadline`)
      if (isOver || !isThere) standing.delete(token)
    }
  }

  /** A value was let in: if its generation is the one of now it can be found, and must not be older than what is known. */
  #stored(by: LinkEnd, key: string, text: string | undefined): void {
    this.#grants.delete(key)
    const register = text === undefined ? undefined : parseRegister(text)
    if (register?.state !== 'value') return
    if (COMPOSITES.has(key)) {
      this.#storedComposite(by, key, register)
      return
    }
    if (!this.#isOfThisGeneration(key, register)) return
    const version = register.text === undefined ? undefined : (JSON.parse(register.text) as Row).version
    this.#checker.stored(this.#subjects.ofKey(key)[0]!, version, by.name)
  }

  /** A value of several rows was let in: if all its stamps stand, each of its rows is what its key and its tag promise. */
  #storedComposite(by: LinkEnd, key: string, register: ValueRegister): void {
    const names = register.tags.map(({ name }) => name)
    for (const { name, token } of register.tags) {
      const tag = this.#stamped.get(token)
      if (tag !== undefined && tag !== name)
        this.#checker.accuse(`${by.name} has stored ${key} under ${name}, with the stamp of ${tag}`)
    }
    const isFound = this.#isFound(key, register)
    for (const { row, version } of shownBy(key, compositeIn(register))) {
      const tag = tagNameOf(row)
      const isNamed = names.includes(tag)
      if (!isNamed && !this.#mayLackTags)
        this.#checker.accuse(`${by.name} has stored row ${row} under ${key}, and not under ${tag}`)
      if (!isFound) continue
      this.#checker.stored(this.#subjects.at(key, row), version ?? undefined, by.name)
      if (isNamed) this.#checker.stored(this.#subjects.at(tag, row), version ?? undefined, by.name)
    }
    const fills = (this.#fills.get(key) ?? 0) + 1
    this.#fills.set(key, fills)
    if (this.#countsFills && fills > 1 + FLIGHTS * this.links.size)
      this.#checker.accuse(`${key} was stored ${fills} times, and nothing has happened to it`)
  }

  #isOfThisGeneration(key: string, { generation }: ValueRegister): boolean {
    return generation === this.#generations.get(keyspaceOf(key))
  }

  /** Whether a reader who judges it now finds it. */
  #isFound(key: string, register: ValueRegister): boolean {
    if (!this.#isOfThisGeneration(key, register)) return false
    return register.tags.every(
      stamp =>
        stamp.generation === this.#generations.get(keyspaceOf(stamp.name)) &&
        this.inspect(stamp.name) === stampText(stamp.token),
    )
  }

  /** A lease took the place of a value: of one whose stamps all stand only if it lacks a tag that the reader's version names. */
  #lookForRemoval(by: LinkEnd, key: string, text: string | undefined): void {
    const register = text === undefined ? undefined : parseRegister(text)
    if (!this.#countsFills || register?.state !== 'value' || !COMPOSITES.has(key)) return
    if (this.life === 1 && !this.#mayLackTags && this.#isFound(key, register))
      this.#checker.accuse(`${by.name} has removed the value of ${key}, all of whose tags stand`)
  }

  #granted(
    by: LinkEnd,
    key: string,
    token: string,
    leaseMs: number,
    isClaim: boolean,
    before: string | undefined,
  ): void {
    const standing = this.#grants.get(key)
    if (
      standing !== undefined &&
      standing.isClaim === isClaim &&
      standing.token !== token &&
      this.#stands(key, before)
    )
      this.#checker.accuse(`${isClaim ? 'a claim' : 'a lease'} of ${key} was granted while another stood`)
    const sinceMs = this.#clock.nowMs()
    this.#grants.set(key, { by, token, isClaim, sinceMs, untilMs: sinceMs + leaseMs })
  }

  /** Whether what was granted last is still in the register, and its time has not passed. */
  #stands(key: string, text: string | undefined): boolean {
    const grant = this.#grants.get(key)
    return grant !== undefined && grant.untilMs > this.#clock.nowMs() && text?.includes(grant.token) === true
  }
}

/** Lets guards stand beyond their deadlines: the clock that a register expires by is not quite the one that a script reads. */
function lag(registers: ReturnType<Library['registersFor']>, lagMs: number): void {
  const pin = registers.pin.bind(registers)
  registers.pin = (key, text, untilMs) => pin(key, text, untilMs + lagMs)
}

/** The version that a release has written through: no later read may be older than this one. */
function throughVersion({ text }: ValueRegister, checker: Checker, subject: number): number {
  return text === undefined ? checker.lastDeletion(subject) : (JSON.parse(text) as Row).version
}

/** The value of several rows in a register. */
const compositeIn = ({ text }: ValueRegister): Composite | undefined =>
  text === undefined ? undefined : (JSON.parse(text) as Composite)

function keysOf(operation: Operation, given: readonly unknown[]): readonly string[] {
  if (operation === 'leaseMany' || operation === 'stampMany')
    return (given[0] as { key: string }[]).map(({ key }) => key)
  if (operation === 'look') return given[0] as string[]
  if (operation === 'heartbeat' || operation === 'generation' || operation === 'invalidateKeyspace') return []
  return [given[0] as string]
}

/** A register's text as the trail shows it. */
function brief(text: string | undefined): string {
  if (text === undefined) return 'absent'
  const register = parseRegister(text)
  if (register.state === 'value')
    return `V ${register.nonce.slice(0, 4)} ${register.claimUntilMs > 0 ? 'claimed ' : ''}${register.text ?? 'absence'}`
  if (register.state === 'lease') return `L ${register.token.slice(0, 4)}`
  if (register.state === 'stamp') return `S ${register.token.slice(0, 4)}`
  if (register.state === 'unreadable' || register.state === 'later') return register.state
  return `W${register.dirty ? '!' : ''} ${register.holders.map(({ token }) => token.slice(0, 4)).join(' ')}`
}
