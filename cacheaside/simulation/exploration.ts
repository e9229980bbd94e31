import type { Library } from '../test/protections/library.ts'
import { type History, playHistory } from './history.ts'

/** What came of many histories. */
export interface Tally {
  seeds: number
  operations: number
  reads: number
  writes: number
  fencedWrites: number
  faults: number
  /** Those in which something was wrong. */
  readonly failed: History[]
  /** How many were played in each weather. */
  readonly weathers: Map<string, number>
}

/** Which histories are played. */
export interface Exploration {
  readonly library: Library
  readonly from: number
  /** Played until this says that it is enough. */
  readonly isEnough: (tally: Tally) => boolean
  readonly weather?: string
  /** Told of each history. */
  readonly onHistory?: (history: History, tally: Tally) => void
}

/** Plays one history after the other, with rising seeds. */
export async function explore({ library, from, isEnough, weather, onHistory }: Exploration): Promise<Tally> {
  const tally: Tally = {
    seeds: 0,
    operations: 0,
    reads: 0,
    writes: 0,
    fencedWrites: 0,
    faults: 0,
    failed: [],
    weathers: new Map(),
  }
  for (let seed = from; !isEnough(tally); seed++) {
    const history = await playHistory({ seed, library, ...(weather === undefined ? {} : { weather }) })
    tally.seeds++
    tally.operations += history.operations
    tally.reads += history.reads
    tally.writes += history.writes
    tally.fencedWrites += history.fencedWrites
    tally.faults += history.faults
    tally.weathers.set(history.weather, (tally.weathers.get(history.weather) ?? 0) + 1)
    if (history.violations.length > 0) tally.failed.push(history)
    onHistory?.(history, tally)
  }
  return tally
}
