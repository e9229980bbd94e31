import { openPGlite } from '../src/pglite.ts'
import { databaseSuite } from './database-suite.ts'

databaseSuite('PGlite', () => openPGlite({ kind: 'pglite', folder: undefined }))
