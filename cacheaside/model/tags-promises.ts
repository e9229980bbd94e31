import type { TagsState } from './tags-state.ts'
import type { TagsWorld } from './tags-world.ts'

/**
 * What is checked of tags. Everything is compared row by row: a value that shows an older version of a row than it may
 * is stale, whichever tag that came through.
 */

/** What a read that begins now must not be older than. */
export function floorOf(world: TagsWorld, state: TagsState, process: number, strong: boolean): number[] {
  if (!world.isPromised(process)) return new Array<number>(world.rows).fill(0)
  const { places } = state.processes[process]!
  return state.registers.map(({ applied, seen }, r) => {
    const { heard, own } = places[r]!
    if (!strong && world.setting.local) return Math.max(heard, own)
    const isSeenBinding = strong && (!state.shared.extraordinary || world.setting.strict === true)
    return Math.max(applied, own, isSeenBinding ? seen : 0)
  })
}

/** Somebody is answered. */
export function answer(
  world: TagsWorld,
  state: TagsState,
  content: readonly number[],
  floor: readonly number[],
): void {
  const r = staleRow(content, floor)
  content.forEach((shown, row) => {
    state.registers[row]!.seen = Math.max(state.registers[row]!.seen, shown - 1)
  })
  if (r < 0 || isExcused(world, state)) return
  state.broken = `stale: a reader is answered v${content[r]! - 1} of ${world.letter(r)}, and v${floor[r]} was known before it began`
}

const isExcused = (world: TagsWorld, { shared }: TagsState): boolean => shared.forgot && !world.setting.strict

/** The first row of which an older version is shown; -1 if there is none. */
const staleRow = (content: readonly number[], floor: readonly number[]): number =>
  content.findIndex((shown, r) => shown > 0 && shown - 1 < floor[r]!)

/** Whether a strong read would find the value of a key at this very moment. */
export function isFound(world: TagsWorld, state: TagsState, key: number): boolean {
  if (state.registers[key]!.holds !== 'value') return false
  const { own, names } = state.values[key]!
  const { generations } = world.setting
  if (generations === 'own' && own[0] !== state.shared.generation) return false
  const asked = world.asked(0, key)
  return names.every(({ named, token, generation }, tag) => {
    if (!named) return !asked[tag] || !world.has('values lacking names are replaced')
    if (tag > 0 && !world.has('every tag judged')) return true
    const register = state.registers[world.keys + tag]!
    const isCurrent = generations !== 'tags' || generation === state.shared.generation
    return register.holds === 'stamp' && register.token === token && isCurrent
  })
}

/** Whether a process asks the origin, because something of a key is queued. */
export function isQueued(
  world: TagsWorld,
  state: TagsState,
  process: number,
  key: number,
  names: readonly boolean[],
): boolean {
  const { places } = state.processes[process]!
  if (places[key]!.queue !== 'none') return true
  if (!world.has('queue asks for names')) return false
  return names.some((isNamed, tag) => isNamed && places[world.keys + tag]!.queue !== 'none')
}

/** What is wrong with a state. */
export function breachIn(world: TagsWorld, state: TagsState): string | undefined {
  return staleStore(world, state) ?? staleProcess(world, state) ?? wasted(world, state)
}

function staleStore(world: TagsWorld, state: TagsState): string | undefined {
  const rest = isAtRest(world, state)
  if (isExcused(world, state) && !rest) return undefined
  const isSeenBinding = !state.shared.extraordinary || world.setting.strict === true
  const floor = state.registers.map(({ version, applied, seen }) =>
    rest ? version : Math.max(applied, isSeenBinding ? seen : 0),
  )
  for (let key = 0; key < world.keys; key++) {
    if (!isFound(world, state, key)) continue
    const { content } = state.values[key]!
    const r = staleRow(content, floor)
    if (r >= 0)
      return `${rest ? 'at rest' : 'stale'}: the store's value shows v${content[r]! - 1} of ${world.letter(r)}, not v${floor[r]}`
  }
  return undefined
}

