import { answer, floorOf } from './promises.ts'
import { set } from './record.ts'
import { backAgain, clear, putLease, putValue, readersOf } from './register-changes.ts'
import type { Step } from './search.ts'
import type { KeyState, Reader, State } from './state.ts'
import type { World } from './world.ts'

/**
 * What a reader does: `read.ts`, `ask.ts` and `judge.ts` of the library. Two steps that nobody could tell apart if
 * something came between them are one: a reader begins when its first command is run, and is answered when its load has
 * looked.
 */
export function readerSteps(world: World, state: State, step: Step<State>): void {
  for (let i = 0; i < state.readers.length; i++) new ReaderSteps(world, state, i, step).all()
}

/** One reader's next steps. */
class ReaderSteps {
  readonly #world: World
  readonly #state: State
  readonly #i: number
  readonly #step: Step<State>
  readonly #key: number
  readonly #process: number

  constructor(world: World, state: State, i: number, step: Step<State>) {
    this.#world = world
    this.#state = state
    this.#i = i
    this.#step = step
    this.#key = world.readerPlaces[i]!.key
    this.#process = world.readerPlaces[i]!.process
  }

  all(): void {
    const { at } = this.#state.readers[this.#i]!
    if (at === 'start') this.#begin()
    else if (at === 'ask') this.#ask()
    else if (at === 'leased' || at === 'saw') this.#readGeneration(at)
    else if (at === 'swap') this.#swap()
    else if (at === 'claim') this.#claim()
    else if (at === 'load') this.#load()
    else if (at === 'fill') this.#fill()
    else if (at === 'found' || at === 'reply') this.#keep(at)
    if (this.#world.setting.dying && (at === 'load' || at === 'fill')) this.#take('dies', (_, me) => end(me))
  }

  #take(name: string, change: (next: State, me: Reader) => void): void {
    this.#step(
      () => `reader ${this.#world.named(this.#i, this.#process)}${this.#world.of(this.#key)} ${name}`,
      next => change(next, next.readers[this.#i]!),
    )
  }

  #begin(): void {
    const { setting } = this.#world
    const { kept } = this.#world.copyOf(this.#state, this.#process, this.#key)
    if (kept !== 0) this.#findInL1(kept - 1)
    if (!this.#world.has('loader takes a new snapshot')) {
      this.#take('begins a transaction', (next, me) => {
        set(me, { at: 'ask', floor: this.#floor(), version: next.keys[this.#key]!.visible })
      })
    } else if (setting.generations) {
      this.#take(`reads generation ${this.#state.shared.generation}`, (next, me) => {
        set(me, { at: 'ask', floor: this.#floor(), generation: next.shared.generation })
      })
      this.#askFirst()
    } else this.#ask()
  }

