import { type Deployment, errorCode } from './driver.ts'
import { UnexpectedReply } from './replies.ts'
import type { Way } from './run-script.ts'

/** The eviction policies of Redis and Valkey, `maxmemory-policy`. */
export const REDIS_POLICIES = [
  'noeviction',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'volatile-ttl',
] as const
/** An eviction policy of Redis and Valkey. */
export type RedisPolicy = (typeof REDIS_POLICIES)[number]

/** What one primary says of itself. A field that this user may not read is `undefined`. */
export interface RedisNode {
  readonly address: string
  readonly server: 'redis' | 'valkey' | undefined
  readonly version: string | undefined
  readonly role: 'primary' | 'replica' | undefined
  readonly policy: string | undefined
  /** Its memory limit, `maxmemory`; 0 is none. */
  readonly maxBytes: number | undefined
  /** How much memory it uses. */
  readonly usedBytes: number | undefined
  /**
   * Connections that it has refused or ended since its start: for want of room (`maxclients`, `maxmemory-clients`), or because a
   * client read too slowly (`client-output-buffer-limit`), as far as its version tells.
   */
  readonly turnedAway: number | undefined
  /** Replicas connected at this moment. */
  readonly replicas: number | undefined
  /** Whether it stops taking writes when too few replicas follow (`min-replicas-to-write` of 1 or more). */
  readonly needsReplicas: boolean | undefined
  /** Its words, if it stores nothing now although the user may: `OOM …`, `MISCONF …` or `NOREPLICAS …`. */
  readonly refusal: string | undefined
  /** Changes with every start of the process and with every change of its data's history. */
  readonly identity: string
}

/**
 * What a finding is about.
 *
 * | code | severity | |
 * |---|---|---|
 * | `VERSION` | refused | older than 7.0 |
 * | `REPLICA` | refused | not a primary |
 * | `CLUSTER_NODE` | refused | a node of a Cluster behind a client for one server |
 * | `PERMISSION` | refused, or warned for listening | a command, the keys or the channels under the prefix are not allowed to this user |
 * | `COMMAND` | refused, or warned for listening | the server does not know a command: `rename-command` has taken it away |
 * | `EVICTS_GUARDS` | refused, or warned if allowed | `volatile-ttl` evicts what ends soonest: leases and guards |
 * | `MAY_EVICT_GUARDS` | warned | `*-lfu` and `*-random` evict guards as readily as anything else |
 * | `UNBOUNDED` | warned | `maxmemory` is 0: nothing is ever evicted |
 * | `SPLIT_BRAIN` | warned | Sentinel or Cluster without `min-replicas-to-write` |
 * | `UNKNOWN` | warned | the server did not let us read what it takes to know |
 */
export type RedisFindingCode =
  | 'VERSION'
  | 'REPLICA'
  | 'CLUSTER_NODE'
  | 'PERMISSION'
  | 'COMMAND'
  | 'EVICTS_GUARDS'
  | 'MAY_EVICT_GUARDS'
  | 'UNBOUNDED'
  | 'SPLIT_BRAIN'
  | 'UNKNOWN'

/** Something about a server that is not as it should be. */
export interface RedisFinding {
  /** `refused`: the server is not used while it is so. */
  readonly severity: 'refused' | 'warned'
  readonly code: RedisFindingCode
  /** A sentence: what is so, why it matters, what to do. */
  readonly message: string
}

/** What is asked of a server before it is used. */
export interface Expectations {
  readonly address: string
  readonly deployment: Deployment
  readonly allowUnsafePolicy: boolean
  /** The policy to be set, if any. */
  readonly policy: RedisPolicy | undefined
  /** Channels and a key under the prefix, to see whether they may be used. */
  readonly channels: readonly string[]
  readonly key: string
  /** Keys of commands that this user was denied. */
  readonly deniedKeys?: readonly string[]
}

/** A server's own account, and what is wrong with it. */
export interface Examination {
  readonly node: RedisNode
  readonly findings: readonly RedisFinding[]
}

/** The sections of INFO that are read; together, because they are one round trip. */
const SECTIONS = ['server', 'replication', 'memory', 'cluster', 'stats']

