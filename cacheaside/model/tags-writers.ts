import { set } from './record.ts'
import type { Step } from './search.ts'
import { changedRows } from './tags-promises.ts'
import {
  clear,
  drawGeneration,
  endJoining,
  forget,
  forgetAll,
  invalidate,
  lookAtStamp,
  publish,
  putValue,
} from './tags-registers.ts'
import type { WriterSetting } from './tags-setting.ts'
import type { TagsState, Writer } from './tags-state.ts'
import type { TagsWorld } from './tags-world.ts'

/** What writers do, relays of the feed among them, and the queue of a process. */
export function tagWriterSteps(world: TagsWorld, state: TagsState, step: Step<TagsState>): void {
  for (let i = 0; i < world.writers.length; i++) new WriterSteps(world, state, i, step).all()
  for (let process = 0; process < state.processes.length; process++)
    for (let r = 0; r < world.rows; r++) queueSteps(world, state, process, r, step)
}

/** One writer's next steps. */
class WriterSteps {
  readonly #world: TagsWorld
  readonly #state: TagsState
  readonly #i: number
  readonly #step: Step<TagsState>
  readonly #setting: WriterSetting
  readonly #names: readonly number[]

  constructor(world: TagsWorld, state: TagsState, i: number, step: Step<TagsState>) {
    this.#world = world
    this.#state = state
    this.#i = i
    this.#step = step
    this.#setting = world.writers[i]!
    this.#names = this.#setting.names.map(letter => world.register(letter))
  }

