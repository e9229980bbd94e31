/**
 * How a script is loaded and run over one connection. A script runs by the name the server gave it, and as a whole
 * where the server does not know that name. Each reply begins with the echo of its call (`replies.ts`).
 */
import { errorCode, type RedisConnection } from './driver.ts'
import { echoed, UnexpectedReply } from './replies.ts'
import { type Script, WRONG_SCRIPT } from './scripts.ts'

/** A way for commands to one server. */
export type Way = Pick<RedisConnection, 'send'>

/** Loads a script, so that it can be run by its name over any connection to this server. */
export async function loadScript(connection: RedisConnection, script: Script): Promise<void> {
  try {
    const reply = await connection.send(['SCRIPT', 'LOAD', script.source])
    if (typeof reply !== 'string' || !/^[\da-f]{40}$/.test(reply)) throw new UnexpectedReply(reply)
    script.sha = reply
  } catch (error) {
    // Without the right to load it, the script is sent as a whole each time.
    if (errorCode(error) === '') throw error
  }
}

/** Runs a script by its name, or as a whole where the server does not know it: after a restart, or SCRIPT FLUSH. */
export async function runScript(
  way: Way,
  script: Script,
  keys: readonly string[],
  args: readonly string[],
  number: string,
): Promise<unknown> {
  const echo = `${script.name} ${number}`
  const rest = [String(keys.length), ...keys, ...args, echo]
  if (script.sha !== undefined) {
    try {
      return echoed(await way.send(['EVALSHA', script.sha, ...rest]), echo)
    } catch (error) {
      if (errorCode(error) === WRONG_SCRIPT) throw new UnexpectedReply((error as Error).message)
      if (errorCode(error) !== 'NOSCRIPT') throw error
    }
  }
  return echoed(await way.send(['EVAL', script.source, ...rest]), echo)
}