  /** Default reads look into L1, strong ones do not. A process does not find what is older than its own writes. */
  #findInL1(version: number): void {
    this.#take(`finds v${version} in L1`, (next, me) => {
      end(me)
      const { own, queue } = this.#world.copyOf(next, this.#process, this.#key)
      if (queue !== 'none' && this.#world.has('queue bypass')) return
      if (version < own) next.broken = `a process finds v${version} in its L1 after it has written v${own}`
    })
  }

  #floor(): number {
    const { at, floor } = this.#state.readers[this.#i]!
    return at === 'start' ? floorOf(this.#world, this.#state, this.#key, this.#process) : floor
  }

  get #register(): KeyState {
    return this.#state.keys[this.#key]!
  }

  #isQueued(state: State): boolean {
    return (
      this.#world.has('queue bypass') && this.#world.copyOf(state, this.#process, this.#key).queue !== 'none'
    )
  }

  /** The generation is known, or there is but one. */
  #ask(): void {
    const { register, version, generation } = this.#register
    const floor = this.#floor()
    if (this.#isQueued(this.#state)) this.#bypass('bypasses what is queued', floor)
    else if (register === 'guard') this.#bypass('is told of a guard', floor)
    else if (register === 'later' && this.#world.has('readers leave later versions alone'))
      this.#bypass('sees what a later version has written', floor)
    else if (register === 'absent') this.#lease()
    else if (register === 'value') {
      this.#judge(version, generation, this.#state.readers[this.#i]!.generation, floor)
    } else if (register === 'lease') {
      this.#bypass('has waited for the lease long enough', floor)
      if (!this.#world.has('one lease')) this.#lease()
    } else {
      this.#take('sees something unreadable', (_, me) => {
        set(me, { at: 'swap', floor, sees: true })
      })
    }
  }

  #lease(): void {
    this.#take('gets the lease', (next, me) => {
      putLease(this.#world, next, this.#key, me)
      set(me, { at: 'load', floor: 0 })
    })
  }

  /** The first command and the reading of the generation are under way at once: here the command is run first. */
  #askFirst(): void {
    const { register, version, generation } = this.#register
    if (register === 'guard' || register === 'lease') {
      this.#bypass(`asks and sees a ${register}`, this.#floor())
    } else if (register === 'absent') {
      this.#take('gets the lease, and does not know the generation yet', (next, me) => {
        putLease(this.#world, next, this.#key, me)
        me.at = 'leased'
      })
    } else {
      this.#take(`sees v${version} of generation ${generation}`, (_, me) => {
        set(me, { at: 'saw', floor: this.#floor(), version, seenGeneration: generation, sees: true })
      })
    }
  }

  #readGeneration(at: 'leased' | 'saw'): void {
    const { generation } = this.#state.shared
    const { version, seenGeneration, floor } = this.#state.readers[this.#i]!
    if (at === 'saw') this.#judge(version, seenGeneration, generation, floor)
    else {
      this.#take(`reads generation ${generation}`, (_, me) => {
        set(me, { at: 'load', generation })
      })
    }
  }

  /** A value was seen, and the generation is known. */
  #judge(version: number, seenGeneration: number, generation: number, floor: number): void {
    if (seenGeneration !== generation) {
      this.#take(`sees that v${version} has another generation`, (_, me) => {
        const sees = me.at === 'saw' ? me.sees : true
        set(me, { at: 'swap', floor, generation, sees, version: 0, seenGeneration: 0 })
      })
    } else if (this.#register.expired && this.#world.setting.refresh) this.#judgeExpired(version, floor)
    else {
      this.#take(`finds v${version}`, (next, me) => {
        end(me)
        if (this.#world.setting.local) set(me, { at: 'found', version })
        answer(this.#world, next, this.#key, version, floor)
      })
    }
  }

  /** A default reader is given the expired value, and refreshes it in the background; a strong one waits for the load. */
  #judgeExpired(version: number, floor: number): void {
    const isClaimed = [...readersOf(this.#world, this.#state, this.#key)].some(
      ({ claim }) => claim === 'standing',
    )
    const mustWait = isClaimed && this.#world.has('one claim')
    this.#take(`is given v${version}, which has expired`, (next, me) => {
      end(me)
      if (!mustWait) set(me, { at: 'claim', sees: true, answered: true })
      answer(this.#world, next, this.#key, version, floor)
    })
    if (mustWait) this.#bypass('has waited for the refresh long enough', floor)
    else {
      this.#take(`does not want v${version}, which has expired`, (_, me) => {
        set(me, { at: 'claim', sees: true })
      })
    }
  }

  /** The register becomes ours, if it still is what was seen. */
  #swap(): void {
    const { sees } = this.#state.readers[this.#i]!
    if (sees || !this.#world.has('swap compares')) {
      this.#take('puts its lease in the place of what it saw', (next, me) => {
        putLease(this.#world, next, this.#key, me)
        set(me, { at: 'load', floor: 0 })
      })
    } else {
      this.#take('sees that it has gone, and asks again', (_, me) => {
        me.at = 'ask'
      })
    }
  }

  #claim(): void {
    const { sees, answered } = this.#state.readers[this.#i]!
    const others = [...readersOf(this.#world, this.#state, this.#key)]
    const isFree = !others.some(({ claim }) => claim === 'standing') || !this.#world.has('one claim')
    if (sees && isFree) {
      this.#take('claims the refresh', (next, me) => {
        for (const reader of readersOf(this.#world, next, this.#key)) reader.claim = 'none'
        set(me, { at: 'load', claim: 'standing', entitled: true, refreshes: true })
      })
    } else {
      this.#take('is refused the claim', (_, me) => {
        if (answered) end(me)
        else set(me, { at: 'start', sees: false })
      })
    }
  }

  /** Loads, and keeps nothing. */
  #bypass(why: string, floor: number): void {
    const visible = this.#visible
    this.#take(`${why}, loads v${visible}, keeps nothing`, (next, me) => {
      if (!this.#world.has('bypassed loads kept nowhere')) this.#keepInL1(next, me, visible)
      end(me)
      answer(this.#world, next, this.#key, visible, floor)
    })
  }

  /** The version that a load of this process sees now. */
  get #visible(): number {
    const { visible, old } = this.#register
    const staysBehind =
      this.#state.shared.takenOver === 'not by all' && this.#process === this.#world.processes - 1
    return staysBehind ? old : visible
  }

  #load(): void {
    const visible = this.#visible
    const reader = this.#state.readers[this.#i]!
    const version = this.#world.has('loader takes a new snapshot') ? visible : reader.version
    this.#take(`loads v${version}`, (next, me) => {
      if (!me.answered) answer(this.#world, next, this.#key, version, me.floor)
      if (this.#world.setting.instead === 'keep before the fill is accepted')
        this.#keepInL1(next, me, version)
      if (me.doomed || this.#isQueued(next)) this.#giveBack(next, me)
      else set(me, { at: 'fill', version, floor: 0, entitled: false })
    })
  }

  #giveBack(next: State, me: Reader): void {
    if (me.lease) clear(this.#world, next, this.#key)
    me.claim = 'none'
    end(me)
  }

  #fill(): void {
    const { version } = this.#state.readers[this.#i]!
    const isAccepted = this.#isAccepted()
    this.#take(`fills v${version}: ${isAccepted ? 'accepted' : 'refused'}`, (next, me) => {
      const { generation: known, overtaken } = me
      const generation = this.#world.has('generation before the load') ? known : next.shared.generation
      if (isAccepted) putValue(this.#world, next, this.#key, version, generation)
      else me.claim = 'none'
      const { doomed } = me
      end(me)
      if (this.#world.setting.local) set(me, { at: 'reply', version, accepted: isAccepted, doomed })
      if (isAccepted && overtaken) backAgain(this.#world, next, next.keys[this.#key]!)
    })
  }

  #isAccepted(): boolean {
    const { lease, claim, refreshes, outlived } = this.#state.readers[this.#i]!
    const { setting } = this.#world
    if (setting.instead === 'fill only in the life of the store that leased' && outlived) return false
    if (refreshes)
      return this.#world.has('refresh compares') ? claim !== 'none' : this.#register.register === 'value'
    return lease || !this.#world.has('lease check')
  }

  /** What was found, or accepted, is kept once its reply is here. */
  #keep(at: 'found' | 'reply'): void {
    const { version } = this.#state.readers[this.#i]!
    this.#take(`hears the reply to its ${at === 'found' ? 'question' : 'fill'}`, (next, me) => {
      if (at === 'found' || me.accepted) this.#keepInL1(next, me, version)
      end(me)
    })
  }

  #keepInL1(next: State, me: Reader, version: number): void {
    if (me.doomed || this.#isQueued(next)) return
    this.#world.copyOf(next, this.#process, this.#key).kept = version + 1
  }
}

/** It is over. What the register holds of it stays there. */
function end(me: Reader): void {
  set(me, {
    at: 'done',
    version: 0,
    floor: 0,
    generation: 0,
    seenGeneration: 0,
    sees: false,
    savedSees: false,
    entitled: false,
    answered: false,
    refreshes: false,
    doomed: false,
    overtaken: false,
    accepted: false,
    outlived: false,
  })
}
