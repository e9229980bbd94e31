import type { SimulatedClock } from '../src/testing/index.ts'
import type { Library } from '../test/protections/library.ts'
import type { Checker } from './checker.ts'
import type { Database } from './database.ts'
import type { Random } from './random.ts'
import type { SharedServer } from './shared-server.ts'
import type { Trail } from './trail.ts'
import type { Weather } from './weather.ts'

/** What the parts of one history share. */
export interface World {
  readonly clock: SimulatedClock
  readonly random: Random
  readonly trail: Trail
  readonly weather: Weather
  readonly library: Library
  readonly checker: Checker
  readonly database: Database
  readonly server: SharedServer
  readonly hasFeed: boolean
  /** The rows that this history is about. */
  readonly rows: readonly number[]
}
