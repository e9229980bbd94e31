import { cutOff } from './processes.ts'
import { set } from './record.ts'
import { clear, partsOf, pass, passMerged, readersOf, releaseLater } from './register-changes.ts'
import type { Step } from './search.ts'
import { sharersOf } from './shared-tokens.ts'
import type { State, Writer } from './state.ts'
import type { World } from './world.ts'

/** What happens to the store and the database by itself: time, want of room, and faults. */
export function storeSteps(world: World, state: State, step: Step<State>): void {
  for (let key = 0; key < world.keys; key++) {
    leave(world, state, key, step)
    guardEnds(world, state, key, step)
  }
  const { restart, generationLost, commitLost, followsLate } = world.setting
  if (restart && state.shared.snapshot !== 'restored') snapshotSteps(world, state, step)
  if (generationLost && !state.shared.generationLost) {
    step(
      () => `generation ${state.shared.generation} is lost`,
      next => {
        next.shared.generationLost = true
        next.shared.generation = world.has('generation at random') ? ++next.shared.drawn : 0
        if (!world.has('generation at random')) next.shared.drawn = 0
      },
    )
  }
  if (followsLate && state.shared.takenOver === 'no') {
    step(
      () => 'a standby of the database takes over, and one process does not follow',
      next => {
        for (const key of next.keys) key.old = key.visible
        set(next.shared, { takenOver: 'not by all', extraordinary: true, forgot: true, identity: 'changed' })
      },
    )
  }
  if (state.shared.takenOver === 'not by all') {
    step(
      () => 'that process follows',
      next => {
        for (const key of next.keys) key.old = 0
        next.shared.takenOver = 'by all'
        if (world.has('distrust of what was followed')) next.shared.identity = 'changed'
      },
    )
  }
  if (commitLost && !state.shared.commitLost && state.keys[0]!.visible > 0 && !state.writers.some(isAtWork)) {
    step(
      () => `the database comes back without v${state.keys[0]!.visible}`,
      next => {
        loseCommit(world, next)
      },
    )
  }
}

/** Values and leases may go at any time, and values expire. */
function leave(world: World, state: State, key: number, step: Step<State>): void {
  const { register, expired } = state.keys[key]!
  if (register === 'absent' || register === 'guard' || register === 'later') return
  step(
    () => `the ${register}${world.of(key)} is evicted or outlived`,
    next => {
      clear(world, next, key)
    },
  )
  if (!world.setting.refresh || register !== 'value') return
  if (!expired) {
    step(
      () => `the value${world.of(key)} expires, and stays for a while`,
      next => {
        next.keys[key]!.expired = true
      },
    )
  }
  if (![...readersOf(world, state, key)].some(({ claim }) => claim === 'standing')) return
  step(
    () => `the claim${world.of(key)} passes`,
    next => {
      for (const reader of readersOf(world, next, key)) {
        if (reader.claim === 'standing') set(reader, { claim: 'passed', entitled: false })
      }
    },
  )
}

/** Whether a writer is alive and has keys guarded, or is about to. */
const isAtWork = ({ at }: Writer): boolean =>
  at === 'guard' || at === 'commit' || at === 'runs' || at === 'logged' || at === 'throws' || at === 'release'

