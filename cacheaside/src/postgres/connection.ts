/** A row of a script's result: every statement here asks for texts only, which no driver interprets. */
export type Texts = Readonly<Record<string, string | null>>

/** The origin, as a session uses it. */
export interface Connection {
  /**
   * Runs a script in one round trip, as one transaction, and answers with all its rows. If it rejects, the connection
   * is not to be used again.
   */
  run(script: string): Promise<readonly Texts[]>
  /** The same for a script that begins a transaction, or goes on in one. */
  runWithin(script: string): Promise<readonly Texts[]>
  /** Whether other sessions use the database. Then rows have to be locked, and this session can be lost by itself. */
  readonly isShared: boolean
  /**
   * From now on the connection does not keep the process alive, as the library's timers do not. Before, the process waits for
   * scripts that are under way, and so can wait for the end of the pool.
   */
  unref(): void
  /** Gives it back. Nothing is under way. */
  close(): void
  /** Ends it at once, also with a script under way. */
  abandon(): void
}

/** Opens a connection. `lost` is called if it breaks before it was given back or ended. */
export type Connect = (lost: (error: unknown) => void) => Promise<Connection>

/** The part of a `pg` pool that the feed uses. */
export interface PgPool {
  /** Hands out a client; to the callback, if it takes one. */
  connect(
    callback?: (error: Error | undefined, client: PgPoolClient | undefined) => void,
  ): Promise<PgPoolClient> | undefined
  /** Whether `end()` was called: it waits for every client to be given back. */
  readonly ending?: boolean
}

/** The part of a `pg` pool's client that the feed uses. */
export interface PgPoolClient {
  query(text: string): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  removeListener(event: 'error', listener: (error: Error) => void): unknown
  release(destroy?: boolean): void
  /** Whether its connection keeps the process alive. */
  ref?(): void
  unref?(): void
}

/** The part of a PGlite that the feed uses. */
export interface PGliteDatabase {
  exec(script: string): Promise<unknown>
}

const ignore = () => {}

/**
 * Ends each script of a session: its commit waits for no disk and no standby. A relay that waits for a synchronous standby that
 * has gone is lost, while writers whose wait is cancelled commit. What a crash or a failover takes back of a relay's work is
 * done again. It comes last, because the session reads what is set for writers.
 */
const COMMIT_AT_ONCE = 'SET LOCAL synchronous_commit = off'

/**
 * Set for every role. A serializable relay would lose its session because of serializable writers, and they would lose their
 * transactions because of the relay.
 *
 * @internal
 */
export const READ_COMMITTED = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; '

/**
 * One client of a pool, kept for as long as the session lasts: a pool that is busy must not keep changes waiting, and a
 * connection that is held notices when the server goes.
 */
export function poolConnect(pool: PgPool): Connect {
  return async lost => {
    const client = await handedOut(pool)
    client.on('error', lost)
    let isHeld = true
    const release = (destroy: boolean) => {
      if (!isHeld) return
      isHeld = false
      client.removeListener('error', lost)
      if (!destroy) client.removeListener('error', ignore)
      client.ref?.()
      client.release(destroy)
    }
    const runWithin = async (script: string) => {
      // A program that ends its pool before its cache would wait for this client, which waits for the cache to be closed.
      if (pool.ending) throw new Error('the pool was ended')
      return rowsOf(await client.query(script))
    }
    return {
      isShared: true,
      run: script => runWithin(`${READ_COMMITTED}${script};\n${COMMIT_AT_ONCE}`),
      runWithin,
      unref: () => client.unref?.(),
      close: () => release(false),
      abandon: () => release(true),
    }
  }
}

/**
 * Takes a client of a pool for a while. If it breaks meanwhile, its queries reject.
 *
 * @returns the client, and a function that gives it back or ends it.
 */
export async function borrowed(
  pool: PgPool,
): Promise<{ readonly client: PgPoolClient; readonly giveBack: (destroy: boolean) => void }> {
  const client = await handedOut(pool)
  const giveBack = (destroy: boolean) => {
    if (!destroy) client.removeListener('error', ignore)
    client.release(destroy)
  }
  return { client, giveBack }
}

/**
 * A client with an `error` listener, which stays after the client was destroyed: the client may break at any time, and
 * without a listener that ends the process. A promise would be too late: 1. a server says that the session is ready, and ends
 * it; 2. both arrive together, and the client is handed out for the one and breaks for the other; 3. the caller that awaits
 * it comes after that.
 */
function handedOut(pool: PgPool): Promise<PgPoolClient> {
  return new Promise((resolve, reject) => {
    const take = (client: PgPoolClient) => {
      client.on('error', ignore)
      resolve(client)
    }
    const promised = pool.connect((error, client) => {
      if (client === undefined) reject(error)
      else take(client)
    })
    promised?.then(take, reject)
  })
}

/** PGlite has one session, in this process, which is not lost as long as the process lives. */
export function pgliteConnect(pglite: PGliteDatabase): Connect {
  const run = async (script: string) => rowsOf(await pglite.exec(script))
  return async () => ({
    isShared: false,
    run,
    runWithin: run,
    unref: ignore,
    close: ignore,
    abandon: ignore,
  })
}

/** For several statements both drivers return an array of results. For a single one `pg` returns the result itself. */
function rowsOf(results: unknown): readonly Texts[] {
  return [results].flat().flatMap(result => (result as { rows: Texts[] }).rows)
}
