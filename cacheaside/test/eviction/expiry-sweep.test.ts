import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EntryNode } from '../../src/eviction/entry-node.ts'
import { ExpirySweep } from '../../src/eviction/expiry-sweep.ts'

const nodeFor = (key: number) => new EntryNode<number>().hold(String(key), key, 1, 1000, true)

describe('ExpirySweep', () => {
  it('next goes round over all nodes', () => {
    const sweep = new ExpirySweep<number>()
    expect(sweep.next()).toBeUndefined()
    for (const key of [1, 2, 3]) sweep.add(nodeFor(key))
    const seen = Array.from({ length: 6 }, () => sweep.next()!.value)
    expect(seen.slice(0, 3).sort()).toEqual([1, 2, 3])
    expect(seen.slice(3).sort()).toEqual([1, 2, 3])
  })

  it('next passes over no node, whatever comes and goes during a round', () => {
    const change = fc.record({ adds: fc.nat({ max: 2 }), removes: fc.array(fc.nat(), { maxLength: 2 }) })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.array(change, { maxLength: 60, size: 'max' }),
        (count, changes) => {
          const sweep = new ExpirySweep<number>()
          const nodes = Array.from({ length: count }, (_, key) => nodeFor(key))
          for (const node of nodes) sweep.add(node)
          const unseen = new Set(nodes)
          let left = count
          for (const { adds, removes } of changes) {
            const node = sweep.next()
            expect(node === undefined).toBe(sweep.size === 0)
            if (node !== undefined) unseen.delete(node)
            left--
            for (let added = 0; added < adds; added++) {
              const fresh = nodeFor(nodes.length)
              nodes.push(fresh)
              sweep.add(fresh)
            }
            for (const pick of removes) {
              const present = nodes.filter(other => other.sweepSlot >= 0)
              const removed = present[pick % Math.max(1, present.length)]
              if (removed === undefined) continue
              sweep.remove(removed)
              unseen.delete(removed)
            }
            if (left <= 0) expect(unseen.size).toBe(0)
          }
          expect(sweep.size).toBe(nodes.filter(node => node.sweepSlot >= 0).length)
        },
      ),
    )
  })
})
