import { describe, expect, it } from 'vitest'
import { type Key, type Tag, wholeKeyspace } from '../../src/base/key.ts'
import type { Change, FeedTable } from '../../src/feed/change-feed.ts'
import { planOf } from '../../src/feed/plan.ts'

const key = (text: string) => text as Key
const tag = (text: string) => text as Tag
const change = (rows: Change['rows'], declared?: Change['declared']): Change => ({
  id: '1',
  table: 'comment',
  rows,
  ageMs: 0,
  ...(declared === undefined ? {} : { declared }),
})

/** What a batch comes down to, and the names that the maps have named. */
function planned(changes: readonly Change[], table?: FeedTable) {
  const named: string[] = []
  const faults: unknown[] = []
  const { keys, keyspaces } = planOf(
    changes,
    new Map(table === undefined ? [] : [['comment', table]]),
    () => ['every'],
    (_table, error) => faults.push(error),
    (_table, name) => named.push(name),
  )
  return { keys: [...keys.keys()], keyspaces: [...keyspaces.keys()], named, faults: faults.length }
}

describe('what is declared beside a change', () => {
  const table: FeedTable = { keys: row => [key(`comment:${row.id}`)], keyspaces: ['comment'] }
  const group = tag('table.comment:post_id:=5')

  it('is invalidated besides what the map says, and need not be known here', () => {
    expect(planned([change([{ id: '1' }], [group, wholeKeyspace('other')])], table)).toEqual({
      keys: ['comment:1', group],
      keyspaces: ['other'],
      named: ['comment'],
      faults: 0,
    })
  })

  it('is invalidated also where the rows are not known', () => {
    expect(planned([change(undefined, [wholeKeyspace('table.comment')])], table)).toMatchObject({
      keys: [],
      keyspaces: ['comment', 'table.comment'],
    })
  })

  it('is invalidated also where the map throws', () => {
    const keys = () => {
      throw new Error('a fault in the map')
    }
    expect(planned([change([{ id: '1' }], [group])], { keys, keyspaces: ['comment'] })).toMatchObject({
      keys: [group],
      keyspaces: ['comment'],
      faults: 1,
    })
  })

  it('does not stand in for the map of a table that is not known here', () => {
    expect(planned([change([{ id: '1' }], [group])])).toMatchObject({ keys: [group], keyspaces: ['every'] })
  })

  it('is invalidated once for many changes', () => {
    const all = [change([{ id: '1' }], [group]), change([{ id: '2' }], [group])]
    expect(planned(all, { keys: () => [group] })).toMatchObject({ keys: [group], keyspaces: [] })
  })
})
