import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import { EVICTION_POLICIES, type EvictionPolicyName } from 'cacheaside'
import { REDIS_POLICIES, type RedisPolicy } from 'cacheaside/redis'
import { z } from 'zod'
import { isLoopback } from './http/loopback.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import { parseRedisUrl, type RedisServers } from './redis-url.ts'

/** Everything that can be set from outside. `.env.example` describes each variable. */
export interface Config {
  /** 0: any free port. */
  readonly port: number
  readonly host: string
  /**
   * The host names that requests may use, besides those of the loopback. `undefined`: no others if only this machine reaches
   * it; otherwise any.
   */
  readonly allowedHosts: readonly string[] | 'any' | undefined
  /** How many connections of clients are open at most; `undefined`: a thousand, or fewer if descriptors are few. */
  readonly maxConnections: number | undefined
  /** How many requests a client may send in a minute; `undefined`: many, where others than this machine can reach it. */
  readonly rateLimit: number | 'off' | undefined
  /** How late the event loop may be before requests are refused, in milliseconds; `undefined`: as for `rateLimit`. */
  readonly shedAboveMs: number | 'off' | undefined
  /** Trusted proxies: their statements about the client's address are believed. */
  readonly trustedProxies: readonly string[]
  readonly logLevel: LogLevel
  /** The token for `/admin` from other machines; `undefined`: none. It must not reach a log. */
  readonly adminToken: string | undefined
  readonly database: PostgresConfig | PGliteConfig
  /** `undefined`: every read goes to the database. */
  readonly cache: CacheConfig | undefined
  /** Whether the laboratory is open, to everybody who may use `/admin`. */
  readonly lab: boolean
}

/** A PostgreSQL server. The URL may hold a password: it must not reach a log. */
export interface PostgresConfig {
  readonly kind: 'postgres'
  readonly url: string
  readonly poolMax: number
  /** How long connecting may take, and how long a statement or a transaction may. */
  readonly timeoutMs: number
}

/** The embedded PostgreSQL. */
export interface PGliteConfig {
  readonly kind: 'pglite'
  /** The folder it keeps its data in; `undefined`: in memory. */
  readonly folder: string | undefined
}

/** A shared store for this process alone. */
export interface EmbeddedConfig {
  readonly kind: 'embedded'
  readonly policy: EvictionPolicyName
  readonly maxBytes: number
}

/** A shared store on Redis or Valkey, for any number of processes. It may hold a password: it must not reach a log. */
export interface RedisConfig extends RedisServers {
  readonly kind: 'redis'
  /** The eviction policy to set on it; `undefined`: it keeps its own. */
  readonly policy: RedisPolicy | undefined
}

/** The shared store of the cache. */
export type SharedConfig = EmbeddedConfig | RedisConfig

