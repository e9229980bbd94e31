import { describe, expect, test } from 'vitest'
import { commitInDoubt } from '../src/index.ts'

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
