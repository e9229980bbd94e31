/**
 * The contract of a shared store as suites of tests: one for each part (registers, stream, identity), for anyone who
 * writes only that part, and one for the whole store.
 */
import { claimContract } from './contract/claims.ts'
import { generationContract } from './contract/generations.ts'
import { guardContract } from './contract/guards.ts'
import { identityContract, lossContract } from './contract/identity.ts'
import { leaseContract } from './contract/leases.ts'
import {
  type ContractRunner,
  Scene,
  type SharedIdentityHarness,
  type SharedRegistersHarness,
  type SharedStoreHarness,
  type SharedStreamHarness,
  type Stage,
  StreamScene,
  stage,
  storeScene,
} from './contract/stage.ts'
import { stampContract } from './contract/stamps.ts'
import { streamContract } from './contract/stream.ts'
import { tagContract } from './contract/tags.ts'
import { textContract } from './contract/texts.ts'
import { transitionContract } from './contract/transitions.ts'
import { viewContract } from './contract/views.ts'
import { wholeContract } from './contract/whole.ts'
import { writeThroughContract } from './contract/write-through.ts'

export type {
  ContractRunner,
  OpenedIdentity,
  OpenedRegisters,
  OpenedStore,
  OpenedStream,
  SharedIdentityHarness,
  SharedRegistersHarness,
  SharedStoreHarness,
  SharedStreamHarness,
} from './contract/stage.ts'

/**
 * What every shared store must do, as a suite of tests: each sentence of the `SharedStore` contract, and every operation on
 * every state of a register. It runs the suites of all parts, and that of their interplay.
 *
 * It uses nothing but `describe` and `it` of the runner it is given (Vitest, `node:test`, Jest …) and
 * `node:assert/strict`. Lives in it last 20–600 ms or far longer than the suite, so that it also runs against a
 * store on its own clock, where `advance` really waits.
 *
 * @example
 * ```ts
 * import { describe, it } from 'vitest'
 *
 * sharedStoreContract({ describe, it }, {
 * async open() {
 * const clock = new SimulatedClock()
 * const { store, plant } = plantableShared({ clock })
 * return {
 * store,
 * advance: ms => clock.advance(ms),
 * raw: async key => store.inspect(key),
 * plant: async (key, text, lifeMs) => plant(key, text, lifeMs),
 * close: () => store.close(),
 * }
 * },
 * })
 * ```
 */
export function sharedStoreContract(runner: ContractRunner, harness: SharedStoreHarness): void {
  const on = stage(runner, () => harness.open(), storeScene)
  const onRegisters: Stage = (name, play) => on(name, ({ registers }) => play(registers))
  registerSuites(runner, onRegisters, harness.hasView)
  runner.describe('the broadcast stream', () =>
    streamContract((name, play) => on(name, ({ stream }) => play(stream))),
  )
  runner.describe('the identity', () =>
    identityContract((name, play) => on(name, ({ store }) => play({ identity: store }))),
  )
  runner.describe('registers, stream and identity together', () => wholeContract(on))
}

/**
 * What every store's registers must do, for `SharedRegisters` without a stream: the part of {@link sharedStoreContract} that
 * needs none. Broadcasts are not checked.
 */
export function sharedRegistersContract(runner: ContractRunner, harness: SharedRegistersHarness): void {
  const on = stage(
    runner,
    () => harness.open(),
    opened => new Scene(opened),
  )
  registerSuites(runner, on, harness.hasView)
}

/** What every store's stream must do, for `SharedStream` without registers: who hears what, and when. */
export function sharedStreamContract(runner: ContractRunner, harness: SharedStreamHarness): void {
  const on = stage(
    runner,
    () => harness.open(),
    opened => new StreamScene(opened),
  )
  runner.describe('the broadcast stream', () => streamContract(on))
}

/** What every store's identity must do, for `SharedIdentity` alone; also that it changes when registers are lost. */
export function sharedIdentityContract(runner: ContractRunner, harness: SharedIdentityHarness): void {
  const on = stage(
    runner,
    () => harness.open(),
    opened => opened,
  )
  runner.describe('the identity', () => {
    identityContract(on)
    lossContract(on)
  })
}

function registerSuites(runner: ContractRunner, on: Stage, hasView = true): void {
  runner.describe('every operation on every state', () => transitionContract(on))
  runner.describe('leases and values', () => leaseContract(on))
  runner.describe('claims', () => claimContract(on))
  runner.describe('stamps', () => stampContract(on))
  runner.describe('guards', () => guardContract(on))
  runner.describe('write-through', () => writeThroughContract(on))
  runner.describe('generations', () => generationContract(on))
  runner.describe('keys and values', () => textContract(on))
  runner.describe('values with tags', () => tagContract(on))
  if (hasView) runner.describe('views', () => viewContract(on))
}
