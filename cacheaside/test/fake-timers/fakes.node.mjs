/** Run by `node --test`, from `runners.test.ts`. */
import { describe, mock, test } from 'node:test'

// Loaded while the timers are mocked already, in one of two runs.
if (process.env.MOCKED_BEFORE !== undefined) mock.timers.enable({ apis: ['setTimeout', 'Date'] })
const library = await import('cacheaside')
const testing = await import('cacheaside/testing')
mock.timers.reset()
const scenarios = await import('./scenarios.mjs')

const fakesOf = apis => {
  let date = 0
  return {
    use: () => {
      date = Date.now()
      mock.timers.enable(apis.includes('Date') ? { apis, now: date } : { apis })
    },
    restore: () => mock.timers.reset(),
    setDateForward: ms => mock.timers.setTime(date + ms),
    advance: ms => mock.timers.tick(ms),
  }
}

const kinds = [['setTimeout', 'setInterval', 'setImmediate', 'Date'], ['Date'], ['setTimeout']]

describe('a cache under the mocked timers of node:test', () => {
  for (const apis of kinds) {
    test(`lets real time pass, before, during and after them (${apis})`, () =>
      scenarios.timePassesBeforeDuringAndAfter(library, fakesOf(apis)))
    test(`keeps its time limits (${apis})`, () => scenarios.limitsHoldWhileFaked(library, fakesOf(apis)))
  }
  test('takes a Date set forward for time that has passed', () =>
    scenarios.dateForwardExpires(library, fakesOf(['Date'])))
  test('follows them with fakeableClock', () =>
    scenarios.fakeableClockFollows(library, testing, fakesOf(kinds[0])))
})
