import { openPGlite } from '../src/database/pglite.ts'
import { apiSuite } from './api-suite.ts'

apiSuite('the API on PGlite', () => openPGlite({ kind: 'pglite', folder: undefined }))
