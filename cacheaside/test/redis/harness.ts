import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, it, onTestFinished } from 'vitest'
import { eventually } from '../../../test/redis-servers.ts'
import {
  type RedisClient,
  type RedisShared,
  type RedisSharedOptions,
  redisShared,
} from '../../src/redis/index.ts'
import type { Fill, StreamListener } from '../../src/shared/shared-store.ts'
import type { ContractRunner, OpenedStore } from '../../src/testing/index.ts'

/** A plain way to the register of a key, past the store. */
export interface Raw {
  get(key: string): Promise<string | null>
  set(key: string, text: string, px: 'PX', lifeMs: number): Promise<unknown>
  disconnect(): void
}

export const LONG_MS = 600_000
const DAY_MS = 86_400_000
let stores = 0
/** How long the attempt has meant to wait that this is asked in: tests run at the same time. */
const waited = new AsyncLocalStorage<{ ms: number }>()

const ATTEMPTS = 5
const MOST_LOST_MS = 100

/**
 * A runner of contract suites for servers with a clock of their own. In some tests lives of a few hundred milliseconds
 * have to last: where the machine took longer than the test meant to wait, its failure says nothing, and it is played again.
 */
export const runner: ContractRunner = {
  describe,
  it: (name, body) =>
    it(name, async () => {
      for (let attempt = 1; ; attempt++) {
        const [beganMs, meant] = [performance.now(), { ms: 0 }]
        try {
          return await waited.run(meant, body)
        } catch (error) {
          const lostMs = performance.now() - beganMs - meant.ms
          if (lostMs <= MOST_LOST_MS || attempt === ATTEMPTS) throw error
        }
      }
    }),
}

/** A store for the contract suite on servers that many tests share: each has another prefix. */
export function openForContract(client: RedisClient, raw: Raw): OpenedStore {
  const prefix = `test${++stores}:`
  const store = redisShared({ client, prefix, onWarning: () => {} })
  return {
    store,
    advance: ms => {
      const meant = waited.getStore()
      if (meant !== undefined) meant.ms += ms
      return new Promise(resolve => setTimeout(resolve, ms))
    },
    raw: async key => (await raw.get(prefix + key)) ?? undefined,
    plant: async (key, text, lifeMs = DAY_MS) => {
      await raw.set(prefix + key, text, 'PX', lifeMs)
    },
    close: () => store.close(),
  }
}

/** A store that is closed when the test is over, and warns nobody. */
export function openStore(options: RedisSharedOptions): RedisShared {
  const store = redisShared({ onWarning: () => {}, ...options })
  onTestFinished(() => store.close())
  return store
}

/** A token that can be recognised in a failure message. */
export const token = (name: string): string => name.padEnd(16, '_').slice(0, 16)

/** A value to be stored, which is good for long. */
export const spell = (text: string | undefined): Fill => ({
  generation: token('generation'),
  shape: 1,
  freshMs: LONG_MS,
  staleMs: 0,
  costMs: 1,
  text,
})

/** Takes the lease and fills it; whether both were granted. */
export async function put(store: RedisShared, key: string, text = '{"name":"Fireball"}'): Promise<boolean> {
  const reader = token('setup')
  return (await store.lease(key, reader, LONG_MS)) === null && store.fill(key, `L${reader}`, spell(text))
}

/** What a listener heard, one line per message. */
export function hearing(store: RedisShared): string[] {
  const heard: string[] = []
  const listener: StreamListener = {
    invalidated: key => heard.push(`invalidated ${key}`),
    keyspaceInvalidated: keyspace => heard.push(`keyspace ${keyspace}`),
    heartbeat: text => heard.push(`heartbeat ${text}`),
    interrupted: reason => heard.push(`interrupted: ${reason}`),
  }
  onTestFinished(store.subscribe(listener))
  return heard
}

/** Waits until a heartbeat sent now is heard: the subscription stands, and what follows is not missed. */
export async function proven(store: RedisShared, heard: readonly string[]): Promise<void> {
  let sent = 0
  const text = `proof ${heard.length}`
  await eventually(async () => {
    await store.heartbeat(`${text} ${++sent}`, [])
    return heard.some(line => line.startsWith(`heartbeat ${text}`))
  }, 'a heartbeat to be heard')
}