/** How the cache is made. */
export interface CacheConfig {
  readonly shared: SharedConfig
  /** How many bytes of copies this process keeps for itself, in L1; `undefined`: none. */
  readonly localMaxBytes: number | undefined
  /** Whether changes that others made to the table reach the cache, by an outbox in the database. */
  readonly feed: boolean
  readonly fill: 'background' | 'blocking'
  readonly ttlMs: number
  readonly flushOnStart: boolean
  /** Whether an update stores the new row at the release of its guard. Otherwise the next read does. */
  readonly writeThrough: boolean
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** How much is logged; `debug` shows how long each request took. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/** A variable is malformed. The message is one line that names it, and never shows what may be a secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const YEAR_MS = 366 * 24 * 3_600_000

/** A choice of words: the variable's text must be one of them. */
const oneOf = <const Word extends string>(...words: readonly Word[]) =>
  z.enum(words, { error: `one of ${words.join(', ')}` })

/** Digits only: `Number` would also take `0x10`, `1e3` and blanks. */
function whole(least: number, most: number, remark = '') {
  const error = `a whole number from ${least} to ${most}${remark}`
  return z
    .string()
    .regex(/^\d{1,16}$/, { error })
    .transform(Number)
    .refine(value => value >= least && value <= most, { error })
}

/** The word for none, or a number. */
function offOr(least: number, most: number) {
  const error = `off, or a whole number from ${least} to ${most}`
  const isMeant = (text: string) =>
    text === 'off' || (/^\d{1,16}$/.test(text) && Number(text) >= least && Number(text) <= most)
  return z
    .string()
    .refine(isMeant, { error })
    .transform((text): number | 'off' => (text === 'off' ? text : Number(text)))
}

const PROXIES = 'addresses of proxies, or ranges such as 10.0.0.0/8, with commas between them'

const proxies = z.string().transform((text, context): readonly string[] => {
  const ranges = text.split(',').map(range => range.trim())
  if (ranges.every(isAddressRange)) return ranges
  context.issues.push({ code: 'custom', message: PROXIES, input: text })
  return z.NEVER
})

/** The whole Internet is refused as a proxy: any client could then claim any address. */
function isAddressRange(range: string): boolean {
  const [address = '', bits, ...others] = range.split('/')
  const family = isIP(address)
  if (family === 0 || others.length > 0) return false
  return bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
}

/** Poolers refuse these parameters, or accept and ignore them. And a long limit would outlast the guards of a dead writer. */
const LIMITS = /(?:statement|transaction|idle_in_transaction_session|lock|query)_timeout/

/** The limit that a URL names, in a parameter of its own or among the `options`. */
const limitIn = (text: string): string | undefined =>
  LIMITS.exec([...parsePostgresUrl(text)!.searchParams].flat().join(' '))?.[0]

/** As libpq and `pg` name them. */
const SSL_MODES = ['disable', 'no-verify', 'prefer', 'require', 'verify-ca', 'verify-full']

/** The last one counts, and an empty one counts as none, as in `pg`. */
function hasSslMode(text: string): boolean {
  const mode = parsePostgresUrl(text)!.searchParams.getAll('sslmode').at(-1)
  return mode === undefined || mode === '' || SSL_MODES.includes(mode)
}

const redisUrl = z.string().transform((text, context): RedisServers => {
  const parsed = parseRedisUrl(text)
  if (typeof parsed !== 'string') return parsed
  context.issues.push({ code: 'custom', message: parsed, input: text })
  return z.NEVER
})

const HOSTS = 'names of hosts without a port, with commas between them, or * for any'

const hostNames = z.string().transform((text, context): readonly string[] | 'any' => {
  if (text.trim() === '*') return 'any'
  const names = text.split(',').map(name => name.trim())
  if (names.every(name => /^(\[[\da-f:.]+\]|[\w.-]+)$/i.test(name) && URL.canParse(`http://${name}`)))
    return names
  context.issues.push({ code: 'custom', message: HOSTS, input: text })
  return z.NEVER
})

/** The policies that may be set on a Redis. `volatile-ttl` would first evict what ends soonest: the guards of writers. */
const SETTABLE = REDIS_POLICIES.filter(policy => policy !== 'volatile-ttl')

const POSTGRES_URL = 'a URL such as postgres://user:password@host:5432/database'

/**
 * The guard of a killed writer stands for ten seconds after its last renewal, and is renewed every third of that. The
 * database must have ended the writer's work by then: hence no more than six seconds for a statement.
 */
const MAX_DATABASE_TIMEOUT_MS = 6_000

/** The variables, each with its default. The messages complete the sentence "NAME must be …". */
const VARIABLES = z.object({
  PORT: whole(0, 65_535, ' (0: any free port)').default(3_000),
  HOST: z
    .string()
    .regex(/^[^\s/]+$/, { error: 'a host name or an IP address' })
    .transform(host => host.replace(/^\[(.+)\]$/, '$1'))
    .default('localhost'),
  ALLOWED_HOSTS: hostNames.optional(),
  MAX_CONNECTIONS: whole(1, 1_000_000).optional(),
  RATE_LIMIT: offOr(1, 1_000_000_000).optional(),
  SHED_ABOVE_MS: offOr(1, 60_000).optional(),
  TRUSTED_PROXIES: proxies.default([]),
  LOG_LEVEL: oneOf(...LOG_LEVELS).default('info'),
  ADMIN_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]{1,512}$/, { error: 'of 1 to 512 printable characters of ASCII, without blanks' })
    .optional(),
  DATABASE_URL: z
    .string()
    .refine(text => parsePostgresUrl(text) !== undefined, { error: POSTGRES_URL, abort: true })
    .refine(text => limitIn(text) === undefined, {
      error: ({ input }) => `a URL without ${limitIn(String(input))}: DATABASE_TIMEOUT_MS is for that`,
    })
    .refine(hasSslMode, { error: `a URL whose sslmode is one of ${SSL_MODES.join(', ')}` })
    .optional(),
  DATABASE_POOL_MAX: whole(1, 1_000).default(10),
  DATABASE_TIMEOUT_MS: whole(100, MAX_DATABASE_TIMEOUT_MS).default(5_000),
  DATA_DIR: z.string().default('data/pglite'),
  REDIS_URL: redisUrl.optional(),
  CACHE: oneOf('on', 'off').default('on'),
  CACHE_FILL: oneOf('background', 'blocking').default('background'),
  CACHE_TTL_MS: whole(1, YEAR_MS).default(600_000),
  CACHE_POLICY: oneOf(...EVICTION_POLICIES).optional(),
  CACHE_MAX_BYTES: whole(65_536, 2 ** 40).default(64 * 2 ** 20),
  CACHE_LOCAL_MAX_BYTES: whole(65_536, 2 ** 40).optional(),
  CACHE_FEED: oneOf('outbox', 'off').optional(),
  CACHE_FLUSH_ON_START: oneOf('true', 'false').default('false'),
  CACHE_WRITE_THROUGH: oneOf('on', 'off').default('off'),
  LAB: oneOf('on', 'off').optional(),
})

