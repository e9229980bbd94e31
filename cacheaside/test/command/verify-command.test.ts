import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { runCommand } from '../../src/command/run-command.ts'
import { SimulatedClock } from '../../src/testing/index.ts'
import { cacheaside } from './command-program.ts'
import { runHere } from './run-here.ts'

const EMBEDDED = ['--config', join(import.meta.dirname, 'embedded.config.ts')]

const verify = (CASE: string, ...args: string[]) =>
  cacheaside(['verify', '--config', 'embedded.config.ts', ...args], { CASE })

describe('cacheaside verify', () => {
  test('exits with 0 and a table where nothing is stale, and closes what the file has opened', async () => {
    const { code, out, err } = await verify('clean')
    expect(out).toMatch(/^looked at 2 registers in embedded within \d/)
    expect(out).toMatch(/^spell +2 +2 +0 +0 +0 +0$/m)
    expect(out).toMatch(/\n0 stale of 2 checked\n$/)
    expect(err).toBe('closed\n')
    expect(code).toBe(0)
  })

  test('exits with 1 and says what is stale, for how long, and how far behind', async () => {
    const { code, out } = await verify('stale')
    expect(out).toMatch(
      /^stale spell:2: stored \d+ ms ago, stale for \d+ ms at least; 5 versions behind \(20, the origin has 25\)$/m,
    )
    expect(out).toMatch(/\n1 stale of 2 checked\n$/)
    expect(code).toBe(1)
  })

  test('prints the same as JSON', async () => {
    const { code, out } = await verify('stale', '--json')
    const report = JSON.parse(out)
    expect(report).toMatchObject({
      store: 'embedded',
      total: { checked: 2, equal: 1, stale: 1 },
      keyspaces: { spell: { checked: 2 } },
      findings: [
        { kind: 'stale', key: 'spell:2', behind: { cached: '20', origin: '25', by: 5, unit: 'versions' } },
      ],
      foreign: 0,
      notes: [],
    })
    expect(code).toBe(1)
  })

  test('takes options from the command line before those of the file', async () => {
    const { out, code } = await verify(
      'stale',
      '--sample=1',
      '--grace',
      '0',
      '--rate',
      '9',
      '--keyspace',
      'spell',
      '--json',
    )
    expect(JSON.parse(out)).toMatchObject({ sampled: 1, total: { checked: 1 } })
    expect([0, 1]).toContain(code)
  })

  test.each([
    ['half', '1 could not be checked', ''],
    [
      'empty',
      '0 stale of 0 checked',
      'cacheaside: nothing was checked: no value of these keyspaces was found to compare, and the origin was not read\n',
    ],
    ['broken', '', 'cacheaside: the origin cannot be read: the database is away\n'],
  ])('exits with 2 where not everything can be read: %s', async (name, said, complained) => {
    const { code, out, err } = await verify(name)
    expect(out).toContain(said)
    expect(err.replace('closed\n', '')).toBe(complained)
    expect(code).toBe(2)
  })

  test.each(['throws', 'rejects'])(
    'exits with 2 and one line for an error that nobody catches: %s',
    async name => {
      const { code, out, err } = await verify(name)
      expect([code, out, err]).toEqual([2, '', 'cacheaside: the server\n'])
    },
  )

  test('ends quietly, with the exit code of the report, if nobody reads the report', async () => {
    const args = ['verify', '--config', 'embedded.config.ts']
    const { code, err } = await cacheaside(args, { CASE: 'stale' }, undefined, 'nobody')
    expect([code, err]).toEqual([1, 'closed\n'])
  })

  test('exits with 2 and one line if the report cannot be written', async () => {
    const file = openSync(import.meta.filename, 'r')
    try {
      const args = ['verify', '--json', '--config', 'embedded.config.ts']
      const { code, err } = await cacheaside(args, { CASE: 'clean' }, undefined, { file })
      expect(err.replace('closed\n', '')).toMatch(/^cacheaside: the report cannot be written: EBADF[^\n]*\n$/)
      expect(code).toBe(2)
    } finally {
      closeSync(file)
    }
  })

  test('exits with 2 and one line if the file ends the process', async () => {
    const { code, out, err } = await verify('exits')
    expect(err).toBe('cacheaside: something has ended the process before the command was done\n')
    expect([code, out]).toEqual([2, ''])
  })
})

