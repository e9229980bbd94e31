import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { feedMigrationSql } from 'cacheaside/postgres'
import type { Database, Transaction } from './database/database.ts'

const FOLDER = fileURLToPath(new URL('../migrations', import.meta.url))

/** The advisory lock of a migration, chosen at random once: it must differ from other programs' locks. */
const LOCK = '6483214470552837121'
const LOCK_WAIT_MS = 10_000

/**
 * Any role of the database can hold an advisory lock, even for ever. So the wait is shorter than a statement may take, and
 * the error names the session that has the lock.
 */
const takeLock = `do $lock$
declare
  statement_ms bigint := (select setting from pg_settings where name = 'statement_timeout');
  before text := current_setting('lock_timeout');
  holder text;
begin
  perform set_config('lock_timeout', least(${LOCK_WAIT_MS}, nullif(statement_ms * 3 / 4, 0))::text, true);
  begin
    perform pg_advisory_xact_lock(${LOCK});
  exception when lock_not_available then
    select format('process %s of role %s', pg_locks.pid, usename) into holder
      from pg_locks left join pg_stat_activity using (pid)
      where locktype = 'advisory' and granted and (classid::bigint << 32) | objid::bigint = ${LOCK} limit 1;
    raise exception 'another session holds the lock of the migrations: %', coalesce(holder, 'it cannot be seen which')
      using errcode = 'lock_not_available';
  end;
  perform set_config('lock_timeout', before, true);
end $lock$`

/**
 * Brings the schema up to date: runs every script of the folder that has not run yet, in the order of their names, all
 * in one transaction. Several processes may do so at once: the others wait for the lock, which the end of the
 * transaction gives up, and find nothing left to do.
 *
 * @returns the names of the scripts that were run.
 * @throws DatabaseAwayError that names the session which has held the lock for too long.
 */
export async function migrate(database: Database, folder: string = FOLDER): Promise<string[]> {
  const names = (await readdir(folder)).filter(name => name.endsWith('.sql')).sort()
  return database.transaction(async transaction => {
    await transaction.script(takeLock)
    const done = await namesDone(transaction)
    const missing = names.filter(name => !done.has(name))
    for (const name of missing) {
      await transaction.script(await readFile(`${folder}/${name}`, 'utf8'))
      await transaction.query('insert into spellbook_migration (name) values ($1)', [name])
    }
    return missing
  })
}

/**
 * Makes the database write every change of a spell, a wizard or a book, by anyone, into an outbox. To be run after {@link migrate}, any number of
 * times: it leaves alone what is there, and a newer version of the feed brings it up to date.
 */
export async function installChangeFeed(database: Database): Promise<void> {
  await database.transaction(transaction =>
    transaction.script(feedMigrationSql({ tables: ['spell', 'wizard', 'wizard_spell'] })),
  )
}

async function namesDone(transaction: Transaction): Promise<Set<string>> {
  await transaction.script(
    'create table if not exists spellbook_migration (name text primary key, run_at timestamptz not null default now())',
  )
  const rows = await transaction.query<{ name: string }>('select name from spellbook_migration')
  return new Set(rows.map(row => row.name))
}
