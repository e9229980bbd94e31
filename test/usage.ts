import { type ParseArgsConfig, parseArgs } from 'node:util'

/**
 * Ends a command that cannot do anything with its arguments: one line says why, and the exit code is 2. 1 is what a
 * command ends with that has run and found something wrong.
 */
export function refuse(command: string, why: string): never {
  console.error(`${command}: ${why}`)
  process.exit(2)
}

/** As `parseArgs`, for a command that refuses what it does not know. */
export function parsedArgs<Config extends ParseArgsConfig>(
  command: string,
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config)
  } catch (error) {
    return refuse(command, (error as Error).message.split('. ', 1)[0]!)
  }
}
