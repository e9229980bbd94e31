/**
 * The console blocks of the documents. Those of the README are run as they stand, one after the other, but for the ports, and those of the
 * lesson by its own test; every other one says in its fence, after the language, why it is not.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import getPort from 'get-port'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import {
  give,
  nativeFolder,
  serverEnvironment,
  serverFolder,
  serverUser,
  usableBinaries,
} from '../../test/services.ts'
import { endPrograms, REPOSITORY, startProgram } from './program.ts'

/** Why a block is not run here. */
const REASONS = ['installs', 'takes-minutes', 'needs-your-files']

interface Block {
  readonly reason: string | undefined
  readonly text: string
}

const read = (path: string): string => readFileSync(join(REPOSITORY, path), 'utf8')
const blocksOf = (path: string): Block[] =>
  [...read(path).matchAll(/^```(?:sh|console) *(\S*)\n([\s\S]*?)^```$/gm)].map(([, reason, text]) => ({
    reason: reason === '' ? undefined : reason,
    text: text!.trimEnd(),
  }))

/** `lesson/test/lesson.test.ts` runs its blocks. */
const LESSON = 'docs/lesson.md'

const DOCUMENTS = [
  ...['CONTRIBUTING.md', 'SECURITY.md', 'ARCHITECTURE.md', 'cacheaside/README.md', 'spellbook/README.md'],
  ...readdirSync(join(REPOSITORY, 'docs')).flatMap(name => (name.endsWith('.md') ? [`docs/${name}`] : [])),
]

test.each(DOCUMENTS.filter(path => path !== LESSON))(
  'every console block of %s says why it is not run',
  path => {
    for (const { reason, text } of blocksOf(path)) expect.soft(REASONS, text).toContain(reason)
  },
)

test('no document calls a console block anything else than sh or console', () => {
  for (const path of ['README.md', ...DOCUMENTS])
    expect(read(path).match(/^```(?:bash|shell|zsh|shellsession|terminal)\b/gm), path).toBeNull()
})

const user = serverUser()
/** As whom the servers run, and so the name that PostgreSQL knows them by. */
const userName =
  user.uid === undefined
    ? userInfo().username
    : spawnSync('id', ['-un', String(user.uid)], { encoding: 'utf8' }).stdout.trim()

let folder = ''
let path = ''
let ports: Record<'single' | 'first' | 'second' | 'postgres' | 'redis', number>

beforeAll(async () => {
  folder = await serverFolder(user, 'cacheaside-console-')
  const redis = ensureRedisServer()
  const native = await usableBinaries(nativeFolder(), folder, user)
  const tools = join(folder, 'tools')
  await mkdir(tools)
  for (const name of ['createdb', 'psql', 'curl']) {
    if (spawnSync('which', [name]).status === 0) continue
    const program = `exec '${process.execPath}' --import '${import.meta.resolve('tsx')}' '${join(import.meta.dirname, 'stand-in.ts')}' ${name} "$@"`
    writeFileSync(join(tools, name), `#!/bin/sh\n${program}\n`)
    chmodSync(join(tools, name), 0o755)
  }
  await give(tools, user)
  path = [join(native, 'bin'), tools, join(redis, '..'), process.env.PATH].join(':')
  ports = {
    single: await getPort({ host: '127.0.0.1' }),
    first: await getPort({ host: '127.0.0.1' }),
    second: await getPort({ host: '127.0.0.1' }),
    postgres: await getPort({ host: '127.0.0.1' }),
    redis: await getPort({ host: '127.0.0.1' }),
  }
})
afterEach(endPrograms)
afterAll(async () => {
  run('pg_ctl --pgdata=postgres-data --mode=immediate stop', true)
  run(`redis-cli -p ${ports.redis} shutdown nosave`, true)
  await rm(folder, { recursive: true, force: true })
})

/** The same commands on ports that are free. `redis-cli` writes for a person only if it is told that one reads it. */
const onFreePorts = (text: string): string =>
  text
    .replaceAll('localhost:3000', `localhost:${ports.single}`)
    .replaceAll('localhost:3001', `localhost:${ports.first}`)
    .replaceAll('localhost:3002', `localhost:${ports.second}`)
    .replaceAll('PORT=3001', `PORT=${ports.first}`)
    .replaceAll('PORT=3002', `PORT=${ports.second}`)
    .replaceAll('postgres://localhost/', `postgres://localhost:${ports.postgres}/`)
    .replaceAll('redis://localhost', `redis://localhost:${ports.redis}`)
    .replaceAll('redis-server ', `redis-server --port ${ports.redis} `)
    .replaceAll('redis-cli ', `redis-cli --no-raw -p ${ports.redis} `)

function run(command: string, mayFail = false, env: Readonly<Record<string, string>> = {}): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', onFreePorts(command)], {
    ...user,
    cwd: folder,
    encoding: 'utf8',
    timeout: 60_000,
    env: {
      ...serverEnvironment(),
      PATH: path,
      PGUSER: userName,
      PGPORT: String(ports.postgres),
      HOME: folder,
      ...env,
    },
  })
  if (!mayFail && status !== 0) throw new Error(`${command}: ${stderr}${stdout}`)
  return stdout.replaceAll('\r', '')
}

/** What a line of a document stands for: times, tokens and what is left to live are others each time. */
function pattern(line: string): RegExp {
  const escaped = line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const free = escaped
    .replace(/\d{4}-\d\d-\d\dT[\d:]+\\\.\d+Z/g, '[\\dTZ:.-]+')
    .replace(/ttl=\d+/g, 'ttl=\\d+')
    .replace(/[\w-]{20,}=?/g, '[\\w=-]+')
    .replace(/…/g, '.*')
  return new RegExp(`^${free}$`)
}

describe('the README', () => {
  const blocks = blocksOf('README.md')
  const [single, servers, exported, first, second, story, ...others] = blocks
    .filter(({ reason }) => reason === undefined)
    .map(({ text }) => text)

  test('has six console blocks, which are run here, and says of any other why it is not', () => {
    expect([story, ...others]).toEqual([expect.stringContaining('$ psql')])
    for (const { reason } of blocks) expect([undefined, ...REASONS]).toContain(reason)
  })

  test('shows requests that Spellbook answers when it was started by npm start', async () => {
    const program = startProgram({
      npm: true,
      env: { PORT: String(ports.single), DATA_DIR: join(folder, 'spellbook') },
    })
    await program.ready()
    for (const line of single!.split('\n')) expect(run(line), line).toMatch(/^HTTP\/1\.1 200 OK\n/)
  })

  test('starts servers and two processes, and shows what they answer, at once or after a second', async () => {
    for (const line of servers!.split('\n')) run(line)
    const env = Object.fromEntries(
      [...onFreePorts(exported!).matchAll(/(\w+_URL)=(\S+)/g)].map(([, name, url]) => [name!, url!]),
    )
    expect(Object.keys(env)).toEqual(['DATABASE_URL', 'REDIS_URL'])
    for (const line of [first!, second!]) {
      const [, port] = /^PORT=(\d+) npm start$/.exec(onFreePorts(line))!
      await startProgram({ npm: true, env: { ...env, PORT: port!, PGUSER: userName } }).ready()
    }
    for (const step of story!.split(/^\$ /m).slice(1)) {
      const [command, ...expected] = step.trimEnd().split('\n')
      const printed = run(command!, false, env).trimEnd().split('\n')
      expect(printed.length, command).toBe(expected.length === 0 ? 1 : expected.length)
      for (const [i, line] of expected.entries()) expect(printed[i], command).toMatch(pattern(line))
    }
  })
})
