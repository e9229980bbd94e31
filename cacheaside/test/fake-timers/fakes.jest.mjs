/** Run by Jest itself, from `runners.test.ts`: once as it is, and once with fake timers in place before anything is loaded. */

import { afterEach, describe, jest, test } from '@jest/globals'
import * as library from 'cacheaside'
import * as testing from 'cacheaside/testing'
import {
  dateForwardExpires,
  fakeableClockFollows,
  limitsHoldWhileFaked,
  timePassesBeforeDuringAndAfter,
} from './scenarios.mjs'

const fakesOf = options => ({
  use: () => jest.useFakeTimers(options),
  restore: () => jest.useRealTimers(),
  setDateForward: ms => jest.setSystemTime(Date.now() + ms),
  advance: ms => jest.advanceTimersByTimeAsync(ms),
})

afterEach(() => jest.useRealTimers())

const kinds = [
  ['modern', undefined],
  ['legacy', { legacyFakeTimers: true }],
  ['only Date', { doNotFake: ['setTimeout', 'clearTimeout', 'performance', 'nextTick', 'queueMicrotask'] }],
]

describe('a cache under the fake timers of Jest', () => {
  test.each(kinds)('lets real time pass, before, during and after them (%s)', async (_, options) => {
    await timePassesBeforeDuringAndAfter(library, fakesOf(options))
  })

  test.each(kinds)('keeps its time limits (%s)', async (_, options) => {
    await limitsHoldWhileFaked(library, fakesOf(options))
  })

  test('takes a Date set forward for time that has passed', async () => {
    await dateForwardExpires(library, fakesOf())
  })

  test('follows them with fakeableClock', async () => {
    await fakeableClockFollows(library, testing, fakesOf())
  })
})
