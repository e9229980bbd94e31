/**
 * Generations of keyspaces, shapes of two deploys over one store, and bytes that nobody can read.
 */
import type { Library } from './library.ts'
import { all, got, L1, type Protection, STRONG, Stage, unless } from './stage.ts'
import { holdNext } from './tagged.ts'

const OLD = { spells: { shape: 1 } } as const
const NEW = { spells: { shape: 2 } } as const

export const generations: readonly Protection[] = [
  {
    name: 'invalidateAll is not undone by an answer that was under way',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process()
      await stage.now((await stage.process()).spells.get(4)) // v1 is in the store
      link.delay(80, 'generation') // read at 40 ms, heard at 80 ms
      const reading = spells.get(4)
      await stage.within(50, reading)
      origin.commit(2)
      await stage.now(spells.invalidateAll())
      await stage.within(40, reading)
      link.restore()
      return got('a default read after invalidateAll', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'forgetting a generation that was asked for before the invalidation',
        patches: [['if (copy !== undefined && copy.epoch === epoch)', 'if (copy !== undefined)']],
        reports: 'a default read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidateAll is not undone by a heartbeat that was under way',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process()
      await stage.now(spells.get(4)) // v1 is in the store, and the generation known
      await stage.clock.advance(499)
      link.delay(80, 'heartbeat') // sent at 500 ms, read at 540 ms, heard at 580 ms
      await stage.clock.advance(50)
      origin.commit(2)
      await stage.now(spells.invalidateAll())
      await stage.clock.advance(40)
      return got('a default read after invalidateAll', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'forgetting a generation that was asked for before the invalidation',
        patches: [['if (copy.epoch === beat.epochs[i])\n', '\n']],
        reports: 'a default read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidateAll hides what L1 holds',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, other] = [await stage.process({ cache: { local: L1 } }), await stage.process()]
      await stage.now(reader.spells.get(4))
      origin.commit(2)
      await stage.now(other.spells.invalidateAll())
      await stage.now(reader.spells.get(5)) // learns the new generation
      return got('a default read after invalidateAll', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'comparing the generation of what L1 holds',
        patches: [['|| !shelf.isCurrent(slot)', '']],
        reports: 'a default read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'invalidateAll hides what the embedded store has at hand',
    async scenario(library) {
      const stage = new Stage(library)
      const { spells } = stage.embedded()
      await stage.now(spells.get(4)) // loaded
      await stage.now(spells.get(4)) // v1 is at hand
      stage.origin.commit(2)
      await stage.now(spells.invalidateAll())
      await stage.now(spells.get(5)) // learns the new generation
      return got('a default read after invalidateAll', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'comparing the generation of what is at hand',
        patches: [['|| found.generation !== space.generation.value', '']],
        reports: 'a default read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get does not join a flight that invalidateAll has doomed',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells, link } = await stage.process()
      link.holdStream() // its own message comes late
      const query = origin.stopNextLoad()
      const early = spells.get(4)
      await query.reached
      origin.commit(2)
      await stage.now(spells.invalidateAll())
      const late = spells.get(4)
      await stage.now(late)
      query.open()
      await stage.now(early)
      return got('a default read after invalidateAll', await stage.within(100, late), 2)
    },
    controls: [
      {
        without: "dooming the keyspace's flights",
        patches: [
          ['forgetGeneration(keyspace)\n  dropKeyspace(parts, keyspace)', 'forgetGeneration(keyspace)'],
        ],
        reports: 'a default read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: "get does not join a flight that another process's invalidateAll has doomed",
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, other] = [await stage.process(), await stage.process()]
      const query = origin.stopNextLoad()
      const early = reader.spells.get(4)
      await query.reached
      origin.commit(2)
      await stage.now(other.spells.invalidateAll())
      const late = reader.spells.get(4)
      await stage.now(late)
      query.open()
      await stage.now(early)
      return got('a default read after the message', await stage.within(100, late), 2)
    },
    controls: [
      {
        without: "dooming the keyspace's flights",
        patches: [['keyspace => heardOfKeyspace(this.#parts, keyspace)', '() => {}']],
        reports: 'a default read after the message got v1, not v2',
      },
    ],
  },
  {
    name: 'get finds nothing of an older generation',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const { spells } = await stage.process()
      await stage.now(spells.get(4))
      origin.commit(2)
      await stage.now(spells.invalidateAll())
      return got('a read after invalidateAll', await stage.now(spells.get(4)), 2)
    },
    controls: [
      {
        without: 'comparing the generation of what the store holds',
        patches: [
          ['return register.generation === progress.generation', 'return register.generation.length > 0'],
        ],
        reports: 'a read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get lets no value fall by a copy of the generation from before it was stored',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(5)) // it has a copy of the generation
      reader.link.holdStream()
      await stage.now(other.spells.invalidateAll())
      await stage.now(other.spells.get(4))
      const { loads } = stage.origin
      await stage.now(reader.spells.get(4))
      return unless(stage.origin.loads > loads, 'the other process has loaded for nothing')
    },
    controls: [
      {
        without: 'reading the generation again',
        patches: [['if (!stream.looks.hasFallen(space.name, seen)) {', 'if (seen.length === 0) {']],
        reports: 'the other process has loaded for nothing',
      },
    ],
  },
  {
    name: 'get asks once for the generation of many values whose keyspace was invalidated',
    async scenario(library) {
      const stage = new Stage(library)
      const [reader, other] = [await stage.process(), await stage.process()]
      const ids = Array.from({ length: 20 }, (_, id) => id)
      for (const id of ids) await stage.now(other.spells.get(id))
      await stage.now(other.spells.invalidateAll())
      await stage.now(reader.spells.get(99)) // it has a copy of the new generation
      const read = async (some: readonly number[]) => {
        const before = reader.link.calls.generation
        await stage.now(Promise.all(some.map(id => reader.spells.get(id))))
        return reader.link.calls.generation - before
      }
      const [first, next] = [await read(ids.slice(0, 10)), await read(ids.slice(10))]
      return all(
        unless(first > 1, `the first ten have asked ${first} times`),
        unless(next > 0, `the next ten have asked ${next} times`),
      )
    },
    controls: [
      {
        without: 'sharing a look',
        patches: [['stream.looks.after(space.name, seen)', 'stream.readGeneration(space.name)']],
        reports: 'the first ten have asked 10 times',
      },
      {
        without: 'remembering what has fallen',
        patches: [['?.fallen.has(generation) === true', "?.fallen.has('') === true"]],
        reports: 'the next ten have asked 1 times',
      },
    ],
  },
  {
    name: 'get by a strong reader takes no value for current by a look that it has joined',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, other] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(6)) // it has a copy of the generation
      reader.link.holdStream()
      await stage.now(other.spells.invalidateAll())
      for (const id of [4, 5]) await stage.now(other.spells.get(id))
      const look = holdNext(reader.link, 'generation', 'reply')
      const first = reader.spells.get(5)
      await look.reached // the store has said that the generation of 5 stands
      origin.commit(2)
      await stage.now(other.spells.invalidateAll())
      const strong = reader.spells.get(4, STRONG)
      await stage.now(strong)
      look.open()
      await stage.now(first)
      return got('a strong read after invalidateAll', await stage.now(strong), 2)
    },
    controls: [
      {
        without: 'a look of its own',
        patches: [
          ['isBefore || found === UNCONFIRMED || fallen.has(seen)', 'isBefore || found.length > 0 || seen'],
        ],
        reports: 'a strong read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get by strong readers asks for the generation',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, other] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(4))
      reader.link.holdStream()
      origin.commit(2)
      await stage.now(other.spells.invalidateAll())
      return got('a strong read after invalidateAll', await stage.now(reader.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: "the question: the stream's copy serves strong readers too",
        patches: [['!strong && this.proven(beganAtMs)', 'this.proven(beganAtMs)']],
        reports: 'a strong read after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get trusts the copy of a generation only while the stream is proven',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [reader, other] = [await stage.process(), await stage.process()]
      await stage.now(reader.spells.get(4))
      reader.link.muteStream()
      origin.commit(2)
      await stage.now(other.spells.invalidateAll())
      await stage.clock.advance(2_600)
      return got('a default read 2.6 s after invalidateAll', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'asking for a proof',
        patches: [['!strong && this.proven(beganAtMs)', '!strong']],
        reports: 'a default read 2.6 s after invalidateAll got v1, not v2',
      },
    ],
  },
  {
    name: 'get never returns a value of an older shape',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [older, newer] = [await stage.process(OLD), await stage.process(NEW)]
      await stage.now(older.spells.get(4))
      const before = origin.loads
      const answer = await stage.now(newer.spells.get(4))
      return all(
        got('the newer deploy', answer, 1),
        unless(origin.loads === before, "the newer deploy was given the older one's value"),
      )
    },
    controls: [
      {
        without: 'comparing the shape',
        patches: [['if (register.shape < space.options.shape)', 'if (false as boolean)']],
        reports: "the newer deploy was given the older one's value",
      },
    ],
  },
  {
    name: 'get finds no value of another shape at hand',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [older, newer] = [stage.embedded(OLD), stage.embedded(NEW)]
      await stage.now(newer.spells.get(5)) // learns the generation
      for (let i = 0; i < 2; i++) await stage.now(older.spells.get(4)) // loaded, then at hand
      const before = origin.loads
      const answer = await stage.now(newer.spells.get(4))
      return all(
        got('the newer deploy', answer, 1),
        unless(origin.loads === before, "the newer deploy was given the older one's value"),
      )
    },
    controls: [
      {
        without: 'comparing the shape of what is at hand',
        patches: [[' || register.shape !== space.options.shape', '']],
        reports: "the newer deploy was given the older one's value",
      },
      {
        without: 'opening for itself what another cache has opened',
        patches: [['held instanceof AtHand && held.space === space', 'held instanceof AtHand']],
        reports: "the newer deploy was given the older one's value",
      },
    ],
  },
  {
    name: 'get leaves a value of a newer shape alone',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [older, newer] = [await stage.process(OLD), await stage.process(NEW)]
      await stage.now(newer.spells.get(4))
      const before = origin.loads
      const answer = await stage.now(older.spells.get(4))
      const ownLoads = origin.loads - before
      await stage.now(newer.spells.get(4))
      return all(
        got('the older deploy', answer, 1),
        unless(ownLoads !== 1, "the older deploy was given the newer one's value"),
        unless(origin.loads !== before + 1, "the older deploy overwrote the newer one's value"),
      )
    },
    controls: [
      {
        without: 'leaving a newer shape alone',
        patches: [
          [
            "if (register.shape > space.options.shape) return { kind: 'bypass', why: 'shape' }",
            "if (register.shape > space.options.shape) return swapForLease(space, progress, { prefix: valuePrefix(register.nonce) }, 'shape')",
          ],
        ],
        reports: "the older deploy overwrote the newer one's value",
      },
      {
        without: 'comparing the shape',
        patches: [["if (register.shape > space.options.shape) return { kind: 'bypass', why: 'shape' }", '']],
        reports: "the older deploy was given the newer one's value",
      },
    ],
  },
  {
    name: 'write invalidates the values of all shapes',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin } = stage
      const [older, newer] = [await stage.process(OLD), await stage.process(NEW)]
      await stage.now(older.spells.get(4))
      await stage.now(newer.spells.write(4, () => origin.commit(2)))
      return got('a strong read by the other deploy', await stage.now(older.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'one key for all shapes',
        patches: [['rememberingByKey(name,', 'rememberingByKey(name + resolved.shape,']],
        reports: 'a strong read by the other deploy got v1, not v2',
      },
    ],
  },
  {
    name: 'get replaces unreadable bytes only if they are still there',
    async scenario(library) {
      const stage = new Stage(library)
      const { origin, clock } = stage
      const [reader, writer] = [await stage.process(), await stage.process()]
      stage.plant('spell:4', 'what nobody can read')
      reader.link.holdStream() // no message dooms its flight
      reader.link.delay(80, 'swap') // applied after 40 ms
      const query = origin.stopNextLoad()
      const reading = reader.spells.get(4)
      await clock.advance(10)
      void writer.spells.write(4, () => new Promise(() => {})) // guards
      await clock.advance(80)
      await query.reached
      origin.commit(2)
      query.open()
      await stage.now(reading)
      writer.link.cut() // dies between its commit and its release
      await clock.advance(11_000)
      return got('a read after the guard of the dead writer', await stage.now(reader.spells.get(4)), 2)
    },
    controls: [
      {
        without: 'comparing before swapping',
        patches: [['if (!stands(text, seen)) return REJECTED', 'void [text, seen]']],
        reports: 'a read after the guard of the dead writer got v1, not v2',
      },
    ],
  },
  {
    name: 'get by a strong reader looks at nothing that a store of the past may answer',
    async scenario(library) {
      const { stage, reader } = await beforeADemotion(library)
      return got('a strong read', await stage.now(reader.spells.get(4, STRONG)), 2)
    },
    controls: [
      {
        without: 'asking for the lease wherever the generation has to be read',
        patches: [
          ["const looks = typeof reading === 'string' && found?.has", 'const looks = found?.has'],
          [
            'return afterReply(space, flight, strong, { reply, token: undefined }, reading, clock.nowMs())',
            'return (Promise.resolve(reading) as Promise<string>).then(generation => afterReply(space, flight, strong, { reply, token: undefined }, generation, clock.nowMs()))',
          ],
        ],
        reports: 'a strong read got v1, not v2',
      },
    ],
  },
  {
    name: 'getMany by a strong reader looks at nothing that a store of the past may answer',
    async scenario(library) {
      const { stage, reader } = await beforeADemotion(library)
      const values = await stage.now(reader.spells.getMany([4, 5], STRONG))
      return got('a strong batch', values instanceof Map ? values.get(4) : values, 2)
    },
    controls: [
      {
        without: 'asking for leases wherever the generation has to be read',
        patches: [['isCopy && space.batchesAreFound', 'space.batchesAreFound']],
        reports: 'a strong batch got v1, not v2',
      },
    ],
  },
]

/**
 * A reader that has found both keys before. The node that holds them has become a replica which lags behind: it answers
 * plain reads, and refuses whatever could change something. The generation is on another node.
 */
async function beforeADemotion(library: Library) {
  const stage = new Stage(library)
  const [reader, writer] = [await stage.process(), await stage.process()]
  await stage.now(writer.spells.getMany([4, 5]))
  await stage.now(reader.spells.getMany([4, 5]))
  const old = stage.store.inspect('spell:4')!
  reader.link.muteStream()
  await stage.now(writer.spells.write(4, () => stage.origin.commit(2)))
  stage.plant('spell:4', old)
  reader.link.fail('lease')
  reader.link.fail('leaseMany')
  return { stage, reader }
}
