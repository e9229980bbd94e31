import { set } from './record.ts'
import type { Step } from './search.ts'
import { clear, drawGeneration, endJoining, forget, forgetAll } from './tags-registers.ts'
import type { Process, TagsState } from './tags-state.ts'
import type { TagsWorld } from './tags-world.ts'

/** What processes hear, and what happens to the store by itself. */
export function tagProcessSteps(world: TagsWorld, state: TagsState, step: Step<TagsState>): void {
  for (let process = 0; process < state.processes.length; process++)
    if (world.setting.local) streamSteps(world, state, process, step)
  for (let r = 0; r < world.rows; r++) lossSteps(world, state, r, step)
  for (const [i, { own, parts }] of state.writers.entries()) {
    if (own.at !== 'dead') continue
    for (const [r, { token }] of parts.entries()) {
      if (token === 'none') continue
      step(
        () => `the guard of ${world.letter(r)} by writer ${i + 1} passes`,
        next => endGuard(world, next, i, r),
      )
    }
  }
  if (world.setting.restart || world.setting.demoted) snapshotSteps(world, state, step)
}

function endGuard(world: TagsWorld, next: TagsState, writer: number, r: number): void {
  next.writers[writer]!.parts[r]!.token = 'none'
  const isLeft = next.writers.some(({ parts }) => parts[r]!.token === 'live')
  if (next.registers[r]!.holds === 'guard' && !isLeft) clear(world, next, r)
}

function streamSteps(world: TagsWorld, state: TagsState, process: number, step: Step<TagsState>): void {
  const name = `process ${'AB'[process]}`
  const { own, places } = state.processes[process]!
  for (const [r, { messages }] of places.entries()) {
    if (messages === 0) continue
    step(
      () => `${name} hears a message about ${world.letter(r)}`,
      next => hear(world, next, process, r),
    )
  }
  if (own.generationMessage) {
    step(
      () => `${name} hears of a new generation`,
      next => hearGeneration(world, next, process),
    )
  }
  const { messagesLost } = world.setting
  if (messagesLost && process === 0 && own.stream === 'proven' && !state.shared.messagesLost) {
    step(
      () => `${name} loses messages`,
      next => {
        next.shared.messagesLost = true
        loseMessages(next.processes[process]!)
      },
    )
  } else if (own.stream !== 'proven') {
    const isLost = own.stream === 'lost'
    step(
      () => `${name} ${isLost ? 'notices that messages are missing' : 'hears its heartbeats again'}`,
      next => {
        next.processes[process]!.own.stream = isLost ? 'unproven' : 'proven'
        if (isLost) forgetAll(world, next, process, 'all')
        else caughtUp(next, process)
      },
    )
  }
}

function loseMessages({ own, places }: Process): void {
  set(own, { stream: 'lost', generationMessage: false })
  for (const place of places) place.messages = 0
}

/** What was applied before the process listened again counts as heard. */
function caughtUp(next: TagsState, process: number): void {
  const { own, places } = next.processes[process]!
  own.copy = next.shared.generation
  for (const [r, place] of places.entries()) place.heard = next.registers[r]!.applied
}

function hear(world: TagsWorld, next: TagsState, process: number, r: number): void {
  const place = next.processes[process]!.places[r]!
  place.messages--
  if (place.messages === 0) place.heard = next.registers[r]!.applied
  const isTag = r >= world.keys
  forget(
    world,
    next,
    process,
    r,
    !isTag || world.has('tag messages empty'),
    !isTag || world.has('tag messages doom'),
  )
  if (isTag) heardAtOnce(world, next, process)
}

/** In one process with the store, what is heard of a tag ends joining as an own write does. */
function heardAtOnce(world: TagsWorld, next: TagsState, process: number): void {
  if (world.setting.hearsAtOnce && world.has('messages about tags end joining'))
    endJoining(world, next, process)
}

function hearGeneration(world: TagsWorld, next: TagsState, process: number): void {
  const { own, places } = next.processes[process]!
  set(own, { generationMessage: false, copy: next.shared.generation })
  for (const [r, place] of places.entries())
    if (place.messages === 0) place.heard = next.registers[r]!.applied
  const { generations } = world.setting
  forgetAll(
    world,
    next,
    process,
    generations === 'own' ? 'all' : 'tagged',
    world.has('generation of tags empties'),
    world.has('generation of tags dooms'),
  )
  if (generations === 'tags') heardAtOnce(world, next, process)
}

function lossSteps(world: TagsWorld, state: TagsState, r: number, step: Step<TagsState>): void {
  const { holds, lateToken } = state.registers[r]!
  const { evictions, stampsLost, guardLost, refresh } = world.setting
  const letter = world.letter(r)
  const mayGo =
    ((holds === 'value' || holds === 'lease') && evictions) ||
    (holds === 'stamp' && stampsLost && r >= world.keys)
  if (mayGo) {
    step(
      () => `the ${holds} of ${letter} is evicted or outlived`,
      next => {
        clear(world, next, r)
        next.registers[r]!.counted = 0
      },
    )
  }
  if (holds === 'value' && refresh && state.values[r]!.own[1] === 0) {
    step(
      () => `the value of ${letter} expires, and stays for a while`,
      next => {
        next.values[r]!.own[1] = 1
      },
    )
  }
  if (holds === 'guard' && guardLost && r >= world.keys) {
    step(
      () => `the store forgets the guard of ${letter}`,
      next => {
        next.shared.extraordinary = true
        clear(world, next, r)
        for (const { parts } of next.writers) parts[r]!.token = 'none'
      },
    )
  }
  if (lateToken === 0) return
  step(
    () => `the creation of a stamp of ${letter} arrives a second time`,
    next => {
      const register = next.registers[r]!
      if (register.holds === 'absent') set(register, { holds: 'stamp', token: register.lateToken })
      register.lateToken = 0
    },
  )
}

/** The server of the first tag restarts with what it had, or another takes over and the old one has what it had. */
function snapshotSteps(world: TagsWorld, state: TagsState, step: Step<TagsState>): void {
  const r = world.keys
  const { holds } = state.registers[r]!
  const letter = world.letter(r)
  if (state.shared.snapshot === 'none' && holds !== 'guard') {
    step(
      () =>
        world.setting.demoted
          ? `the server of ${letter} is demoted`
          : `the server of ${letter} takes a snapshot`,
      next => {
        const register = next.registers[r]!
        next.shared.snapshot = 'saved'
        register.saved = holds === 'stamp' ? 'stamp' : 'absent'
        register.savedToken = register.token
      },
    )
  }
  if (state.shared.snapshot === 'saved' && world.setting.restart) {
    step(
      () => `the server of ${letter} restarts from its snapshot`,
      next => restore(world, next, r),
    )
  }
  if (!state.shared.identityChanged) return
  step(
    () => 'a relay sees that the server has restarted, and draws a new generation of the tags',
    next => {
      next.shared.identityChanged = false
      drawGeneration(world, next)
    },
  )
}

function restore(world: TagsWorld, next: TagsState, r: number): void {
  const register = next.registers[r]!
  clear(world, next, r)
  if (register.saved === 'stamp') set(register, { holds: 'stamp', token: register.savedToken })
  set(register, { saved: 'none', savedToken: 0 })
  const { shared } = next
  set(shared, { snapshot: 'restored', extraordinary: true, forgot: true })
  shared.identityChanged = world.has('new generations of tags after a restart')
  for (const { parts } of next.writers) parts[r]!.token = 'none'
  if (world.setting.local) next.processes.forEach(loseMessages)
}
