import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { EVICTION_POLICIES } from '../../src/eviction/bounded-map.ts'
import { type EmbeddedShared, embeddedShared } from '../../src/memory/embedded-shared.ts'
import { type Fill, REFUSED } from '../../src/shared/shared-store.ts'
import { SimulatedClock } from '../../src/testing/index.ts'
import { decode, RegisterModel } from './register-model.ts'

const START_MS = 1_900_000_000_000
const TOKENS = ['Anna____________', 'Bert____________', 'Cara____________', 'Dora____________']

/** The store, what it should be, and what the listeners were told. */
interface World {
  readonly store: EmbeddedShared
  readonly clock: SimulatedClock
  readonly model: RegisterModel
  readonly keys: readonly string[]
  /** Whether the store is too small for all of this, so that values and leases may be gone or refused. */
  readonly isTight: boolean
  readonly heard: string[]
  /** All nonces ever seen, so that operations may come late, with one of a value long gone. */
  readonly nonces: string[]
}

class Step implements fc.AsyncCommand<object, World> {
  readonly name: string
  readonly play: (world: World) => Promise<void>
  constructor(name: string, play: (world: World) => Promise<void>) {
    this.name = name
    this.play = play
  }
  check = () => true
  toString = () => this.name
  async run(_model: object, world: World): Promise<void> {
    await this.play(world)
    assert.deepEqual(world.heard.splice(0), world.model.said.splice(0))
    for (const key of world.keys) compare(world, key)
  }
}

/** A register must be exactly what the model says, except that a full store may have evicted what is no guard. */
function compare(world: World, key: string): void {
  const raw = world.store.inspect(key)
  const expected = world.model.at(key)
  if (raw === undefined && world.isTight && expected !== undefined && expected.state !== 'guard') {
    world.model.evict(key)
  } else {
    assert.deepEqual(raw === undefined ? undefined : decode(raw), expected)
  }
}

/** After an accepted fill the model learns the nonce, which nobody can foretell and nobody may have had before. */
function learnNonce(world: World, key: string): void {
  const raw = world.store.inspect(key)
  if (raw === undefined) return
  const nonce = raw.slice(1, 17)
  assert.ok(!world.nonces.includes(nonce))
  world.nonces.push(nonce)
  world.model.learnNonce(key, nonce)
}

const key = fc.nat(7)
const token = fc.constantFrom(...TOKENS)
/** A token: mostly that of the holder of the register. */
const who = fc.oneof({ weight: 3, arbitrary: fc.constant('the one there') }, { weight: 2, arbitrary: token })
/** How many nonces ago, or mostly: that of the value that is there now. */
const which = fc.oneof(
  { weight: 4, arbitrary: fc.constant('the one there' as const) },
  { weight: 1, arbitrary: fc.nat(3) },
)
const lifeMs = fc.constantFrom(1, 20, 50, 400, 400, 400)
const fill: fc.Arbitrary<Fill> = fc.record({
  generation: fc.constantFrom('generation-one--', 'generation-two--'),
  shape: fc.nat(999_999),
  freshMs: lifeMs,
  staleMs: fc.constantFrom(0, 30, 200),
  costMs: fc.nat(100_000),
  tags: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(
        fc.record(
          {
            name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
            token: fc.constantFrom(...TOKENS),
            generation: fc.constantFrom('generation-one--', 'generation-two--'),
          },
          { noNullPrototype: true },
        ),
        { maxLength: 3 },
      ),
    },
  ),
  text: fc.option(fc.string({ unit: 'grapheme', maxLength: 40 }), { nil: undefined }),
})

type Act = (world: World, key: string) => Promise<void>

