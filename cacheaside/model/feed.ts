import { enqueue } from './processes.ts'
import { invalidate, invalidateAll } from './register-changes.ts'
import type { Step } from './search.ts'
import type { Foreign, Part, State } from './state.ts'
import type { World } from './world.ts'

/** Other programs, which commit and know nothing of a cache; and what somebody may then do through the library. */
export function foreignSteps(world: World, state: State, step: Step<State>): void {
  for (const [i, { at, version }] of state.foreign.entries()) {
    const key = i % world.keys
    const take = (name: string, change: (next: State, me: Foreign) => void) =>
      step(
        () => `another program ${name}${world.of(key)}`,
        next => {
          change(next, next.foreign[i]!)
        },
      )
    const isGuarding = world.setting.later === true && i === 0
    const then = world.setting.foreignThen === undefined || isGuarding ? 'done' : 'committed'
    if (at === 'start' && !world.setting.decoded) {
      take(`commits v${state.keys[key]!.logged + 1}`, (next, me) => {
        log(world, next, key, me)
        next.keys[key]!.visible = me.version
        me.at = then
      })
    } else if (at === 'start') {
      take(`writes v${state.keys[key]!.logged + 1} to the log, where nobody sees it yet`, (next, me) => {
        log(world, next, key, me)
        me.at = 'logged'
      })
    } else if (at === 'logged') {
      take(`commits v${version} for everybody to see`, (next, me) => {
        const register = next.keys[key]!
        register.visible = Math.max(register.visible, me.version)
        me.at = then
      })
    } else if (at === 'committed') tellCache(world, key, take)
  }
}

function log(world: World, state: State, key: number, me: Foreign): void {
  me.version = ++state.keys[key]!.logged
  state.shared.extraordinary = true
  if (world.setting.feed) me.change = 'waits'
}

/** Somebody in the first process invalidates what another program has changed. */
function tellCache(
  world: World,
  key: number,
  take: (name: string, change: (next: State, me: Foreign) => void) => void,
): void {
  const resolve = (next: State, me: Foreign) => {
    const register = next.keys[key]!
    register.resolved = Math.max(register.resolved, me.version)
    me.at = 'done'
  }
  if (world.setting.foreignThen === 'invalidateAll') {
    take('is followed by an invalidation of the keyspace', (next, me) => {
      invalidateAll(world, next)
      resolve(next, me)
    })
    return
  }
  take('is followed by an invalidation', (next, me) => {
    invalidate(world, next, key)
    resolve(next, me)
  })
  if (world.setting.releaseStuck) {
    take('is followed by an invalidation that is not confirmed', (next, me) => {
      enqueue(world, next, 0, key, 'waits')
      me.at = 'done'
    })
  }
}

/** Relays: any number of them, which take the changes in any order. */
export function relaySteps(world: World, state: State, step: Step<State>): void {
  if (!world.setting.feed) return
  for (const [i, writer] of state.writers.entries()) {
    const isVisible = writer.at !== 'logged' && writer.at !== 'logged orphan'
    for (const [key, part] of writer.parts.entries())
      changeSteps(world, key, part, isVisible, next => next.writers[i]!.parts[key]!, step)
  }
  for (const [i, foreign] of state.foreign.entries())
    changeSteps(world, i % world.keys, foreign, foreign.at !== 'logged', next => next.foreign[i]!, step)
  if (state.shared.identity !== 'same') identitySteps(world, state, step)
}

function changeSteps(
  world: World,
  key: number,
  { change, version }: Part | Foreign,
  isVisible: boolean,
  owner: (next: State) => Part | Foreign,
  step: Step<State>,
): void {
  const name = `the change to v${version}${world.of(key)}`
  const applyFirst = world.has('apply, then settle')
  const { relayDying } = world.setting
  if (change === 'waits' && applyFirst && (isVisible || !world.has('changes applied once visible'))) {
    step(
      () => `a relay applies ${name}`,
      next => {
        invalidate(world, next, key)
        owner(next).change = relayDying ? 'applied' : 'none'
      },
    )
  }
  if (change === 'waits' && !applyFirst) {
    step(
      () => `a relay settles ${name}`,
      next => {
        owner(next).change = 'settled first'
      },
    )
  }
  if (change === 'applied') {
    step(
      () => `a relay settles ${name}`,
      next => {
        owner(next).change = 'none'
      },
    )
    step(
      () => `a relay dies that had applied ${name}`,
      next => {
        owner(next).change = 'waits'
      },
    )
  }
  if (change === 'settled first') {
    step(
      () => `a relay applies ${name}`,
      next => {
        invalidate(world, next, key)
        owner(next).change = 'none'
      },
    )
    step(
      () => `a relay dies that had settled ${name}`,
      next => {
        owner(next).change = 'none'
      },
    )
  }
}

/** The store, or the database, is another one than remembered: first a new generation, then it is remembered. */
function identitySteps(world: World, state: State, step: Step<State>): void {
  const { identity } = state.shared
  const generationFirst = world.has('generation, then remember')
  const isFirst = identity === 'changed'
  if (generationFirst === isFirst) {
    step(
      () => 'a relay gives a new generation, because an identity has changed',
      next => {
        invalidateAll(world, next)
        next.shared.identity = isFirst ? 'between' : 'same'
      },
    )
  } else {
    step(
      () => 'a relay remembers the new identity',
      next => {
        next.shared.identity = isFirst ? 'between' : 'same'
      },
    )
  }
  // Once is enough, and every new generation would be a new state.
  if (!isFirst && world.setting.relayDying && !state.shared.relayDied) {
    step(
      () => 'that relay dies',
      next => {
        next.shared.relayDied = true
        next.shared.identity = generationFirst ? 'changed' : 'same'
      },
    )
  }
}
