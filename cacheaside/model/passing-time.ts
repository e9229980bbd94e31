import { pass } from './register-changes.ts'
import type { Step } from './search.ts'
import type { State, Writer } from './state.ts'
import type { World } from './world.ts'

/** In timed settings: how long a guard stands, in thirds of `guardMs`. */
const GUARD_TICKS = 3

/** Whether the commit of a writer in doubt can no longer happen, as far as its process knows. */
export function isDue(world: World, { at, age, doubted }: Writer): boolean {
  if (!world.has('doubt waits')) return true
  if (world.setting.timed) return (world.setting.sharing ? doubted : age) >= GUARD_TICKS
  return at !== 'orphan' || !world.setting.statementsEnd
}

/** In timed settings: a third of `guardMs`. A writer that lives renews in time, and statements end in time. */
export function tick(world: World, state: State, step: Step<State>): void {
  if (!world.setting.timed) return
  const mustRenew = ({ at, age }: Writer) =>
    world.has('renewal') && age >= 1 && (at === 'commit' || at === 'runs' || at === 'release')
  const longest = world.has('statement ends in time') ? 1 : 2
  const mustEnd = ({ at, running }: Writer) => (at === 'runs' || at === 'orphan') && running >= longest
  const ages = ({ at, age, inDoubt, parts }: Writer) =>
    at !== 'start' &&
    age < GUARD_TICKS &&
    (at !== 'done' || inDoubt || parts.some(({ token }) => token === 'live'))
  if (state.writers.some(writer => mustRenew(writer) || mustEnd(writer)) || !state.writers.some(ages)) return
  step(
    () => 'a third of guardMs passes',
    next => {
      for (const writer of next.writers) {
        if (!ages(writer)) continue
        writer.age++
        if (writer.at === 'runs' || writer.at === 'orphan') writer.running++
        if (world.setting.sharing && writer.inDoubt)
          writer.doubted = Math.min(GUARD_TICKS, writer.doubted + 1)
        if (writer.age < GUARD_TICKS) continue
        for (const [key, part] of writer.parts.entries())
          if (part.token === 'live') pass(world, next, key, part)
      }
    },
  )
}
