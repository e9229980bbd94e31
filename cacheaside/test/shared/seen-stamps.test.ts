import { expect, test } from 'vitest'
import { SeenStamps } from '../../src/shared/seen-stamps.ts'

const stamp = (name: string, token = 'token', generation = 'generation') => ({ name, token, generation })

test('a stamp had been seen from the moment at which a reply brought it', () => {
  const seen = new SeenStamps()
  const before = seen.now()
  seen.note(stamp('author:7'))
  const after = seen.now()
  seen.note(stamp('author:7'))
  expect(seen.hadSeen(stamp('author:7'), before)).toBe(false)
  expect(seen.hadSeen(stamp('author:7'), after)).toBe(true)
  expect(seen.hadSeen(stamp('author:8'), seen.now())).toBe(false)
})

test('a stamp of another token or generation is another stamp', () => {
  const seen = new SeenStamps()
  seen.note(stamp('author:7'))
  for (const other of [stamp('author:7', 'other'), stamp('author:7', 'token', 'other')]) {
    expect(seen.hadSeen(other, seen.now())).toBe(false)
    const before = seen.now()
    seen.note(other)
    expect(seen.hadSeen(stamp('author:7'), seen.now())).toBe(false)
    expect(seen.hadSeen(other, before)).toBe(false)
    expect(seen.hadSeen(other, seen.now())).toBe(true)
    seen.note(stamp('author:7'))
  }
})

test('of many tags the 8,192 that changed last are remembered', () => {
  const seen = new SeenStamps()
  for (let i = 0; i <= 8_192; i++) seen.note(stamp(`author:${i}`))
  expect(seen.hadSeen(stamp('author:0'), seen.now())).toBe(false)
  expect(seen.hadSeen(stamp('author:1'), seen.now())).toBe(true)
  seen.note(stamp('author:1', 'other'))
  seen.note(stamp('author:9000'))
  expect(seen.hadSeen(stamp('author:1', 'other'), seen.now())).toBe(true)
  expect(seen.hadSeen(stamp('author:2'), seen.now())).toBe(false)
})
