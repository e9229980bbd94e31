import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { makeEmptyFolder } from '../../test/pglite.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import type { Spell } from '../src/api.ts'
import { endPrograms, endsInOrder, type Program, REPOSITORY, type Start, startProgram } from './program.ts'

const root = mkdtempSync(join(tmpdir(), 'spellbook-program-'))
let folders = 0
const newFolder = () => join(root, String(folders++))
/** One with an empty database: to make it takes three times as long as all the rest of a start. */
const emptyFolder = async () => {
  const folder = newFolder()
  await makeEmptyFolder(folder)
  return folder
}
afterEach(endPrograms)
afterAll(() => rmSync(root, { recursive: true, force: true }))

const get = async <T>(url: string) => (await (await fetch(url)).json()) as T
const post = (url: string, body: object) =>
  fetch(url, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
const names = async (url: string) => (await get<Spell[]>(`${url}/spells`)).map(spell => spell.name)

/** The status of an answer to a request that names this host, as a page of another site has a browser send it. */
const statusFor = (url: string, host: string) =>
  new Promise<number | undefined>((resolve, reject) => {
    const asking = request(`${url}/spells`, { headers: { host } }, response => {
      response.resume().on('end', () => resolve(response.statusCode))
    })
    asking.on('error', reject).end()
  })

/** It ends by itself, with the code 1, and says one line about why. */
async function refusal(program: Program): Promise<string> {
  expect(await program.exit).toEqual({ code: 1, signal: null })
  expect(program.said()).toMatch(/^spellbook: [^\n]+\n$/)
  return program.said().slice('spellbook: '.length).trim()
}

describe('npm start', () => {
  test('serves, ends with 0 on SIGTERM, and finds its data when it is started again', async () => {
    const env = { DATA_DIR: newFolder() }
    const first = startProgram({ npm: true, env })
    const { url, pid } = await first.ready()
    expect(url).toMatch(/^http:\/\/localhost:\d+$/)
    expect(await names(url)).toHaveLength(8)
    expect(await statusFor(url, 'evil.example')).toBe(421)
    expect(await statusFor(url, 'localhost:1')).toBe(200)
    const created = await post(`${url}/spells`, { name: 'Frost Nova', damage: 28 })
    expect([created.status, created.headers.get('location')]).toEqual([201, '/spells/9'])
    expect((await fetch(`${url}/spells/3`, { method: 'DELETE' })).status).toBe(204)
    await endsInOrder(first, () => process.kill(pid, 'SIGTERM'))

    const second = startProgram({ npm: true, env })
    const again = await second.ready()
    const spells = await get<Spell[]>(`${again.url}/spells`)
    expect(spells.map(spell => spell.id)).toEqual([1, 2, 4, 5, 6, 7, 8, 9])
    expect(spells.at(-1)?.name).toBe('Frost Nova')
  })
})

describe('the data folder', () => {
  test('is one process’s, survives kill -9, and another start changes nothing', async () => {
    const env = { DATA_DIR: await emptyFolder() }
    const first = startProgram({ env })
    const { url, pid } = await first.ready()
    await post(`${url}/spells`, { name: 'Frost Nova', damage: 28 })

    const second = startProgram({ env })
    expect(await refusal(second)).toBe(`the data folder ${env.DATA_DIR} is in use by another process`)
    await post(`${url}/spells`, { name: 'Spark', damage: 1 })
    expect(await names(url)).toHaveLength(10)

    process.kill(pid, 'SIGKILL')
    expect(await first.exit).toEqual({ code: null, signal: 'SIGKILL' })
    const third = startProgram({ env })
    const again = await third.ready()
    expect((await names(again.url)).slice(8)).toEqual(['Frost Nova', 'Spark'])
  })

  test.each([
    ['as soon as it was there', (folder: string) => existsSync(folder), false],
    [
      'before the database was begun',
      (folder: string) => existsSync(join(folder, '.spellbook', 'unfinished')),
      true,
    ],
    ['in the middle of it', (folder: string) => existsSync(join(folder, 'PG_VERSION')), true],
  ])('serves after a first start that was killed %s', async (_when, reached, isUnfinished) => {
    const env = { DATA_DIR: newFolder() }
    const first = startProgram({ env, after: 'endless-first-start.ts' })
    await vi.waitFor(() => expect(reached(env.DATA_DIR)).toBe(true), { ...PATIENCE, interval: 1 })
    first.process.kill('SIGKILL')
    expect(await first.exit).toEqual({ code: null, signal: 'SIGKILL' })
    if (isUnfinished) expect(readdirSync(join(env.DATA_DIR, '.spellbook'))).toContain('unfinished')
    const second = startProgram({ env })
    expect(await names((await second.ready()).url)).toHaveLength(8)
  })

  test('serves after a first start that was killed between its migrations', async () => {
    const env = { DATA_DIR: await emptyFolder() }
    const first = startProgram({ env })
    await first.logged('ran migration 001')
    first.process.kill('SIGKILL')
    await first.exit
    const second = startProgram({ env })
    expect(await names((await second.ready()).url)).toHaveLength(8)
  })

  test('is not waited for when a SIGTERM comes during its first start, and is begun again by the next', async () => {
    const env = { DATA_DIR: newFolder() }
    // However long it takes: here for ever.
    const first = startProgram({ env, after: 'endless-first-start.ts' })
    await first.logged('the port is ours')
    await vi.waitFor(() => expect(existsSync(join(env.DATA_DIR, 'PG_VERSION'))).toBe(true), {
      ...PATIENCE,
      interval: 1,
    })
    await endsInOrder(first, () => first.process.kill('SIGTERM'))
    const second = startProgram({ env })
    expect(await names((await second.ready()).url)).toHaveLength(8)
    await endsInOrder(second, () => second.process.kill('SIGTERM'))
    const third = startProgram({ env })
    expect(await names((await third.ready()).url)).toHaveLength(8)
    expect(third.log.filter(line => line.msg.startsWith('ran migration'))).toEqual([])
  })

  test('serves after a SIGTERM that came at the very beginning of the first start', async () => {
    const env = { DATA_DIR: newFolder() }
    const first = startProgram({ env })
    await first.logged('the port is ours')
    await endsInOrder(first, () => first.process.kill('SIGTERM'))
    const second = startProgram({ env })
    expect(await names((await second.ready()).url)).toHaveLength(8)
  })

  test('may be relative, to the folder that Spellbook is started in, and may be set in its .env', async () => {
    const cwd = newFolder()
    await makeEmptyFolder(join(cwd, 'here'))
    writeFileSync(join(cwd, '.env'), 'DATA_DIR=here\nLOG_LEVEL=fatal\nHOST=nowhere.invalid\n')
    const program = startProgram({ cwd, env: { LOG_LEVEL: 'info', HOST: '' } })
    const line = await program.logged('Spellbook is ready')
    expect(line.database).toBe(`PGlite in ${join(cwd, 'here')}`)
  })
})

describe('a start', () => {
  const listening: Server[] = []
  afterEach(() => {
    for (const server of listening.splice(0)) server.close()
  })
  const listen = async (onConnection: () => void = () => {}): Promise<number> => {
    const server = createServer(onConnection)
    listening.push(server)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }

  test('is refused if the port is in use, before the data folder is touched', async () => {
    const port = await listen()
    const env = { PORT: String(port), HOST: '127.0.0.1', DATA_DIR: newFolder() }
    expect(await refusal(startProgram({ env }))).toBe(
      `port ${port} of 127.0.0.1 is in use by another program`,
    )
    expect(existsSync(env.DATA_DIR)).toBe(false)
  })

  test.each([
    [{ PORT: '80a' }, 'PORT must be a whole number from 0 to 65535 (0: any free port); it is "80a"'],
    [
      { REDIS_URL: 'redis:/:hunter2@localhost' },
      'REDIS_URL must be a URL such as redis://user:password@host:6379/0 (rediss: for TLS), or redis://host:7000,host:7001 for a Cluster; it is something else (not shown: it may hold a password)',
    ],
    [
      { DATABASE_URL: 'mysql://root:hunter2@localhost/x' },
      'DATABASE_URL must be a URL such as postgres://user:password@host:5432/database; it is something else (not shown: it may hold a password)',
    ],
    // An address for documents, of no machine.
    [{ HOST: '203.0.113.7' }, 'HOST is 203.0.113.7, which is no address of this machine'],
  ])('is refused for %o', async (env, line) => {
    expect(await refusal(startProgram({ env }))).toBe(line)
  })

  test('is refused if nobody listens at DATABASE_URL', async () => {
    const line = await refusal(startProgram({ env: { DATABASE_URL: 'postgres://u:hunter2@127.0.0.1:1/x' } }))
    expect(line).toBe('the database does not answer: connect ECONNREFUSED 127.0.0.1:1')
  })

  test('is refused, in bounded time, if the server at DATABASE_URL never answers', async () => {
    const port = await listen()
    const url = `postgres://u:hunter2@127.0.0.1:${port}/x`
    const line = await refusal(startProgram({ env: { DATABASE_URL: url, DATABASE_TIMEOUT_MS: '300' } }))
    expect(line).toMatch(/^the database does not answer: .*timeout/)
  })

  test('is refused if the password is wrong, without showing it', async () => {
    const url = new URL(sharedPostgresUrl())
    url.password = 'hunter2'
    const line = await refusal(startProgram({ env: { DATABASE_URL: url.href } }))
    expect(line).toContain('password authentication failed')
    expect(line).not.toContain('hunter2')
  })

  test('of several processes at once on one empty database makes eight spells, and the next is the ninth', async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const programs = Array.from({ length: 4 }, () => startProgram({ env: { DATABASE_URL: url } }))
    const addresses = await Promise.all(programs.map(program => program.ready()))
    for (const { url } of addresses) {
      const spells = await get<Spell[]>(`${url}/spells`)
      expect(spells.map(spell => spell.id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    }
    expect(
      programs.flatMap(program => program.log).filter(line => line.msg.startsWith('ran migration')),
    ).toHaveLength(3)
    expect(
      (await post(`${addresses[0]!.url}/spells`, { name: 'Spark', damage: 1 })).headers.get('location'),
    ).toBe('/spells/9')
    const secret = new URL(url).password
    expect(JSON.stringify(programs.map(program => [program.log, program.said()]))).not.toContain(secret)
  })
})

describe('the log', () => {
  test('is written line by line, up to the last one before the exit', async () => {
    const program = startProgram({
      env: { DATABASE_URL: await createDatabase(sharedPostgresUrl()) },
      after: 'late-writes.ts',
    })
    const { pid } = await program.ready()
    await endsInOrder(program, () => process.kill(pid, 'SIGTERM'))
  })
})

describe('a shutdown', () => {
  /** Spellbook with a request under way that cannot end before `release` is called. */
  async function withSlowRequest(how: Start = {}) {
    const database = await createDatabase(sharedPostgresUrl())
    const program = startProgram({ ...how, env: { DATABASE_URL: database } })
    const { url, pid } = await program.ready()
    const holder = new pg.Client({ connectionString: database })
    await holder.connect()
    await holder.query('begin; select * from spell where id = 1 for update')
    const agent = new Agent({ keepAlive: true })
    const answer = new Promise<{ status: number | undefined; connection: string | undefined }>(
      (resolve, reject) => {
        const sending = request(
          `${url}/spells/1`,
          { method: 'PUT', agent, headers: { 'content-type': 'application/json' } },
          response => {
            response
              .resume()
              .on('end', () =>
                resolve({ status: response.statusCode, connection: response.headers.connection }),
              )
          },
        )
        sending.on('error', reject).end('{"damage":31}')
      },
    )
    await vi.waitFor(async () => {
      const { rows } = await holder.query(`select 1 from pg_stat_activity where wait_event_type = 'Lock'
        and datname = current_database()`)
      expect(rows).toHaveLength(1)
    }, PATIENCE)
    return { program, pid, url, holder, agent, answer }
  }

  test('lets requests that are under way finish, closes kept connections, and takes no new ones', async () => {
    const { program, pid, url, holder, agent, answer } = await withSlowRequest()
    process.kill(pid, 'SIGTERM')
    await program.logged('SIGTERM')
    await vi.waitFor(() => expect(fetch(`${url}/health/live`)).rejects.toThrow(), PATIENCE)
    await holder.query('commit')
    await holder.end()
    expect(await answer).toEqual({ status: 200, connection: 'close' })
    expect(await program.exit).toEqual({ code: 0, signal: null })
    agent.destroy()
  })

  test.each([
    ['a Ctrl-C, of which npm passes on what came from the terminal anyway', 'SIGINT', -1],
    ['a SIGTERM that only npm was sent', 'SIGTERM', 1],
  ] as const)('lets them finish after %s', async (_what, signal, whom) => {
    const { program, holder, agent, answer } = await withSlowRequest({
      npm: true,
      cwd: join(REPOSITORY, 'spellbook'),
    })
    // A negative id is that of the process group.
    process.kill(whom * program.process.pid!, signal)
    await program.logged(signal)
    await holder.query('select pg_sleep(0.2); commit')
    await holder.end()
    expect((await answer).status).toBe(200)
    await endsInOrder(program, () => {})
    agent.destroy()
  })

  test('takes two signals in quick succession for one', async () => {
    const { program, pid, holder, agent, answer } = await withSlowRequest()
    process.kill(pid, 'SIGTERM')
    await program.logged('SIGTERM')
    process.kill(pid, 'SIGTERM')
    await holder.query('select pg_sleep(0.2); commit')
    await holder.end()
    expect((await answer).status).toBe(200)
    expect(await program.exit).toEqual({ code: 0, signal: null })
    agent.destroy()
  })

  test.each([
    ['never sends anything', ''],
    ['stops in the middle of a head', 'GET /spells HTTP/1.1\r\nho'],
    [
      'stops in the middle of a body',
      'POST /spells HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"na',
    ],
  ])('does not wait for a connection that %s', async (_what, sent) => {
    const program = startProgram({ env: { DATABASE_URL: await createDatabase(sharedPostgresUrl()) } })
    const { url, pid } = await program.ready()
    const socket = connect(Number(new URL(url).port), 'localhost')
    const ended = new Promise(resolve => socket.on('close', resolve).on('error', () => {}))
    await once(socket, 'connect')
    if (sent !== '') socket.write(sent)
    // Its turn comes after ours: what was sent has been seen when this is answered.
    await get(`${url}/health/live`)
    await endsInOrder(program, () => process.kill(pid, 'SIGTERM'))
    await ended
  })

  test('is cut short by a second signal', async () => {
    const { program, pid, holder, agent, answer } = await withSlowRequest()
    const broken = expect(answer).rejects.toThrow()
    const again = setInterval(() => process.kill(pid, 'SIGTERM'), 50)
    const exit = await program.exit
    clearInterval(again)
    expect(exit).toEqual({ code: 143, signal: null })
    await broken
    await holder.end()
    agent.destroy()
  })
})
