import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { gate } from 'cacheaside/testing'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { LOCALHOST_CERTIFICATE, LOCALHOST_KEY } from '../../test/localhost-certificate.ts'
import { createDatabase, sharedPostgresUrl, startPostgres } from '../../test/services.ts'
import { DatabaseAwayError } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { migrate } from '../src/migrations.ts'
import { databaseSuite } from './database-suite.ts'

const open = (
  url: string,
  options: { timeoutMs?: number; poolMax?: number } = {},
  onError = (_: Error) => {},
) => openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000, ...options }, onError)

const suiteUrl = createDatabase(sharedPostgresUrl())
databaseSuite('PostgreSQL', async () => open(await suiteUrl))

const awayFrom = async (promise: Promise<unknown>): Promise<DatabaseAwayError> => {
  const error = await promise.then(
    () => undefined,
    error => error,
  )
  expect(error).toBeInstanceOf(DatabaseAwayError)
  return error as DatabaseAwayError
}

/** An address of the same server that speaks TLS, with a certificate for `localhost`. */
async function encrypting(url: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const gateway = createServer(socket => {
    // https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
    socket.once('data', () => {
      socket.write('S')
      const secrets = { key: LOCALHOST_KEY, cert: LOCALHOST_CERTIFICATE }
      const outer = new TLSSocket(socket, { isServer: true, ...secrets })
      const inner = connect(Number(port), hostname)
      outer.pipe(inner).pipe(outer)
      for (const one of [socket, outer, inner]) one.on('error', () => one.destroy())
      outer.on('close', () => inner.destroy())
    })
  })
  await once(gateway.listen(0, 'localhost'), 'listening')
  onTestFinished(() => void gateway.close())
  const encrypted = new URL(url)
  encrypted.host = `localhost:${(gateway.address() as AddressInfo).port}`
  return encrypted.href
}