test('cacheaside tells its version, and that it has help, before it knows of a file', async () => {
  expect(await run(['--version'])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^cacheaside \d+\.\d+\.\d+ on Node v\d+\.\d+\.\d+\n$/),
  })
  expect((await run(['explain', '-h'])).out).toContain('An id of several parts is given as several words.')
})

/** Runs it in this process. */
async function run(args: readonly string[], isTerminal = false, clock: Clock = new SimulatedClock()) {
  let [out, err] = ['', '']
  const output = {
    out: (text: string) => {
      out += text
    },
    err: (text: string) => {
      err += text
    },
    isTerminal,
    clock,
  }
  const code = await runCommand(args, output)
  return { code, out, err }
}

test('cacheaside verify draws its progress on a terminal, and takes it away before the report', async () => {
  const file = join(import.meta.dirname, 'embedded.config.ts')
  const { code, out, err } = await run(['verify', '--config', file], true, systemClock)
  expect(err.split('\r\u001b[K')).toEqual(['', 'counting the keys …', `[${'#'.repeat(30)}] 2/2, 0 stale`, ''])
  expect(out).not.toContain('\u001b')
  expect(code).toBe(0)
})

describe('cacheaside verify is not troubled by a file that', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'cacheaside-closing-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** A file for `feed install --print`, which needs no server. */
  function fileThat(closes: string): readonly string[] {
    const file = join(folder, `${closes.replace(/\W/g, '')}.mjs`)
    const shared =
      '{ lease() {}, close: async () => { globalThis.closedStores = (globalThis.closedStores ?? 0) + 1 } }'
    const migration = '{ sql: {}, tables: { spell: { keys: () => [] } } }'
    writeFileSync(file, `export default { shared: ${shared}, migration: ${migration}, close: ${closes} }`)
    return ['feed', 'install', '--print', '--config', file]
  }
  const stores = () => (globalThis as { closedStores?: number }).closedStores ?? 0

  test.each(['() => { throw new Error() }', '() => Promise.reject(new Error())'])(
    'closes by %s',
    async closes => {
      const before = stores()
      const { code, err } = await run(fileThat(closes))
      expect([code, err, stores() - before]).toEqual([0, '', 1])
    },
  )

  test('asks for the script as data', async () => {
    const [text, data] = [await run(fileThat('() => {}')), await run([...fileThat('() => {}'), '--json'])]
    expect(JSON.parse(data.out)).toEqual({ script: text.out.slice(0, -1) })
  })

  test('closes for ever', async () => {
    const before = stores()
    const clock = new SimulatedClock()
    const running = run(
      fileThat('() => { globalThis.isClosing = true; return new Promise(() => {}) }'),
      false,
      clock,
    )
    await vi.waitFor(() => expect(globalThis).toHaveProperty('isClosing'))
    await clock.advance(5_000)
    const { code, err } = await running
    expect([code, err, stores() - before]).toEqual([0, '', 1])
  })

  test('ends the process when it closes: the exit code is known by then', async () => {
    const known: (number | undefined)[] = []
    const { code } = await runHere(fileThat('() => { globalThis.closedAt?.() }'), {
      decided: code => {
        known.push(code)
        Object.assign(globalThis, { closedAt: () => known.push(undefined) })
      },
    })
    expect([code, known]).toEqual([0, [0, undefined]])
  })

  test.each([false, true])(
    'makes its object for ever, when it is interrupted (%s) or not',
    async isStopped => {
      const file = join(folder, 'never.mjs')
      writeFileSync(file, 'export default () => new Promise(() => {})')
      const clock = new SimulatedClock()
      const stop = new AbortController()
      const running = runHere(['verify', '--config', file], { signal: stop.signal, clock })
      if (isStopped) stop.abort(new Error('interrupted'))
      else await clock.advance(60_000)
      const said = isStopped ? 'interrupted' : `${file} has not made its object within 60 s`
      expect(await running).toMatchObject({ code: 2, out: '', err: `cacheaside: ${said}\n` })
    },
  )
})

