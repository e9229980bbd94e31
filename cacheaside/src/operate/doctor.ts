/** Examines what a program examines when it starts, and compares the options with the contents of the store. */
import { lineOf } from '../base/masked.ts'
import type { RedisNode } from '../redis/examine.ts'
import type { RedisReport } from '../redis/servers.ts'
import { parseRegister } from '../shared/register.ts'
import type { StoreView } from '../shared/shared-store.ts'
import type { AuditedKeyspace } from '../verify/audited-keyspace.ts'
import { durationText } from '../verify/report.ts'
import { Reservoir } from '../verify/walk.ts'
import { adviceOnCache, adviceOnKeyspace, cacheOf, type DoctorFinding, type LoadCosts } from './advice.ts'
import { feedStatus } from './feed.ts'
import { largestOf } from './store-stats.ts'
import {
  askedStore,
  clockOf,
  EMBEDDED_NOTE,
  keyspacesOf,
  type Operated,
  sharedOf,
  withView,
} from './target.ts'

/** The findings of a doctor. Plain data, as `--json` prints it. */
export interface DoctorReport {
  /** What kind of shared store. */
  readonly store: string
  /** What each server says of itself, where the store asks servers. */
  readonly nodes: readonly RedisNode[]
  /** What was examined, one sentence each. */
  readonly examined: readonly string[]
  /** The findings, the worst first. */
  readonly findings: readonly DoctorFinding[]
}

/** How a doctor examines. */
export interface DoctorOptions {
  /** How many registers of each keyspace are looked at. @defaultValue 200 */
  readonly sample?: number
}

/** The results so far. */
interface Chart {
  readonly operated: Operated
  readonly nodes: RedisNode[]
  readonly examined: string[]
  readonly findings: DoctorFinding[]
}

const DEFAULT_SAMPLE = 200
/** Keys of a keyspace beyond this are not looked for. */
const MOST_KEYS = 20_000
const ROUND_TRIPS = 5
const SEVERITIES = ['bad', 'warn', 'advice']

/**
 * Examines the store, the change feed and the options, and changes nothing of them. If one part cannot be examined, that is a
 * finding, and the others still are.
 *
 * @throws CacheError `INVALID_OPTIONS` without a store or keyspaces.
 */
export async function examineAll(
  operated: Operated,
  { sample = DEFAULT_SAMPLE }: DoctorOptions = {},
): Promise<DoctorReport> {
  const shared = sharedOf(operated)
  keyspacesOf(operated)
  const chart: Chart = { operated, nodes: [], examined: [], findings: [] }
  const canBeAsked = await examineServers(chart)
  const costs = canBeAsked ? await examineRegisters(chart, sample) : new Map<string, LoadCosts>()
  await examineFeed(chart)
  examineOptions(chart, costs)
  chart.findings.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
  const { nodes, examined, findings } = chart
  return { store: shared.name, nodes, examined, findings }
}

/** Runs the examination of one part. An error becomes a finding. */
async function unless<T>(
  chart: Chart,
  area: DoctorFinding['area'],
  examine: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await examine()
  } catch (error) {
    chart.operated.signal?.throwIfAborted()
    const what = area === 'feed' ? 'the change feed' : 'the store'
    chart.findings.push({
      severity: 'bad',
      area,
      code: 'UNREACHABLE',
      message: `${what} cannot be asked: ${lineOf(error)}`,
    })
    return undefined
  }
}

/** Says whether the store can be asked. */
async function examineServers(chart: Chart): Promise<boolean> {
  const shared = sharedOf(chart.operated)
  if (shared.synchronous) {
    chart.examined.push(EMBEDDED_NOTE)
    return true
  }
  const { inspect } = shared as { inspect?: () => Promise<RedisReport> }
  if (typeof inspect !== 'function') return true
  const report = await unless(chart, 'store', () => askedStore(chart.operated, inspect.call(shared)))
  if (report === undefined) return false
  chart.nodes.push(...report.nodes)
  for (const node of report.nodes) {
    const { address, server = 'a server', version = 'of unknown version', policy = 'unknown policy' } = node
    chart.examined.push(
      `${server} ${version} at ${address}, ${policy}, ${memoryText(node)} (${report.deployment})`,
    )
    if (node.refusal !== undefined)
      chart.findings.push({
        severity: 'bad',
        area: 'store',
        code: 'STORES_NOTHING',
        message: `${address} stores nothing now: ${node.refusal.replace(/\.$/, '')}; ${remedyOf(node, node.refusal)}`,
      })
    else if (isNearlyFull(node))
      chart.findings.push({
        severity: 'warn',
        area: 'store',
        code: 'MEMORY',
        message: `${address} uses ${memoryText(node)}, and evicts nothing: soon nothing new is stored; raise maxmemory, or choose allkeys-lru`,
      })
    if ((node.turnedAway ?? 0) > 0)
      chart.findings.push({
        severity: 'advice',
        area: 'store',
        code: 'CONNECTIONS',
        message: `${address} has refused or ended ${node.turnedAway} connections since its start; its log says why: look at maxclients, maxmemory-clients and client-output-buffer-limit`,
      })
  }
  for (const { severity, code, message } of report.findings)
    chart.findings.push({ severity: severity === 'refused' ? 'bad' : 'warn', area: 'store', code, message })
  return true
}

