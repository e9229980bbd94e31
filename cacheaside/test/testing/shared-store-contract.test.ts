import { describe, expect, it } from 'vitest'
import { embeddedShared } from '../../src/memory/embedded-shared.ts'
import type { SharedIdentity, SharedRegisters, SharedStream } from '../../src/shared/shared-store.ts'
import {
  type ContractRunner,
  type OpenedIdentity,
  type OpenedRegisters,
  type OpenedStream,
  plantableShared,
  SimulatedClock,
  sharedIdentityContract,
  sharedRegistersContract,
  sharedStoreContract,
  sharedStreamContract,
} from '../../src/testing/index.ts'
import { openEmbedded } from '../memory/embedded-harness.ts'

/** The registers of an embedded store, and nothing else of it. */
async function openRegisters(): Promise<OpenedRegisters> {
  const clock = new SimulatedClock()
  const { store, plant } = plantableShared({ clock })
  const registers: SharedRegisters = {
    lease: (...given) => store.lease(...given),
    leaseMany: (...given) => store.leaseMany(...given),
    stampMany: (...given) => store.stampMany(...given),
    renewStamp: (...given) => store.renewStamp(...given),
    look: (...given) => store.look(...given),
    fill: (...given) => store.fill(...given),
    swap: (...given) => store.swap(...given),
    drop: (...given) => store.drop(...given),
    claim: (...given) => store.claim(...given),
    guard: (...given) => store.guard(...given),
    release: (...given) => store.release(...given),
    invalidate: (...given) => store.invalidate(...given),
    generation: (...given) => store.generation(...given),
    invalidateKeyspace: (...given) => store.invalidateKeyspace(...given),
    view: async () => store.view!(),
  }
  return {
    registers,
    timeMs: async () => (await store.heartbeat('', [])).timeMs,
    advance: ms => clock.advance(ms),
    raw: async key => store.inspect(key),
    plant: async (key, text, lifeMs) => plant(key, text, lifeMs),
    close: () => store.close(),
  }
}

/** The stream of an embedded store, and nothing else of it. */
async function openStream(): Promise<OpenedStream> {
  const clock = new SimulatedClock()
  const store = embeddedShared({ clock })
  const stream: SharedStream = {
    synchronous: store.synchronous,
    subscribe: listener => store.subscribe(listener),
    heartbeat: (...given) => store.heartbeat(...given),
  }
  return {
    stream,
    invalidate: key => store.invalidate(key),
    invalidateKeyspace: (...given) => store.invalidateKeyspace(...given),
    advance: ms => clock.advance(ms),
    close: () => store.close(),
  }
}

/** The identity of an embedded store, which is made again when its registers are lost. */
async function openIdentity(changes: Partial<SharedIdentity> = {}): Promise<OpenedIdentity> {
  let store = embeddedShared()
  return {
    identity: { identity: () => store.identity(), ...changes },
    lose: async () => {
      await store.close()
      store = embeddedShared()
    },
    close: () => store.close(),
  }
}

describe('embeddedShared keeps the contract of each part, without the others', () => {
  sharedRegistersContract({ describe, it }, { open: () => openRegisters() })
  sharedStreamContract({ describe, it }, { open: () => openStream() })
  sharedIdentityContract({ describe, it }, { open: () => openIdentity() })
})

/** The names of a suite's tests. */
function namesOf(suite: (runner: ContractRunner) => void): string[] {
  return testsOf(suite).map(({ name }) => name)
}

function testsOf(suite: (runner: ContractRunner) => void) {
  const tests: { name: string; body: () => Promise<void> }[] = []
  suite({ describe: (_name, body) => body(), it: (name, body) => tests.push({ name, body }) })
  return tests
}

/** The names of the tests that fail. */
async function failuresOf(suite: (runner: ContractRunner) => void): Promise<string[]> {
  const failed: string[] = []
  for (const { name, body } of testsOf(suite)) await body().catch(() => failed.push(name))
  return failed
}

it('sharedStoreContract runs every test of its parts, but the loss of registers', () => {
  const whole = namesOf(runner => sharedStoreContract(runner, { open: () => openEmbedded() }))
  const parts = namesOf(runner => {
    sharedRegistersContract(runner, { open: () => openRegisters() })
    sharedStreamContract(runner, { open: () => openStream() })
    sharedIdentityContract(runner, { open: () => openIdentity() })
  })
  expect(parts.filter(name => !whole.includes(name))).toEqual([
    'identity is another text, or none, once registers have been lost',
  ])
  expect(new Set(whole).size).toBe(whole.length)
})

it('sharedRegistersContract finds registers that fill without a lease', async () => {
  const failed = await failuresOf(runner =>
    sharedRegistersContract(runner, {
      async open() {
        const opened = await openRegisters()
        const { registers } = opened
        const fill: SharedRegisters['fill'] = async (key, prefix, value) => {
          const done = await registers.fill(key, prefix, value)
          if (!done && (await opened.raw(key)) === undefined) await opened.plant(key, 'V')
          return done
        }
        return { ...opened, registers: { ...registers, fill } }
      },
    }),
  )
  expect(failed).toContain("fill by the lease's token on an absent register leaves it as it is")
})

it.each<[string, (text: string) => string]>([
  ['loses a character', text => text.replace('\u0000', '')],
  ['makes every letter small', text => text.toLowerCase()],
])('sharedStreamContract finds a stream whose heartbeat %s', async (_, spoil) => {
  const failed = await failuresOf(runner =>
    sharedStreamContract(runner, {
      async open() {
        const opened = await openStream()
        const heartbeat: SharedStream['heartbeat'] = (text, keyspaces) =>
          opened.stream.heartbeat(spoil(text), keyspaces)
        return { ...opened, stream: { ...opened.stream, heartbeat } }
      },
    }),
  )
  expect(failed).toEqual(['heartbeat is heard back with its text, whatever is in it'])
})

it('sharedIdentityContract finds an identity that outlives a loss, and one that changes without any', async () => {
  const suite = (identity: SharedIdentity) => (runner: ContractRunner) =>
    sharedIdentityContract(runner, { open: () => openIdentity(identity) })
  expect(await failuresOf(suite({ identity: async () => 'always' }))).toEqual([
    'identity is another text, or none, once registers have been lost',
  ])
  let asked = 0
  expect(await failuresOf(suite({ identity: async () => `${++asked}` }))).toEqual([
    'identity is one text without control characters, however often it is asked for',
  ])
})
