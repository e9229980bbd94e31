/** The same scenarios as in Vitest, in test runners that are started for it, on the library as it is published. */
import { spawn } from 'node:child_process'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const HERE = import.meta.dirname
const ROOT = join(HERE, '../../..')
const { resolve } = createRequire(import.meta.url)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cacheaside-runners-'))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const project = join(ROOT, 'cacheaside/tsconfig.build.json')
  const { code, said } = await run([tsc, '--project', project, '--outDir', join(folder, 'dist')])
  expect(said).toBe('')
  expect(code).toBe(0)
  // A package that finds itself by its name, with the scenarios inside.
  const exports = { '.': './dist/index.js', './testing': './dist/testing/index.js' }
  const manifest = { name: 'cacheaside', type: 'module', exports }
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  for (const name of ['fakes.node.mjs', 'scenarios.mjs']) await copyFile(join(HERE, name), join(folder, name))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function run(args: readonly string[], env: Record<string, string> = {}, cwd = ROOT) {
  // Vitest hands its own options to its children, and no runner should be told of them.
  const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, VITEST: ___, ...own } = process.env
  const child = spawn(process.execPath, args, { cwd, env: { ...own, ...env } })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', text => {
      said += text
    })
  return new Promise<{ code: number | null; said: string }>(resolve => {
    child.on('close', code => resolve({ code, said }))
  })
}

test.each([
  ['put in place by a test', false],
  ['in place before anything is loaded', true],
])('Jest: what a cache does under fake timers %s', async (_, enableGlobally) => {
  const config = {
    rootDir: HERE,
    testMatch: ['**/*.jest.mjs'],
    transform: {},
    cacheDirectory: join(folder, 'jest'),
    fakeTimers: { enableGlobally },
    moduleNameMapper: {
      '^cacheaside$': join(folder, 'dist/index.js'),
      '^cacheaside/testing$': join(folder, 'dist/testing/index.js'),
    },
  }
  const jest = resolve('jest/bin/jest')
  const args = ['--experimental-vm-modules', '--no-warnings', jest, '--runInBand', '--ci']
  const { code, said } = await run([...args, '--config', JSON.stringify(config)])
  expect(code, said).toBe(0)
  expect(said).toContain('Tests:       8 passed, 8 total')
})

test.each([
  ['put in place by a test', {}],
  ['in place before the library is loaded', { MOCKED_BEFORE: 'yes' }],
])('node:test: what a cache does under mocked timers %s', async (_, env) => {
  const { code, said } = await run(['--test', '--test-reporter=tap', 'fakes.node.mjs'], env, folder)
  expect(code, said).toBe(0)
  expect(said).toMatch(/^# pass 8$/m)
})
