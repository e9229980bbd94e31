import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Dependents } from '../../src/local/dependents.ts'
import { EntryTags } from '../../src/local/entry-tags.ts'
import { boundedLocal } from '../../src/local/local-store.ts'
import { SimulatedClock } from '../../src/testing/index.ts'

describe('dependents', () => {
  test('know a tag only while something depends on it', () => {
    const dependents = new Dependents<string>()
    for (let i = 0; i < 10_000; i++) {
      dependents.list('value', [`author:${i}`, `post:${i}`])
      expect(dependents.of(`author:${i}`)).toEqual(['value'])
      dependents.unlist('value', [`author:${i}`, `post:${i}`])
    }
    expect(dependents.size).toBe(0)
    dependents.unlist('value', ['author:1'])
    expect(dependents.of('author:1')).toEqual([])
  })

  test('of a whole keyspace are each told once', () => {
    const dependents = new Dependents<string>()
    dependents.list('page', ['author:1', 'author:2', 'authors:3'])
    dependents.list('post', ['author:2'])
    expect(dependents.ofKeyspace('author')).toEqual(['page', 'post'])
    expect(dependents.ofKeyspace('authors')).toEqual(['page'])
  })
})

describe('the tags of an L1', () => {
  const key = fc.nat(5).map(i => `value:${i}`)
  const tags = fc.uniqueArray(
    fc.nat(4).map(i => `tag:${i}`),
    { maxLength: 3 },
  )
  const step = fc.oneof(
    fc.record({ kind: fc.constant('keep' as const), key, tags, lifeMs: fc.integer({ min: -5, max: 30 }) }),
    fc.record({ kind: fc.constant('remove' as const), key }),
    fc.record({ kind: fc.constant('get' as const), key }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20) }),
    fc.record({ kind: fc.constant('clear' as const) }),
  )

  test('are those of its entries, whatever was kept, replaced, evicted and expired before', async () => {
    const property = fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
      const clock = new SimulatedClock()
      const local = boundedLocal({ maxEntries: 3 }, clock, () => {})
      for (const one of steps) {
        if (one.kind === 'pass') await clock.advance(one.ms)
        else if (one.kind === 'clear') local.clear()
        else if (one.kind === 'remove') local.remove(one.key)
        else if (one.kind === 'get') local.get(one.key, clock.nowMs())
        else {
          const expiresAtMs = clock.nowMs() + one.lifeMs
          local.keep(
            one.key,
            {
              opened: { take: () => one.key, isShared: true },
              tags: new EntryTags(one.tags, false, Number.POSITIVE_INFINITY),
              generation: 'generation',
              filledAtMs: 0,
              expiresAtMs,
              refreshAtMs: Number.POSITIVE_INFINITY,
            },
            1,
          )
        }
        // Whatever is found is listed under its tags, and so are those at most that are held.
        for (let i = 0; i < 6; i++) {
          const entry = local.get(`value:${i}`, clock.nowMs())
          for (const tag of entry?.tags.names ?? []) expect(local.dependentsOf(tag)).toContain(`value:${i}`)
          if (entry === undefined)
            for (let t = 0; t < 5; t++) expect(local.dependentsOf(`tag:${t}`)).not.toContain(`value:${i}`)
        }
      }
      for (let i = 0; i < 6; i++) local.remove(`value:${i}`)
      expect(local.tags).toBe(0)
    })
    await fc.assert(property, { numRuns: 300 })
  })
})
