import { CacheError, type CacheErrorCode } from 'cacheaside'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { problem } from '../src/api.ts'
import { createApp, type Service } from '../src/app.ts'
import { DatabaseAwayError } from '../src/database/database.ts'

/** Asks for a spell, and its finding fails. */
async function answerTo(error: unknown) {
  const log: string[] = []
  const service = { spells: { find: () => Promise.reject(error) }, ping: () => Promise.reject(error) }
  const app = await createApp({
    log: pino({}, { write: (line: string) => void log.push(line) }),
    service: () => service as unknown as Service,
  })
  const response = await app.inject('/spells/4')
  await app.close()
  const { status, detail } = problem.parse(response.json())
  return { status, detail, retryAfter: response.headers['retry-after'], log: log.join('') }
}

const fromDatabase = (code: string) =>
  Object.assign(new Error('said the database'), { code, severity: 'ERROR' })

describe('an error', () => {
  test.each<[CacheErrorCode, number, string | undefined]>([
    ['OVERLOADED', 503, '1'],
    ['LOAD_TIMEOUT', 503, '1'],
    ['UNGUARDED', 503, '1'],
    ['CLOSED', 503, '1'],
    ['INVALID_KEY', 400, undefined],
    ['LOAD_CYCLE', 500, undefined],
    ['WRITE_ENDED', 500, undefined],
    ['CLOSE_CYCLE', 500, undefined],
    ['INVALID_OPTIONS', 500, undefined],
  ])('of the cache with the code %s is answered with %d', async (code, status, retryAfter) => {
    expect(await answerTo(new CacheError(code, 'said the cache'))).toMatchObject({ status, retryAfter })
  })

  test('of a database that is away is answered with 503, and what it says stays here', async () => {
    const answer = await answerTo(
      new DatabaseAwayError(new Error('connect ECONNREFUSED 10.0.0.7:5432'), false),
    )
    expect(answer).toMatchObject({ status: 503, retryAfter: '2' })
    expect(answer.detail).not.toContain('10.0.0.7')
    expect(answer.log).toContain('10.0.0.7')
  })

  test.each([
    ['22021', 400],
    ['22P05', 400],
    ['42P01', 500],
    ['23505', 500],
  ])('of a statement with the SQLSTATE %s is answered with %d', async (code, status) => {
    expect(await answerTo(fromDatabase(code))).toMatchObject({ status })
  })

  test.each([new TypeError('a secret place'), 'a secret place', { statusCode: 200 }])(
    'that nobody foresaw (%o) is answered with 500, and says nothing about itself',
    async error => {
      const answer = await answerTo(error)
      expect(answer.status).toBe(500)
      expect(answer.detail).not.toContain('secret')
      expect(answer.log).toContain('"level":50')
    },
  )
})

test('everything but the life of the process is 503 while there is nothing to serve yet', async () => {
  const app = await createApp({ log: pino({ level: 'silent' }), service: () => undefined })
  for (const url of ['/', '/spells', '/spells/4', '/health/ready', '/nothing', '/openapi.json']) {
    const response = await app.inject(url)
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1'])
    expect(problem.parse(response.json()).detail).toBe('Still starting.')
  }
  expect((await app.inject('/health/live')).json()).toEqual({ status: 'alive' })
  await app.close()
})
