import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { OperationConfig } from '../operate/config.ts'

/** The file cannot be used; the message is one line that says why. */
class ConfigFileError extends Error {
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
  if (statSync(new URL(url), { throwIfNoEntry: false })?.isFile() !== true)
    throw new ConfigFileError(`there is no file ${path}`)
  try {
    return await import(url)
  } catch (error) {
    if (!needsTsx(error, path)) throw explained(error, path)
    await registerTsx(url, path, error as Error)
    // By another address: Node remembers that the first one has failed.
    return await import(`${url}?tsx`)
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException | null)?.code

/** Node reads no TypeScript before 22.18, and later none that has to be changed into JavaScript, such as `enum`. */
function needsTsx(error: unknown, path: string): boolean {
  const codes = ['ERR_UNKNOWN_FILE_EXTENSION', 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX']
  return /\.[cm]?ts$/.test(path) && codes.includes(codeOf(error) ?? '')
}

/** Says which file cannot be read. What the file throws stays as it is. */
function explained(error: unknown, path: string): unknown {
  const isOther = /^ERR_(UNKNOWN_FILE_EXTENSION|IMPORT_(ATTRIBUTE|ASSERTION_TYPE)_MISSING)$/
  if (isOther.test(codeOf(error) ?? '') && !/\.[cm]?[jt]s$/.test(path))
    return new ConfigFileError(`${path} is no module of JavaScript or TypeScript, as its name ends`)
  return error instanceof SyntaxError ? new ConfigFileError(`${path}: ${error.message}`) : error
}

/** Has `tsx` read what Node does not, if the file's own project has it. */
async function registerTsx(url: string, path: string, error: Error): Promise<void> {
  let found: string
  try {
    found = createRequire(url).resolve('tsx')
  } catch {
    throw new ConfigFileError(
      error instanceof SyntaxError
        ? `to read ${path}, install tsx beside it: ${error.message}`
        : `to read ${path}, either install tsx beside it or use Node 22.18 or newer`,
    )
  }
  // What `node --import tsx` does.
  await import(pathToFileURL(found).href)
}
