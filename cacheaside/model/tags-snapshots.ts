import { set } from './record.ts'
import type { Step } from './search.ts'
import { answerSnapshot, floorOf, isQueued } from './tags-promises.ts'
import { clear, lookAtStamp, putValue } from './tags-registers.ts'
import type { Snapshot, TagsState } from './tags-state.ts'
import type { TagsWorld } from './tags-world.ts'

/**
 * What a snapshot reader of both keys does: it looks at all keys and stamps, loads what is missing and awaits the
 * fill, and looks once more. Where that fails, the user's own load of both is one view, and nothing is left to check.
 */
export function snapshotReaderSteps(world: TagsWorld, state: TagsState, step: Step<TagsState>): void {
  for (let i = 0; i < state.snapshots.length; i++) new SnapshotSteps(world, state, i, step).all()
}

class SnapshotSteps {
  readonly #world: TagsWorld
  readonly #state: TagsState
  readonly #i: number
  readonly #step: Step<TagsState>

  constructor(world: TagsWorld, state: TagsState, i: number, step: Step<TagsState>) {
    this.#world = world
    this.#state = state
    this.#i = i
    this.#step = step
  }

  all(): void {
    const { own, keys, names } = this.#state.snapshots[this.#i]!
    if (own.at === 'idle' || own.at === 'look') {
      keys.forEach((key, k) => {
        if (key.own.got === 'nothing') this.#lookAtKey(k)
        else if (key.own.got === 'lease') this.#load(k)
        else if (key.own.got === 'loaded') this.#fill(k)
        key.seen.forEach(({ looked }, tag) => {
          if (!looked && this.#isAsked(k, tag)) this.#lookAtStamp(k, tag)
        })
      })
    } else if (own.at === 'again') {
      keys.forEach((key, k) => {
        if (!key.own.again) this.#lookAgain(k)
        if (key.own.got === 'loaded') this.#fill(k)
      })
      names.forEach(({ again }, tag) => {
        if (!again && this.#isNeeded(tag)) this.#lookAtStampAgain(tag)
      })
    }
  }

  #isNeeded(tag: number): boolean {
    return this.#state.snapshots[this.#i]!.keys.some((_, key) => this.#isAsked(key, tag))
  }

  #isAsked(key: number, tag: number): boolean {
    return this.#world.asked(0, key)[tag]!
  }

  #take(name: string, change: (next: TagsState, me: Snapshot) => void): void {
    this.#step(
      () => `snapshot ${this.#i + 1} ${name}`,
      next => {
        const me = next.snapshots[this.#i]!
        if (me.own.at === 'idle') {
          me.own.at = 'look'
          me.floor = floorOf(this.#world, next, 0, true)
          if (this.#isQueued(next)) {
            this.#giveUp(next, me)
            return
          }
        }
        change(next, me)
      },
    )
  }

