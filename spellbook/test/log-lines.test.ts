import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { printable, printableJson } from 'cacheaside/operate'
import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { logLines, terminalOf } from '../src/http/log-lines.ts'
import { REPOSITORY } from './program.ts'

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))

function logged(terminal: { colours: boolean } | undefined): string {
  const lines: string[] = []
  const log = pino({ base: { pid: 7 } }, logLines(terminal, { write: line => void lines.push(line) }))
  log.warn({ port: 3_000 }, 'a thing was said')
  return lines.join('')
}

test('a line of the log is JSON where nobody reads it', () => {
  expect(JSON.parse(logged(undefined))).toMatchObject({
    level: 40,
    pid: 7,
    port: 3_000,
    msg: 'a thing was said',
  })
})

test('a line of the log is text on a terminal, with colours if it may have them', () => {
  expect(logged({ colours: false })).toMatch(/^\[\d\d:\d\d:\d\d\] WARN: a thing was said \{"port":3000\}\n$/)
  expect(logged({ colours: true })).toContain('\u001b[')
})

test('a line of JSON sends no commands either to a terminal that it is shown on later', () => {
  const lines: string[] = []
  const log = pino({}, logLines(undefined, { write: line => void lines.push(line) }))
  const url = '/\u009b31m\u202e'
  log.warn({ url }, 'a thing was said')
  expect(lines[0]).toBe(printableJson(lines[0]!))
  expect(JSON.parse(lines[0]!).url).toBe(url)
})

test("a line on a terminal obeys nothing that is in it, and keeps the lines of an error's stack", () => {
  const lines: string[] = []
  const log = pino({}, logLines({ colours: false }, { write: line => void lines.push(line) }))
  const strange = '\u001b[2J\u009b31m\u202e\u2028'
  log.warn({ url: strange, err: new Error(`${strange}\nand more`) }, `GET ${strange}`)
  const said = lines.join('')
  expect(said).toContain(String.raw`GET \u001b[2J\u009b31m\u202e\u2028`)
  expect(said).toMatch(/\n {4,}at /)
  expect(said.replaceAll('\n', '')).toBe(printable(said.replaceAll('\n', '')))
})

test.each([
  [{ isTTY: true }, {}, { colours: true }],
  [{ isTTY: true }, { NO_COLOR: '1' }, { colours: false }],
  [{ isTTY: true }, { TERM: 'dumb' }, { colours: false }],
  [{}, {}, undefined],
])('the terminal of %j with %j is %j', (stream, env, terminal) => {
  expect(terminalOf(stream, env)).toEqual(terminal)
})

test('Spellbook on a terminal logs in a readable form to its last line, and ends at Ctrl-C', async () => {
  const program = [process.execPath, '--conditions=source', '--import', import.meta.resolve('tsx'), MAIN]
  // The program `script` of util-linux and that of BSD take a command in different ways.
  const args =
    process.platform === 'linux'
      ? ['-qec', `exec ${program.map(text => `'${text}'`).join(' ')}`, '/dev/null']
      : ['-q', '/dev/null', ...program]
  const child = spawn('script', args, {
    cwd: REPOSITORY,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: '1', PORT: '0', DATA_DIR: 'memory' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    said += text
  })
  const ended = new Promise<number | null>(resolve => child.once('exit', resolve))
  await vi.waitFor(() => expect(said).toMatch(/INFO: Spellbook is ready at http/), PATIENCE)
  child.stdin.write('\u0003')
  expect(await ended).toBe(0)
  expect(said).toMatch(/\[\d\d:\d\d:\d\d\] INFO: SIGINT: closing\r?\n\[\d\d:\d\d:\d\d\] INFO: closed\r?\n$/)
  expect(said).not.toContain('"level"')
})
