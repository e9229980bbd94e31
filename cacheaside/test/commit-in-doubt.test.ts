import { describe, expect, test } from 'vitest'
import { commitInDoubt, rolledBack, rollsBack } from '../src/index.ts'

describe('commitInDoubt', () => {
  test.each([
    ['a unique violation', '23505'],
    ['a serialization failure', '40001'],
    ['a deadlock', '40P01'],
    ['a statement that was cancelled', '57014'],
    ['a full disk', '53100'],
    ['a syntax error', '42601'],
    ['an exception raised by a trigger', 'P0001'],
    ['an aborted transaction', '25P02'],
  ])('says no to %s, of which the server said so itself', (_, code) => {
    expect(commitInDoubt(Object.assign(new Error('no'), { code }))).toBe(false)
    expect(commitInDoubt({ code })).toBe(false)
  })

  test.each<[string, unknown]>([
    ['a connection failure', { code: '08006' }],
    ['a connection that was refused', { code: '08001' }],
    ['a completion that is unknown', { code: '40003' }],
    ['a shutdown by the administrator', { code: '57P01' }],
    ['a crash', { code: '57P02' }],
    ['a server that cannot be connected to now', { code: '57P03' }],
    ['an internal error', { code: 'XX000' }],
    ['a reset connection', { code: 'ECONNRESET' }],
    ['a code of five letters that is none of the server', { code: 'EPIPE' }],
    ['a code that is a number', { code: 23505 }],
    ['a code with something behind it', { code: '23505 ' }],
    ['an error without a code', new Error('Connection terminated unexpectedly')],
    ['a text', '23505'],
    ['null', null],
    ['undefined', undefined],
  ])('says yes to %s', (_, error) => {
    expect(commitInDoubt(error)).toBe(true)
  })
})

/** An error as PostgreSQL reports one. */
const told = (code: string) => Object.assign(new Error(`SQLSTATE ${code}`), { code })
const wrapped = (cause: unknown, more: object = {}) => Object.assign(new Error('failed', { cause }), more)
const lost = new Error('Connection terminated unexpectedly')

describe('commitInDoubt of an error that was made of others', () => {
  test.each<[string, unknown]>([
    ['a refusal as its cause', wrapped(told('23505'))],
    ['a refusal as the cause of its cause', wrapped(wrapped(told('40001')))],
    [
      'a refusal as its cause and a code of the application',
      wrapped(told('23505'), { code: 'NAME_IS_TAKEN' }),
    ],
    ['refusals only', new AggregateError([told('23505'), wrapped(told('40P01'))])],
    [
      'a refusal as the error of the driver',
      Object.assign(new Error('query failed'), { driverError: told('23503') }),
    ],
    ['a refusal and what came while it was disposed of', { error: told('25P02'), suppressed: told('23505') }],
    ['one that is marked as its cause', wrapped(rolledBack(new Error('no mana')))],
  ])('says no where it has %s', (_, error) => {
    expect(commitInDoubt(error)).toBe(false)
  })

  test.each<[string, unknown]>([
    ['a lost connection as its cause', wrapped(lost)],
    ['a refusal as its cause, and lost a connection itself', wrapped(told('23505'), { code: 'ECONNRESET' })],
    ['a refusal, and was closed by its driver', wrapped(told('23505'), { code: 'CONNECTION_CLOSED' })],
    ['a refusal, and gave up', wrapped(told('23505'), { code: 'ABORT_ERR' })],
    ['a refusal beside a lost connection', new AggregateError([told('23505'), lost])],
    ['a refusal beside a shutdown', new AggregateError([told('23505'), told('57P01')])],
    ['a refusal beside a text', new AggregateError([told('23505'), 'lost'])],
    ['a refusal before a COMMIT that was lost', wrapped(wrapped(told('23505'), { code: '08006' }))],
    ['a refusal that was disposed of by what was lost', { error: lost, suppressed: told('23505') }],
    ['a text as its cause', wrapped('23505')],
    ['no errors at all', new AggregateError([])],
  ])('says yes where it has %s', (_, error) => {
    expect(commitInDoubt(error)).toBe(true)
  })

  test('ends for causes that go in a circle, or never end', () => {
    const first = new Error('first')
    const second = wrapped(first)
    first.cause = second
    expect(commitInDoubt(first)).toBe(true)
    second.cause = Object.assign(told('23505'), { cause: first })
    expect(commitInDoubt(first)).toBe(false)
    let deep: unknown = told('23505')
    for (let i = 0; i < 1_000; i++) deep = wrapped(deep)
    expect(commitInDoubt(deep)).toBe(true)
  })
})

