/**
 * A lease or a claim that will not be filled is given back, so that the next reader does not wait for nobody. Each
 * scenario ends with a reader of another process, who must have its answer without any time passing.
 */
import {
  all,
  failure,
  got,
  type Process,
  type Protection,
  STRONG,
  Stage,
  unless,
  type Verdict,
} from './stage.ts'

const WAITED = 'the next reader got no answer, not v1'
const REFRESHING = { ttlMs: 1_000, staleMs: 60_000 } as const
const FALLING_BACK = { ttlMs: 1_000, staleIfErrorMs: 60_000 } as const

/** Whether a strong reader, who would wait for a lease or a claim, has an answer at once. */
const nextReader = async (stage: Stage, { spells }: Pick<Process, 'spells'>): Promise<Verdict> =>
  got('the next reader', await stage.now(spells.get(4, STRONG)), 1)

export const leases: readonly Protection[] = [
  {
    name: 'get gives its lease back when the loader fails',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      const query = stage.origin.stopNextLoad()
      const reading = failure(a.spells.get(4))
      await query.reached
      query.fail(new Error('no connection'))
      await stage.now(reading)
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving the lease back after a failed load',
        patches: [['giveBack(space, flight.key, asked)\n    if (!answerStale(', 'if (!answerStale(']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives its lease back when its only caller gives up',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      const query = stage.origin.stopNextLoad()
      const caller = new AbortController()
      const reading = failure(a.spells.get(4, { signal: caller.signal }))
      await query.reached
      caller.abort(new Error('gone'))
      await stage.now(reading)
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'aborting the flight of the last caller',
        patches: [['this.abort.abort(reason)', '']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'getMany gives all its leases back when the loader fails',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      const query = stage.origin.stopNextLoad()
      const reading = failure(a.spells.getMany([3, 4]))
      await query.reached
      query.fail(new Error('no connection'))
      await stage.now(reading)
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving the leases of a failed batch back',
        patches: [['giveBack(space, member.flight.key, asked)', '']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives its lease back when its flight was doomed by an interruption',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      const query = stage.origin.stopNextLoad()
      const reading = a.spells.get(4)
      await query.reached
      a.link.interrupt('another connection')
      query.open()
      await stage.now(reading)
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back what is not filled',
        patches: [["if (outcome !== 'accepted') giveBack(space, flight.key, asked)", '']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives its lease back when the store has no room for the value',
    async scenario(library) {
      const stage = new Stage(library, { policy: 'noeviction', maxBytes: 2_000 })
      const wide = { encode: (version: number) => String(version).padStart(5_000, ' '), decode: Number }
      const [a, b] = [await stage.process({ spells: { codec: wide } }), await stage.process()]
      await stage.now(a.spells.get(4))
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back what is not filled',
        patches: [["if (outcome !== 'accepted') giveBack(space, flight.key, asked)", '']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives its lease back when the value cannot be encoded',
    async scenario(library) {
      const stage = new Stage(library)
      const mute = {
        encode: () => {
          throw new Error('no words')
        },
        decode: Number,
      }
      const [a, b] = [await stage.process({ spells: { codec: mute } }), await stage.process()]
      await stage.now(a.spells.get(4))
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back the lease of what cannot be encoded',
        patches: [['giveBack(space, flight.key, asked)\n    flight.resolve(', 'flight.resolve(']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives back a lease whose grant it never heard of',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      a.link.loseReplies('lease')
      await stage.now(a.spells.get(4))
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back what may have been granted',
        patches: [
          [
            "dropLease(parts, flight.key, token)\n  return { kind: 'bypass', why: 'unavailable', fallback }",
            "void [parts, flight, token]\n  return { kind: 'bypass', why: 'unavailable', fallback }",
          ],
        ],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'getMany gives back leases whose grant it never heard of',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      a.link.loseReplies('leaseMany')
      await stage.now(a.spells.getMany([3, 4]))
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back what may have been granted',
        patches: [['|| first?.reply === UNCONFIRMED)', ')']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives back a lease that is granted too late',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      a.link.delay(300, 'lease') // granted at 150 ms, given up and dropped before that, heard of at 300 ms
      const answer = await stage.within(310, a.spells.get(4))
      return all(got('the reader', answer, 1), await nextReader(stage, b))
    },
    controls: [
      {
        without: 'giving back what a late reply grants',
        patches: [['if (late === null) dropLease(parts, key, token)', 'void late']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'getMany gives back leases that are granted too late',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [await stage.process(), await stage.process()]
      a.link.delay(300, 'leaseMany')
      await stage.within(310, a.spells.getMany([3, 4]))
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back what a late reply grants',
        patches: [['if (late[i] === null) dropLease(space.parts, key, token)', 'void [late, i, key, token]']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives back a lease that takes the place of an old value too late',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [
        await stage.process({ spells: { shape: 2 } }),
        await stage.process({ spells: { shape: 2 } }),
      ]
      const old = await stage.process({ spells: { shape: 1 } })
      await stage.now(old.spells.get(4))
      a.link.delay(300, 'swap')
      await stage.within(310, a.spells.get(4))
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back what a late reply grants',
        patches: [['late => late && dropLease(space.parts, key, token)', 'late => void late']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives back a claim that is granted too late',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [
        await stage.process({ spells: FALLING_BACK }),
        await stage.process({ spells: FALLING_BACK }),
      ]
      await stage.now(a.spells.get(4))
      await stage.clock.advance(1_500)
      a.link.delay(300, 'claim')
      const reading = a.spells.get(4)
      await stage.within(50, reading)
      a.link.delay(2, 'claim') // what gives it up at 100 ms overtakes it
      await stage.within(260, reading)
      return nextReader(stage, b)
    },
    controls: [
      {
        without: 'giving back what a late reply grants',
        patches: [['late => late && giveBack(space, key, leased)', 'late => void late']],
        reports: WAITED,
      },
    ],
  },
  {
    name: 'get gives back the claim of a refresh whose grant it never heard of',
    async scenario(library) {
      const stage = new Stage(library)
      const [a, b] = [
        await stage.process({ spells: REFRESHING }),
        await stage.process({ spells: REFRESHING }),
      ]
      await stage.now(a.spells.get(4))
      await stage.clock.advance(1_500)
      a.link.loseReplies('claim')
      await stage.now(a.spells.get(4)) // stale, and begins a refresh that does not hear of its claim
      await stage.now(b.spells.get(4))
      return unless(stage.origin.loads !== 2, 'the next reader could not refresh the value')
    },
    controls: [
      {
        without: 'giving back what may have been granted',
        patches: [['if (claimed === UNCONFIRMED) giveBack(space, key, leased)', '']],
        reports: 'the next reader could not refresh the value',
      },
    ],
  },
]
