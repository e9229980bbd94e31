import { CacheError } from '../base/errors.ts'
import { errorCode, type RedisConnection } from './driver.ts'

/**
 * Selects a database on a new connection. Clients can do it themselves, but ioredis and iovalkey go on with database 0 if it
 * is refused: then two applications would share their keys.
 *
 * @throws CacheError `INVALID_OPTIONS` with the words of a server that refuses it.
 */
export async function selectDatabase(
  connection: Pick<RedisConnection, 'send'>,
  database: number | undefined,
): Promise<void> {
  if (database === undefined || database === 0) return
  try {
    await connection.send(['SELECT', String(database)])
  } catch (error) {
    if (errorCode(error) !== 'ERR' && errorCode(error) !== 'NOPERM') throw error
    const message = `database ${database} cannot be selected: ${(error as Error).message}`
    throw new CacheError('INVALID_OPTIONS', message, { cause: error })
  }
}