describe('commitInDoubt of what Prisma throws', () => {
  // In the documented form of its errors: its engine is not installed for these tests.
  const prisma = (kind: string, code?: string, more: object = {}) =>
    Object.assign(new Error('Invalid `prisma.spell.create()` invocation'), {
      name: `PrismaClient${kind}Error`,
      clientVersion: '6.0.0',
      ...(code === undefined ? {} : { code }),
      ...more,
    })
  /** What Prisma 7 says of a raw query. */
  const byAdapter = (originalCode: string) => ({
    driverAdapterError: { name: 'DriverAdapterError', cause: { originalCode, kind: 'postgres' } },
  })
  const adapter = Object.assign(new Error('UniqueConstraintViolation'), { name: 'DriverAdapterError' })

  test.each<[string, unknown]>([
    ['a unique violation', prisma('KnownRequest', 'P2002', { meta: { target: ['name'] } })],
    ['one of a driver adapter', prisma('KnownRequest', 'P2002', { cause: adapter })],
    ['a foreign key', prisma('KnownRequest', 'P2003')],
    ['a row that is not there', prisma('KnownRequest', 'P2025')],
    ['a conflict of writes', prisma('KnownRequest', 'P2034')],
    ['a raw query that was refused', prisma('KnownRequest', 'P2010', { meta: { code: '23505' } })],
    ['the same by a driver adapter', prisma('KnownRequest', 'P2010', { meta: byAdapter('23505') })],
    ['a cause', wrapped(prisma('KnownRequest', 'P2002'))],
  ])('says no to %s', (_, error) => {
    expect(commitInDoubt(error)).toBe(false)
  })

  test.each<[string, unknown]>([
    ['a database that cannot be reached', prisma('KnownRequest', 'P1001')],
    ['a connection that was closed', prisma('KnownRequest', 'P1017')],
    ['a pool without a connection', prisma('KnownRequest', 'P2024')],
    ['a transaction that ran out of time', prisma('KnownRequest', 'P2028')],
    ['a raw query whose connection was lost', prisma('KnownRequest', 'P2010', { meta: { code: '08006' } })],
    ['the same by a driver adapter', prisma('KnownRequest', 'P2010', { meta: byAdapter('08006') })],
    ['a raw query that does not say', prisma('KnownRequest', 'P2010')],
    ['what it does not know', prisma('UnknownRequest', undefined, { cause: told('23505') })],
    ['an engine that broke', prisma('RustPanic')],
    ['a query that it has not sent', prisma('Validation')],
  ])('says yes to %s', (_, error) => {
    expect(commitInDoubt(error)).toBe(true)
  })
})

describe('rolledBack', () => {
  test('marks an error in place, and changes nothing that can be seen of it', () => {
    const error = new RangeError('no mana')
    expect(rolledBack(error)).toBe(error)
    expect(Object.keys(error)).toEqual([])
    expect(commitInDoubt(error)).toBe(false)
    expect(commitInDoubt(new RangeError('no mana'))).toBe(true)
  })

  test('marks what is frozen, or marked already', () => {
    const frozen = Object.freeze(new Error('no mana'))
    expect(commitInDoubt(rolledBack(rolledBack(frozen)))).toBe(false)
    expect(commitInDoubt(rolledBack({ status: 404 }))).toBe(false)
  })
})

describe('rollsBack', () => {
  test('passes on what it is given and what is returned', async () => {
    expect(await rollsBack(async (a: number, b: number) => a + b)(1, 2)).toBe(3)
    expect(await rollsBack(() => 'done')()).toBe('done')
  })

  test('rejects with the very error that is thrown, marked', async () => {
    const error = new Error('no mana')
    await expect(rollsBack(() => Promise.reject(error))()).rejects.toBe(error)
    expect(commitInDoubt(error)).toBe(false)
  })

  test('leaves in doubt what cannot be marked', async () => {
    await expect(
      rollsBack(() => {
        throw 'no mana'
      })(),
    ).rejects.toBe('no mana')
    expect(commitInDoubt('no mana')).toBe(true)
  })
})
