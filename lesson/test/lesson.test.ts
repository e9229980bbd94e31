/** The lesson: every command in `docs/lesson.md` is run here, on real servers, and prints what the page says. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { demonstrate } from '../demonstration.ts'
import { demonstrations } from '../demonstrations.ts'

const ROOT = join(import.meta.dirname, '../..')
const PAGE = readFileSync(join(ROOT, 'docs/lesson.md'), 'utf8')
const COMMAND = '$ npm run --silent lesson -- '

const blocks = [...PAGE.matchAll(/^```(?:sh|console) *(\S*)\n([\s\S]*?)\n```$/gm)].map(match => ({
  reason: match[1]!,
  lines: match[2]!.split('\n'),
}))
const run = blocks
  .filter(({ reason }) => reason === '')
  .map(({ lines: [command, ...printed] }) => ({
    command: command!,
    name: command!.slice(COMMAND.length),
    printed,
  }))

const redisProgram = (): string => {
  const program = inject('redis')
  if ('problem' in program) throw new Error(program.problem)
  return program.path
}

/** Chance decides what is evicted, and when something expires; all else is as it is printed. */
function patternOf(line: string): RegExp {
  const escaped = line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const isByChance = / {3,}(\d+|–)$|within \d+ s/.test(line)
  return new RegExp(`^${isByChance ? escaped.replace(/ +\d+(?= |$)/g, ' +\\d+') : escaped}$`)
}

test('each block of the page is one command of the lesson, or says why it is not run', () => {
  for (const { command } of run) expect.soft(command.startsWith(COMMAND), command).toBe(true)
  expect(blocks.map(({ reason }) => reason).filter(reason => reason !== '')).toEqual(['takes-minutes'])
})

test('the page shows every demonstration, in the order of the list', () => {
  expect(run.map(({ name }) => name)).toEqual(demonstrations.map(({ name }) => name))
})

test.each(run)('$name shows what the page says', async ({ name, printed }) => {
  const said: string[] = []
  await demonstrate(demonstrations.find(one => one.name === name)!, {
    say: line => void said.push(line),
    redisProgram,
    postgresUrl: () => createDatabase(sharedPostgresUrl()),
  })
  expect(said.length).toBe(printed.length)
  for (const [i, line] of printed.entries()) expect(said[i]).toMatch(patternOf(line))
})

test('a line whose numbers are not by chance is compared as it is', () => {
  expect('  PostgreSQL has 41, the reader gets 41: right').not.toMatch(
    patternOf('  PostgreSQL has 41, the reader gets 40: stale'),
  )
  expect('read often, a while ago              17       25').toMatch(
    patternOf('read often, a while ago              19        4'),
  )
})

const lesson = (...args: string[]) =>
  spawnSync('npm', ['run', '--silent', 'lesson', '--', ...args], { cwd: ROOT, encoding: 'utf8' })

test('the command starts its own servers, and ends', () => {
  const [{ name, printed }] = run as [(typeof run)[0]]
  const { status, stdout, stderr } = lesson(name)
  expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: '', stdout: `${printed.join('\n')}\n` })
})

test('the command refuses a name that it does not know', () => {
  const { status, stdout, stderr } = lesson('nothing')
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toMatch(/^lesson: there is no nothing; there are all, hit-and-miss, /)
})

test('a demonstration that goes otherwise than the page says is an error, and leaves nothing behind', async () => {
  let isClosed = false
  const wrong = {
    name: 'wrong',
    title: '',
    async run(room: { atEnd(work: () => unknown): void }) {
      room.atEnd(() => {
        isClosed = true
      })
      throw new Error('this time it was otherwise')
    },
  }
  const surroundings = { say: () => {}, redisProgram, postgresUrl: async () => '' }
  await expect(demonstrate(wrong, surroundings)).rejects.toThrow('this time it was otherwise')
  expect(isClosed).toBe(true)
})
