import type { Setting } from './setting.ts'
import type { StreamSetting } from './stream-machine.ts'
import type { TagsSetting } from './tags-setting.ts'

type AnySetting = Setting | StreamSetting | TagsSetting

/** One line of the table: what is looked at, and what must come out. */
export interface Row {
  readonly name: string
  /** What the breach that must be found begins with: a protection is out, or nothing was promised. */
  readonly breaks?: string
  readonly setting: AnySetting
  /** How many states there are, or were when the breach was found: a space that shrinks in silence would prove less. */
  readonly states: number
  /** More actors, by command only. */
  readonly larger?: { readonly setting: AnySetting; readonly states: number }
}