/** Variables whose text must not be shown, because it may hold a password. */
const SECRET = new Set(['DATABASE_URL', 'REDIS_URL', 'ADMIN_TOKEN'])

function complaint(name: string, expected: string, got: string): string {
  const shown = SECRET.has(name) ? 'something else (not shown: it may hold a password)' : JSON.stringify(got)
  return `${name} must be ${expected}; it is ${shown}`
}

/**
 * Reads the configuration from environment variables. An empty variable counts as unset.
 *
 * @param env - Usually `process.env`.
 * @param workingFolder - What a relative `DATA_DIR` is relative to.
 * @throws ConfigError naming every variable that is malformed, what it should be and what it is, in one line.
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
  workingFolder: string = process.cwd(),
): Config {
  const set: Record<string, string> = {}
  for (const name of Object.keys(VARIABLES.shape)) {
    const text = env[name]
    if (text !== undefined && text !== '') set[name] = text
  }
  const parsed = VARIABLES.safeParse(set)
  if (!parsed.success) {
    const first = new Map(
      parsed.error.issues.toReversed().map(issue => [String(issue.path[0]), issue.message]),
    )
    const complaints = [...first]
      .toReversed()
      .map(([name, expected]) => complaint(name, expected, set[name] ?? ''))
    throw new ConfigError(complaints.join('. '))
  }
  const values = parsed.data
  return {
    port: values.PORT,
    host: values.HOST,
    allowedHosts: values.ALLOWED_HOSTS,
    maxConnections: values.MAX_CONNECTIONS,
    rateLimit: values.RATE_LIMIT,
    shedAboveMs: values.SHED_ABOVE_MS,
    trustedProxies: values.TRUSTED_PROXIES,
    logLevel: values.LOG_LEVEL,
    adminToken: values.ADMIN_TOKEN,
    database:
      values.DATABASE_URL === undefined
        ? pglite(values, workingFolder)
        : postgres(values, values.DATABASE_URL),
    cache: values.CACHE === 'on' ? cache(values) : undefined,
    lab: lab(values),
  }
}

type Values = z.output<typeof VARIABLES>

const pglite = (values: Values, workingFolder: string): PGliteConfig => ({
  kind: 'pglite',
  folder: values.DATA_DIR === 'memory' ? undefined : resolve(workingFolder, values.DATA_DIR),
})

const postgres = (values: Values, url: string): PostgresConfig => ({
  kind: 'postgres',
  url,
  poolMax: values.DATABASE_POOL_MAX,
  timeoutMs: values.DATABASE_TIMEOUT_MS,
})

const cache = (values: Values): CacheConfig => ({
  shared: values.REDIS_URL === undefined ? embedded(values) : redis(values, values.REDIS_URL),
  localMaxBytes: values.CACHE_LOCAL_MAX_BYTES,
  feed: values.CACHE_FEED === undefined ? isOutboxOfUse(values) : values.CACHE_FEED === 'outbox',
  fill: values.CACHE_FILL,
  ttlMs: values.CACHE_TTL_MS,
  flushOnStart: values.CACHE_FLUSH_ON_START === 'true',
  writeThrough: values.CACHE_WRITE_THROUGH === 'on',
})

/**
 * In the laboratory, everybody who may use `/admin` can make the database slow and cut the cache off, for all users. So it
 * has to be switched on, except where only this machine reaches Spellbook and nothing else depends on it.
 */
