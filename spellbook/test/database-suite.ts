import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Database, DatabaseAwayError, sqlState } from '../src/database/database.ts'
import { migrate } from '../src/migrations.ts'
import { spellTable } from '../src/spell-table.ts'
import { reset } from './harness.ts'

/** What every database must do, whichever driver is underneath. */
export function databaseSuite(name: string, open: () => Promise<Database>): void {
  describe(name, () => {
    let database: Database
    beforeAll(async () => {
      database = await open()
      await migrate(database)
      await database.query('create table note (text text not null)')
    })
    afterAll(() => database.close())

    const notes = async () => {
      const rows = await database.query<{ text: string }>('select text from note order by text')
      return rows.map(row => row.text)
    }

    test('query hands out an int8 as a number where it is a safe integer, otherwise as its text', async () => {
      const [row] = await database.query('select 1::int8 as a, $1::int8 as b, -9007199254740991::int8 as c', [
        '9223372036854775807',
      ])
      expect(row).toEqual({ a: 1, b: '9223372036854775807', c: -9007199254740991 })
    })

    test('query rejects with what the database said of a statement, by its SQLSTATE', async () => {
      const error = await database.query('select $1::text', ['a\0b']).catch(error => error)
      expect(error).not.toBeInstanceOf(DatabaseAwayError)
      expect(sqlState(error)).toBe('22021')
      expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    })

    test('query sends nothing for a signal that has aborted', async () => {
      const reason = new Error('not wanted any more')
      const sent = database.query("insert into note values ('aborted')", [], AbortSignal.abort(reason))
      await expect(sent).rejects.toBe(reason)
      expect(await notes()).not.toContain('aborted')
    })

    test('transaction commits what was done in it, and answers with what its function returned', async () => {
      const answer = await database.transaction(async transaction => {
        await transaction.script("insert into note values ('one'); insert into note values ('two')")
        await transaction.query('insert into note values ($1)', ['three'])
        return 'done'
      })
      expect(answer).toBe('done')
      expect(await notes()).toEqual(['one', 'three', 'two'])
    })

    test('transaction rolls back and throws on what its function throws', async () => {
      const failure = new Error('changed my mind')
      const failed = database.transaction(async transaction => {
        await transaction.query("insert into note values ('never')")
        throw failure
      })
      await expect(failed).rejects.toBe(failure)
      expect(await notes()).not.toContain('never')
    })

    test('transaction rejects if a statement failed and its function did not mind', async () => {
      const swallowed = database.transaction(async transaction => {
        await transaction.query("insert into note values ('lost')")
        await transaction.query('insert into note values (null)').catch(() => {})
        return 'all well'
      })
      await expect(swallowed).rejects.toThrow('rolled back')
      expect(await notes()).not.toContain('lost')
    })

    test('transaction lets the next one in after one that failed', async () => {
      await database.transaction(() => Promise.reject(new Error('first'))).catch(() => {})
      expect(await database.transaction(async transaction => transaction.query('select 2 as two'))).toEqual([
        { two: 2 },
      ])
    })

    describe('the spell table', () => {
      test('findMany finds those that exist', async () => {
        await reset(database)
        const rows = await spellTable(database).findMany(['3', '99', '1', '9223372036854775807'])
        expect(rows.map(row => row.id).sort()).toEqual([1, 3])
        expect(await spellTable(database).findMany([])).toEqual([])
      })

      test('refuses an id that a JSON number could not name', async () => {
        const insert = database.query(
          "insert into spell (id, name, damage) values (9007199254740992, 'x', 1)",
        )
        expect(
          sqlState(
            await insert.then(
              () => undefined,
              error => error,
            ),
          ),
        ).toBe('23514')
      })

      test('shows times in UTC, in one form, whatever the session is set to', async () => {
        await reset(database)
        const found = await database.transaction(async transaction => {
          await transaction.script("set local timezone = 'Asia/Kathmandu'; set local datestyle = 'SQL, DMY'")
          await transaction.script(
            "update spell set created_at = '2026-01-02 03:04:05.678912+00' where id = 1",
          )
          return spellTable(transaction).find('1')
        })
        expect(found?.created_at).toBe('2026-01-02T03:04:05.678Z')
      })
    })

    describe('migrate', () => {
      test('does nothing the second time, and deleted spells stay deleted', async () => {
        await reset(database)
        await spellTable(database).delete('3')
        expect(await migrate(database)).toEqual([])
        expect(await spellTable(database).find('3')).toBeUndefined()
      })
    })

    test('close is idempotent, and query rejects afterwards', async () => {
      const other = await open()
      await other.query('select 1')
      await Promise.all([other.close(), other.close()])
      await other.close()
      await expect(other.query('select 1')).rejects.toBeInstanceOf(DatabaseAwayError)
    })
  })
}
