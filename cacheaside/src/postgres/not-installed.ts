/** The messages for a feed that is not fully installed: what is missing, and the call and the command that mend it. */

const INSTALL = 'run installFeed, cacheaside feed install, or the script of feedMigrationSql'

export const noFeed = (schema: string): string =>
  `there is no change feed in the schema ${schema}: ${INSTALL}`

/** For a feed of which a dump has brought only the definitions. */
export const noSettings = (schema: string): string =>
  `the change feed in the schema ${schema} has lost its settings: ${INSTALL}, again`

export const notWatched = (table: string): string => `the table ${table} is not watched: ${INSTALL}, again`

/** @param group - Of which table, and by which columns. */
export const tagsNotKnown = (group: string): string =>
  `the feed does not know the tags of ${group}, and relays of other processes pass them over: ${INSTALL}, again`

/** For recorders as in a database that was restored from a dump. */
export const deafRecorders = (tables: readonly string[]): string =>
  `nothing is recorded of the table ${tables.join(', ')}: an earlier version made its recorder for another database: ${INSTALL}, again`

/** For a feed that an earlier version of the library has installed. */
export const noTagsKept = (tables: readonly string[]): string =>
  `the feed keeps no tags of the table ${tables.join(', ')} for relays of other processes, or not for this role: ${INSTALL}, again`

export const oldRecorders = (tables: readonly string[]): string =>
  `the recorder of the table ${tables.join(', ')} comes from an earlier version with known faults: ${INSTALL}, again`

export const hiddenRows = (schema: string, table: string): string =>
  `row-level security may hide rows of ${schema}.${table} from this role, and then the feed misses changes: ` +
  `ALTER TABLE ${schema}.${table} DISABLE ROW LEVEL SECURITY, or give the role BYPASSRLS`
