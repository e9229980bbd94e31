import { expect, test } from 'vitest'
import { count, flag, Kind, oneOf, sortStretches } from './record.ts'
import { check, type Machine } from './search.ts'

/** Two jugs of 5 and 3; the breach is that one of them holds 4. */
const jugs: Machine<{ large: number; small: number }> = {
  size: 2,
  begin: () => ({ large: 0, small: 0 }),
  copy: state => ({ ...state }),
  pack: ({ large, small }, bytes) => bytes.set([large, small]),
  unpack: bytes => ({ large: bytes[0]!, small: bytes[1]! }),
  steps: ({ large, small }, step) => {
    step(
      () => 'fill the large one',
      next => {
        next.large = 5
      },
    )
    step(
      () => 'fill the small one',
      next => {
        next.small = 3
      },
    )
    step(
      () => 'empty the large one',
      next => {
        next.large = 0
      },
    )
    step(
      () => 'empty the small one',
      next => {
        next.small = 0
      },
    )
    const toSmall = Math.min(large, 3 - small)
    step(
      () => 'pour into the small one',
      next => {
        next.large -= toSmall
        next.small += toSmall
      },
    )
    const toLarge = Math.min(small, 5 - large)
    step(
      () => 'pour into the large one',
      next => {
        next.large += toLarge
        next.small -= toLarge
      },
    )
  },
  breach: ({ large }) => (large === 4 ? 'there are 4' : undefined),
  broken: () => undefined,
}

test('check finds the shortest way to a breach', () => {
  expect(check(jugs).breach).toEqual({
    what: 'there are 4',
    trail: [
      'fill the large one',
      'pour into the small one',
      'empty the small one',
      'pour into the small one',
      'fill the large one',
      'pour into the small one',
    ],
  })
})

test('check looks at every state once where there is no breach', () => {
  // One of the two jugs is always empty or full: that leaves 16 of the 24 pairs.
  expect(check({ ...jugs, breach: () => undefined })).toEqual({ states: 16, steps: 96 })
})

test('check reports a step that is wrong in itself, with the step', () => {
  const overflowing: typeof jugs = {
    ...jugs,
    breach: () => undefined,
    broken: ({ small }) => (small === 2 ? 'a small one of 2' : undefined),
  }
  expect(check(overflowing).breach).toEqual({
    what: 'a small one of 2',
    trail: [
      'fill the large one',
      'pour into the small one',
      'empty the small one',
      'pour into the small one',
    ],
  })
})

test('check takes a bound that is reached for no result', () => {
  expect(() => check({ ...jugs, breach: () => undefined }, 5)).toThrow('more than 5 states')
})

test('check tells states apart whose hashes fall into one place', () => {
  const wide: Machine<{ low: number; high: number }> = {
    size: 2,
    begin: () => ({ low: 0, high: 0 }),
    copy: state => ({ ...state }),
    pack: ({ low, high }, bytes) => bytes.set([low, high]),
    unpack: bytes => ({ low: bytes[0]!, high: bytes[1]! }),
    steps: (_, step) => {
      step(
        () => 'low',
        next => {
          next.low = (next.low + 1) % 256
        },
      )
      step(
        () => 'high',
        next => {
          next.high = (next.high + 1) % 256
        },
      )
    },
    breach: () => undefined,
    broken: () => undefined,
  }
  expect(check(wide)).toEqual({ states: 65_536, steps: 131_072 })
})

test('a kind writes records down and reads them again', () => {
  const kind = new Kind({ at: oneOf('start', 'middle', 'end'), version: count, doomed: flag })
  const bytes = new Uint8Array(5)
  expect(kind.first()).toEqual({ at: 'start', version: 0, doomed: false })
  expect(kind.pack({ at: 'end', version: 7, doomed: true }, bytes, 1)).toBe(4)
  expect([...bytes]).toEqual([0, 2, 7, 1, 0])
  expect(kind.unpack(bytes, 1)).toEqual({ at: 'end', version: 7, doomed: true })
  expect(() => kind.pack({ at: 'start', version: 256, doomed: false }, bytes, 0)).toThrow('256')
  expect(() => kind.pack({ at: 'never' as 'end', version: 0, doomed: false }, bytes, 0)).toThrow('never')
})

test('stretches that may be exchanged are sorted, and nothing else', () => {
  const bytes = Uint8Array.of(9, 3, 1, 2, 8, 2, 7, 0)
  sortStretches(bytes, 1, 2, 3)
  expect([...bytes]).toEqual([9, 2, 7, 2, 8, 3, 1, 0])
})
