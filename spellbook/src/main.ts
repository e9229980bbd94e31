import type { AddressInfo } from 'node:net'
import type { SharedStore } from 'cacheaside'
import type { FastifyInstance } from 'fastify'
import { type Logger, pino } from 'pino'
import { createApp, type Service } from './app.ts'
import { type CacheConfig, type Config, ConfigError, loadEnvFile, readConfig } from './config.ts'
import type { Database } from './database/database.ts'
import { openPGlite } from './database/pglite.ts'
import { openPostgres } from './database/postgres.ts'
import { explainFailure } from './explain-failure.ts'
import { addressesOf } from './http/connections.ts'
import { connectionsFor } from './http/descriptors.ts'
import { isForThisMachine, servedHosts } from './http/hosts.ts'
import { loadLimitsFor } from './http/load-limits.ts'
import { logLines, terminalOf } from './http/log-lines.ts'
import { Laboratory } from './laboratory/laboratory.ts'
import { pausableFeed } from './laboratory/switches.ts'
import { processMetrics } from './metrics-route.ts'
import { installChangeFeed, migrate } from './migrations.ts'
import { nameOfRedis } from './redis-url.ts'
import { openServing, type Serving, serveUncached } from './serving.ts'
import { openSharedStore } from './shared-store.ts'

/**
 * The program: the port, the database, its schema, the cache; and on SIGINT or SIGTERM the same backwards.
 *
 * The port comes first, and answers 503 until the rest is there. If it is taken, a Spellbook probably runs already: then the
 * program says so before it touches any data.
 */

/** How long a shutdown may take, in-flight requests included. */
const SHUTDOWN_MS = 10_000
/** Ctrl-C reaches this process more than once when `npm` runs it, because npm passes on what the terminal sent anyway. */
const SAME_SIGNAL_MS = 1_000
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 }

/** What has been opened so far. */
interface Opened {
  app?: FastifyInstance
  database?: Database
  shared?: SharedStore
  serving?: Pick<Serving, 'close'>
}

/** Stops half-way, and throws, if the signal aborts. */
async function open(config: Config, log: Logger, opened: Opened, signal: AbortSignal): Promise<void> {
  const began = performance.now()
  let service: (() => Service) | undefined
  const [host, ...alsoAt] = await addressesOf(config.host)
  const hosts = await servedHosts(config)
  const limits = { maxConnections: connectionsFor(config) }
  const app = await createApp({
    log,
    service: () => service?.(),
    alsoAt,
    limits,
    load: loadLimitsFor(config, await isForThisMachine(config.host)),
    trustedProxies: config.trustedProxies,
    ...(hosts === undefined ? {} : { hosts }),
    ...(config.adminToken === undefined ? {} : { adminToken: config.adminToken }),
  })
  opened.app = app
  await app.listen({ port: config.port, host, listenTextResolver: () => 'the port is ours' })
  signal.throwIfAborted()
  const database = await openDatabase(config.database, log, signal)
  opened.database = database
  signal.throwIfAborted()
  for (const name of await migrate(database)) log.info(`ran migration ${name}`)
  tellOfOwnCache(config, log)
  signal.throwIfAborted()
  // At most half of the connections are for viewers: the others are for requests that end.
  const maxViewers = Math.floor(limits.maxConnections / 2)
  service = await serviceOf({ config, database, log, maxViewers }, opened)
  const url = urlOf(app, config.host)
  const ms = Math.round(performance.now() - began)
  const cache = config.cache === undefined ? 'off' : presentable(config.cache)
  log.info({ url, database: database.name, cache, ms }, `Spellbook is ready at ${url}`)
}

const openDatabase = async (
  config: Config['database'],
  log: Logger,
  signal: AbortSignal,
): Promise<Database> =>
  config.kind === 'pglite'
    ? openPGlite(config, signal, undefined, error =>
        log.warn({ err: error }, 'the embedded database has broken, and is opened again'),
      )
    : openPostgres(
        config,
        error => log.warn({ err: error }, 'an idle connection to the database broke'),
        () =>
          log.info(
            'a pooler stands before the database: time limits are set in each transaction, and no statement is prepared by name',
          ),
      )

