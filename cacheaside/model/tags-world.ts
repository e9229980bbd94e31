import type { Letter, ReaderSetting, TagProtection, TagsSetting, WriterSetting } from './tags-setting.ts'
import { eachToken, type Sizes, type TagsState } from './tags-state.ts'

/** A setting about tags with nothing left open. */
export class TagsWorld {
  readonly setting: TagsSetting
  readonly sizes: Sizes
  readonly keys: number
  readonly tags: number
  readonly rows: number
  readonly readers: readonly ReaderSetting[]
  readonly writers: readonly WriterSetting[]
  readonly #letters: readonly Letter[]
  readonly #without: ReadonlySet<TagProtection>

  constructor(setting: TagsSetting) {
    this.setting = setting
    this.keys = setting.keys ?? 1
    this.tags = setting.tags
    this.rows = this.keys + this.tags
    this.readers = setting.readers
    this.writers = setting.writers ?? []
    this.#letters = [
      ...(['x', 'y'] as const).slice(0, this.keys),
      ...(['a', 'b'] as const).slice(0, this.tags),
    ]
    this.#without = new Set([setting.without ?? []].flat())
    this.sizes = {
      keys: this.keys,
      tags: this.tags,
      processes: setting.processes ?? 1,
      readers: this.readers.length,
      writers: this.writers.length,
      snapshots: setting.snapshots ?? 0,
    }
  }

  has(protection: TagProtection): boolean {
    return !this.#without.has(protection)
  }

  /** What a register is called in a trail. */
  letter(register: number): Letter {
    return this.#letters[register]!
  }

  register(letter: Letter): number {
    return this.#letters.indexOf(letter)
  }

  /** The tags among these names. */
  tagsIn(names: readonly Letter[] = []): boolean[] {
    return Array.from({ length: this.tags }, (_, tag) => names.includes(this.letter(this.keys + tag)))
  }

  /** The names that `tags(id)` gives in a process. */
  asked(process: number, key: number): boolean[] {
    return this.tagsIn(this.setting.asks?.[process] ?? this.setting.names?.[key])
  }

  /** The names that `tagsOf` gives for a version of the own row of `x`. */
  lateNames(key: number, version: number): boolean[] {
    const { late } = this.setting
    return this.tagsIn(key > 0 ? [] : late?.[Math.min(version, late.length - 1)])
  }

  /** Whether what a key shows tells some of its names. */
  get areNamesLate(): boolean {
    return this.setting.late !== undefined
  }

  /** What a load sees now. */
  load(state: TagsState, key: number): number[] {
    const { version } = state.registers[key]!
    const late = this.lateNames(key, version)
    const names = this.tagsIn(this.setting.names?.[key])
    return state.registers.map((row, i) => {
      const isShown = i === key || (i >= this.keys && (names[i - this.keys]! || late[i - this.keys]!))
      return isShown ? row.version + 1 : 0
    })
  }

  /** The names that a process gives to a value that it has loaded. */
  namesOf(process: number, key: number, content: readonly number[]): boolean[] {
    const late = this.lateNames(key, content[key]! - 1)
    return this.asked(process, key).map((isAsked, tag) => isAsked || late[tag]!)
  }

  /** A process of an older deploy does not know on what its values depend: nothing is promised for it. */
  isPromised(process: number): boolean {
    return this.setting.asks === undefined || process === 0
  }

  /** A token that no stamp of this tag has had. */
  freshToken(state: TagsState, tag: number): number {
    const register = state.registers[this.keys + tag]!
    if (!this.has('stamps at random')) return ++register.counted
    let last = 0
    eachToken(state, tag, this.keys, token => {
      last = Math.max(last, token)
      return token
    })
    return last + 1
  }
}
