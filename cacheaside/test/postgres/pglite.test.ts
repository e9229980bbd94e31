import { describe } from 'vitest'
import { openPGlite } from './databases.ts'
import { feedContract } from './feed-contract.ts'

describe('the change feed on PGlite', () => feedContract(openPGlite))
