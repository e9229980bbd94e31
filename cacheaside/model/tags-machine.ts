import type { Machine, Step } from './search.ts'
import { tagProcessSteps } from './tags-processes.ts'
import { breachIn } from './tags-promises.ts'
import { tagReaderSteps } from './tags-readers.ts'
import { lookAtStamp, putValue } from './tags-registers.ts'
import type { TagsSetting } from './tags-setting.ts'
import { snapshotReaderSteps } from './tags-snapshots.ts'
import { eachToken, stateForm, type TagsState } from './tags-state.ts'
import { TagsWorld } from './tags-world.ts'
import { tagWriterSteps } from './tags-writers.ts'

/** The model of tags: values that fall with the stamps of their names, and snapshots of several values. */
export class TagsMachine implements Machine<TagsState> {
  readonly size: number
  readonly #world: TagsWorld
  readonly #form: ReturnType<typeof stateForm>

  constructor(setting: TagsSetting) {
    this.#world = new TagsWorld(setting)
    this.#form = stateForm(this.#world.sizes)
    this.size = this.#form.size
  }

  begin(): TagsState {
    const world = this.#world
    const state: TagsState = { ...this.#form.first(), broken: undefined }
    world.readers.forEach(({ times = 1 }, i) => {
      state.readers[i]!.own.left = times
    })
    if (!world.setting.warm) return state
    for (let key = 0; key < world.keys; key++) {
      const content = world.load(state, key)
      const named = world.namesOf(0, key, content)
      const tokens = named.map((isNamed, tag) => (isNamed ? lookAtStamp(world, state, tag)! : 0))
      putValue(world, state, key, content, { named, tokens, generations: tokens.map(() => 0) }, 0)
    }
    return state
  }

  copy(state: TagsState): TagsState {
    return { ...this.#form.copy(state), broken: undefined }
  }

  /** Stamps are numbered in the order in which they are met: which number one has says nothing. */
  pack(state: TagsState, bytes: Uint8Array): void {
    const { keys, tags } = this.#world
    for (let tag = 0; tag < tags && this.#world.has('stamps at random'); tag++) {
      const numbers = new Map([[0, 0]])
      eachToken(state, tag, keys, token => {
        const number = numbers.get(token) ?? numbers.size
        numbers.set(token, number)
        return number
      })
    }
    this.#form.pack(state, bytes, 0)
  }

  unpack(bytes: Uint8Array): TagsState {
    return { ...this.#form.unpack(bytes, 0), broken: undefined }
  }

  steps(state: TagsState, step: Step<TagsState>): void {
    tagReaderSteps(this.#world, state, step)
    tagWriterSteps(this.#world, state, step)
    snapshotReaderSteps(this.#world, state, step)
    tagProcessSteps(this.#world, state, step)
  }

  breach(state: TagsState): string | undefined {
    return breachIn(this.#world, state)
  }

  broken(next: TagsState): string | undefined {
    return next.broken
  }
}