describe('cacheaside verify exits with 2 and one line', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'cacheaside-command-'))
    writeFileSync(join(folder, 'nothing.mjs'), 'export const shared = 1')
    writeFileSync(join(folder, 'number.mjs'), 'export default 4')
    writeFileSync(join(folder, 'empty.mjs'), 'export default () => ({})')
    writeFileSync(join(folder, 'throws.mjs'), "throw new Error('no REDIS_URL')")
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const at = (name: string) => ['verify', '--config', join(folder, name)]

  test.each<[string, () => string[], string | RegExp]>([
    [
      'no command',
      () => [],
      /^expected a command, got nothing; there are explain, stats, .*verify \(--help tells more\)$/,
    ],
    ['another command', () => ['check'], /^expected a command, got check; there are explain, /],
    ['no file', () => ['verify'], 'expected --config FILE (--help tells more)'],
    [
      'two files',
      () => ['verify', 'a', '--config', 'b'],
      'expected nothing after verify but options, got a (--help tells more)',
    ],
    [
      'an unknown option',
      () => [...at('number.mjs'), '--fast'],
      /^Unknown option '--fast'.* \(--help tells more\)$/,
    ],
    [
      'half an option',
      () => ['verify', '--config'],
      /^Option '--config <value>' argument missing \(--help tells more\)$/,
    ],
    [
      'a malformed number',
      () => [...at('number.mjs'), '--rate', '1e3'],
      'expected --rate to be a whole number from 1 to 999999999, got 1e3 (--help tells more)',
    ],
    [
      'too long a time',
      () => ['top', '--config', join(folder, 'number.mjs'), '--seconds', '999999999'],
      'expected --seconds to be a whole number from 1 to 60, got 999999999 (--help tells more)',
    ],
    [
      'too many lines',
      () => ['top', '--config', join(folder, 'number.mjs'), '--limit', '1000'],
      'expected --limit to be a whole number from 1 to 100, got 1000 (--help tells more)',
    ],
    [
      'an unknown keyspace',
      () => ['verify', '--keyspace', 'nope\u001b[2J', ...EMBEDDED],
      String.raw`expected --keyspace to be one of spell, got nope\u001b[2J (--help tells more)`,
    ],
    [
      'a sample of none',
      () => ['verify', '--sample', '0', ...EMBEDDED],
      'expected --sample to be at least 1, got 0 (--help tells more)',
    ],
    [
      'an id that looks like an option',
      () => ['explain', 'spell', '-4', ...EMBEDDED],
      /^Unknown option '-4'; an id that begins with - comes after --, behind all options \(/,
    ],
    [
      'a file that is named behind --',
      () => ['explain', 'spell', '--', '-4', ...EMBEDDED],
      'expected --config FILE before -- (--help tells more)',
    ],
    ['a file that is a folder', () => at('.'), /^there is no file /],
    ['a file that is not there', () => at('missing.mjs'), /^there is no file .*missing\.mjs$/],
    ['a file without a default export', () => at('nothing.mjs'), /has no default export/],
    ['a file that exports a number', () => at('number.mjs'), /is neither an object nor a function/],
    ['a file without a store', () => at('empty.mjs'), 'expected shared to be a shared store, got undefined'],
    ['a file that throws', () => at('throws.mjs'), 'no REDIS_URL'],
  ])('for %s', async (_name, args, message) => {
    const { code, out, err } = await run(args())
    expect(err).toMatch(/^cacheaside: [^\n]+\n$/)
    const said = err.slice('cacheaside: '.length, -1)
    if (typeof message === 'string') expect(said).toBe(message)
    else expect(said).toMatch(message)
    expect([code, out]).toEqual([2, ''])
  })

  test('for an option of the file that does not exist', async () => {
    const { code, err } = await verify('misspelt')
    expect(err).toMatch(/^cacheaside: unknown option options\.keyspace, known are: [^\n]+\nclosed\n$/)
    expect(err).not.toMatch(/clock|signal/)
    expect(code).toBe(2)
  })
})
