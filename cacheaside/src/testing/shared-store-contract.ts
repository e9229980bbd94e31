import { claimContract } from './contract/claims.ts'
import { generationContract } from './contract/generations.ts'
import { guardContract } from './contract/guards.ts'
import { leaseContract } from './contract/leases.ts'
import { type ContractRunner, type SharedStoreHarness, stage } from './contract/stage.ts'
import { streamContract } from './contract/stream.ts'
import { textContract } from './contract/texts.ts'
import { transitionContract } from './contract/transitions.ts'
import { viewContract } from './contract/views.ts'
import { writeThroughContract } from './contract/write-through.ts'

export type { ContractRunner, OpenedStore, SharedStoreHarness } from './contract/stage.ts'

/**
 * What every shared store must do, as a suite of tests: each sentence of the `SharedStore` contract, and
 * every operation on every state of a register.
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
 *   async open() {
 *     const clock = new SimulatedClock()
 *     const { store, plant } = plantableShared({ clock })
 *     return {
 *       store,
 *       advance: ms => clock.advance(ms),
 *       raw: async key => store.inspect(key),
 *       plant: async (key, text, lifeMs) => plant(key, text, lifeMs),
 *       close: () => store.close(),
 *     }
 *   },
 * })
 * ```
 */
export function sharedStoreContract(runner: ContractRunner, harness: SharedStoreHarness): void {
  const on = stage(runner, harness)
  runner.describe('every operation on every state', () => transitionContract(on))
  runner.describe('leases and values', () => leaseContract(on))
  runner.describe('claims', () => claimContract(on))
  runner.describe('guards', () => guardContract(on))
  runner.describe('write-through', () => writeThroughContract(on))
  runner.describe('generations', () => generationContract(on))
  runner.describe('the broadcast stream', () => streamContract(on))
  runner.describe('keys and values', () => textContract(on))
  if (harness.hasView ?? true) runner.describe('views', () => viewContract(on))
}
