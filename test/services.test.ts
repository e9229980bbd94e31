import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from './patience.ts'
import { createDatabase, nativeFolder, sharedPostgresUrl, startPostgres, usableBinaries } from './services.ts'

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  // A server that goes away under an idle client is what some of these tests are about.
  client.on('error', () => {})
  onTestFinished(() => client.end())
  await client.connect()
  return client
}

const runs = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('sharedPostgresUrl', () => {
  test('createDatabase gives each caller a database that the others do not see', async () => {
    const [first, second] = await Promise.all([
      createDatabase(sharedPostgresUrl()).then(connect),
      createDatabase(sharedPostgresUrl()).then(connect),
    ])
    await first.query('CREATE TABLE spell (id int)')
    const { rows } = await second.query(`SELECT to_regclass('spell') AS found`)
    expect(rows).toEqual([{ found: null }])
  })

  test('two sessions that skip locked rows take different ones', async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const [first, second] = [await connect(url), await connect(url)]
    await first.query('CREATE TABLE outbox AS SELECT generate_series(1, 2) AS id')
    const take = 'SELECT id FROM outbox ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED'
    await first.query('BEGIN')
    await second.query('BEGIN')
    expect((await first.query(take)).rows).toEqual([{ id: 1 }])
    expect((await second.query(take)).rows).toEqual([{ id: 2 }])
    expect((await second.query(`${take.replace('LIMIT 1', 'LIMIT 9')}`)).rows).toEqual([{ id: 2 }])
  })

  test('a client without the password is refused', async () => {
    const url = new URL(sharedPostgresUrl())
    url.password = 'guessed'
    await expect(connect(url.href)).rejects.toMatchObject({ code: '28P01' })
  })
})

describe('startPostgres', () => {
  test('stop leaves no process, no folder and no open port', async () => {
    const server = await startPostgres()
    const { rows } = await (await connect(server.url)).query('SELECT pg_backend_pid() AS pid')
    expect(runs(server.pid)).toBe(true)
    expect(runs(rows[0].pid)).toBe(true)
    await server.stop()
    await server.stop()
    expect(runs(server.pid)).toBe(false)
    expect(existsSync(dirname(server.dataDir))).toBe(false)
    await vi.waitUntil(() => !runs(rows[0].pid), PATIENCE)
    await expect(connect(server.url)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('restart brings back committed rows after a kill, on the same address', async () => {
    const server = await startPostgres()
    onTestFinished(server.stop)
    const before = await connect(server.url)
    await before.query('CREATE TABLE spell AS SELECT 4 AS id')
    const pid = server.pid
    await server.kill()
    expect(runs(pid)).toBe(false)
    await expect(before.query('SELECT 1')).rejects.toThrow()
    await server.restart()
    expect(server.pid).not.toBe(pid)
    expect((await (await connect(server.url)).query('SELECT id FROM spell')).rows).toEqual([{ id: 4 }])
  })

  test('stop removes the folder of a server that was killed before', async () => {
    const server = await startPostgres()
    await server.kill('SIGKILL')
    expect(existsSync(join(server.dataDir, 'postmaster.pid'))).toBe(true)
    await server.stop()
    expect(existsSync(dirname(server.dataDir))).toBe(false)
  })

  test('stop ends a server that a test has suspended', async () => {
    const server = await startPostgres()
    process.kill(server.pid, 'SIGSTOP')
    await server.stop()
    expect(runs(server.pid)).toBe(false)
    expect(existsSync(server.dataDir)).toBe(false)
  })

  test('a server does not outlive the process that started it, even if that is killed', async () => {
    const program = `
      import { startPostgres } from ${JSON.stringify(import.meta.resolve('./services.ts'))}
      const { pid, dataDir } = await startPostgres()
      process.stdout.write(JSON.stringify({ pid, dataDir }))
      await new Promise(() => process.stdin.resume())`
    const starter = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
      cwd: import.meta.dirname,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void starter.kill('SIGKILL'))
    const [line] = await once(starter.stdout, 'data')
    const { pid, dataDir } = JSON.parse(String(line))
    expect(runs(pid)).toBe(true)
    expect(existsSync(dataDir)).toBe(true)
    starter.kill('SIGKILL')
    await vi.waitUntil(() => !runs(pid) && !existsSync(dirname(dataDir)), PATIENCE)
  })
})

describe('usableBinaries', () => {
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

  const version = (native: string): string =>
    spawnSync(join(native, 'bin/postgres'), ['--version'], { ...user, cwd: '/', encoding: 'utf8' }).stdout

  /** A folder that anybody may enter, with a copy of the installed binaries in `installed`. */
  async function plantBinaries() {
    const folder = await mkdtemp(join(tmpdir(), 'cacheaside-binaries-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    await chmod(folder, 0o755)
    const installed = join(folder, 'installed')
    execFileSync('cp', ['-RP', nativeFolder(), installed])
    return { folder, installed }
  }

  test('returns binaries that can be run as they are', async () => {
    const { folder, installed } = await plantBinaries()
    const working = await usableBinaries(installed, folder, user)
    expect(await usableBinaries(working, join(folder, 'nowhere'), user)).toBe(working)
  })

  test('returns a copy of binaries that the user may neither reach nor run', async () => {
    const { folder, installed } = await plantBinaries()
    await chmod(join(installed, 'bin/postgres'), 0o600)
    await chmod(installed, 0o700)
    const usable = await usableBinaries(installed, folder, user)
    expect(usable).toBe(join(folder, 'native'))
    expect(version(usable)).toContain('PostgreSQL')
  })

  test('links the libraries of binaries whose install script has not run', async () => {
    const { folder, installed } = await plantBinaries()
    for (const entry of await readdir(join(installed, 'lib'), { withFileTypes: true })) {
      if (entry.isSymbolicLink()) await rm(join(installed, 'lib', entry.name))
    }
    expect(version(installed)).toBe('')
    const usable = await usableBinaries(installed, folder, user)
    expect(version(usable)).toContain('PostgreSQL')
  })

  test('names the binaries and the reason if not even a copy can be run', async () => {
    const { folder, installed } = await plantBinaries()
    await writeFile(join(installed, 'bin/postgres'), 'not a program')
    await expect(usableBinaries(installed, folder, user)).rejects.toThrow(
      `the binaries in ${installed} cannot`,
    )
  })
})
