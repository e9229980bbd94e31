import * as library from 'cacheaside'
import * as testing from 'cacheaside/testing'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  dateForwardExpires,
  fakeableClockFollows,
  limitsHoldWhileFaked,
  timePassesBeforeDuringAndAfter,
} from './scenarios.mjs'

type ToFake = NonNullable<NonNullable<Parameters<typeof vi.useFakeTimers>[0]>['toFake']>

const fakesOf = (toFake?: ToFake) => ({
  use: () => void vi.useFakeTimers(toFake === undefined ? undefined : { toFake }),
  restore: () => void vi.useRealTimers(),
  setDateForward: (ms: number) => void vi.setSystemTime(Date.now() + ms),
  advance: (ms: number) => vi.advanceTimersByTimeAsync(ms),
})

const ALL: ToFake = [
  'Date',
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
  'clearImmediate',
  'performance',
  'hrtime',
  'queueMicrotask',
]

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

describe('a cache under the fake timers of Vitest', () => {
  const kinds: [string, ToFake | undefined][] = [
    ['the default', undefined],
    ['only Date', ['Date']],
    ['only timers', ['setTimeout', 'clearTimeout']],
    ['only performance', ['performance']],
    ['everything', ALL],
  ]

  test.each(kinds)('lets real time pass, before, during and after them (%s)', async (_, toFake) => {
    await timePassesBeforeDuringAndAfter(library, fakesOf(toFake))
  })

  test.each(kinds)('keeps its time limits (%s)', async (_, toFake) => {
    await limitsHoldWhileFaked(library, fakesOf(toFake))
  })

  test.each([kinds[0]!, kinds[1]!, kinds[4]!])(
    'takes a Date set forward for time that has passed (%s)',
    async (_, toFake) => {
      await dateForwardExpires(library, fakesOf(toFake))
    },
  )

  test.each([kinds[0]!, kinds[4]!])('follows them with fakeableClock (%s)', async (_, toFake) => {
    await fakeableClockFollows(library, testing, fakesOf(toFake))
  })

  test.each(kinds)('does the same when it is loaded while they are in place (%s)', async (_, toFake) => {
    const fakes = fakesOf(toFake)
    fakes.use()
    vi.resetModules()
    const late: typeof library = await import('cacheaside')
    expect(late.createCache).not.toBe(library.createCache)
    fakes.restore()
    await timePassesBeforeDuringAndAfter(late, fakes)
  })

  test('drains its simulated clock, too', async () => {
    vi.useFakeTimers({ toFake: ALL })
    const clock = new testing.SimulatedClock()
    let ran = false
    clock.after(100, () => {
      ran = true
    })
    await clock.advance(100)
    expect(ran).toBe(true)
  })
})

describe('a cache whose globals are mocked by hand', () => {
  const spied = (use: () => void) => ({
    use,
    restore: () => {
      vi.restoreAllMocks()
      vi.unstubAllGlobals()
    },
  })

  test.each<[string, () => void]>([
    ['Date.now that stands still', () => void vi.spyOn(Date, 'now').mockReturnValue(0)],
    ['Date.now that answers NaN', () => void vi.spyOn(Date, 'now').mockReturnValue(Number.NaN)],
    [
      'Date.now that answers Infinity',
      () => void vi.spyOn(Date, 'now').mockReturnValue(Number.POSITIVE_INFINITY),
    ],
    ['a Date without now', () => void vi.stubGlobal('Date', class {})],
    ['performance.now that stands still', () => void vi.spyOn(performance, 'now').mockReturnValue(0)],
    ['setTimeout that does nothing', () => void vi.stubGlobal('setTimeout', () => 0)],
    ['queueMicrotask that does nothing', () => void vi.stubGlobal('queueMicrotask', () => {})],
  ])('lets time pass and keeps its limits (%s)', async (_, use) => {
    await timePassesBeforeDuringAndAfter(library, spied(use))
    await limitsHoldWhileFaked(library, spied(use))
  })
})
