import assert from 'node:assert/strict'
import type { SharedRegisters } from '../../shared/shared-store.ts'
import { inWords, KEY, LONG_MS, type Scene, type Stage, spell, token } from './stage.ts'

const UNREADABLE = 'Quite likely not a register'
/** A text that a later version of the library may write: it begins as a register does, and this version cannot read it. */
const LATER_VALUE = 'Very likely a value of a later version'
const LATER_LEASE = 'L~ a lease of a later version'
const LATER_STAMP = 'S~ a stamp of a later version'
const LATER_GUARD = 'W20 a guard of a later version'
const ANNA = token('Anna')
const NEWCOMER = token('newcomer')
const READER = token('reader')
const CLAIMER = token('claimer')
const STAMP = token('stamp')

/** Every state a register can be in, and how it comes to be there. */
const STATES = {
  'an absent register': async () => {},
  'a value': async scene => {
    await scene.filled()
  },
  'a value being refreshed': async scene => {
    const { nonce } = await scene.filled()
    assert.equal(await scene.store.claim(KEY, nonce, CLAIMER, LONG_MS), true)
  },
  'a lease': async scene => {
    assert.equal(await scene.store.lease(KEY, READER, LONG_MS), null)
  },
  'a stamp': async scene => {
    assert.deepEqual(await scene.store.stampMany([{ key: KEY, token: STAMP }], LONG_MS), [null])
  },
  'a clean guard': async scene => {
    assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, false), 'new')
  },
  'a dirty guard': async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    assert.equal(await scene.store.guard(KEY, token('Bert'), LONG_MS, false), 'new')
  },
  'something unreadable': scene => scene.plant(KEY, UNREADABLE),
  'a value of a later version': scene => scene.plant(KEY, LATER_VALUE),
  'a lease of a later version': scene => scene.plant(KEY, LATER_LEASE),
  'a stamp of a later version': scene => scene.plant(KEY, LATER_STAMP),
  'a guard of a later version': scene => scene.plant(KEY, LATER_GUARD),
} satisfies Record<string, (scene: Scene) => Promise<void>>

type StateName = keyof typeof STATES

/** What an operation answers, and what it leaves, {@link inWords}. */
type Outcome = readonly [reply: unknown, after: string]

interface Operation {
  readonly name: string
  /**
   * @param nonce - that of the value, if there is one.
   * @param raw - what the register holds.
   */
  run(store: SharedRegisters, nonce: string, raw: string | undefined): Promise<unknown>
  /** The outcomes on the states for which the operation is made. */
  readonly on: Partial<Record<StateName, Outcome>>
  /** The outcome on all other states. `untouched` makes the reply of an operation that leaves the register as it is. */
  readonly otherwise: Outcome | { readonly untouched: (raw: string | undefined) => unknown }
  /** What the stream says. Left out: nothing. */
  readonly broadcasts?: readonly string[]
}

const refused = { untouched: () => false }
const nothing = { untouched: () => undefined }
const INVALIDATED = [`invalidated ${KEY}`]
const firestorm = spell('{"name":"Firestorm"}')
/** A guard of a later version stays after every operation of a writer, and is dirty. */
const leftDirty = (reply: unknown): Partial<Record<StateName, Outcome>> => ({
  'a guard of a later version': [reply, 'a dirty guard of a later version'],
})