const MEBIBYTE = 2 ** 20

function memoryText({ usedBytes, maxBytes }: RedisNode): string {
  if (usedBytes === undefined) return 'memory unknown'
  const used = `${(usedBytes / MEBIBYTE).toFixed(1)} MiB`
  return maxBytes === undefined || maxBytes === 0
    ? `${used}, no limit`
    : `${used} of ${(maxBytes / MEBIBYTE).toFixed(1)} MiB`
}

/** What ends a server's refusal to store anything. */
function remedyOf(node: RedisNode, refusal: string): string {
  if (refusal.startsWith('OOM'))
    return `it uses ${memoryText(node)}, and ${node.policy ?? 'its policy'} finds nothing to evict: raise maxmemory, remove what others keep there, or choose allkeys-lru`
  if (refusal.startsWith('MISCONF'))
    return 'its log says what it cannot write: free its disk, or, where nothing but caches is on it, switch snapshots off: CONFIG SET save ""'
  return `${node.replicas ?? 'too few'} replicas follow it, fewer than min-replicas-to-write: bring them back, or lower that`
}

const isNearlyFull = ({ usedBytes = 0, maxBytes = 0, policy }: RedisNode): boolean =>
  maxBytes > 0 && usedBytes > 0.95 * maxBytes && policy === 'noeviction'

/** Measures round trips, and what loads have cost by the registers of each keyspace. */
async function examineRegisters(chart: Chart, sample: number): Promise<ReadonlyMap<string, LoadCosts>> {
  const costs = new Map<string, LoadCosts>()
  const { operated, examined, findings } = chart
  await unless(chart, 'store', () =>
    withView(operated, async view => {
      const tripMs = await roundTripMs(operated, view)
      examined.push(`a round trip to the store takes ${durationText(tripMs)} from here`)
      const { sharedTimeoutMs = 100 } = operated.cache ?? {}
      if (tripMs > sharedTimeoutMs / 3)
        findings.push({
          severity: 'warn',
          area: 'store',
          code: 'SLOW_STORE',
          message: `a round trip to the store takes ${durationText(tripMs)} from here, and sharedTimeoutMs is ${sharedTimeoutMs}: reads will time out; raise it, or run closer to the store`,
        })
      for (const space of keyspacesOf(operated))
        costs.set(space.name, await costsOf(chart, space, view, sample))
    }),
  )
  return costs
}

async function roundTripMs(operated: Operated, view: StoreView): Promise<number> {
  const clock = clockOf(operated)
  const trips: number[] = []
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const beganMs = clock.nowMs()
    await view.timeMs()
    trips.push(clock.nowMs() - beganMs)
  }
  return trips.sort((a, b) => a - b)[ROUND_TRIPS >> 1]!
}

