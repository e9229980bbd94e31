/** What is tried: the trials in the order of the table, and the libraries. */
import { readdirSync } from 'node:fs'
import type { AdapterModule } from './adapter.ts'
import type { Trial } from './trial.ts'
import { absentRow } from './trials/absent-row.ts'
import { batch } from './trials/batch.ts'
import { cutOff3, cutOff30 } from './trials/cut-off.ts'
import { foreignChange } from './trials/foreign-change.ts'
import { killedWriter } from './trials/killed-writer.ts'
import { lostMessage } from './trials/lost-message.ts'
import { oldSnapshot } from './trials/old-snapshot.ts'
import { redisHangs, redisStopped } from './trials/redis-away.ts'
import { refresh } from './trials/refresh.ts'
import { lateRead, lateReadElsewhere, staleSet, staleSetInProcess } from './trials/stale-set.ts'
import { failingLoader, stampede } from './trials/stampede.ts'
import {
  lateTag,
  rowMoves,
  stampEvicted,
  tagInLoad,
  tagInLoadElsewhere,
  tagOldSnapshot,
  tornPair,
} from './trials/tags.ts'

/** All trials. */
export const trials: readonly Trial[] = [
  staleSet,
  staleSetInProcess,
  lateRead,
  lateReadElsewhere,
  batch,
  refresh,
  killedWriter,
  cutOff3,
  cutOff30,
  lostMessage,
  absentRow,
  foreignChange,
  oldSnapshot,
  stampede,
  failingLoader,
  redisHangs,
  redisStopped,
  tagInLoad,
  tagInLoadElsewhere,
  lateTag,
  stampEvicted,
  rowMoves,
  tagOldSnapshot,
  tornPair,
]

const FIRST = [
  'no-cache',
  'plain-ioredis',
  'plain-ioredis-background',
  'node-redis-client-side',
  'tags-no-cache',
  'tags-plain-sets',
]
const LAST = ['cacheaside', 'cacheaside-local', 'cacheaside-feed', 'tags-cacheaside', 'tags-cacheaside-feed']

/** The names of all adapters: the control and cache-aside by hand, the others by name, ours. */
export function adapterNames(): string[] {
  const names = readdirSync(new URL('adapters', import.meta.url)).map(file => file.replace(/\.ts$/, ''))
  const others = names.filter(name => !FIRST.includes(name) && !LAST.includes(name)).sort()
  return [...FIRST, ...others, ...LAST].filter(name => names.includes(name))
}

/** An adapter, by the name of its file. */
export async function adapterNamed(name: string): Promise<AdapterModule> {
  return (await import(`./adapters/${name}.ts`)) as AdapterModule
}
