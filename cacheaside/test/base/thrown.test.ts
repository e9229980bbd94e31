import { describe, expect, test } from 'vitest'
import { lineOf } from '../../src/base/masked.ts'
import { fieldOf, isOf, messageOf, silencePromise, tagOf } from '../../src/base/thrown.ts'
import { commitInDoubt, rollsBack } from '../../src/index.ts'
import { errorCode } from '../../src/redis/driver.ts'
import { hostileErrors } from '../hostile-errors.ts'

describe.each(Object.keys(hostileErrors))('of %s', name => {
  const thrown = hostileErrors[name]
  test('messageOf and lineOf make a sentence', () => {
    expect(messageOf(thrown)).toEqual(expect.any(String))
    expect(lineOf(thrown)).toEqual(expect.any(String))
  })

  test('its class, its fields and its code are asked for without an error', () => {
    expect(isOf(thrown, Error)).toEqual(expect.any(Boolean))
    expect(tagOf(thrown)).toEqual(expect.any(String))
    expect(() => fieldOf(thrown, 'code')).not.toThrow()
    expect(errorCode(thrown)).toBe('')
  })

  test('commitInDoubt says that it is in doubt, unless rollsBack has marked it', async () => {
    expect(commitInDoubt(thrown)).toBe(true)
    const work = rollsBack(async () => {
      throw thrown
    })
    const { marked } = await work().catch((error: unknown) => ({ marked: error }))
    expect(marked === thrown).toBe(true)
    const isObject = typeof thrown === 'object' && thrown !== null
    expect(commitInDoubt(marked)).toBe(!isObject)
  })
})

test('lineOf ends for an error of errors that holds itself', () => {
  const error = new AggregateError([])
  error.errors.push(error, error, error)
  expect(lineOf(error)).toBe('AggregateError, AggregateError, AggregateError')
})

describe('silencePromise', () => {
  test('takes the rejection of a promise, also of one that hides its then', async () => {
    const heard: unknown[] = []
    const promise = Promise.reject('told')
    // biome-ignore lint/suspicious/noThenProperty: what is under test
    promise.then = () => {
      throw new Error('its own')
    }
    expect(silencePromise(promise, error => heard.push(error))).toBe(true)
    await new Promise(setImmediate)
    expect(heard).toEqual(['told'])
  })

  test('touches nothing else: a query that is sent when it is awaited is not sent', () => {
    const query = {
      // biome-ignore lint/suspicious/noThenProperty: what is under test
      then() {
        throw new Error('sent')
      },
    }
    for (const other of [query, null, undefined, 5, () => {}, hostileErrors['a proxy that was revoked']])
      expect(silencePromise(other)).toBe(false)
  })
})
