import { describe } from 'vitest'
import { openPostgres } from './databases.ts'
import { feedContract } from './feed-contract.ts'

describe('the change feed on PostgreSQL', () => feedContract(openPostgres))