  all(): void {
    const { own, parts } = this.#state.writers[this.#i]!
    const { does, stuck = false } = this.#setting
    if (own.at === 'start') {
      if (does !== 'write') this.#commit()
      else if (stuck) this.#take('sends guards that do not arrive', next => this.#begin(next, 'commit'))
      else this.#guard()
    } else if (own.at === 'guard') this.#guard()
    else if (own.at === 'commit') this.#commit()
    else if (own.at === 'release') this.#release(stuck)
    if (!this.#world.setting.dying || own.at === 'start' || own.at === 'done' || own.at === 'dead') return
    if (parts.some(({ guard }) => guard === 'arrived'))
      this.#take('dies', (_, me) => {
        me.own.at = 'dead'
      })
  }

  #take(name: string, change: (next: TagsState, me: Writer) => void): void {
    this.#step(
      () => `writer ${this.#i + 1} ${name}`,
      next => change(next, next.writers[this.#i]!),
    )
  }

  #begin(next: TagsState, at: Writer['own']['at']): void {
    this.#forgetOwn(next)
    next.writers[this.#i]!.own.at = at
  }

  /** What this process has of the names goes, before the first command and once more at the end. */
  #forgetOwn(next: TagsState): void {
    const { process } = this.#setting
    if (process === undefined) return
    const isForgotten = this.#world.has('own writes of tags forget')
    if (this.#setting.does === 'invalidate all' && isForgotten)
      forgetAll(this.#world, next, process, 'tagged')
    for (const r of this.#names)
      if (r < this.#world.keys || isForgotten) forget(this.#world, next, process, r)
    if (!this.#names.some(r => r >= this.#world.keys) || !this.#world.has('own writes of tags end joining'))
      return
    endJoining(this.#world, next, process)
  }

  #guard(): void {
    const { own, parts } = this.#state.writers[this.#i]!
    for (const r of this.#names) {
      if (parts[r]!.guard !== 'unsent') continue
      this.#take(`guards ${this.#world.letter(r)}`, (next, me) => {
        if (own.at === 'start') this.#begin(next, 'guard')
        me.parts[r]!.guard = 'arrived'
        if (this.#names.every(name => me.parts[name]!.guard === 'arrived')) me.own.at = 'commit'
        if (r >= this.#world.keys && !this.#world.has('guards of tags')) return
        clear(this.#world, next, r)
        next.registers[r]!.holds = 'guard'
        me.parts[r]!.token = 'live'
        publish(this.#world, next, r)
      })
    }
  }

  #commit(): void {
    const rows = changedRows(this.#world, this.#i)
    const named = rows.map(r => this.#world.letter(r)).join(' and ')
    this.#take(`commits a change of ${named}`, (next, me) => {
      for (const r of rows) me.parts[r]!.version = ++next.registers[r]!.version
      if (next.snapshots.length > 0) next.shared.order = (next.shared.order << 2) | (this.#i + 1)
      const isFenced = this.#names.every(
        r => me.parts[r]!.token === 'live' || !this.#world.has('guards of tags'),
      )
      if (this.#setting.does !== 'write' || !isFenced) next.shared.extraordinary = true
      if (this.#setting.does !== 'write') this.#forgetOwn(next)
      me.own.at = 'release'
      if (!this.#world.has('tagged values are not written through'))
        me.content = next.registers.map(({ version }) => version + 1)
    })
  }

  #release(isStuck: boolean): void {
    if (this.#setting.does === 'invalidate all') {
      this.#take('draws a new generation', (next, me) => {
        drawGeneration(this.#world, next)
        const { process } = this.#setting
        if (process !== undefined && this.#world.has('own generations known at once'))
          next.processes[process]!.own.copy = next.shared.generation
        this.#end(next, me)
      })
      return
    }
    const { parts } = this.#state.writers[this.#i]!
    for (const r of this.#names) {
      if (parts[r]!.released) continue
      const letter = this.#world.letter(r)
      const verb = this.#setting.does === 'write' ? 'releases' : 'invalidates'
      this.#take(`${verb} ${letter}`, (next, me) => {
        this.#releaseOne(next, me, r)
        this.#endPart(next, me, r)
      })
      const { process } = this.#setting
      if (!isStuck || process === undefined) continue
      this.#take(`does not reach the store to release ${letter}, and queues it`, (next, me) => {
        next.processes[process]!.places[r]!.queue = 'waits'
        this.#endPart(next, me, r)
      })
    }
  }

  #releaseOne(next: TagsState, me: Writer, r: number): void {
    const world = this.#world
    const register = next.registers[r]!
    const hasOthers = next.writers.some((writer, i) => i !== this.#i && writer.parts[r]!.token === 'live')
    me.parts[r]!.token = 'none'
    register.applied = Math.max(register.applied, me.parts[r]!.version)
    if (this.#setting.does !== 'write') invalidate(world, next, r)
    else if (register.holds === 'guard' && hasOthers && world.has('guards of tags keep other writers'))
      publish(world, next, r)
    else if (register.holds === 'guard' || r < world.keys || world.has('release of a tag removes stamps')) {
      clear(world, next, r)
      publish(world, next, r)
      if (r < world.keys && !world.has('tagged values are not written through'))
        writeThrough(world, next, me, r)
    }
  }

  #endPart(next: TagsState, me: Writer, r: number): void {
    me.parts[r]!.released = true
    if (this.#names.every(name => me.parts[name]!.released)) this.#end(next, me)
  }

  /** The write resolves. */
  #end(next: TagsState, me: Writer): void {
    me.own.at = 'done'
    me.content.fill(0)
    const { process, stuck, does } = this.#setting
    for (const r of changedRows(this.#world, this.#i)) {
      const { version } = me.parts[r]!
      const register = next.registers[r]!
      const isLeft = !this.#names.includes(r) || does === 'invalidate all'
      if (isLeft && !stuck) register.applied = Math.max(register.applied, version)
      if (process === undefined) continue
      const place = next.processes[process]!.places[r]!
      place.own = Math.max(place.own, version)
    }
    if (this.#world.has('own writes of tags forget at their end')) this.#forgetOwn(next)
    for (const part of me.parts) set(part, { version: 0, released: false, guard: 'unsent' })
  }
}

/** What a process does not do for keys with tags: it stores what it has committed, under the stamps that stand now. */
function writeThrough(world: TagsWorld, next: TagsState, me: Writer, key: number): void {
  const named = world.asked(0, key)
  const tokens = named.map((isNamed, tag) => (isNamed ? (lookAtStamp(world, next, tag) ?? 0) : 0))
  const content = me.content.map((shown, r) =>
    r === key || (r >= world.keys && named[r - world.keys]) ? shown : 0,
  )
  if (named.every((isNamed, tag) => !isNamed || tokens[tag]! > 0))
    putValue(world, next, key, content, { named, tokens, generations: tokens.map(() => 0) }, 0)
}

function queueSteps(
  world: TagsWorld,
  state: TagsState,
  process: number,
  r: number,
  step: Step<TagsState>,
): void {
  const { queue } = state.processes[process]!.places[r]!
  const name = `the queue of process ${'AB'[process]}`
  if (queue === 'waits') {
    step(
      () => `${name} invalidates ${world.letter(r)}`,
      next => {
        const place = next.processes[process]!.places[r]!
        place.queue = 'tried'
        const versions = next.writers
          .filter((_, i) => world.writers[i]!.process === process)
          .map(({ parts }) => parts[r]!.version)
        next.registers[r]!.applied = Math.max(next.registers[r]!.applied, place.own, ...versions)
        invalidate(world, next, r)
      },
    )
  } else if (queue === 'tried') {
    step(
      () => `${name} hears that ${world.letter(r)} is done`,
      next => {
        next.processes[process]!.places[r]!.queue = 'none'
      },
    )
  }
}
