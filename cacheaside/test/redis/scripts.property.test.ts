import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { guardText, parseRegister } from '../../src/shared/register.ts'
import {
  type Change,
  claimed,
  dropped,
  filled,
  guarded,
  invalidated,
  leased,
  type NewValue,
  released,
  type Step,
  stamped,
  stampRenewed,
  swapped,
} from '../../src/shared/register-rules.ts'
import type { Fill, SharedStore } from '../../src/shared/shared-store.ts'
import { IOREDIS } from './clients.ts'
import { LONG_MS, openStore, token } from './harness.ts'

const DAY_MS = 86_400_000

let server: RedisServer
let raw: Redis
beforeAll(async () => {
  server = await startRedis()
  raw = new Redis(server.port)
})
afterAll(async () => {
  raw.disconnect()
  await server.stop()
})

/** What a side plays: a store's operations on registers, and a way past them. */
interface Side
  extends Pick<
    SharedStore,
    | 'lease'
    | 'leaseMany'
    | 'stampMany'
    | 'renewStamp'
    | 'fill'
    | 'claim'
    | 'swap'
    | 'drop'
    | 'guard'
    | 'release'
    | 'invalidate'
  > {
  read(key: string): Promise<string | undefined>
  plant(key: string, text: string): Promise<unknown>
}

/** One operation on a side. What it refers to, such as a nonce, it finds there. */
type Play = { readonly name: string; play(side: Side, key: string): Promise<unknown> }

const who = fc.constantFrom('Anna', 'Bert', 'Cara').map(token)
const fill: fc.Arbitrary<Fill> = fc.record({
  generation: fc.constantFrom(token('one'), token('two')),
  shape: fc.nat(999_999),
  freshMs: fc.constant(LONG_MS),
  staleMs: fc.constantFrom(0, LONG_MS),
  costMs: fc.nat(200_000_000),
  tags: fc.array(
    fc.record({
      name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
      token: who,
      generation: fc.constantFrom(token('one'), token('two')),
    }),
    { maxLength: 3 },
  ),
  text: fc.option(fc.string({ unit: 'grapheme', maxLength: 20 }), { nil: undefined }),
})
const claimMs = fc.constantFrom(0, LONG_MS)

async function nonceOf(side: Side, key: string): Promise<string> {
  const register = parseRegister((await side.read(key)) ?? '')
  return register.state === 'value' ? register.nonce : token('no nonce')
}

const step = (name: string, play: Play['play']): Play => ({ name, play })
const steps: fc.Arbitrary<Play> = fc.oneof(
  who.map(mine => step(`lease ${mine}`, async (side, key) => typeof (await side.lease(key, mine, LONG_MS)))),
  who.map(mine =>
    step(`leaseMany ${mine}`, async (side, key) =>
      (await side.leaseMany([{ key, token: mine }], LONG_MS)).map(reply => typeof reply),
    ),
  ),
  who.map(mine =>
    step(`stampMany ${mine}`, async (side, key) =>
      (await side.stampMany([{ key, token: mine }], LONG_MS)).map(reply => typeof reply),
    ),
  ),
  fc
    .tuple(who, fc.constantFrom(LONG_MS, DAY_MS))
    .map(([mine, lifeMs]) =>
      step(`renewal of the stamp ${mine}`, (side, key) => side.renewStamp(key, mine, lifeMs)),
    ),
  fc
    .tuple(who, fc.boolean())
    .map(([mine, swaps]) =>
      step(`${swaps ? 'swap' : 'drop'} of the stamp ${mine}`, (side, key) =>
        swaps
          ? side.swap(key, { prefix: `S${mine}` }, token('Dora'), LONG_MS)
          : side.drop(key, { prefix: `S${mine}` }),
      ),
    ),
  fc
    .tuple(who, fill)
    .map(([mine, value]) =>
      step(`fill by the lease of ${mine}`, (side, key) => side.fill(key, `L${mine}`, value)),
    ),
  fc
    .tuple(who, fill)
    .map(([mine, value]) =>
      step(`fill by the claim of ${mine}`, async (side, key) =>
        side.fill(key, `V${await nonceOf(side, key)}${mine}`, value),
      ),
    ),
  fc
    .tuple(who, claimMs)
    .map(([mine, ms]) =>
      step(`claim of ${ms} by ${mine}`, async (side, key) =>
        side.claim(key, await nonceOf(side, key), mine, ms),
      ),
    ),
  who.map(mine =>
    step(`swap by ${mine}`, async (side, key) =>
      side.swap(key, { prefix: `V${await nonceOf(side, key)}` }, mine, LONG_MS),
    ),
  ),
  who.map(mine => step(`drop by ${mine}`, (side, key) => side.drop(key, { exactly: `L${mine}` }))),
  fc
    .tuple(who, fc.boolean())
    .map(([mine, renewal]) =>
      step(`${renewal ? 'renewal' : 'guard'} by ${mine}`, (side, key) =>
        side.guard(key, mine, LONG_MS, renewal),
      ),
    ),
  fc
    .tuple(who, fc.option(fill, { nil: undefined }))
    .map(([mine, through]) =>
      step(`release by ${mine}${through === undefined ? '' : ' with a value'}`, (side, key) =>
        side.release(key, mine, through),
      ),
    ),
  fc.constant(step('invalidate', (side, key) => side.invalidate(key))),
  // Writers whose deadlines have passed, and registers that no version has written.
  fc
    .tuple(fc.boolean(), fc.uniqueArray(who, { minLength: 1 }), fc.boolean())
    .map(([dirty, writers, passed]) => {
      const deadlineMs = passed ? 1_000_000_000_000 : 9_000_000_000_000
      const text = guardText(
        dirty,
        writers.map(mine => ({ token: mine, deadlineMs })),
      )
      return step(`plant ${text}`, (side, key) => side.plant(key, text))
    }),
  fc
    .constantFrom('W', 'W0', 'V', 'L', 'S', 'hello', 'W2', `W0${token('Anna')}123`)
    .map(text => step(`plant ${text}`, (side, key) => side.plant(key, text))),
)