function lab({ LAB, ADMIN_TOKEN, HOST, DATABASE_URL, REDIS_URL, CACHE }: Values): boolean {
  const isOwn =
    DATABASE_URL === undefined && REDIS_URL === undefined && (HOST === 'localhost' || isLoopback(HOST))
  if (LAB === 'on' && CACHE === 'off') throw new ConfigError('LAB must be off where CACHE is off')
  if (LAB === 'on' && !isOwn && ADMIN_TOKEN === undefined)
    throw new ConfigError(
      'LAB must be off, or ADMIN_TOKEN set, where there is a DATABASE_URL, a REDIS_URL or a HOST that others reach',
    )
  return LAB === undefined ? isOwn && CACHE === 'on' : LAB === 'on'
}

const embedded = (values: Values): EmbeddedConfig => ({
  kind: 'embedded',
  policy: values.CACHE_POLICY ?? 's3-fifo',
  maxBytes: values.CACHE_MAX_BYTES,
})

function redis({ CACHE_POLICY: asked }: Values, servers: RedisServers): RedisConfig {
  const policy = SETTABLE.find(name => name === asked)
  if (policy !== asked) {
    throw new ConfigError(complaint('CACHE_POLICY', `one of ${SETTABLE.join(', ')}, on Redis`, String(asked)))
  }
  return { kind: 'redis', ...servers, policy }
}

/**
 * Whether the outbox is of use: everywhere, except where one process has both the database and the cache for itself. A
 * PostgreSQL has other clients: `psql`, other programs, and where each process has a cache of its own the other processes. A
 * Redis outlives its processes, and may come back from a snapshot with values that had been invalidated. An embedded cache on
 * an embedded database needs none, and would pay for the outbox with every write.
 */
const isOutboxOfUse = (values: Values): boolean =>
  values.DATABASE_URL !== undefined || values.REDIS_URL !== undefined

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Adds the variables of the first `.env` file found, in the working folder or else at the root of the repository, to
 * the environment. What the environment has already, even as an empty text, stays as it is.
 *
 * @returns the file's path, or `undefined` where there is none.
 * @throws ConfigError if there is one that cannot be read.
 */
export function loadEnvFile(folders: readonly string[] = [process.cwd(), REPOSITORY]): string | undefined {
  const path = folders.map(folder => join(folder, '.env')).find(candidate => existsSync(candidate))
  if (path === undefined) return undefined
  for (const [name, text] of Object.entries(parseEnv(readEnvFile(path)))) process.env[name] ??= text
  return path
}

/**
 * Some editors of Windows put a byte-order mark before the first variable, which would become a part of its name, or write
 * UTF-16, in which no variable would be found. In both cases the configuration would be ignored without a sign.
 */
function readEnvFile(path: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
    if (!text.includes('\0')) return text
  } catch (error) {
    if (!(error instanceof TypeError))
      throw new ConfigError(`${path} cannot be read: ${(error as Error).message}`)
  }
  throw new ConfigError(`${path} cannot be read: it is not UTF-8`)
}
