import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EVICTION_POLICIES, type EvictionPolicyName } from 'cacheaside'
import { z } from 'zod'

/** Everything that can be set from outside. `.env.example` describes each variable. */
export interface Config {
  /** 0: any free port. */
  readonly port: number
  readonly host: string
  readonly logLevel: LogLevel
  readonly database: PostgresConfig | PGliteConfig
  /** `undefined`: every read goes to the database. */
  readonly cache: CacheConfig | undefined
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

/** How the cache is made. */
export interface CacheConfig {
  readonly fill: 'background' | 'blocking'
  readonly ttlMs: number
  readonly policy: EvictionPolicyName
  readonly maxBytes: number
  readonly flushOnStart: boolean
  /** Whether an update stores the new row as it releases its guard, instead of leaving it to the next read. */
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

const isPostgresUrl = (text: string): boolean =>
  URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol)

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
    .default('localhost'),
  LOG_LEVEL: oneOf(...LOG_LEVELS).default('info'),
  DATABASE_URL: z.string().refine(isPostgresUrl, { error: POSTGRES_URL }).optional(),
  DATABASE_POOL_MAX: whole(1, 1_000).default(10),
  DATABASE_TIMEOUT_MS: whole(100, MAX_DATABASE_TIMEOUT_MS).default(5_000),
  DATA_DIR: z.string().default('data/pglite'),
  REDIS_URL: z
    .undefined({ error: 'left empty: Redis is not supported yet, the shared store is embedded' })
    .optional(),
  CACHE: oneOf('on', 'off').default('on'),
  CACHE_FILL: oneOf('background', 'blocking').default('background'),
  CACHE_TTL_MS: whole(1, YEAR_MS).default(600_000),
  CACHE_POLICY: oneOf(...EVICTION_POLICIES).default('s3-fifo'),
  CACHE_MAX_BYTES: whole(65_536, 2 ** 40).default(64 * 2 ** 20),
  CACHE_FLUSH_ON_START: oneOf('true', 'false').default('false'),
  CACHE_WRITE_THROUGH: oneOf('on', 'off').default('off'),
})

/** Variables whose text must not be shown, because it may hold a password. */
const SECRET = new Set(['DATABASE_URL', 'REDIS_URL'])

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
    logLevel: values.LOG_LEVEL,
    database:
      values.DATABASE_URL === undefined
        ? pglite(values, workingFolder)
        : postgres(values, values.DATABASE_URL),
    cache: values.CACHE === 'on' ? cache(values) : undefined,
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
  fill: values.CACHE_FILL,
  ttlMs: values.CACHE_TTL_MS,
  policy: values.CACHE_POLICY,
  maxBytes: values.CACHE_MAX_BYTES,
  flushOnStart: values.CACHE_FLUSH_ON_START === 'true',
  writeThrough: values.CACHE_WRITE_THROUGH === 'on',
})

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
  try {
    process.loadEnvFile(path)
  } catch (error) {
    throw new ConfigError(`${path} cannot be read: ${(error as Error).message}`)
  }
  return path
}