describe('openPostgres', () => {
  test('names the server without its password', () => {
    const nameOf = (url: string) => open(url).name
    expect(nameOf('postgres://merlin:hunter2@db.example:6543/spells?sslmode=disable')).toBe(
      'PostgreSQL at db.example:6543/spells',
    )
    const socket = 'PostgreSQL at /run/sockets:6543/spells'
    expect(nameOf('postgres://merlin:hunter2@/spells?host=/run/sockets&port=6543')).toBe(socket)
    expect(nameOf('postgres://merlin:hunter2@%2Frun%2Fsockets:6543/spells')).toBe(socket)
  })

  test.each(['prefer', 'require', 'verify-ca'])(
    'asks for TLS by sslmode=%s, without a warning of pg',
    async mode => {
      const warn = vi.spyOn(process, 'emitWarning')
      onTestFinished(() => warn.mockRestore())
      const database = open(`${sharedPostgresUrl()}?sslmode=${mode}`)
      onTestFinished(() => database.close())
      await expect(database.query('select 1')).rejects.toThrow('The server does not support SSL connections')
      expect(warn).not.toHaveBeenCalled()
    },
  )

  test.each([
    ['whose authority is known', LOCALHOST_CERTIFICATE, undefined],
    ['whose authority is not, and says what to set', undefined, /self.signed.*\(set NODE_EXTRA_CA_CERTS/],
  ])('asks by TLS a server %s', async (_what, authority, problem) => {
    const folder = await mkdtemp(join(tmpdir(), 'spellbook-tls-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const url = new URL(await encrypting(sharedPostgresUrl()))
    url.searchParams.set('sslmode', 'verify-full')
    if (authority !== undefined) {
      await writeFile(join(folder, 'ca.crt'), authority)
      url.searchParams.set('sslrootcert', join(folder, 'ca.crt'))
    }
    const database = open(url.href)
    onTestFinished(() => database.close())
    if (problem === undefined) expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    else expect((await awayFrom(database.query('select 1'))).message).toMatch(problem)
  })

  test('lets the server end a statement, a transaction, and one that sits idle', async () => {
    const database = open(sharedPostgresUrl(), { timeoutMs: 4_321 })
    const rows = await database.query(
      `select name, setting from pg_settings where name in
        ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout') order by name`,
    )
    await database.close()
    expect(rows).toEqual([
      { name: 'idle_in_transaction_session_timeout', setting: '4321' },
      { name: 'statement_timeout', setting: '4321' },
      { name: 'transaction_timeout', setting: '4754' },
    ])
  })

  test('migrate waits a limited time for the lock that any role can hold, and says who has it', async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const [holder, database] = [open(url), open(url, { timeoutMs: 1_000 })]
    const [row] = await holder.query<{ pid: number }>(
      `select pg_backend_pid() as pid from pg_advisory_lock(6483214470552837121)`,
    )
    const error = await awayFrom(migrate(database))
    expect(error.code).toBe('55P03')
    expect(error.message).toContain(`the lock of the migrations: process ${row!.pid} of role postgres`)
    await holder.close()
    expect(await migrate(database)).not.toEqual([])
    await database.close()
  })

  test('query rejects as away when a statement was cut off, and the next one is served', async () => {
    const database = open(sharedPostgresUrl(), { timeoutMs: 1_500, poolMax: 1 })
    const error = await awayFrom(database.query('select pg_sleep(10)'))
    expect(error.code).toBe('57014')
    expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    await database.close()
  })

  test('query rejects as away, with nothing sent, when no connection is free in time', async () => {
    const database = open(sharedPostgresUrl(), { timeoutMs: 1_500, poolMax: 1 })
    const holding = gate()
    const holder = database.transaction(async transaction => {
      for (const name of ['transaction_timeout', 'idle_in_transaction_session_timeout']) {
        await transaction.script(`set local ${name} = 0`)
      }
      await holding.wait()
    })
    await holding.reached
    const error = await awayFrom(database.query('select 1'))
    expect(error.sent).toBe(false)
    holding.open()
    await holder
    await database.close()
  })

  test('query rejects as away, with nothing sent, when nobody listens', async () => {
    const database = open('postgres://u:p@127.0.0.1:1/x')
    const error = await awayFrom(database.query('select 1'))
    expect(error.sent).toBe(false)
    expect(error.message).toContain('ECONNREFUSED')
    await database.close()
  })

  test('close ends what a wrong password could not open', async () => {
    const url = new URL(sharedPostgresUrl())
    url.password = 'wrong'
    const database = open(url.href)
    const error = await awayFrom(database.query('select 1'))
    expect([error.code, error.sent]).toEqual(['28P01', false])
    await database.close()
  })

  test('query gives up on a server that hangs, and finds it again when it goes on', async () => {
    const server = await startPostgres()
    const database = open(server.url, { timeoutMs: 1_500, poolMax: 1 })
    const [backend] = await database.query<{ pid: number }>('select pg_backend_pid() as pid')
    process.kill(backend!.pid, 'SIGSTOP')
    try {
      const error = await awayFrom(database.query('select 1'))
      expect([error.code, error.sent]).toEqual([undefined, true])
      // On a new connection: the one that hangs is not used again.
      expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    } finally {
      process.kill(backend!.pid, 'SIGCONT')
      await database.close()
      await server.stop()
    }
  })

  test('query works again after the server was killed and restarted', async () => {
    const server = await startPostgres()
    const broken: Error[] = []
    const database = open(server.url, {}, error => broken.push(error))
    await Promise.all([database.query('select 1'), database.query('select 1')])
    await server.kill()
    await awayFrom(database.query('select 1'))
    await server.restart()
    expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    expect(broken.length).toBeGreaterThan(0)
    await database.close()
    await server.stop()
  })

  test('transaction rejects as away when its connection is lost, and nothing is left of it', async () => {
    const database = open(await createDatabase(sharedPostgresUrl()))
    await database.query('create table note (text text)')
    const error = await awayFrom(
      database.transaction(async transaction => {
        await transaction.query("insert into note values ('half')")
        const [backend] = await transaction.query<{ pid: number }>('select pg_backend_pid() as pid')
        await database.query('select pg_terminate_backend($1)', [backend!.pid])
        await transaction.query("insert into note values ('other half')")
      }),
    )
    expect(error.code === '57P01' || error.code === undefined).toBe(true)
    expect(await database.query('select * from note')).toEqual([])
    await database.close()
  })
})