function staleProcess(world: TagsWorld, state: TagsState): string | undefined {
  const rest = isAtRest(world, state)
  if (isExcused(world, state) && !rest) return undefined
  for (let process = 0; process < state.processes.length; process++) {
    const { own, entries } = state.processes[process]!
    if (own.stream === 'unproven' || !world.isPromised(process)) continue
    const floor = rest ? state.registers.map(({ version }) => version) : floorOf(world, state, process, false)
    for (const [key, { own: entry, content, names }] of entries.entries()) {
      const listed = names.map(name => name.listed && world.has('queue asks for late names'))
      if (!entry.kept || isQueued(world, state, process, key, listed)) continue
      const r = staleRow(content, floor)
      if (r >= 0)
        return `${rest ? 'at rest' : 'stale'}: L1 of process ${'AB'[process]} shows v${content[r]! - 1} of ${world.letter(r)}, not v${floor[r]}`
    }
  }
  return undefined
}

/** Leases that nobody fills, and loads without end. */
function wasted(world: TagsWorld, state: TagsState): string | undefined {
  if (state.readers.some(({ own }) => own.at === 'idle' && (own.lease || own.claim)))
    return 'wasted: a lease stands that nobody will fill'
  const { mostLoads } = world.setting
  if (mostLoads !== undefined && state.shared.loads > mostLoads)
    return `wasted: ${state.shared.loads} loads, and at most ${mostLoads} were needed`
  return undefined
}

/** Nothing is under way, and nobody has anything left to do. */
function isAtRest(world: TagsWorld, state: TagsState): boolean {
  return (
    !state.shared.identityChanged &&
    state.readers.every(({ own }) => own.at === 'idle') &&
    state.snapshots.every(({ own }) => own.at === 'idle' || own.at === 'done') &&
    state.writers.every(
      ({ own, parts }) => own.at !== 'start' && parts.every(({ token }) => token === 'none'),
    ) &&
    state.writers.every(({ own }) => own.at === 'done' || own.at === 'dead') &&
    state.registers.every(({ lateToken }) => lateToken === 0) &&
    state.processes.every(
      ({ own, places }) =>
        own.stream !== 'lost' &&
        !own.generationMessage &&
        places.every(({ messages, queue }) => messages === 0 && queue === 'none'),
    ) &&
    world.writers.length > 0
  )
}

/**
 * A snapshot reader is answered: there must have been one moment at which the origin was what both values show. That
 * is promised of writes whose guards were there.
 */
export function answerSnapshot(world: TagsWorld, state: TagsState, which: number): void {
  const { keys, floor } = state.snapshots[which]!
  for (const { content } of keys) {
    const r = staleRow(content, floor)
    if (r >= 0 && !isExcused(world, state))
      state.broken = `stale: a snapshot shows v${content[r]! - 1} of ${world.letter(r)}, and v${floor[r]} was known before`
  }
  if (state.shared.extraordinary && !world.setting.strict) return
  const rows = new Array<number>(world.rows).fill(0)
  const isMet = () =>
    keys.every(({ content }) => content.every((shown, r) => shown === 0 || shown - 1 === rows[r]))
  let isWhole = isMet()
  for (const writer of committed(state)) {
    for (const r of changedRows(world, writer)) rows[r]!++
    isWhole ||= isMet()
  }
  if (!isWhole) state.broken = 'torn: a snapshot shows what never was at one moment'
}

/** The writers that have committed, in that order. */
function committed({ shared }: TagsState): number[] {
  const writers: number[] = []
  for (let order = shared.order; order > 0; order >>= 2) writers.unshift((order & 3) - 1)
  return writers
}

/** The rows that a writer changes. */
export function changedRows(world: TagsWorld, writer: number): number[] {
  const { names, rows } = world.writers[writer]!
  return (rows ?? names).map(letter => world.register(letter))
}
