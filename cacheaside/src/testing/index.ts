/**
 * Tools for tests of programs that use this library, and of stores and feeds that are written for it: time that stands still
 * until a test moves it, gates that stop a loader half-way, a shared store and a change feed whose network can be broken, a
 * change feed without a database, and the suites that every shared store and every change feed must pass.
 *
 * @packageDocumentation
 */
export {
  type ChangeFeedHarness,
  changeFeedContract,
  type OpenedChangeFeed,
} from './change-feed-contract.ts'
export { fakeableClock } from './fakeable-clock.ts'
export {
  type FaultyChangeFeed,
  FEED_OPERATIONS,
  type FeedOperation,
  faultyChangeFeed,
} from './faulty-feed.ts'
export type { NetworkFaults, SentOperation } from './faulty-line.ts'
export {
  type FaultySharedStore,
  faultySharedStore,
  SHARED_OPERATIONS,
  type SharedOperation,
} from './faulty-shared.ts'
export { type Gate, gate } from './gate.ts'
export { type PlantableShared, plantableShared } from './plantable-shared.ts'
export {
  type ContractRunner,
  type OpenedIdentity,
  type OpenedRegisters,
  type OpenedStore,
  type OpenedStream,
  type SharedIdentityHarness,
  type SharedRegistersHarness,
  type SharedStoreHarness,
  type SharedStreamHarness,
  sharedIdentityContract,
  sharedRegistersContract,
  sharedStoreContract,
  sharedStreamContract,
} from './shared-store-contract.ts'
export { SimulatedClock, type SimulatedClockOptions } from './simulated-clock.ts'
export { type SimulatedCommit, SimulatedFeed, type SimulatedFeedOptions } from './simulated-feed.ts'
