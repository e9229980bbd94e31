import { set } from './record.ts'
import type { Reader, TagsState } from './tags-state.ts'
import type { TagsWorld } from './tags-world.ts'

/** What the commands on a register make of it, and what processes hear of it. */

/** The register holds no value and no lease any more. */
export function clear(world: TagsWorld, state: TagsState, r: number): void {
  const register = state.registers[r]!
  set(register, { holds: 'absent', token: 0 })
  if (r >= world.keys) return
  const value = state.values[r]!
  value.own.fill(0)
  value.content.fill(0)
  for (const name of value.names) set(name, { named: false, token: 0, generation: 0 })
  for (const [i, { own }] of state.readers.entries())
    if (keyOf(world, i) === r) set(own, { lease: false, sees: false, claim: false })
  for (const { keys } of state.snapshots) set(keys[r]!.own, { sees: false, lease: false })
}

export const keyOf = (world: TagsWorld, reader: number): number =>
  world.readers[reader]!.key === 'y' ? 1 : 0

/** Looks at a stamp, and makes one if there is none: the token, or nothing under a guard. */
export function lookAtStamp(world: TagsWorld, state: TagsState, tag: number): number | undefined {
  const register = state.registers[world.keys + tag]!
  if (register.holds === 'guard') return undefined
  if (register.holds === 'absent') {
    const token = world.freshToken(state, tag)
    set(register, { holds: 'stamp', token })
    if (world.setting.creationLate && !state.shared.creationLate) {
      state.shared.creationLate = true
      if (!world.has('creation of stamps sent once')) register.lateToken = token
    }
  }
  return register.token
}

/** What a value is stored under: its names, with a stamp and a generation each. */
export interface Stamps {
  readonly named: boolean[]
  readonly tokens: readonly number[]
  readonly generations: readonly number[]
}

export function putValue(
  world: TagsWorld,
  state: TagsState,
  key: number,
  content: readonly number[],
  { named, tokens, generations }: Stamps,
  generation: number,
): void {
  clear(world, state, key)
  state.registers[key]!.holds = 'value'
  const value = state.values[key]!
  value.own[0] = generation
  value.content = content.slice()
  value.names.forEach((name, tag) => {
    if (named[tag]) set(name, { named: true, token: tokens[tag]!, generation: generations[tag]! })
  })
}

/** A process drops what it has of a register, and what is under way of it is kept nowhere. */
export function forget(
  world: TagsWorld,
  state: TagsState,
  process: number,
  r: number,
  empties = true,
  dooms = true,
): void {
  const tag = r - world.keys
  if (empties) {
    state.processes[process]!.entries.forEach((entry, key) => {
      if (key === r || (tag >= 0 && entry.names[tag]!.listed)) drop(entry)
    })
  }
  if (!dooms) return
  for (const [i, reader] of state.readers.entries()) {
    if (!isUnderWay(reader) || processOf(world, i) !== process) continue
    if (keyOf(world, i) === r || (tag >= 0 && reader.names[tag]!.listed)) reader.own.doomed = true
  }
}

/** It drops everything that hangs on any tag, or simply everything. */
export function forgetAll(
  world: TagsWorld,
  state: TagsState,
  process: number,
  what: 'all' | 'tagged',
  empties = true,
  dooms = true,
): void {
  if (empties) {
    for (const entry of state.processes[process]!.entries)
      if (what === 'all' || entry.names.some(({ listed }) => listed)) drop(entry)
  }
  if (!dooms) return
  for (const [i, reader] of state.readers.entries()) {
    if (!isUnderWay(reader) || processOf(world, i) !== process) continue
    if (what === 'all' || reader.names.some(({ listed }) => listed)) reader.own.doomed = true
  }
}

function drop(entry: TagsState['processes'][number]['entries'][number]): void {
  entry.own.kept = false
  entry.content.fill(0)
  for (const name of entry.names) name.listed = false
}

export const processOf = (world: TagsWorld, reader: number): number => world.readers[reader]!.process ?? 0

/** What is under way in a process, and may turn out to hang on a tag, is joined by nobody any more. */
export function endJoining(world: TagsWorld, state: TagsState, process: number): void {
  if (!world.areNamesLate) return
  for (const [i, reader] of state.readers.entries())
    if (processOf(world, i) === process && isUnderWay(reader) && world.readers[i]!.joined)
      reader.own.unjoinable = true
}

const isUnderWay = ({ own }: Reader): boolean => own.at !== 'idle'

/** A message about a register is sent to all who listen. */
export function publish(world: TagsWorld, state: TagsState, r: number): void {
  if (!world.setting.local) return
  for (const { own, places } of state.processes) if (own.stream === 'proven') places[r]!.messages++
}

/** What was there goes; a guard stays. */
export function invalidate(world: TagsWorld, state: TagsState, r: number): void {
  const { holds } = state.registers[r]!
  const isSilent = holds === 'absent' && !world.has('invalidation of an absent tag is broadcast')
  if (holds !== 'guard') clear(world, state, r)
  if (!isSilent) publish(world, state, r)
}

/** A new generation, which comes never again. */
export function drawGeneration(world: TagsWorld, state: TagsState): void {
  state.shared.generation = ++state.shared.drawn
  if (!world.setting.local) return
  for (const { own } of state.processes) if (own.stream === 'proven') own.generationMessage = true
}
