import type { Demonstration } from './demonstration.ts'
import { evictions } from './demonstrations/eviction.ts'
import { expiration } from './demonstrations/expiration.ts'
import { fill } from './demonstrations/fill.ts'
import { flush } from './demonstrations/flush.ts'
import { hitAndMiss } from './demonstrations/hit-and-miss.ts'
import { oldSnapshot } from './demonstrations/old-snapshot.ts'
import { otherProcess } from './demonstrations/other-process.ts'
import { outage } from './demonstrations/outage.ts'
import { overlap } from './demonstrations/overlap.ts'
import { psql } from './demonstrations/psql.ts'
import { staleSet } from './demonstrations/stale-set.ts'
import { stampede } from './demonstrations/stampede.ts'
import { writeThrough } from './demonstrations/write-through.ts'
import { writerKilled } from './demonstrations/writer-killed.ts'

/** All demonstrations, in the order of `docs/lesson.md`. */
export const demonstrations: readonly Demonstration[] = [
  hitAndMiss,
  fill,
  flush,
  ...evictions,
  expiration,
  writeThrough,
  staleSet,
  overlap,
  writerKilled,
  outage,
  oldSnapshot,
  psql,
  otherProcess,
  stampede,
]