/** What readers do, with arguments that are right mostly, and wrong, late or repeated otherwise. */
const BY_READERS = [
  act('lease', fc.tuple(token, lifeMs), (mine, life) => async ({ store, model, isTight }, at) => {
    const reply = await store.lease(at, mine, life)
    if (isTight && reply === REFUSED) assert.equal(model.at(at), undefined)
    else assert.deepEqual(reply === null ? null : decode(String(reply)), model.lease(at, mine, life))
  }),
  act('stampMany', fc.tuple(token, lifeMs), (mine, life) => async ({ store, model, isTight }, at) => {
    const [reply] = await store.stampMany([{ key: at, token: mine }], life)
    if (isTight && reply === REFUSED) assert.equal(model.at(at), undefined)
    else assert.deepEqual(reply === null ? null : decode(String(reply)), model.stamp(at, mine, life))
  }),
  act('fill by lease', fc.tuple(who, fill), (whose, value) => async (world, at) => {
    const mine = tokenOf(world, at, whose)
    const accepted = await world.store.fill(at, `L${mine}`, value)
    const allowed = world.model.fillByLease(at, mine, value, world.isTight ? accepted : true)
    assert.equal(accepted, allowed)
    if (accepted) learnNonce(world, at)
  }),
  act('fill by claim', fc.tuple(which, who, fill), (n, whose, value) => async (world, at) => {
    const [nonce, mine] = [nonceOf(world, at, n), tokenOf(world, at, whose)]
    const accepted = await world.store.fill(at, `V${nonce}${mine}`, value)
    const allowed = world.model.fillByClaim(at, nonce, mine, value, world.isTight ? accepted : true)
    assert.equal(accepted, allowed)
    if (accepted) learnNonce(world, at)
  }),
  act('claim', fc.tuple(which, token, lifeMs), (n, mine, life) => async (world, at) => {
    const nonce = nonceOf(world, at, n)
    const granted = await world.store.claim(at, nonce, mine, life)
    assert.equal(granted, world.model.claim(at, nonce, mine, life))
  }),
]

/** What takes things away. */
const BY_WHO_GIVES_UP = [
  act('swap', fc.tuple(which, token, lifeMs), (n, mine, life) => async (world, at) => {
    const nonce = nonceOf(world, at, n)
    const accepted = await world.store.swap(at, { prefix: `V${nonce}` }, mine, life)
    assert.equal(accepted, world.model.swap(at, nonce, mine, life))
  }),
  act('drop lease', fc.tuple(who), whose => async (world, at) => {
    const mine = tokenOf(world, at, whose)
    assert.equal(await world.store.drop(at, { exactly: `L${mine}` }), world.model.dropLease(at, mine))
  }),
  act('renewStamp', fc.tuple(who, lifeMs), (whose, life) => async (world, at) => {
    const mine = tokenOf(world, at, whose)
    assert.equal(await world.store.renewStamp(at, mine, life), world.model.renewStamp(at, mine, life))
  }),
  act('drop stamp', fc.tuple(who), whose => async (world, at) => {
    const mine = tokenOf(world, at, whose)
    assert.equal(await world.store.drop(at, { prefix: `S${mine}` }), world.model.dropStamp(at, mine))
  }),
  act('drop value', fc.tuple(which), n => async (world, at) => {
    const nonce = nonceOf(world, at, n)
    assert.equal(await world.store.drop(at, { prefix: `V${nonce}` }), world.model.dropValue(at, nonce))
  }),
  act('give claim back', fc.tuple(which, who), (n, whose) => async (world, at) => {
    const [nonce, mine] = [nonceOf(world, at, n), tokenOf(world, at, whose)]
    const given = await world.store.claim(at, nonce, mine, 0)
    assert.equal(given, world.model.giveClaimBack(at, nonce, mine))
  }),
  act('invalidate', fc.constant([]), () => async ({ store, model }, at) => {
    await store.invalidate(at)
    model.invalidate(at)
  }),
  act('release', fc.tuple(who), whose => async (world, at) => {
    const mine = tokenOf(world, at, whose)
    assert.deepEqual(await world.store.release(at, mine), world.model.release(at, mine, undefined, true))
  }),
]

const BY_WRITERS = [
  act(
    'guard',
    fc.tuple(token, lifeMs, fc.boolean()),
    (mine, life, renewal) =>
      async ({ store, model }, at) => {
        assert.equal(await store.guard(at, mine, life, renewal), model.guard(at, mine, life, renewal))
      },
  ),
  act('release with a value', fc.tuple(who, fill), (whose, value) => async (world, at) => {
    const mine = tokenOf(world, at, whose)
    const reply = await world.store.release(at, mine, value)
    const fits = world.isTight ? reply.stored : true
    assert.deepEqual(reply, world.model.release(at, mine, value, fits))
    if (reply.stored) learnNonce(world, at)
  }),
]

