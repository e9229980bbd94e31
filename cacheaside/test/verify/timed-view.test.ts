import { describe, expect, test } from 'vitest'
import { embeddedShared } from '../../src/index.ts'
import { examineAll, type Operated, storeStats } from '../../src/operate/index.ts'
import { auditedKeyspace, verify } from '../../src/verify/index.ts'

/** How a walk over the keys of a store is begun. */
const WALKS: Readonly<Record<string, (operated: Operated) => Promise<unknown>>> = {
  verify: operated => verify(operated),
  'verify of a sample': operated => verify({ ...operated, sample: 1 }),
  storeStats: operated => storeStats(operated),
  examineAll: async operated => {
    const { findings } = await examineAll(operated)
    throw findings.find(({ code }) => code === 'UNREACHABLE')
  },
}

/** A store that gives one page of its keys, and no answer to what is asked next. */
function silentAfterPage(onSilence = () => {}): Operated {
  const store = embeddedShared()
  const view = async () => ({
    caveats: [],
    async *keys() {
      yield ['spell:1']
      onSilence()
      await new Promise(() => {})
    },
    peek: async () => [undefined],
    generations: async () => [undefined],
    timeMs: async () => 1,
    close: async () => {},
  })
  const shared = new Proxy(store, { get: (of, name) => (name === 'view' ? view : Reflect.get(of, name)) })
  return { shared, keyspaces: [auditedKeyspace('spell', { load: async (id: string) => id })], timeoutMs: 20 }
}

describe.each(Object.entries(WALKS))(
  '%s on a store that falls silent in the middle of a walk',
  (_name, walk) => {
    test('rejects after its time limit', async () => {
      await expect(walk(silentAfterPage())).rejects.toMatchObject({
        message: expect.stringContaining('the shared store did not answer within 20 ms'),
      })
    })

    test('ends at once when it is interrupted', async () => {
      const stop = new AbortController()
      const operated = silentAfterPage(() => stop.abort(new Error('interrupted')))
      await expect(walk({ ...operated, timeoutMs: 600_000, signal: stop.signal })).rejects.toThrow(
        'interrupted',
      )
    })
  },
)
