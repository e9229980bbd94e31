import { isDue } from './passing-time.ts'
import { set } from './record.ts'
import { invalidate, release } from './register-changes.ts'
import type { Step } from './search.ts'
import { holderOf } from './shared-tokens.ts'
import type { State } from './state.ts'
import type { World } from './world.ts'

/** What a process does beside reading and writing: it hears messages, and works on its queue. */
export function processSteps(world: World, state: State, step: Step<State>): void {
  for (let process = 0; process < world.processes; process++) {
    if (world.setting.local) streamSteps(world, state, process, step)
    for (let key = 0; key < world.keys; key++) queueSteps(world, state, process, key, step)
  }
}

/** Removes a key from L1, and dooms its flights in this process. */
export function forget(world: World, state: State, process: number, key: number): void {
  if (world.has('own copies forgotten')) dropCopy(world, state, process, key)
}

function dropCopy(world: World, state: State, process: number, key: number): void {
  if (!world.setting.local) return
  world.copyOf(state, process, key).kept = 0
  doom(world, state, process, key)
}

function doom(world: World, state: State, process: number, key: number): void {
  if (!world.has('doom')) return
  for (const [i, place] of world.readerPlaces.entries()) {
    if (place.key !== key || place.process !== process) continue
    const reader = state.readers[i]!
    if (reader.at === 'start' || reader.at === 'done') continue
    if ((reader.at === 'fill' || reader.at === 'reply') && !world.has('doom until kept')) continue
    reader.doomed = true
  }
}

function streamSteps(world: World, state: State, process: number, step: Step<State>): void {
  const name = `process ${'AB'[process]}`
  for (let key = 0; key < world.keys; key++) {
    if (world.copyOf(state, process, key).messages === 0) continue
    step(
      () => `${name} hears an invalidation${world.of(key)}`,
      next => {
        world.copyOf(next, process, key).messages--
        dropCopy(world, next, process, key)
      },
    )
  }
  const { cut } = state.processes[process]!
  if (world.setting.messagesLost && !state.shared.messagesLost && !cut) {
    step(
      () => `${name} loses its stream`,
      next => {
        next.shared.messagesLost = true
        cutOff(world, next, process)
      },
    )
  }
  if (!cut) return
  step(
    () => `${name} notices, empties L1 and listens again`,
    next => {
      next.processes[process]!.cut = false
      for (let key = 0; key < world.keys; key++) {
        if (world.has('interruption empties')) world.copyOf(next, process, key).kept = 0
        if (world.has('interruption dooms')) doom(world, next, process, key)
      }
    },
  )
}

/** What was on its way to a process is lost, and what is sent from now on. */
export function cutOff(world: World, state: State, process: number): void {
  state.processes[process]!.cut = true
  for (let key = 0; key < world.keys; key++) world.copyOf(state, process, key).messages = 0
}

/** Takes over what was not confirmed; `later`: not before a commit in doubt can no longer happen. */
export function enqueue(
  world: World,
  state: State,
  process: number,
  key: number,
  when: 'waits' | 'later',
): void {
  const copy = world.copyOf(state, process, key)
  if (copy.queue === 'tried' || copy.queue === 'tried for the last time') copy.added = true
  else if (copy.queue === 'none' || when === 'waits') copy.queue = when
}

function queueSteps(world: World, state: State, process: number, key: number, step: Step<State>): void {
  const { queue } = world.copyOf(state, process, key)
  if (queue === 'none') return
  const name = `the queue of process ${'AB'[process]}`
  const waiting = state.writers.filter(
    (writer, i) => world.writerProcesses[i] === process && writer.parts[key]!.queued,
  )
  const isLast = waiting.every(writer => isDue(world, writer))
  if (queue === 'waits' || (queue === 'later' && isLast)) {
    step(
      () => `${name} ${isLast && waiting.length > 0 ? 'releases' : 'invalidates'}${world.of(key)}`,
      next => {
        attempt(world, next, process, key, isLast)
      },
    )
  } else if (queue !== 'later') {
    step(
      () => `${name} hears that it is done${world.of(key)}`,
      next => {
        settle(world, next, process, key)
      },
    )
    // With an L1 once is enough: every attempt is one more message.
    const { local = false } = world.setting
    if (!world.copyOf(state, process, key).unheard) {
      step(
        () => `${name} does not hear that it is done${world.of(key)}`,
        next => {
          set(world.copyOf(next, process, key), { queue: 'waits', added: false, unheard: local })
        },
      )
    }
  }
  if (world.setting.queueLost) {
    step(
      () => `process ${'AB'[process]} dies with its queue`,
      next => {
        set(world.copyOf(next, process, key), { queue: 'none', added: false, own: 0 })
        for (const part of queuedParts(world, next, process, key)) part.queued = false
      },
    )
  }
}

const queuedParts = (world: World, state: State, process: number, key: number) =>
  state.writers
    .filter((_, i) => world.writerProcesses[i] === process)
    .map(writer => writer.parts[key]!)
    .filter(({ queued }) => queued)

function attempt(world: World, state: State, process: number, key: number, isLast: boolean): void {
  const parts = queuedParts(world, state, process, key)
  const register = state.keys[key]!
  if (isLast && parts.length > 0) {
    for (const part of parts) {
      if (part.sharesWith > 0 && !part.releaseQueued) invalidate(world, state, key)
      else release(world, state, key, holderOf(state, key, part))
      register.resolved = Math.max(register.resolved, part.version)
    }
  } else invalidate(world, state, key)
  world.copyOf(state, process, key).queue = isLast ? 'tried for the last time' : 'tried'
}

/** What was applied leaves the queue, unless something was added after it was sent. */
function settle(world: World, state: State, process: number, key: number): void {
  const copy = world.copyOf(state, process, key)
  const isAdded = copy.added && world.has('queue counts additions')
  const isDone = copy.queue === 'tried for the last time' && !isAdded
  copy.queue = isAdded ? 'waits' : isDone ? 'none' : 'later'
  copy.added = false
  if (!isDone) return
  for (const part of queuedParts(world, state, process, key)) part.queued = false
  for (const writer of state.writers) writer.inDoubt &&= writer.parts.some(({ queued }) => queued)
}