function guardEnds(world: World, state: State, key: number, step: Step<State>): void {
  const later = state.foreign[0]
  if (state.keys[key]!.register === 'later' && later?.at === 'done') {
    step(
      () => 'the guard of the later version ends',
      next => {
        clear(world, next, key)
      },
    )
    if (world.setting.writeThrough)
      step(
        () =>
          `the writer of the later version releases, and writes v${later.version} through if it was alone`,
        next => {
          releaseLater(world, next, key, later.version)
        },
      )
  }
  if (state.keys[key]!.register !== 'guard') return
  const { timed, statementsEnd, guardLost, sleeping } = world.setting
  for (const [i, writer] of state.writers.entries()) {
    if (writer.parts[key]!.token !== 'live' || timed) continue
    const isHeld = sharersOf(state, i, key).some(
      sharer => isAtWork(sharer) || (statementsEnd === true && sharer.at === 'orphan'),
    )
    if (isHeld && !sleeping) continue
    step(
      () => `the deadline of writer ${world.named(i, world.writerProcesses[i]!)} passes${world.of(key)}`,
      next => {
        if (isHeld) next.shared.extraordinary = true
        pass(world, next, key, next.writers[i]!.parts[key]!)
      },
    )
  }
  const isMerged = (writer: Writer) =>
    writer.parts[key]!.token === 'merged' &&
    (isAtWork(writer) || (statementsEnd === true && writer.at === 'orphan'))
  if (state.keys[key]!.merged && !state.writers.some(isMerged)) {
    step(
      () => `the deadline passes${world.of(key)} of those who came when there were too many`,
      next => passMerged(world, next, key),
    )
  }
  if (!guardLost || !state.writers.some(writer => isAtWork(writer) && writer.parts[key]!.token !== 'none'))
    return
  step(
    () => `the store forgets the guard${world.of(key)}`,
    next => {
      next.shared.extraordinary = true
      for (const part of partsOf(next, key)) if (part.token !== 'none') part.gap = true
      clear(world, next, key)
    },
  )
}

function snapshotSteps(world: World, state: State, step: Step<State>): void {
  if (state.shared.snapshot === 'none') {
    step(
      () => 'the store takes a snapshot',
      next => {
        save(next)
      },
    )
  } else {
    step(
      () => 'the store restarts from its snapshot, or a copy takes over that lags',
      next => {
        restore(world, next)
      },
    )
  }
}

function save(next: State): void {
  next.shared.snapshot = 'saved'
  next.shared.savedGeneration = next.shared.generation
  for (const key of next.keys) {
    set(key, {
      savedRegister: key.register,
      savedVersion: key.version,
      savedGeneration: key.generation,
      savedExpired: key.expired,
      savedDirty: key.dirty,
    })
  }
  for (const reader of next.readers) {
    set(reader, { savedLease: reader.lease, savedSees: reader.sees, savedClaim: reader.claim })
  }
  for (const { parts } of next.writers) for (const part of parts) part.savedToken = part.token
}

function restore(world: World, next: State): void {
  const { shared } = next
  set(shared, { snapshot: 'restored', generation: shared.savedGeneration, savedGeneration: 0 })
  set(shared, { extraordinary: true, forgot: true })
  if (world.setting.feed && world.has('identity of the store')) shared.identity = 'changed'
  for (const key of next.keys) {
    set(key, {
      register: key.savedRegister,
      version: key.savedVersion,
      generation: key.savedGeneration,
      expired: key.savedExpired,
      dirty: key.savedDirty,
      savedRegister: 'absent',
      savedVersion: 0,
      savedGeneration: 0,
      savedExpired: false,
      savedDirty: false,
    })
  }
  for (const reader of next.readers) {
    set(reader, { lease: reader.savedLease, sees: reader.savedSees, claim: reader.savedClaim })
    set(reader, { savedLease: false, savedSees: false, savedClaim: 'none', entitled: false })
    if (reader.at === 'load' || reader.at === 'fill') reader.outlived = true
  }
  for (const { parts } of next.writers) {
    for (const part of parts) {
      if (part.token !== 'none' && part.savedToken === 'none') part.gap = true
      set(part, { token: part.savedToken, savedToken: 'none' })
    }
  }
  if (world.setting.local)
    for (let process = 0; process < world.processes; process++) cutOff(world, next, process)
}

/** The newest commit is gone, and with it its change. */
function loseCommit(world: World, next: State): void {
  const row = next.keys[0]!
  set(next.shared, { commitLost: true, extraordinary: true, forgot: true })
  for (const holder of [...next.writers.map(({ parts }) => parts[0]!), ...next.foreign])
    if (holder.version === row.visible) holder.change = 'none'
  row.visible--
  row.logged--
  if (world.setting.feed && world.has('identity of the database')) next.shared.identity = 'changed'
}