  /** Whether something of a key is queued in its process, which is the first. */
  #isQueued(next: TagsState): boolean {
    if (!this.#world.has('queue asked by snapshots')) return false
    return next.values.some((_, key) => isQueued(this.#world, next, 0, key, this.#world.asked(0, key)))
  }

  #lookAtKey(key: number): void {
    const { holds } = this.#state.registers[key]!
    this.#take(`looks at ${this.#world.letter(key)}: ${holds}`, (next, me) => {
      const mine = me.keys[key]!
      if (holds === 'value') {
        set(mine.own, { got: 'value', sees: true })
        mine.content = next.values[key]!.content.slice()
        for (const [tag, { named, token }] of next.values[key]!.names.entries())
          set(mine.seen[tag]!, { named, token })
        this.#proceed(next, me)
      } else if (holds === 'absent') {
        next.registers[key]!.holds = 'lease'
        set(mine.own, { got: 'lease', lease: true })
      } else this.#giveUp(next, me)
    })
  }

  /** Each value is judged by a look of its own, also where two depend on one tag. */
  #lookAtStamp(key: number, tag: number): void {
    const letter = this.#world.letter(this.#world.keys + tag)
    this.#take(`asks for the stamp of ${letter} for ${this.#world.letter(key)}`, (next, me) => {
      const current = lookAtStamp(this.#world, next, tag)
      if (current === undefined) this.#giveUp(next, me)
      else {
        set(me.keys[key]!.seen[tag]!, { looked: true, current })
        this.#proceed(next, me)
      }
    })
  }

  #load(key: number): void {
    const asked = this.#world.asked(0, key)
    if (this.#state.snapshots[this.#i]!.keys[key]!.seen.some(({ looked }, tag) => asked[tag] && !looked))
      return
    this.#take(`loads ${this.#world.letter(key)}`, (next, me) => {
      const mine = me.keys[key]!
      mine.own.got = 'loaded'
      mine.content = this.#world.load(next, key)
      mine.seen.forEach((seen, tag) => {
        if (asked[tag]) set(seen, { named: true, token: seen.current })
      })
      this.#proceed(next, me)
    })
  }

  #fill(key: number): void {
    const { lease } = this.#state.snapshots[this.#i]!.keys[key]!.own
    this.#take(`fills ${this.#world.letter(key)}: ${lease ? 'accepted' : 'refused'}`, (next, me) => {
      const mine = me.keys[key]!
      if (lease) {
        const tokens = mine.seen.map(({ token }) => token)
        const named = mine.seen.map(seen => seen.named)
        putValue(this.#world, next, key, mine.content, { named, tokens, generations: tokens.map(() => 0) }, 0)
        set(mine.own, { got: 'value', sees: true, lease: false })
        this.#proceed(next, me)
      } else this.#giveUp(next, me)
    })
  }

  /** Everything has been seen once: each value must stand under the stamps. */
  #proceed(next: TagsState, me: Snapshot): void {
    if (me.own.at !== 'look') return
    const isAwaited = this.#world.has('fills awaited by snapshots')
    if (me.keys.some(({ own }) => own.got !== 'value' && (isAwaited || own.got !== 'loaded'))) return
    if (me.keys.some(({ seen }, key) => seen.some(({ looked }, tag) => !looked && this.#isAsked(key, tag))))
      return
    const doStand = me.keys.every(({ seen }) =>
      seen.every(({ named, token, current }) => !named || token === current),
    )
    if (!doStand) {
      this.#giveUp(next, me)
      return
    }
    me.own.at = 'again'
    for (const { own } of me.keys)
      own.again = !this.#world.has('second look at values') || own.got === 'loaded'
    for (const [tag, name] of me.names.entries())
      name.again = !this.#world.has('second look at stamps') || !this.#isNeeded(tag)
    this.#finish(next, me)
  }

  #lookAgain(key: number): void {
    const { sees } = this.#state.snapshots[this.#i]!.keys[key]!.own
    const isAbsent =
      !this.#world.has('second look takes absent for changed') &&
      this.#state.registers[key]!.holds === 'absent'
    const isSame = sees || isAbsent
    this.#take(
      `looks at ${this.#world.letter(key)} again: ${isSame ? 'the same' : 'changed'}`,
      (next, me) => {
        me.keys[key]!.own.again = true
        if (isSame) this.#finish(next, me)
        else this.#giveUp(next, me)
      },
    )
  }

  #lookAtStampAgain(tag: number): void {
    const tokens = this.#state.snapshots[this.#i]!.keys.flatMap(({ seen }) =>
      seen[tag]!.named ? [seen[tag]!.token] : [],
    )
    const compared = this.#world.has('second look compares the stamps of every value')
      ? tokens
      : tokens.slice(-1)
    const register = this.#state.registers[this.#world.keys + tag]!
    const isSame = register.holds === 'stamp' && compared.every(token => token === register.token)
    const letter = this.#world.letter(this.#world.keys + tag)
    this.#take(`asks for the stamp of ${letter} again: ${isSame ? 'the same' : 'changed'}`, (next, me) => {
      me.names[tag]!.again = true
      if (isSame) this.#finish(next, me)
      else this.#giveUp(next, me)
    })
  }

  #finish(next: TagsState, me: Snapshot): void {
    if (me.keys.some(({ own }) => !own.again) || me.names.some(({ again }) => !again)) return
    answerSnapshot(this.#world, next, this.#i)
    this.#giveUp(next, me)
  }

  #giveUp(next: TagsState, me: Snapshot): void {
    for (const [key, { own }] of me.keys.entries()) if (own.lease) clear(this.#world, next, key)
    me.own.at = 'done'
    me.floor.fill(0)
    for (const key of me.keys) {
      set(key.own, { got: 'nothing', sees: false, lease: false, again: false })
      key.content.fill(0)
      for (const seen of key.seen) set(seen, { named: false, token: 0, looked: false, current: 0 })
    }
    for (const name of me.names) name.again = false
  }
}