const BY_READERS: readonly Operation[] = [
  {
    name: 'generation',
    run: store => store.generation('spell', token('first')),
    on: {},
    otherwise: { untouched: () => token('first') },
  },
  {
    name: 'lease',
    run: store => store.lease(KEY, NEWCOMER, LONG_MS),
    on: { 'an absent register': [null, 'a lease of newcomer'] },
    otherwise: { untouched: raw => raw },
  },
  {
    name: 'leaseMany',
    run: store => store.leaseMany([{ key: KEY, token: NEWCOMER }], LONG_MS),
    on: { 'an absent register': [[null], 'a lease of newcomer'] },
    otherwise: { untouched: raw => [raw] },
  },
  {
    name: 'stampMany',
    run: store => store.stampMany([{ key: KEY, token: NEWCOMER }], LONG_MS),
    on: { 'an absent register': [[null], 'a stamp of newcomer'] },
    otherwise: { untouched: raw => [raw] },
  },
  {
    name: "fill by the lease's token",
    run: store => store.fill(KEY, `L${READER}`, firestorm),
    on: { 'a lease': [true, 'a value'] },
    otherwise: refused,
  },
  {
    name: "fill by another's token",
    run: store => store.fill(KEY, `L${NEWCOMER}`, firestorm),
    on: {},
    otherwise: refused,
  },
  {
    name: 'fill by the token of the claim',
    run: (store, nonce) => store.fill(KEY, `V${nonce}${CLAIMER}`, firestorm),
    on: { 'a value being refreshed': [true, 'a value'] },
    otherwise: refused,
  },
  {
    name: 'swap of the value',
    run: (store, nonce) => store.swap(KEY, { prefix: `V${nonce}` }, NEWCOMER, LONG_MS),
    on: {
      'a value': [true, 'a lease of newcomer'],
      'a value being refreshed': [true, 'a lease of newcomer'],
    },
    otherwise: refused,
  },
  {
    name: 'swap of exactly what is unreadable',
    run: store => store.swap(KEY, { exactly: UNREADABLE }, NEWCOMER, LONG_MS),
    on: { 'something unreadable': [true, 'a lease of newcomer'] },
    otherwise: refused,
  },
  {
    name: 'swap of less than exactly what is there',
    run: store => store.swap(KEY, { exactly: UNREADABLE.slice(0, -1) }, NEWCOMER, LONG_MS),
    on: {},
    otherwise: refused,
  },
  {
    name: 'swap of exactly what is there',
    run: (store, _nonce, raw) => store.swap(KEY, { exactly: raw ?? '' }, NEWCOMER, LONG_MS),
    on: {
      'a lease': [true, 'a lease of newcomer'],
      'a stamp': [true, 'a lease of newcomer'],
      'something unreadable': [true, 'a lease of newcomer'],
    },
    otherwise: refused,
  },
  {
    name: 'drop of exactly what is there',
    run: (store, _nonce, raw) => store.drop(KEY, { exactly: raw ?? '' }),
    on: {
      'a lease': [true, 'absent'],
      'a stamp': [true, 'absent'],
      'something unreadable': [true, 'absent'],
    },
    otherwise: refused,
  },
  {
    name: 'drop of the lease',
    run: store => store.drop(KEY, { exactly: `L${READER}` }),
    on: { 'a lease': [true, 'absent'] },
    otherwise: refused,
  },
  {
    name: 'swap of the stamp',
    run: store => store.swap(KEY, { prefix: `S${STAMP}` }, NEWCOMER, LONG_MS),
    on: { 'a stamp': [true, 'a lease of newcomer'] },
    otherwise: refused,
  },
  {
    name: 'drop of the stamp',
    run: store => store.drop(KEY, { prefix: `S${STAMP}` }),
    on: { 'a stamp': [true, 'absent'] },
    otherwise: refused,
  },
  {
    name: "renewStamp by the stamp's token",
    run: store => store.renewStamp(KEY, STAMP, LONG_MS),
    on: { 'a stamp': [true, 'a stamp of stamp'] },
    otherwise: refused,
  },
  {
    name: "renewStamp by another's token",
    run: store => store.renewStamp(KEY, NEWCOMER, LONG_MS),
    on: {},
    otherwise: refused,
  },
  {
    name: 'drop of the value',
    run: (store, nonce) => store.drop(KEY, { prefix: `V${nonce}` }),
    on: { 'a value': [true, 'absent'], 'a value being refreshed': [true, 'absent'] },
    otherwise: refused,
  },
  {
    name: 'claim',
    run: (store, nonce) => store.claim(KEY, nonce, NEWCOMER, LONG_MS),
    on: { 'a value': [true, 'a value claimed by newcomer'] },
    otherwise: refused,
  },
  {
    name: 'claim of nothing, by who has the claim,',
    run: (store, nonce) => store.claim(KEY, nonce, CLAIMER, 0),
    on: { 'a value being refreshed': [true, 'a value'] },
    otherwise: refused,
  },
  {
    name: 'claim of nothing, by somebody else,',
    run: (store, nonce) => store.claim(KEY, nonce, NEWCOMER, 0),
    on: {},
    otherwise: refused,
  },
]

