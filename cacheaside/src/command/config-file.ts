import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { OperationConfig } from '../operate/config.ts'

/** The file cannot be used; the message is one line that says why. */
export class ConfigFileError extends Error {
  override readonly name = 'ConfigFileError'
}

/**
 * Loads a configuration file and calls what it exports.
 *
 * @param path - Relative to the working folder, or absolute.
 * @throws ConfigFileError; what the file itself throws.
 */
export async function loadConfig(path: string): Promise<OperationConfig> {
  const module = await importFile(pathToFileURL(resolve(path)).href, path)
  const exported = module.default
  if (exported === undefined)
    throw new ConfigFileError(`${path} has no default export: export default { shared, keyspaces }`)
  const config: unknown = typeof exported === 'function' ? await exported() : await exported
  if (typeof config !== 'object' || config === null)
    throw new ConfigFileError(
      `the default export of ${path} is neither an object nor a function that makes one`,
    )
  return config as OperationConfig
}

async function importFile(url: string, path: string): Promise<{ readonly default?: unknown }> {
  if (!existsSync(new URL(url))) throw new ConfigFileError(`there is no file ${path}`)
  try {
    return await import(url)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'ERR_UNKNOWN_FILE_EXTENSION' || !/\.[cm]?ts$/.test(path)) throw error
    await registerTsx(url, path)
    // By another address: Node remembers that the first one has failed.
    return await import(`${url}?tsx`)
  }
}

/** Node reads TypeScript from 22.18 on; before that with `tsx`, if the file's own project has it. */
async function registerTsx(url: string, path: string): Promise<void> {
  let found: string
  try {
    found = createRequire(url).resolve('tsx')
  } catch {
    throw new ConfigFileError(`to read ${path}, either install tsx beside it or use Node 22.18 or newer`)
  }
  // What `node --import tsx` does.
  await import(pathToFileURL(found).href)
}
