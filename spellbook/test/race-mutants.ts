import { readFileSync } from 'node:fs'
import type { Plugin } from 'esbuild'
import { expect } from 'vitest'
import { bundleRaces, raceBuild } from '../src/race-bundle.ts'

/** What is taken out: a text that is in exactly one file of the library, and what takes its place. */
export type Patch = readonly [find: string, replace: string]

/** The comparison of a fill with its lease. */
export const FENCE: Patch = ['if (!stands(text, { prefix })) return REJECTED', 'void [stands, text, prefix]']
/** The guard that a writer puts up before its commit. */
export const GUARD: Patch = [
  'await access.run(() => access.store.guard(this.key, this.#token, options.guardMs, false))',
  "('new' as const)",
]
/** What the relay makes of a change. */
export const RELAY: Patch = ['() => this.#target.invalidate(key, id)', 'async () => true']

/** The module of the races with a library in which something has been taken out. */
export async function mutantText(...[find, replace]: Patch): Promise<string> {
  let places = 0
  const patch: Plugin = {
    name: 'patch',
    setup: ({ onLoad }) =>
      onLoad({ filter: /cacheaside\/src\/.*\.ts$/ }, ({ path }) => {
        const parts = readFileSync(path, 'utf8').split(find)
        places += parts.length - 1
        return { contents: parts.join(replace), loader: 'ts' }
      }),
  }
  const text = await bundleRaces({ ...raceBuild, plugins: [...raceBuild.plugins, patch] })
  expect(places).toBe(1)
  return text
}