const BY_WRITERS: readonly Operation[] = [
  {
    name: 'guard by a newcomer',
    run: store => store.guard(KEY, NEWCOMER, LONG_MS, false),
    on: {
      'a clean guard': ['new', 'a dirty guard of Anna, newcomer'],
      'a dirty guard': ['new', 'a dirty guard of Anna, Bert, newcomer'],
      ...leftDirty('barred'),
    },
    otherwise: ['new', 'a clean guard of newcomer'],
    broadcasts: INVALIDATED,
  },
  {
    name: 'guard renewed by Anna',
    run: store => store.guard(KEY, ANNA, LONG_MS, true),
    on: {
      'a clean guard': ['renewed', 'a clean guard of Anna'],
      'a dirty guard': ['renewed', 'a dirty guard of Anna, Bert'],
      ...leftDirty('barred'),
    },
    otherwise: ['rejoined', 'a dirty guard of Anna'],
    broadcasts: INVALIDATED,
  },
  {
    name: 'guard renewed by somebody who is not in it',
    run: store => store.guard(KEY, NEWCOMER, LONG_MS, true),
    on: {
      'a clean guard': ['rejoined', 'a dirty guard of Anna, newcomer'],
      'a dirty guard': ['rejoined', 'a dirty guard of Anna, Bert, newcomer'],
      ...leftDirty('barred'),
    },
    otherwise: ['rejoined', 'a dirty guard of newcomer'],
    broadcasts: INVALIDATED,
  },
  {
    name: 'release by Anna',
    run: store => store.release(KEY, ANNA),
    on: {
      'a clean guard': [{ held: true, stored: false }, 'absent'],
      ...leftDirty({ held: false, stored: false }),
      'a dirty guard': [{ held: true, stored: false }, 'a dirty guard of Bert'],
    },
    otherwise: [{ held: false, stored: false }, 'absent'],
    broadcasts: INVALIDATED,
  },
  {
    name: 'release with a value by Anna',
    run: store => store.release(KEY, ANNA, firestorm),
    on: {
      'a clean guard': [{ held: true, stored: true }, 'a value'],
      ...leftDirty({ held: false, stored: false }),
      'a dirty guard': [{ held: true, stored: false }, 'a dirty guard of Bert'],
    },
    otherwise: [{ held: false, stored: false }, 'absent'],
    broadcasts: INVALIDATED,
  },
  {
    name: 'release with a value by somebody who is not in it',
    run: store => store.release(KEY, NEWCOMER, firestorm),
    on: {
      'a clean guard': [{ held: false, stored: false }, 'a dirty guard of Anna'],
      ...leftDirty({ held: false, stored: false }),
      'a dirty guard': [{ held: false, stored: false }, 'a dirty guard of Anna, Bert'],
    },
    otherwise: [{ held: false, stored: false }, 'absent'],
    broadcasts: INVALIDATED,
  },
  {
    name: 'invalidate',
    run: store => store.invalidate(KEY),
    on: {
      'a clean guard': [undefined, 'a dirty guard of Anna'],
      ...leftDirty(undefined),
      'a dirty guard': [undefined, 'a dirty guard of Anna, Bert'],
    },
    otherwise: [undefined, 'absent'],
    broadcasts: INVALIDATED,
  },
  {
    name: 'invalidateKeyspace',
    run: store => store.invalidateKeyspace('spell', token('second')),
    on: {},
    otherwise: nothing,
    broadcasts: ['keyspace spell'],
  },
]

/** Every operation on every state: what it answers, what it leaves and, where there is a stream, what it broadcasts. */
export function transitionContract(on: Stage): void {
  for (const operation of [...BY_READERS, ...BY_WRITERS]) {
    for (const state of Object.keys(STATES) as StateName[]) {
      on(`${operation.name} on ${state} ${promise(operation, state)}`, scene => play(scene, operation, state))
    }
  }
}

function promise(operation: Operation, state: StateName): string {
  const outcome = operation.on[state] ?? operation.otherwise
  return 'untouched' in outcome ? 'leaves it as it is' : `leaves ${outcome[1]}`
}

async function play(scene: Scene, operation: Operation, state: StateName): Promise<void> {
  await STATES[state](scene)
  const before = await scene.raw(KEY)
  const register = await scene.register()
  const nonce = register?.state === 'value' ? register.nonce : token('no value')
  const assertBroadcasts = await scene.broadcasts()

  const reply = await operation.run(scene.store, nonce, before)

  const after = await scene.raw(KEY)
  const outcome = operation.on[state] ?? operation.otherwise
  if ('untouched' in outcome) {
    assert.deepEqual(reply, outcome.untouched(before))
    assert.equal(after, before)
  } else {
    assert.deepEqual(reply, outcome[0])
    assert.equal(inWords(after), outcome[1])
  }
  await assertBroadcasts(operation.broadcasts ?? [])
}
