import { expect, test } from 'vitest'
import { judge } from './judge.ts'

const bounds = { localMaxStaleMs: 2_000, lagMs: 500 }

test('judge finds a strong read that is older than a fenced write that had resolved', () => {
  const { oldStrongReads } = judge(
    [
      ['write', 4, 2, 0, 10, 'fenced'],
      ['strong', 4, 1, 11, 12, 'shared'],
      ['strong', 4, 1, 5, 12, 'shared'],
      ['strong', 5, 1, 11, 12, 'shared'],
    ],
    bounds,
  )
  expect(oldStrongReads).toBe(1)
})

test('judge finds a strong read that is older than what another read had seen of a fenced write', () => {
  const seen = (fact: string) =>
    judge(
      [
        ['write', 4, 2, 0, 100, fact],
        ['read', 4, 2, 5, 6, 'origin'],
        ['strong', 4, 1, 7, 8, 'shared'],
      ],
      bounds,
    ).oldStrongReads
  expect(seen('fenced')).toBe(1)
  expect(seen('applied')).toBe(0)
})

test('judge measures a default read by what had been applied longer than the bound before it began', () => {
  const read = (beganMs: number, fact: string) =>
    judge(
      [
        ['write', 4, 2, 0, 10, fact],
        ['write', 4, 3, 1_500, 1_600, 'fenced'],
        ['read', 4, 1, beganMs, beganMs + 1, 'local'],
      ],
      bounds,
    )
  expect(read(2_010, 'applied')).toMatchObject({ oldReads: 0, oldestReadMs: 2_000 })
  expect(read(2_011, 'applied')).toMatchObject({ oldReads: 1, oldestReadMs: 2_001 })
  expect(read(2_011, 'queued')).toMatchObject({ oldReads: 0 })
  expect(read(2_511, 'queued')).toMatchObject({ oldReads: 1 })
})
