import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Horizon } from '../../src/postgres/horizon.ts'

/** Transactions that draw ids, and snapshots as PostgreSQL takes them. */
class Database {
  drawn = 0
  #nextXid = 100
  #latestEnded = 99
  readonly #running = new Map<number, number[]>()
  /** Ids whose transactions have ended. */
  readonly decided = new Set<number>()

  begin(): number {
    this.#running.set(this.#nextXid, [])
    return this.#nextXid++
  }
  draw(which: number): void {
    this.#running.get(this.#oneOf(which))?.push(++this.drawn)
  }
  end(which: number): void {
    this.commit(this.#oneOf(which))
  }
  commit(xid: number): void {
    if (!this.#running.has(xid)) return
    for (const id of this.#running.get(xid)!) this.decided.add(id)
    this.#running.delete(xid)
    this.#latestEnded = Math.max(this.#latestEnded, xid)
  }
  /** A snapshot knows of no transaction beyond the last one that has ended. */
  xmin(): number {
    const xmax = this.#latestEnded + 1
    return Math.min(xmax, ...[...this.#running.keys()].filter(xid => xid < xmax))
  }
  #oneOf(which: number): number {
    return [...this.#running.keys()][which % Math.max(1, this.#running.size)] ?? -1
  }
}

const deed = fc.record({ do: fc.constantFrom('begin', 'draw', 'draw', 'end'), which: fc.nat(5) })
const step = fc.record({
  deeds: fc.array(deed, { maxLength: 5 }),
  marks: fc.boolean(),
  between: fc.array(deed, { maxLength: 4 }),
})

describe('a horizon', () => {
  it('never passes an id whose transaction was still running at that look', () => {
    let advances = 0
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const database = new Database()
        const horizon = new Horizon()
        const play = ({ do: what, which }: { do: string; which: number }) => {
          if (what === 'begin') database.begin()
          else if (what === 'draw') database.draw(which)
          else database.end(which)
        }
        for (const { deeds, marks, between } of steps) {
          deeds.forEach(play)
          if (marks) {
            const { drawn } = database
            between.forEach(play)
            const xid = database.begin()
            database.commit(xid)
            horizon.mark(String(drawn), String(xid))
          }
          const before = horizon.id
          horizon.learn(String(database.xmin()))
          for (let id = 1; id <= horizon.id; id++) expect(database.decided.has(id)).toBe(true)
          if (horizon.id > before) advances++
        }
      }),
      { numRuns: 2_000 },
    )
    expect(advances).toBeGreaterThan(100)
  })

  it('comes to the last id when every transaction before the mark has ended', () => {
    const horizon = new Horizon()
    horizon.mark('7', '200')
    horizon.learn('150')
    expect(horizon.id).toBe(0n)
    horizon.mark('9', '210')
    horizon.learn('200')
    expect(horizon.id).toBe(7n)
    horizon.mark('9', '220')
    horizon.learn('221')
    expect(horizon.id).toBe(9n)
  })

  it('is worth nothing when the ids begin again', () => {
    const horizon = new Horizon()
    horizon.mark('7', '200')
    expect(() => horizon.mark('1', '201')).toThrow('started again')
  })
})
