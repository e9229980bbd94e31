import { afterEach, expect, test, vi } from 'vitest'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.resetModules()
})

test('a runtime without modules of Node, whose timers refuse to be methods of another object, loads the clock', async () => {
  const { setTimeout: set, clearTimeout: clear } = globalThis
  // As in a browser: https://html.spec.whatwg.org/multipage/timers-and-user-prompts.html
  const own = (self: unknown) => {
    if (self !== undefined && self !== globalThis) throw new TypeError('Illegal invocation')
  }
  vi.stubGlobal('process', { ...process, getBuiltinModule: undefined })
  vi.stubGlobal('setTimeout', function (this: unknown, run: () => void, ms: number) {
    own(this)
    return Number(set(run, ms))
  })
  vi.stubGlobal('clearTimeout', function (this: unknown, handle: number) {
    own(this)
    clear(handle)
  })
  vi.resetModules()
  const { systemClock } = await import('../../src/base/clock.ts')
  await new Promise<void>(resolve => systemClock.after(1, resolve))
  expect(systemClock.nowMs()).toBeGreaterThan(0)
})
