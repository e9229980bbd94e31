import { readFileSync } from 'node:fs'
import type { CacheEvent } from 'cacheaside'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { pino } from 'pino'
import { createApp } from '../src/app.ts'
import type { CacheConfig } from '../src/config.ts'
import type { Database } from '../src/database/database.ts'
import { openSharedStore } from '../src/shared-store.ts'
import { cachedSpells, type Spells, uncachedSpells, type Written } from '../src/spells.ts'

/** A line of the log. */
export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly [name: string]: unknown
}

/** Spellbook in this process, without a port. */
export interface Harness {
  readonly app: FastifyInstance
  readonly spells: Spells
  readonly log: LogLine[]
  ask(method: InjectOptions['method'], url: string, body?: unknown): Promise<LightMyRequestResponse>
  close(): Promise<void>
}

/** Blocking, so that a test that reads twice need not wait for the first read to be kept. */
export const CACHE: CacheConfig = {
  shared: { kind: 'embedded', policy: 's3-fifo', maxBytes: 2 ** 20 },
  localMaxBytes: undefined,
  feed: false,
  fill: 'blocking',
  ttlMs: 600_000,
  flushOnStart: false,
  writeThrough: false,
}

/** What a stand-in for the spells answers a change with. */
export const written = <T>(value: T): Written<T> => ({
  value,
  invalidation: 'off',
  timings: { totalMs: 0, sharedMs: 0, loadMs: 0 },
})

/** The spells behind a cache, whose shared store is closed with it. */
export async function openSpells(
  database: Database,
  config: CacheConfig = CACHE,
  onEvent?: (event: CacheEvent) => void,
): Promise<Spells> {
  const shared = await openSharedStore(config.shared, pino({ level: 'silent' }))
  let hear = () => {}
  const proven = new Promise<void>(resolve => {
    hear = resolve
  })
  const spells = await cachedSpells(database, shared, config, event => {
    if (event.type === 'stream' && event.state === 'proven') hear()
    onEvent?.(event)
  })
  // What is read before the first proof that messages arrive may not be kept.
  if (!shared.synchronous) await proven
  return { ...spells, close: () => spells.close().then(() => shared.close()) }
}

/** Serves a database, which it does not close. */
export async function serve(database: Database, cache: CacheConfig = CACHE): Promise<Harness> {
  return serveSpells(await openSpells(database, cache), database)
}

/** Serves a database without a cache. */
export const serveUncached = (database: Database): Promise<Harness> =>
  serveSpells(uncachedSpells(database), database)

async function serveSpells(spells: Spells, database: Database): Promise<Harness> {
  const log: LogLine[] = []
  const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) })
  const app = await createApp({
    log: logger,
    service: () => ({ spells, ping: () => database.query('select 1') }),
  })
  return {
    app,
    spells,
    log,
    ask: (method, url, body) =>
      app.inject({ method: method!, url, ...(body === undefined ? {} : { payload: body as object }) }),
    async close() {
      await app.close()
      await spells.close()
    },
  }
}

const EIGHT_SPELLS = readFileSync(new URL('../migrations/002-eight-spells.sql', import.meta.url), 'utf8')

/** Puts the eight spells back, and the sequence behind them. */
export async function reset(database: Database): Promise<void> {
  await database.transaction(async transaction => {
    await transaction.script('truncate spell, wizard, wizard_spell restart identity')
    await transaction.script(EIGHT_SPELLS)
  })
}