/** Reads a server's account of itself and judges it. Rejects only if the connection fails. */
export async function examine(connection: Way, expected: Expectations): Promise<Examination> {
  const findings: RedisFinding[] = []
  const [info, database, answers] = await Promise.all([
    readInfo(connection, SECTIONS),
    readDatabase(connection),
    refusals(connection, expected),
  ])
  const denied = answers.filter(isDenial).map(({ message }) => message)
  let node = nodeOf(expected.address, info, answers.find(isTrouble)?.message)
  const unknown = denied.filter(isUnknownCommand)
  const forbidden = denied.filter(words => !isUnknownCommand(words))
  if (forbidden.length > 0) findings.push(refused('PERMISSION', permissionMessage(expected, forbidden)))
  if (unknown.length > 0) findings.push(refused('COMMAND', commandMessage(expected.address, unknown)))
  if (expected.policy !== undefined && node.policy !== expected.policy && node.role !== 'replica') {
    const problem = await setPolicy(connection, expected.policy)
    if (problem === undefined) node = { ...node, policy: expected.policy }
    else
      findings.push(
        warned(
          'UNKNOWN',
          `${expected.address}: maxmemory-policy could not be set to ${expected.policy}: ${problem}`,
        ),
      )
  }
  findings.push(...findingsOf(node, info, expected))
  if (database === undefined) {
    const message = `${expected.address} does not let this user ask CLIENT INFO, so that a change feed cannot tell this store from others: each process that starts with one invalidates all that is cached`
    findings.push(warned('UNKNOWN', message))
  }
  return { node, findings }
}

/** INFO as a map; `undefined` where this user may not read it. */
export async function readInfo(
  connection: Way,
  sections: readonly string[],
): Promise<Map<string, string> | undefined> {
  let text: unknown
  try {
    text = await connection.send(['INFO', ...sections])
  } catch (error) {
    if (errorCode(error) !== 'NOPERM' && errorCode(error) !== 'ERR') throw error
    return undefined
  }
  const fields = new Map<string, string>()
  if (typeof text !== 'string') throw new UnexpectedReply(text)
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}

/** The database that a connection uses, as the server says; `undefined` where this user may not ask. */
export async function readDatabase(connection: Way): Promise<string | undefined> {
  try {
    return /\bdb=(\d+)/.exec(String(await connection.send(['CLIENT', 'INFO'])))?.[1]
  } catch (error) {
    if (errorCode(error) !== 'NOPERM' && errorCode(error) !== 'ERR') throw error
    return undefined
  }
}

/** Run and history of a server, as INFO tells them; `''` where it does not. */
export function identityOf(info: Map<string, string> | undefined): string {
  const run = info?.get('run_id')
  const history = info?.get('master_replid')
  return run === undefined || history === undefined ? '' : `${run} ${history}`
}

function nodeOf(
  address: string,
  info: Map<string, string> | undefined,
  refusal: string | undefined,
): RedisNode {
  const number = (name: string) => (info?.has(name) ? Number(info.get(name)) : undefined)
  const valkey = info?.get('valkey_version')
  const role = info?.get('role')
  return {
    address,
    server: info === undefined ? undefined : valkey === undefined ? 'redis' : 'valkey',
    version: valkey ?? info?.get('redis_version'),
    role: role === undefined ? undefined : role === 'master' ? 'primary' : 'replica',
    policy: info?.get('maxmemory_policy'),
    maxBytes: number('maxmemory'),
    usedBytes: number('used_memory'),
    turnedAway:
      info === undefined ? undefined : TURNED_AWAY.reduce((sum, name) => sum + (number(name) ?? 0), 0),
    replicas: number('connected_slaves'),
    // INFO has this field only where min-replicas-to-write is set.
    needsReplicas: role === undefined ? undefined : info?.has('min_slaves_good_slaves'),
    refusal,
    identity: identityOf(info),
  }
}

/** Counts of INFO; older versions lack the last two. */
const TURNED_AWAY = [
  'rejected_connections',
  'evicted_clients',
  'client_query_buffer_limit_disconnections',
  'client_output_buffer_limit_disconnections',
]

const NO_SCRIPT = '0'.repeat(40)

const isUnknownCommand = (words: string): boolean => /^ERR unknown (sub)?command/i.test(words)

/** Whether a command, key or channel is forbidden to this user, or the command is missing. */
const isDenial = (error: Error): boolean => errorCode(error) === 'NOPERM' || isUnknownCommand(error.message)

/** Whether the server stores nothing at the moment, for any user. The refusal of a replica tells only its role. */
const isTrouble = (error: Error): boolean => ['OOM', 'MISCONF', 'NOREPLICAS'].includes(errorCode(error))

/**
 * What the server refuses of the commands that the cache needs. Asking changes nothing: nothing is ever under the key. A missing
 * command would not stop the heartbeats: without this check the store would become unavailable and available again for ever.
 */
async function refusals(
  connection: Way,
  { channels, key, deniedKeys = [], deployment }: Expectations,
): Promise<Error[]> {
  const probes = [
    ...channels.map(channel => ['PUBLISH', channel, '']),
    ['GET', key],
    ['MGET', key],
    ['SET', key, '', 'XX'],
    ['SETRANGE', key, '0', ''],
    ['GETRANGE', key, '0', '0'],
    ['DEL', key],
    // These change nothing under any key, either.
    ...deniedKeys.flatMap(denied => [
      ['GETRANGE', denied, '0', '0'],
      ['SETRANGE', denied, '0', ''],
    ]),
    ['TIME'],
    ['EVALSHA', NO_SCRIPT, '1', key],
    ['EVAL', deployment === 'cluster' ? "return redis.call('CLUSTER', 'MYID')" : 'return 1', '1', key],
  ]
  if (deployment === 'cluster') probes.push(['CLUSTER', 'SLOTS'], ['CLUSTER', 'NODES'])
  const replies = await Promise.all(
    probes.map(probe =>
      connection.send(probe).then(
        () => undefined,
        (error: unknown) => {
          if (errorCode(error) === '' || errorCode(error) === 'NOAUTH') throw error
          return error as Error
        },
      ),
    ),
  )
  return replies.filter(reply => reply !== undefined)
}

