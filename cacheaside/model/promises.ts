import type { State } from './state.ts'
import type { World } from './world.ts'

/**
 * What is checked besides G1, which is checked where something is stored (`register-changes.ts`).
 *
 * G2 in two parts. A write that has resolved, and whose release was applied, binds every strong read that begins
 * later, whatever else has happened, as long as neither store has lost what it had acknowledged. A version that
 * somebody has *seen* binds them in ordinary operation only: there every commit has a guard, from before it until its
 * release.
 */

/** A reader is answered with a version; `floor` is what was known when it began. */
export function answer(world: World, state: State, key: number, version: number, floor: number): void {
  const register = state.keys[key]!
  if (version > register.seen) register.seen = version
  if (version >= floor || (state.shared.forgot && !world.setting.strict)) return
  state.broken = `G2: a reader is answered v${version}, and v${floor} was known before it began`
}

/** The oldest version that a strong read in this process may be answered with if it begins now. */
export function floorOf(world: World, state: State, key: number, process: number): number {
  const { resolved, seen } = state.keys[key]!
  const isOrdinary = !state.shared.extraordinary || world.setting.strict === true
  return Math.max(resolved, isOrdinary ? seen : 0, world.copyOf(state, process, key).own)
}

/** What is wrong with a state, whatever comes next. */
export function breachIn(world: World, state: State): string | undefined {
  return twoLoads(world, state) ?? (isAtRest(state) ? staleAtRest(world, state) : undefined)
}

/** G6: one lease, or one claim, for each key. */
function twoLoads(world: World, state: State): string | undefined {
  const loading = world.readerPlaces.filter((_, i) => {
    const { at, entitled } = state.readers[i]!
    return at === 'load' && entitled
  })
  const keys = new Set(loading.map(({ key }) => key))
  return keys.size < loading.length ? 'G6: two readers load one key by right' : undefined
}

/** G3 and G4: when nothing is under way any more, what the levels hold is what the origin holds. */
function staleAtRest(world: World, state: State): string | undefined {
  for (const [key, { register, version, generation, visible }] of state.keys.entries()) {
    if (register === 'value' && generation === state.shared.generation && version !== visible)
      return `at rest: the store holds v${version}${world.of(key)}, the origin v${visible}`
    for (let process = 0; process < world.processes; process++) {
      const { kept } = world.copyOf(state, process, key)
      if (kept !== 0 && kept - 1 !== visible)
        return `at rest: an L1 holds v${kept - 1}${world.of(key)}, the origin v${visible}`
    }
  }
  return undefined
}

/** Nobody has anything to do that was begun. Copies of what ends a token may be on their way for ever. */
function isAtRest({ readers, writers, foreign, copies, processes, shared }: State): boolean {
  const isIdle = ({ at }: { at: string }) => at === 'start' || at === 'done'
  return (
    readers.every(isIdle) &&
    writers.every(isIdle) &&
    foreign.every(isIdle) &&
    shared.identity === 'same' &&
    shared.takenOver !== 'not by all' &&
    writers.every(({ parts }) => parts.every(({ change }) => change === 'none')) &&
    foreign.every(({ change }) => change === 'none') &&
    copies.every(({ messages, queue }) => messages === 0 && queue === 'none') &&
    !processes.some(({ cut }) => cut)
  )
}
