/**
 * What a load may put into the shared store and into L1: only what its lease, its claim and its generation still
 * allow when it comes back.
 */
import { all, got, L1, type Protection, STRONG, Stage, unless } from './stage.ts'

const LEASE_CHECK = ['if (!stands(text, { prefix })) return REJECTED', 'void [stands, text, prefix]'] as const

const REFRESHING = { ttlMs: 1_000, staleMs: 60_000 } as const
const FALLING_BACK = { ttlMs: 1_000, staleIfErrorMs: 60_000 } as const

export const fills: readonly Protection[] = [
  {
    name: 'get does not store what a write in another process has overtaken',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process(), await stage.process()]
      // The message about the write comes late: only the lease is left to refuse the fill.
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      query.open()
      await stage.now(reading)
      return got('a strong read after the write', await stage.now(writer.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'the lease check at the fill',
        patches: [LEASE_CHECK],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not store what a write in the same process has overtaken',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells } = stage.embedded()
      const query = origin.stopNextLoad()
      const reading = spells.get(4)
      await query.reached
      await stage.now(spells.write(4, () => origin.commit(2)))
      query.open()
      await stage.now(reading)
      return got('a strong read after the write', await stage.now(spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'the lease check at the fill, and dooming before it',
        patches: [LEASE_CHECK, ['if (!flight.doomed) {', 'if (true as boolean) {']],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not store what an invalidation has overtaken',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, other] = [await stage.process(), await stage.process()]
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await query.reached
      origin.commit(2) // by another program
      await stage.now(other.spells.invalidate(4))
      query.open()
      await stage.now(reading)
      return got('a strong read after invalidate', await stage.now(other.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'the lease check at the fill',
        patches: [LEASE_CHECK],
        reports: 'a strong read after invalidate got v1, not v2',
      },
      {
        without: 'the removal of leases by invalidations',
        patches: [
          [
            'if (standing === undefined) return ABSENT\n',
            "if (standing === undefined) return text?.startsWith('L') ? SAME : ABSENT\n",
          ],
        ],
        reports: 'a strong read after invalidate got v1, not v2',
      },
    ],
  },
  {
    name: 'getMany fences each key of a batch for itself',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process(), await stage.process()]
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      const reading = reader.spells.getMany([4, 5])
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      query.open()
      await stage.now(reading)
      const { from } = (await stage.now(writer.spells.read(5))) as { from: string }
      return all(
        got('a strong read after the write', await stage.now(writer.spells.get(4, STRONG)), 2),
        unless(from !== 'shared', 'the key that nobody wrote was not stored'),
      )
    },
    controls: [
      {
        without: 'the lease check at the fill',
        patches: [LEASE_CHECK],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get begins its load only when it has the lease',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process(), await stage.process()]
      reader.link.holdStream()
      reader.link.delay(80, 'lease') // granted after 40 ms
      const reading = reader.spells.get(4)
      await stage.within(10, reading)
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await stage.within(100, reading)
      return got('a strong read after the write', await stage.now(writer.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'waiting for the lease: the load begins beside the question',
        patches: [
          [
            'askThen(space, flight, strong, asked => goOn',
            'const early = Promise.resolve(space.options.load!(id, flight.abort))\n    early.catch(() => {})\n    Object.assign(flight, { early })\n    askThen(space, flight, strong, asked => goOn',
          ],
          ['context => loadOne(space, id, flight.key, context)', '() => (flight as any).early'],
        ],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'getMany begins its load only when it has the last lease',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const newer = { spells: { shape: 2 } }
      const [reader, writer] = [await stage.process(newer), await stage.process(newer)]
      await stage.now((await stage.process()).spells.get(4)) // stores a value of an older shape
      reader.link.holdStream()
      reader.link.delay(80, 'swap') // spell 5 is leased at once, and spell 4 when its old value has been replaced
      const reading = reader.spells.getMany([4, 5])
      await stage.within(10, reading)
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await stage.within(100, reading)
      return got('a strong read after the write', await stage.now(writer.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'waiting for the last lease: the load begins with the first ones',
        patches: [
          [
            'const together = isAnyAsked ? await askTogether(space, members) : undefined\n',
            'const early = Promise.resolve(space.options.loadMany!(members.map(({ id }) => id), members[0]!.flight.abort as any))\n  early.catch(() => {})\n  Object.assign(space, { early })\n  const together = isAnyAsked ? await askTogether(space, members) : undefined\n',
          ],
          [
            'context => loadByKey(space, ids, context)',
            '() => (space as any).early.then((pairs: any) => new Map([...pairs].map(([id, value]: any) => [space.keyOf(id), value])))',
          ],
        ],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not store a refresh that a write has overtaken',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const reader = await stage.process({ spells: REFRESHING })
      const writer = await stage.process({ spells: REFRESHING })
      await stage.now(reader.spells.get(4))
      await clock.advance(1_500)
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      await stage.now(reader.spells.get(4)) // stale, and begins a refresh
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await stage.now(writer.spells.get(4)) // stores v2, with a nonce of its own
      query.open()
      await clock.drain()
      return got('a strong read after the write', await stage.now(writer.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'the comparison of nonce and claim at the fill of a refresh',
        patches: [['prefix: claimPrefix(nonce, token),', "prefix: 'V',"]],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not store the load of an expired value that a write has overtaken',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const reader = await stage.process({ spells: FALLING_BACK })
      const writer = await stage.process({ spells: FALLING_BACK })
      await stage.now(reader.spells.get(4))
      await clock.advance(1_500)
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      await stage.now(writer.spells.get(4))
      query.open()
      await stage.now(reading)
      return got('a strong read after the write', await stage.now(writer.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'the comparison of nonce and claim at the fill of an expired value',
        patches: [['prefix: claimPrefix(nonce, token),', "prefix: 'V',"]],
        reports: 'a strong read after the write got v1, not v2',
      },
    ],
  },
  {
    name: 'get refreshes an expired value in one process of all',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const a = await stage.process({ spells: REFRESHING })
      const b = await stage.process({ spells: REFRESHING })
      await stage.now(a.spells.get(4))
      await clock.advance(1_500)
      // Both find the value unclaimed before the claim of either has arrived.
      a.link.delay(40, 'claim')
      b.link.delay(40, 'claim')
      await stage.within(100, Promise.all([a.spells.get(4), b.spells.get(4)]))
      return unless(origin.loads !== 2, `${origin.loads - 1} processes refreshed one value`)
    },
    controls: [
      {
        without: "the refusal of a claim while another's stands",
        patches: [['if (!own && register.claimUntilMs > nowMs) return REJECTED', 'void own']],
        reports: '2 processes refreshed one value',
      },
    ],
  },
  {
    name: 'get in two processes loads a cold key once',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [a, b] = [await stage.process(), await stage.process()]
      const query = origin.stopNextLoad()
      const first = a.spells.get(4)
      await query.reached
      const second = b.spells.get(4)
      await stage.now(second)
      query.open()
      return all(
        got('the reader with the lease', await stage.now(first), 1),
        got('the reader without it', await stage.within(100, second), 1),
        unless(origin.loads !== 1, `one cold key was loaded ${origin.loads} times`),
      )
    },
    controls: [
      {
        without: "the wait for another process's load",
        patches: [
          [
            "case 'lease':\n      return 'busy'",
            "case 'lease':\n      return { kind: 'bypass', why: 'busy' }",
          ],
        ],
        reports: 'one cold key was loaded 2 times',
      },
    ],
  },
  {
    name: 'get stamps its fill with the generation of before its load',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, other] = [await stage.process(), await stage.process()]
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await query.reached
      // Changed by somebody else's program, so that nothing but the generation says so: no key is touched.
      origin.commit(2)
      await stage.now(other.spells.invalidateAll())
      query.open()
      await stage.now(reading)
      return got('a strong read after invalidateAll', await stage.now(other.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'reading the generation before the load',
        patches: [
          [
            'fillOf(space, asked.generation, made, freshMs)',
            'fillOf(space, String(await space.parts.stream.readGeneration(space.name)), made, freshMs)',
          ],
        ],
        reports: 'a strong read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing of what it loads while a writer is at work',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const reader = await stage.process({ cache: { local: L1 } })
      const writer = await stage.process()
      await stage.now(reader.spells.get(4)) // learns the generation
      void writer.spells.write(4, () => new Promise(() => {}))
      await clock.advance(500)
      const during = await stage.now(reader.spells.get(4))
      origin.commit(2)
      writer.link.cut() // dies between its commit and its release: no message will come
      await clock.advance(11_000)
      return all(
        got('a read before the commit', during, 1),
        got('a read after the guard of the dead writer', await stage.now(reader.spells.get(4)), 2),
      )
    },
    controls: [
      {
        without: 'the rule that a guarded load is kept nowhere',
        patches: [
          [
            "if (asked.kind === 'bypass') return notKept()",
            "if (asked.kind === 'bypass') keep(space, flight, sealed.opened, space.generation.value!, originAnswer(asked, sealed.opened, spent, { filledAtMs: 0, freshUntilMs: 1e9 }), { costMs, text: sealed.text, tags: [] })\n  if (asked.kind === 'bypass') return notKept()",
          ],
        ],
        reports: 'a read after the guard of the dead writer got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps a loaded value in L1 only when the shared store has accepted it',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const reader = await stage.process({ cache: { local: L1 } })
      const writer = await stage.process()
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await query.reached
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      query.open()
      await stage.now(reading)
      return got('a default read after a refused fill', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'the rule that only accepted fills are kept',
        patches: [['if (accepted) keep(', 'keep(']],
        reports: 'a default read after a refused fill got v1, not v2',
      },
    ],
  },
  {
    name: 'get waits a bounded time for a lease whose reader has died',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [dead, reader] = [await stage.process(), await stage.process({ cache: { local: L1 } })]
      const query = origin.stopNextLoad()
      void dead.spells.get(4)
      await query.reached
      dead.link.cut()
      const reading = reader.spells.read(4)
      await stage.now(reading)
      const answer = await stage.within(2_100, reading)
      if (typeof answer === 'symbol') return 'a reader waited for a dead one beyond busyWaitMs'
      return all(
        got('the reader', answer.value, 1),
        unless(answer.kept || reader.spells.peek(4) !== undefined, 'a load without a lease was kept'),
      )
    },
    controls: [
      {
        without: 'the limit on waiting',
        patches: [['if (mostMs <= 0) return false', '']],
        reports: 'a reader waited for a dead one beyond busyWaitMs',
      },
      {
        without: 'the rule that a load without a lease is kept nowhere',
        patches: [
          [
            "if (asked.kind === 'bypass') return notKept()",
            "if (asked.kind === 'bypass') keep(space, flight, sealed.opened, space.generation.value!, originAnswer(asked, sealed.opened, spent, { filledAtMs: 0, freshUntilMs: 1e9 }), { costMs, text: sealed.text, tags: [] })\n  if (asked.kind === 'bypass') return notKept()",
          ],
        ],
        reports: 'a load without a lease was kept',
      },
    ],
  },
  {
    name: 'get stores nothing under a lease that an older state of the store has brought back',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, writer] = [await stage.process(), await stage.process()]
      reader.link.holdStream()
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await query.reached
      const lease = stage.store.inspect('spell:4')!
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      stage.plant('spell:4', lease) // a restart from a snapshot
      reader.link.interrupt('reconnected')
      query.open()
      await stage.now(reading)
      return got('a strong read after the restart', await stage.now(writer.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'looking whether the flight is doomed before the fill',
        patches: [['if (!flight.doomed) {', 'if (true as boolean) {']],
        reports: 'a strong read after the restart got v1, not v2',
      },
    ],
  },
  {
    name: 'get keeps nothing under an id that is not that of the row',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      // The origin takes `04` for 4, as it takes a uuid in capitals.
      const options = { cache: { local: L1 }, spells: { idOf: () => 4 } }
      const [reader, writer] = [await stage.process(options), await stage.process(options)]
      const other = '04' as unknown as number
      await stage.now(reader.spells.get(other))
      await stage.now(writer.spells.write(4, () => origin.commit(2)))
      return all(
        got('a strong read under the other text', await stage.now(reader.spells.get(other, STRONG)), 2),
        got('a read under the other text', await stage.now(reader.spells.get(other)), 2),
      )
    },
    controls: [
      {
        without: "the comparison with the row's own id",
        patches: [['if (idOf === undefined) return undefined', 'if (keyOf !== undefined) return undefined']],
        reports: 'a strong read under the other text got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing at hand under an id that is not that of the row',
    async scenario(library) {
      const stage = new Stage(library)
      // The older deploy does not know the row's own id yet.
      const [older, newer] = [stage.embedded(), stage.embedded({ spells: { idOf: () => 4 } })]
      const other = '04' as unknown as number
      await stage.now(newer.spells.get(4)) // learns the generation
      await stage.now(older.spells.get(other))
      await stage.now(newer.spells.write(4, () => stage.origin.commit(2)))
      return got('a read under the other text', await stage.now(newer.spells.get(other)), 2)
    },
    controls: [
      {
        without: "the comparison with the row's own id, of what is at hand",
        patches: [[' || aliasOf(space, key, opened) !== undefined', '']],
        reports: 'a read under the other text got v1, not v2',
      },
    ],
  },
]
