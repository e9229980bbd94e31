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

/** One call of a script. */
export interface ScriptCall<T> {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly string[]
  /** A number that no other call has. */
  readonly number: string
  /** Called with the reply. */
  read(reply: unknown): T
  /** Called with any error, also one that `read` throws. Throws it, or answers instead. */
  failed(error: unknown): T | Promise<T>
}

/** For calls whose errors nothing answers. */
export const rethrow = (error: unknown): never => {
  throw error
}

/** Runs a script by its name, or as a whole where the server does not know it: after a restart, or SCRIPT FLUSH. */
export function runScript<T>(
  way: Way,
  { script, keys, args, number, read, failed }: ScriptCall<T>,
): Promise<T> {
  const { sha, name, source } = script
  const echo = `${name} ${number}`
  const rest = [String(keys.length), ...keys, ...args, echo]
  const answered = (reply: unknown) => {
    try {
      return read(echoed(reply, echo))
    } catch (error) {
      return failed(error)
    }
  }
  const asAWhole = () => way.send(['EVAL', source, ...rest]).then(answered, failed)
  if (sha === undefined) return asAWhole()
  return way.send(['EVALSHA', sha, ...rest]).then(answered, error => {
    const code = errorCode(error)
    if (code === 'NOSCRIPT') return asAWhole()
    return failed(code === WRONG_SCRIPT ? new UnexpectedReply((error as Error).message) : error)
  })
}
