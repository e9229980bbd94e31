import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Columns, HELD } from '../../src/eviction/columns.ts'
import { ExpirySweep } from '../../src/eviction/expiry-sweep.ts'

function sweepOver(capacity: number, held: readonly number[]) {
  const columns = new Columns()
  columns.grow(capacity)
  for (const slot of held) columns.flags[slot] = HELD
  return { columns, sweep: new ExpirySweep(columns) }
}

describe('ExpirySweep', () => {
  it('next takes one entry after another, begins again after the last, and passes over empty slots', () => {
    const { sweep } = sweepOver(16, [0, 3, 9])
    expect(Array.from({ length: 7 }, () => sweep.next(12))).toEqual([0, 3, 9, 0, 3, 9, 0])
  })

  it('next gives up after 64 empty slots, and goes on there', () => {
    const { sweep } = sweepOver(256, [200])
    expect(sweep.next(0)).toBeUndefined()
    expect(Array.from({ length: 5 }, () => sweep.next(256))).toEqual([
      undefined,
      undefined,
      undefined,
      200,
      undefined,
    ])
  })

  it('next passes over no entry, whatever comes and goes during a round', () => {
    const slots = fc.integer({ min: 1, max: 60 })
    const changes = fc.array(fc.record({ slot: fc.nat(59), comes: fc.boolean() }), {
      maxLength: 60,
      size: 'max',
    })
    fc.assert(
      fc.property(slots, changes, (used, all) => {
        const { columns, sweep } = sweepOver(64, [])
        for (let slot = 0; slot < used; slot++) columns.flags[slot] = HELD
        const unseen = new Set(Array.from({ length: used }, (_, slot) => slot))
        for (let turn = 0; turn < used; turn++) {
          const seen = sweep.next(used)
          if (seen !== undefined) {
            expect(columns.flags[seen]).toBe(HELD)
            unseen.delete(seen)
          }
          const change = all[turn]
          if (change === undefined || change.slot >= used) continue
          columns.flags[change.slot] = change.comes ? HELD : 0
          unseen.delete(change.slot)
        }
        expect([...unseen]).toEqual([])
      }),
    )
  })
})