/** A register without what differs between two stores: nonces and times. */
function comparable(text: string | undefined): unknown {
  if (text === undefined) return 'absent'
  const register = parseRegister(text)
  switch (register.state) {
    case 'value': {
      const { nonce: _, claimUntilMs, filledAtMs, softExpiryMs, ...rest } = register
      return {
        ...rest,
        claimer: text.slice(17, 33),
        claimed: claimUntilMs > 0,
        freshMs: softExpiryMs - filledAtMs,
      }
    }
    case 'guard': {
      const holders = register.holders.map(({ token: mine, deadlineMs }) => {
        const isPlanted = deadlineMs === 1_000_000_000_000 || deadlineMs === 9_000_000_000_000
        return `${mine} ${isPlanted ? deadlineMs : 'soon'}`
      })
      return { state: 'guard', dirty: register.dirty, holders }
    }
    default:
      return text
  }
}

/** The rules as they stand, over one text per key. Planted deadlines are so long past or ahead that `nowMs` may be any. */
class Rules implements Side {
  readonly #texts = new Map<string, string>()
  #nonces = 0

  async read(key: string): Promise<string | undefined> {
    return this.#texts.get(key)
  }
  async plant(key: string, text: string): Promise<void> {
    this.#texts.set(key, text)
  }
  async lease(key: string, mine: string, leaseMs: number): Promise<string | null> {
    const found = this.#texts.get(key)
    if (found === undefined) this.#apply(key, leased(mine, leaseMs, Date.now()))
    return found ?? null
  }
  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number) {
    return Promise.all(requests.map(one => this.lease(one.key, one.token, leaseMs)))
  }
  async stampMany(requests: readonly { key: string; token: string }[], lifeMs: number) {
    return requests.map(one => {
      const found = this.#texts.get(one.key)
      if (found === undefined) this.#apply(one.key, stamped(one.token, lifeMs, Date.now()))
      return found ?? null
    })
  }
  async renewStamp(key: string, mine: string, lifeMs: number): Promise<boolean> {
    return this.#take(key, text => stampRenewed(text, mine, lifeMs, Date.now()))
  }
  async fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    return this.#take(key, text => filled(text, prefix, this.#valueOf(value), Date.now()))
  }
  async claim(key: string, nonce: string, mine: string, ms: number): Promise<boolean> {
    return this.#take(key, text => claimed(text, nonce, mine, ms, Date.now()))
  }
  async swap(...[key, seen, mine, leaseMs]: Parameters<SharedStore['swap']>): Promise<boolean> {
    return this.#take(key, text => swapped(text, seen, mine, leaseMs, Date.now()))
  }
  async drop(...[key, seen]: Parameters<SharedStore['drop']>): Promise<boolean> {
    return this.#take(key, text => dropped(text, seen))
  }
  async guard(...[key, mine, guardMs, renewal]: Parameters<SharedStore['guard']>) {
    return this.#take(key, text => guarded(text, mine, guardMs, renewal, Date.now()))
  }
  async release(key: string, mine: string, through?: Fill) {
    const value = through === undefined ? undefined : this.#valueOf(through)
    return this.#take(key, text => released(text, mine, value, Date.now()))
  }
  async invalidate(key: string): Promise<void> {
    this.#apply(key, invalidated(this.#texts.get(key)))
  }

  #valueOf(value: Fill): NewValue {
    return { fill: value, nonce: () => token(`nonce ${++this.#nonces}`) }
  }
  #take<Reply>(key: string, rule: (text: string | undefined) => Step<Reply>): Reply {
    const { reply, change } = rule(this.#texts.get(key))
    this.#apply(key, change)
    return reply
  }
  #apply(key: string, change: Change): void {
    if (change.to === 'absent') this.#texts.delete(key)
    else if (change.to !== 'same') this.#texts.set(key, change.text)
  }
}

it('every history of operations has the replies and leaves the registers that the rules say', async () => {
  const shared = openStore({ client: IOREDIS.single(server.port) })
  const redis: Side = Object.assign(shared, {
    read: async (key: string) => (await raw.get(key)) ?? undefined,
    plant: (key: string, text: string) => raw.set(key, text, 'PX', DAY_MS),
  })
  let histories = 0
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(steps, fc.nat(1)), { minLength: 1, maxLength: 25 }), async history => {
      const prefix = `history ${++histories} `
      const rules = new Rules()
      for (const [{ name, play }, nth] of history) {
        const key = `${prefix}${nth}`
        const replies = [await play(redis, key), await play(rules, key)]
        if (name.startsWith('plant')) continue
        expect([name, replies[0]]).toEqual([name, replies[1]])
        expect([name, comparable(await redis.read(key))]).toEqual([name, comparable(await rules.read(key))])
        const register = parseRegister((await redis.read(key)) ?? '')
        if (register.state !== 'guard' || name === 'invalidate') continue
        // A guard lives until the latest deadline in it. (One that was planted and only invalidated keeps its life.)
        const latestMs = Math.max(...register.holders.map(({ deadlineMs }) => deadlineMs))
        if (name.startsWith('guard') || name.startsWith('renewal by'))
          expect(await raw.call('PEXPIRETIME', key)).toBe(latestMs)
      }
    }),
    { numRuns: 300 },
  )
  await raw.flushall()
})