async function costsOf(
  chart: Chart,
  space: AuditedKeyspace,
  view: StoreView,
  sample: number,
): Promise<LoadCosts> {
  const { operated, examined, findings } = chart
  const picked = new Reservoir(sample, clockOf(operated))
  let keys = 0
  for await (const page of view.keys(space.name)) {
    for (const key of page) picked.add(key)
    keys += page.length
    if (keys >= MOST_KEYS) break
  }
  const texts = await view.peek(picked.kept)
  const registers = texts.map(text => (text === undefined ? undefined : parseRegister(text)))
  const values = registers.filter(register => register?.state === 'value')
  // A value that a write has stored at its release had no load.
  const loads = values
    .map(({ costMs }) => costMs)
    .filter(costMs => costMs > 0)
    .sort((a, b) => a - b)
  const strange = registers.filter(
    register => register?.state === 'unreadable' || register?.state === 'later',
  ).length
  const shapes = values.filter(({ shape }) => shape !== space.shape).length
  const count = loads.length
  const p90Ms = loads[Math.min(count - 1, Math.floor(count * 0.9))] ?? 0
  const cost = count === 0 ? '' : `; nine of ten loads took up to ${durationText(p90Ms)}`
  examined.push(
    `${space.name}: ${keys}${keys >= MOST_KEYS ? ' or more' : ''} registers, ${picked.kept.length} looked at${cost}`,
  )
  examineLargest(chart, picked.kept, texts)
  if (strange + shapes > 0)
    findings.push({
      severity: 'advice',
      area: 'store',
      code: 'UNREADABLE',
      message: `${space.name}: of ${picked.kept.length} registers ${strange} cannot be read here, and ${shapes} have another shape than ${space.shape}: processes of several versions run, or have run`,
    })
  return { count, p90Ms }
}

/** What 100 megabits per second carry in a millisecond, about. */
const CHARACTERS_PER_MS = 10_000

/**
 * All commands of a process go through one connection: while a large value is on its way, the others wait. One that the store
 * does not hand out only costs loads: it is left by a process with another bound, or of an earlier version.
 */
function examineLargest(
  { operated, findings }: Chart,
  keys: readonly string[],
  texts: readonly (string | undefined)[],
): void {
  const { largest } = largestOf(keys, texts)
  const { sharedTimeoutMs = 100 } = operated.cache ?? {}
  const { maxValueBytes = Number.POSITIVE_INFINITY } = sharedOf(operated)
  if (largest === undefined) return
  const { characters, key } = largest
  if (characters < Math.min(maxValueBytes, sharedTimeoutMs * CHARACTERS_PER_MS)) return
  const consequence =
    characters > maxValueBytes
      ? `more than maxValueBytes (${maxValueBytes}): processes with this bound do not keep such a value, and every read of it goes to the origin`
      : `while a process reads it, its other commands wait, and past sharedTimeoutMs (${sharedTimeoutMs}) it takes the store for unavailable`
  findings.push({
    severity: 'warn',
    area: 'store',
    code: 'LARGE_VALUE',
    message: `${key} holds ${characters} characters: ${consequence}; load less, or split the value`,
  })
}

async function examineFeed(chart: Chart): Promise<void> {
  const { operated, examined, findings } = chart
  const { feed } = operated
  if (feed === undefined) {
    const message =
      'there is no change feed: what psql, a migration or another program changes stays stale until it expires; see docs/feed.md'
    findings.push({ severity: 'advice', area: 'feed', code: 'NO_FEED', message })
    return
  }
  if (!('status' in feed)) {
    examined.push(`the ${feed.name} feed has no status, and was not examined`)
    return
  }
  const status = await unless(chart, 'feed', () => feedStatus(operated))
  if (status === undefined) return
  const { outbox, tables } = status
  if (status.installed)
    examined.push(
      `the change feed in ${status.schema} watches ${tables.map(({ name }) => name).join(', ') || 'nothing that this role may see'}${outbox === undefined ? '' : `; ${outbox.rows} changes wait`}`,
    )
  for (const { code, message } of status.findings)
    findings.push({ severity: BAD_FOR_FEED.has(code) ? 'bad' : 'warn', area: 'feed', code, message })
}

/** With these findings, changes by others do not reach the cache. */
const BAD_FOR_FEED: ReadonlySet<string> = new Set(['NOT_INSTALLED', 'NOT_WATCHED', 'RIGHTS', 'STANDBY'])

function examineOptions(
  { operated, examined, findings }: Chart,
  costs: ReadonlyMap<string, LoadCosts>,
): void {
  const { options, problem } = cacheOf(operated.cache, sharedOf(operated))
  if (problem !== undefined) findings.push(problem)
  findings.push(...adviceOnCache(options, operated.pool))
  const keyspaces = keyspacesOf(operated)
  for (const space of keyspaces) findings.push(...adviceOnKeyspace(space, options, costs.get(space.name)))
  examined.push(
    `the options of the cache${operated.cache === undefined ? ' (the defaults: the file has no cache)' : ''} and of ${keyspaces.map(({ name }) => name).join(', ')}`,
  )
}

/** Whether something should be mended. Advice alone is none. */
export const isIll = ({ findings }: DoctorReport): boolean =>
  findings.some(({ severity }) => severity !== 'advice')
