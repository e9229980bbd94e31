import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { apiSuite } from './api-suite.ts'

apiSuite('the API on PostgreSQL', async () => {
  const url = await createDatabase(sharedPostgresUrl())
  return openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000 }, () => {})
})