async function setPolicy(connection: Way, policy: RedisPolicy): Promise<string | undefined> {
  try {
    await connection.send(['CONFIG', 'SET', 'maxmemory-policy', policy])
    return undefined
  } catch (error) {
    if (errorCode(error) === '') throw error
    return (error as Error).message
  }
}

/**
 * Only a listening connection can find out that it may not listen, or that the command is missing. Without it the store
 * works, and L1 keeps nothing.
 */
export function listeningFinding(address: string, { message }: Error): RedisFinding | undefined {
  const consequence = `so that no copy in L1 is ever proven: ${message}`
  if (isUnknownCommand(message))
    return warned('COMMAND', `${address}: SUBSCRIBE is taken away (rename-command), ${consequence}`)
  if (!message.startsWith('NOPERM ')) return undefined
  return warned(
    'PERMISSION',
    `${address}: this user may not listen to the channels under the prefix, ${consequence}`,
  )
}

const refused = (code: RedisFindingCode, message: string): RedisFinding => ({
  severity: 'refused',
  code,
  message,
})
const warned = (code: RedisFindingCode, message: string): RedisFinding => ({
  severity: 'warned',
  code,
  message,
})

function permissionMessage({ address, key }: Expectations, denied: readonly string[]): string {
  const prefix = key.slice(0, key.lastIndexOf('@'))
  const needs = `keys ~${prefix}* and channels &${prefix}@*`
  return `${address} does not let this user do what the cache needs (${needs}): ${[...new Set(denied)].join('; ')}`
}

const commandMessage = (address: string, unknown: readonly string[]): string =>
  `${address} does not know commands that the cache needs; give them back where rename-command takes them away: ${unknown.join('; ')}`

function findingsOf(
  node: RedisNode,
  info: Map<string, string> | undefined,
  expected: Expectations,
): RedisFinding[] {
  const { address } = node
  const findings: RedisFinding[] = []
  if (info === undefined || node.identity === '') {
    const message = `${address} does not let this user read INFO: its version, role, policy and restarts are unknown`
    return [warned('UNKNOWN', message)]
  }
  const version = info.get('redis_version') ?? ''
  if (Number.parseInt(version, 10) < 7)
    findings.push(refused('VERSION', `${address} is version ${version}; Redis 7.0, or any Valkey, is needed`))
  if (node.role === 'replica')
    findings.push(refused('REPLICA', `${address} is a replica; registers live on primaries only`))
  if (info.get('cluster_enabled') === '1' && expected.deployment !== 'cluster') {
    const message = `${address} is a node of a Cluster, and the client is one for a single server; give a Cluster's`
    findings.push(refused('CLUSTER_NODE', message))
  }
  return [...findings, ...policyFindings(node, expected), ...failoverFindings(node, expected)]
}

function policyFindings(node: RedisNode, { allowUnsafePolicy }: Expectations): RedisFinding[] {
  const { address, policy, maxBytes } = node
  const recommended = 'choose allkeys-lru, volatile-lru or noeviction'
  if (policy === 'volatile-ttl') {
    const message = `maxmemory-policy volatile-ttl of ${address} evicts first what ends soonest, which is the guards of writers at work; ${recommended}`
    return [
      allowUnsafePolicy
        ? warned('EVICTS_GUARDS', message)
        : refused('EVICTS_GUARDS', `${message}, or set allowUnsafePolicy`),
    ]
  }
  if (policy === undefined) return [warned('UNKNOWN', `${address} does not tell its maxmemory-policy`)]
  if (maxBytes === 0) {
    const message = `maxmemory of ${address} is 0: nothing is ever evicted, and memory is bounded by expiry alone`
    return [warned('UNBOUNDED', message)]
  }
  if (/-(lfu|random)$/.test(policy)) {
    const message = `maxmemory-policy ${policy} of ${address} evicts guards as readily as values: such a write is reported as not fenced; ${recommended}`
    return [warned('MAY_EVICT_GUARDS', message)]
  }
  return []
}

function failoverFindings(node: RedisNode, { deployment }: Expectations): RedisFinding[] {
  if (deployment === 'standalone' || node.needsReplicas !== false) return []
  const message = `min-replicas-to-write of ${node.address} is 0: cut off from its replicas it goes on taking writes, which a failover then takes back; set it to 1 or more, where as many replicas follow: with fewer it refuses every write`
  return [warned('SPLIT_BRAIN', message)]
}
