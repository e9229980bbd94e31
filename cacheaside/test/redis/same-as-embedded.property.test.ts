import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { guardText, parseRegister } from '../../src/shared/register.ts'
import type { Fill, SharedStore } from '../../src/shared/shared-store.ts'
import { plantableShared } from '../../src/testing/index.ts'
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

/** One store, and how a register is read and planted past it. */
interface Side {
  readonly store: SharedStore
  read(key: string): Promise<string | undefined>
  plant(key: string, text: string): Promise<unknown>
}

/** One operation on a side. What it refers to, such as a nonce, it finds there. */
type Step = { readonly name: string; play(side: Side, key: string): Promise<unknown> }

const who = fc.constantFrom('Anna', 'Bert', 'Cara').map(token)
const fill: fc.Arbitrary<Fill> = fc.record({
  generation: fc.constantFrom(token('one'), token('two')),
  shape: fc.nat(999_999),
  freshMs: fc.constant(LONG_MS),
  staleMs: fc.constantFrom(0, LONG_MS),
  costMs: fc.nat(200_000_000),
  text: fc.option(fc.string({ unit: 'grapheme', maxLength: 20 }), { nil: undefined }),
})
const claimMs = fc.constantFrom(0, LONG_MS)

async function nonceOf({ read }: Side, key: string): Promise<string> {
  const register = parseRegister((await read(key)) ?? '')
  return register.state === 'value' ? register.nonce : token('no nonce')
}

const step = (name: string, play: Step['play']): Step => ({ name, play })
const steps: fc.Arbitrary<Step> = fc.oneof(
  who.map(mine =>
    step(`lease ${mine}`, async ({ store }, key) => typeof (await store.lease(key, mine, LONG_MS))),
  ),
  who.map(mine =>
    step(`leaseMany ${mine}`, async ({ store }, key) =>
      (await store.leaseMany([{ key, token: mine }], LONG_MS)).map(reply => typeof reply),
    ),
  ),
  fc
    .tuple(who, fill)
    .map(([mine, value]) =>
      step(`fill by the lease of ${mine}`, ({ store }, key) => store.fill(key, `L${mine}`, value)),
    ),
  fc
    .tuple(who, fill)
    .map(([mine, value]) =>
      step(`fill by the claim of ${mine}`, async (side, key) =>
        side.store.fill(key, `V${await nonceOf(side, key)}${mine}`, value),
      ),
    ),
  fc
    .tuple(who, claimMs)
    .map(([mine, ms]) =>
      step(`claim of ${ms} by ${mine}`, async (side, key) =>
        side.store.claim(key, await nonceOf(side, key), mine, ms),
      ),
    ),
  who.map(mine =>
    step(`swap by ${mine}`, async (side, key) =>
      side.store.swap(key, { prefix: `V${await nonceOf(side, key)}` }, mine, LONG_MS),
    ),
  ),
  who.map(mine => step(`drop by ${mine}`, ({ store }, key) => store.drop(key, { exactly: `L${mine}` }))),
  fc
    .tuple(who, fc.boolean())
    .map(([mine, renewal]) =>
      step(`${renewal ? 'renewal' : 'guard'} by ${mine}`, ({ store }, key) =>
        store.guard(key, mine, LONG_MS, renewal),
      ),
    ),
  fc
    .tuple(who, fc.option(fill, { nil: undefined }))
    .map(([mine, through]) =>
      step(`release by ${mine}${through === undefined ? '' : ' with a value'}`, ({ store }, key) =>
        store.release(key, mine, through),
      ),
    ),
  fc.constant(step('invalidate', ({ store }, key) => store.invalidate(key))),
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
    .constantFrom('W', 'W0', 'V', 'L', 'hello', 'W2', `W0${token('Anna')}123`)
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

it('every history of operations has the same replies and leaves the same registers as in the embedded store', async () => {
  const shared = openStore({ client: IOREDIS.single(server.port) })
  let histories = 0
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(steps, fc.nat(1)), { minLength: 1, maxLength: 25 }), async history => {
      const { store, plant } = plantableShared()
      const prefix = `history ${++histories} `
      const redis: Side = {
        store: shared,
        read: async key => (await raw.get(key)) ?? undefined,
        plant: (key, text) => raw.set(key, text, 'PX', DAY_MS),
      }
      const embedded: Side = {
        store,
        read: async key => store.inspect(key),
        plant: async (key, text) => plant(key, text, DAY_MS),
      }
      for (const [{ name, play }, nth] of history) {
        const key = `${prefix}${nth}`
        const replies = [await play(redis, key), await play(embedded, key)]
        if (name.startsWith('plant')) continue
        expect([name, replies[0]]).toEqual([name, replies[1]])
        expect([name, comparable(await redis.read(key))]).toEqual([
          name,
          comparable(await embedded.read(key)),
        ])
        const register = parseRegister((await redis.read(key)) ?? '')
        if (register.state !== 'guard' || name === 'invalidate') continue
        // A guard lives until the latest deadline in it. (One that was planted and only invalidated keeps its life.)
        const latestMs = Math.max(...register.holders.map(({ deadlineMs }) => deadlineMs))
        if (name.startsWith('guard') || name.startsWith('renewal'))
          expect(await raw.call('PEXPIRETIME', key)).toBe(latestMs)
      }
      await store.close()
    }),
    { numRuns: 300 },
  )
  onTestFinished(() => void raw.flushall())
})