const OTHERS = [
  act('generation', fc.tuple(token), candidate => async ({ store, model }, at) => {
    assert.equal(await store.generation(at, candidate), model.generation(at, candidate))
  }),
  act('invalidate keyspace', fc.tuple(token), generation => async ({ store, model }, at) => {
    await store.invalidateKeyspace(at, generation)
    model.invalidateKeyspace(at, generation)
  }),
  act('advance', fc.tuple(fc.constantFrom(1, 10, 20, 30, 100)), ms => async ({ clock, model }) => {
    await clock.advance(ms)
    model.timeMs += ms
  }),
]

/** What readers do is drawn more often: it needs something to be there, and all else takes it away. */
const STEPS: fc.Arbitrary<Step>[] = [
  ...Array.from({ length: 10 }, () => BY_READERS).flat(),
  ...[BY_WRITERS, BY_WRITERS, BY_WRITERS].flat(),
  ...BY_WHO_GIVES_UP,
  ...[OTHERS, OTHERS].flat(),
]

/** A step whose arguments are printed in a counterexample. */
function act<A extends unknown[]>(
  name: string,
  args: fc.Arbitrary<A>,
  bind: (...args: A) => Act,
): fc.Arbitrary<Step> {
  return fc.tuple(key, args).map(([n, bound]) => {
    const play = bind(...bound)
    return new Step(`${name}(${JSON.stringify([n, ...bound]).slice(1, -1)})`, world =>
      play(world, world.keys[n % world.keys.length]!),
    )
  })
}

function tokenOf({ model }: World, at: string, whose: string): string {
  if (whose !== 'the one there') return whose
  const register = model.at(at)
  switch (register?.state) {
    case 'lease':
    case 'stamp':
      return register.token
    case 'value':
      return register.claim?.token ?? TOKENS[0]!
    case 'guard':
      return Object.keys(register.deadlines)[0]!
    default:
      return TOKENS[0]!
  }
}

function nonceOf({ model, nonces }: World, at: string, n: number | 'the one there'): string {
  if (n !== 'the one there') return nonces.at(-1 - n) ?? 'no nonce so far-'
  const register = model.at(at)
  return register?.state === 'value' ? register.nonce : 'nothing is there'
}

function worldOf(keys: number, limits: Parameters<typeof embeddedShared>[0]): World {
  const clock = new SimulatedClock({ startEpochMs: START_MS })
  const store = embeddedShared({ ...limits, clock })
  const heard: string[] = []
  store.subscribe({
    invalidated: at => heard.push(`invalidated ${at}`),
    keyspaceInvalidated: keyspace => heard.push(`keyspace ${keyspace}`),
    heartbeat: text => heard.push(`heartbeat ${text}`),
    interrupted: reason => heard.push(`interrupted ${reason}`),
  })
  return {
    store,
    clock,
    model: new RegisterModel(START_MS),
    keys: Array.from({ length: keys }, (_, i) => `spell:${i}`),
    isTight: limits?.maxEntries !== undefined,
    heard,
    nonces: [],
  }
}

async function holds(
  numRuns: number,
  keys: number,
  limits: Parameters<typeof embeddedShared>[0],
): Promise<void> {
  const commands = fc.commands(STEPS, { maxCommands: 120, size: 'max' })
  await fc.assert(
    fc.asyncProperty(commands, steps =>
      fc.asyncModelRun(() => ({ model: {}, real: worldOf(keys, limits) }), steps),
    ),
    { numRuns },
  )
}

describe('embeddedShared', () => {
  it('does on one key what a model of one register does', () => holds(3000, 1, {}))

  it('does on several keys what as many models do', () => holds(2500, 3, {}))

  for (const policy of EVICTION_POLICIES) {
    it(`never loses a guard nor stores what is not allowed when it is full, under ${policy}`, () =>
      holds(600, 5, { policy, maxEntries: 3, maxBytes: 1600 }))
  }
})
