/**
 * What tests of programs that use this library, and of stores written for it, need: time that stands still until
 * it is told to move, gates that stop a loader half-way, a shared store whose network can be broken, and the suite
 * that every shared store must pass.
 *
 * @packageDocumentation
 */
export {
  type FaultySharedStore,
  faultySharedStore,
  type SentOperation,
  SHARED_OPERATIONS,
  type SharedOperation,
} from './faulty-shared.ts'
export { type Gate, gate } from './gate.ts'
export { type PlantableShared, plantableShared } from './plantable-shared.ts'
export {
  type ContractRunner,
  type OpenedStore,
  type SharedStoreHarness,
  sharedStoreContract,
} from './shared-store-contract.ts'
export { SimulatedClock, type SimulatedClockOptions } from './simulated-clock.ts'
