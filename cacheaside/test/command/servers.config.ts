import type { OperationConfig } from 'cacheaside/operate'
import { redisShared } from 'cacheaside/redis'
import { auditedKeyspace } from 'cacheaside/verify'
import { Redis } from 'ioredis'

/** A file for `cacheaside` on a Redis on this machine, at `CASE_PORT`, under `CASE_PREFIX`. */
export default function config(): OperationConfig {
  const { CASE_PORT = '', CASE_PREFIX = '', CASE_PASSWORD } = process.env
  const login = CASE_PASSWORD === undefined ? '' : `:${CASE_PASSWORD}@`
  return {
    shared: redisShared({
      client: new Redis(`redis://${login}127.0.0.1:${CASE_PORT}`, { lazyConnect: true }),
      prefix: CASE_PREFIX,
      onWarning: () => {},
    }),
    keyspaces: [
      auditedKeyspace('spell', { load: async (id: number) => id * 10, idFromKey: ([id]) => Number(id) }),
      auditedKeyspace('wizard', { load: async (id: string) => id }),
    ],
    timeoutMs: 2_000,
    graceMs: 20,
  }
}
