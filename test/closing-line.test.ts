import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

async function folderWith(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cacheaside-closing-line-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return folder
}

interface Outcome {
  readonly code: number | null
  readonly lastLine: string | undefined
}

function run(command: string, args: readonly string[], options: { cwd?: string; PATH?: string }): Outcome {
  const { PATH = process.env.PATH, cwd } = options
  const { status, stdout } = spawnSync(command, args, {
    encoding: 'utf8',
    cwd,
    env: { ...process.env, PATH, NO_COLOR: '1' },
  })
  return { code: status, lastLine: stdout.trimEnd().split('\n').at(-1) }
}

describe('ClosingLine', () => {
  const CONFIG = `
    import { ClosingLine } from ${JSON.stringify(join(ROOT, 'test/closing-line.ts'))}
    export default { test: { reporters: ['default', new ClosingLine()], globals: true } }`

  async function vitest(files: Record<string, string>, ...args: string[]): Promise<Outcome> {
    const folder = await folderWith({ 'vitest.config.mjs': CONFIG, ...files })
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    return run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...args], { cwd: folder })
  }

  test('counts passed tests', async () => {
    const outcome = await vitest({ 'a.test.js': `test('a', () => {}); test('b', () => {})` })
    expect(outcome).toEqual({ code: 0, lastLine: '2 passed, 0 failed' })
  })

  test('counts failed tests, files and hooks that throw, and unhandled rejections', async () => {
    const outcome = await vitest({
      'assertion.test.js': `test('fails', () => expect(1).toBe(2)); test('passes', () => {})`,
      'load.test.js': `throw new Error('cannot be loaded')`,
      'hook.test.js': `describe('s', () => { afterAll(() => { throw new Error() }); test('passes', () => {}) })`,
      'unhandled.test.js': `test('passes', () => { Promise.reject(new Error('nobody')) })`,
    })
    expect(outcome).toEqual({ code: 1, lastLine: '3 passed, 4 failed' })
  })

  test('counts every kind of skipped test as failed', async () => {
    const outcome = await vitest({
      'a.test.js': `test('a', () => {}); test.skip('b'); test.todo('c'); test('d', t => t.skip())`,
    })
    expect(outcome).toEqual({ code: 1, lastLine: '1 passed, 3 failed' })
  })

  test('does not count the tests that a name filter leaves out', async () => {
    const outcome = await vitest({ 'a.test.js': `test('one', () => {}); test('two', () => {})` }, '-t', 'one')
    expect(outcome).toEqual({ code: 0, lastLine: '1 passed, 0 failed' })
  })

  test('counts a run without tests as one failure', async () => {
    expect(await vitest({})).toEqual({ code: 1, lastLine: '0 passed, 1 failed' })
  })
})

describe('.ci/run', () => {
  /** Runs the script with an npm that only says and returns what it is told to. */
  async function ci(npm: string): Promise<Outcome> {
    const folder = await folderWith({ npm: `#!/bin/sh\n${npm}\n` })
    await chmod(join(folder, 'npm'), 0o755)
    return run(join(ROOT, '.ci/run'), [], { PATH: `${folder}:${process.env.PATH}` })
  }

  test('ends with the count of a run in which everything passed', async () => {
    const outcome = await ci(`[ "$1" = ci ] || echo '12 passed, 0 failed'`)
    expect(outcome).toEqual({ code: 0, lastLine: '12 passed, 0 failed' })
  })

  test('ends with the count although npm complains after it', async () => {
    const outcome = await ci(`[ "$1" = ci ] || { echo '9 passed, 3 failed'; echo 'npm error'; exit 1; }`)
    expect(outcome).toEqual({ code: 1, lastLine: '9 passed, 3 failed' })
  })

  test.each([
    ['the installation fails', `[ "$1" != ci ] || exit 7`, 7, '0 passed, 1 failed'],
    ['a check fails before any test', `[ "$1" = ci ] || exit 2`, 2, '0 passed, 1 failed'],
    ['no test was counted', `true`, 1, '0 passed, 1 failed'],
    ['no test ran', `echo '0 passed, 0 failed'`, 1, '0 passed, 1 failed'],
    ['the run fails after its tests', `echo '5 passed, 0 failed'; [ "$1" = ci ]`, 1, '5 passed, 1 failed'],
    ['failures are counted but not reported', `echo '5 passed, 2 failed'`, 1, '5 passed, 2 failed'],
  ])('fails if %s', async (_name, npm, code, lastLine) => {
    expect(await ci(npm)).toEqual({ code, lastLine })
  })
})