/** The service on this database. With a laboratory each call may give another one. */
async function serviceOf(
  {
    config,
    database,
    log,
    maxViewers,
  }: {
    readonly config: Config
    readonly database: Database
    readonly log: Logger
    readonly maxViewers: number
  },
  opened: Opened,
): Promise<() => Service> {
  const ping = () => database.query('select 1')
  const ofProcess = processMetrics()
  if (config.cache === undefined) {
    const serving = serveUncached(database, ofProcess)
    opened.serving = serving
    return () => ({ ...serving, ping })
  }
  if (config.cache.feed) await installChangeFeed(database)
  const shared = await openSharedStore(config.cache.shared, log)
  opened.shared = shared
  const parts = { log, processMetrics: ofProcess, maxViewers }
  if (!config.lab) {
    const serving = await openServing({ ...parts, database, shared, config: config.cache })
    opened.serving = serving
    return () => ({ ...serving, ping })
  }
  const laboratory = await Laboratory.open({
    database,
    shared,
    config: config.cache,
    open: (served, switches) =>
      openServing({ ...parts, ...served, feedThrough: feed => pausableFeed(feed, switches) }),
  })
  opened.serving = laboratory
  return () => ({ ...laboratory.serving, ping, laboratory })
}

/** Others may write to the same database, and only a common Redis tells at once. */
function tellOfOwnCache({ database, cache }: Config, log: Logger): void {
  if (database.kind !== 'postgres' || cache?.shared.kind !== 'embedded') return
  const when = cache.feed
    ? 'by the change feed, some 250 ms later'
    : 'when what is cached expires, because CACHE_FEED is off'
  log.info(`without a REDIS_URL this process has a cache of its own: it sees what others write ${when}`)
}

/** The cache's configuration without what may be a secret. */
const presentable = (config: CacheConfig) =>
  config.shared.kind === 'redis' ? { ...config, shared: nameOfRedis(config.shared) } : config

/** Ends in-flight requests first, then what they use. */
async function close({ app, serving, shared, database }: Opened): Promise<void> {
  await app?.close()
  await serving?.close()
  await shared?.close()
  await database?.close()
}

function urlOf(app: FastifyInstance, host: string): string {
  const { port } = app.server.address() as AddressInfo
  const everywhere = host === '0.0.0.0' || host === '::'
  return `http://${everywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host}:${port}`
}

/**
 * Only harmless fields: the errors of a driver hold the failed command, which may be the login. The message is the error's
 * own: Pino's adds those of the causes, which our messages contain already.
 */
function presentableError(error: Error): object {
  const { type, stack, code } = pino.stdSerializers.err(error) as pino.SerializedError & {
    code?: unknown
  }
  return { type, message: error.message, stack, code }
}

function exitWith(error: unknown, config?: Config): never {
  process.stderr.write(`spellbook: ${explainFailure(error, config)}\n`)
  process.exit(1)
}

function configure(): Config {
  try {
    loadEnvFile()
    return readConfig(process.env)
  } catch (error) {
    if (error instanceof ConfigError) exitWith(error)
    throw error
  }
}

/** Calls `stop` at the first signal; at another one exits at once. */
function onSignals(stop: (signal: string) => void): void {
  let firstMs: number | undefined
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (firstMs === undefined) {
        firstMs = performance.now()
        stop(signal)
      } else if (performance.now() - firstMs > SAME_SIGNAL_MS) {
        process.exit(EXIT_CODES[signal])
      }
    })
  }
}

const config = configure()
const log = pino(
  { level: config.logLevel, base: { pid: process.pid }, serializers: { err: presentableError } },
  logLines(terminalOf(process.stdout, process.env)),
)
const opened: Opened = {}
const stopped = new AbortController()

const opening = open(config, log, opened, stopped.signal).catch(async error => {
  if (stopped.signal.aborted) return
  await Promise.race([close(opened).catch(() => {}), later(SHUTDOWN_MS)])
  exitWith(error, config)
})

onSignals(async signal => {
  log.info(`${signal}: closing`)
  stopped.abort()
  const closed = opening
    .then(() => close(opened))
    .then(
      () => 0,
      error => {
        log.error({ err: error }, 'closing failed')
        return 1
      },
    )
  const code = await Promise.race([closed, later(SHUTDOWN_MS).then(() => undefined)])
  if (code === undefined) log.error(`gave up on what did not end within ${SHUTDOWN_MS} ms`)
  else log.info('closed')
  process.exit(code ?? 1)
})

/** A timer that keeps the process alive: the shutdown may wait for timers that do not. */
function later(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
