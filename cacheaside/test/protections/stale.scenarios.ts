/** What is stale may be served, where the options say so; what was invalidated may not. */
import { all, failure, got, type Protection, STRONG, Stage, shown, unless } from './stage.ts'

const REFRESHING = { ttlMs: 1_000, staleMs: 60_000 } as const
const FALLING_BACK = { ttlMs: 1_000, staleIfErrorMs: 60_000 } as const
const DOOMED_FALLBACK = [
  'asked.fallback === undefined || flight.doomed)',
  'asked.fallback === undefined)',
] as const

export const stale: readonly Protection[] = [
  {
    name: 'get serves nothing as stale that was invalidated',
    async scenario(library) {
      const stage = new Stage(library)
      const { spells } = await stage.process({ spells: REFRESHING })
      await stage.now(spells.get(4))
      await stage.clock.advance(1_500)
      stage.origin.commit(2)
      await stage.now(spells.invalidate(4))
      return got('a read after invalidate', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'removing what has expired already',
        patches: [
          ['if (standing === undefined) return ABSENT\n', 'if (standing === undefined) return SAME\n'],
        ],
        reports: 'a read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not fall back on what was invalidated while the load was failing',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const reader = await stage.process({ spells: FALLING_BACK })
      const writer = await stage.process({ spells: FALLING_BACK })
      await stage.now(reader.spells.get(4))
      await stage.clock.advance(1_500)
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4).catch(shown)
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      query.fail(new Error('no connection'))
      return got('the reader', await stage.now(reading), 'no connection')
    },
    controls: [
      {
        without: 'looking whether the flight is doomed',
        patches: [DOOMED_FALLBACK],
        reports: 'the reader got v1, not no connection',
      },
    ],
  },
  {
    name: 'get does not fall back on what was invalidated while the load was slow',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const reader = await stage.process({ spells: { ...FALLING_BACK, loadSoftTimeoutMs: 200 } })
      const writer = await stage.process({ spells: FALLING_BACK })
      await stage.now(reader.spells.get(4))
      await stage.clock.advance(1_500)
      const query = origin.stopNextLoad()
      const reading = reader.spells.read(4)
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await stage.within(300, reading)
      query.open()
      const answer = await stage.now(reading)
      if (typeof answer === 'symbol') return 'the reader waited on'
      return unless(answer.from === 'shared', 'the reader was served what had been invalidated')
    },
    controls: [
      {
        without: 'looking whether the flight is doomed',
        patches: [DOOMED_FALLBACK],
        reports: 'the reader was served what had been invalidated',
      },
    ],
  },
  {
    name: 'get does not fall back on what is no longer there',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const refresher = await stage.process({ spells: FALLING_BACK })
      const reader = await stage.process({ spells: FALLING_BACK })
      await stage.now(refresher.spells.get(4))
      await stage.clock.advance(1_500)
      const [first, second] = [origin.stopNextLoad(), origin.stopNextLoad()]
      const refreshing = failure(refresher.spells.get(4))
      await first.reached
      const reading = reader.spells.get(4).catch(shown) // waits for the other, with v1 to fall back on
      await stage.now(reading)
      reader.link.holdStream()
      await stage.now(refresher.spells.write(4, () => origin.commit(2)))
      await stage.within(100, reading) // asks again, and is granted the lease
      second.fail(new Error('no connection'))
      first.open()
      await stage.now(refreshing)
      return got('the reader', await stage.now(reading), 'no connection')
    },
    controls: [
      {
        without: 'forgetting a value that is gone',
        patches: [
          [
            "why: 'missing', generation: progress.generation, prefix: leaseText(token) }",
            "why: 'missing', generation: progress.generation, prefix: leaseText(token), fallback: progress.fallback }",
          ],
        ],
        reports: 'the reader got v1, not no connection',
      },
    ],
  },
  {
    name: 'get by a strong reader serves nothing that has expired',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells } = await stage.process({ spells: REFRESHING })
      await stage.now(spells.get(4))
      await stage.clock.advance(1_500)
      origin.commit(2) // by another program
      return all(got('a strong read after the expiry', await stage.now(spells.get(4, STRONG)), 2))
    },
    controls: [
      {
        without: 'the difference: a strong reader is served stale values too',
        patches: [
          [
            'if (!progress.strong && -freshMs < space.options.staleMs)',
            'if (-freshMs < space.options.staleMs)',
          ],
        ],
        reports: 'a strong read after the expiry got v1, not v2',
      },
    ],
  },
]
