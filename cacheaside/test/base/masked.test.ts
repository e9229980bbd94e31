import { describe, expect, test } from 'vitest'
import { lineOf, masked } from '../../src/base/masked.ts'

describe('masked', () => {
  test.each([
    ['redis://:word@host:6379/0', 'redis://***@host:6379/0'],
    [
      'at postgres://me:p@ss:w/rd@db:5432/x?a=b, twice rediss://u:v@h',
      'at postgres://***@db:5432/x?a=b, twice rediss://***@h',
    ],
    ['connection failed: host=db password=word user=me', 'connection failed: host=db password=*** user=me'],
    ['https://h/?sslpassword=a&b=c', 'https://h/?sslpassword=***&b=c'],
    ['PGPASSWORD=word psql', 'PGPASSWORD=*** psql'],
  ])('takes the secret out of %s', (text, shown) => {
    expect(masked(text)).toBe(shown)
  })

  test.each(['spell:4', 'mail me@host', 'http://host/path', 'password authentication failed for user "me"'])(
    'leaves %s alone',
    text => {
      expect(masked(text)).toBe(text)
    },
  )
})

describe('lineOf', () => {
  test('is the first line of a message, also of several errors without one', () => {
    expect(lineOf(new Error('one\ntwo'))).toBe('one')
    expect(lineOf('text')).toBe('text')
    expect(lineOf(new AggregateError([new Error('a'), new Error('b')]))).toBe('a, b')
    expect(lineOf(new TypeError())).toBe('TypeError')
  })

  test('says what to do about a certificate, of those that Node has no advice for', () => {
    const refused = (code: string) => Object.assign(new Error('refused'), { code })
    expect(lineOf(refused('CERT_HAS_EXPIRED'))).toMatch(
      /^refused \(the server's certificate has to be renewed/,
    )
    expect(lineOf(refused('UNABLE_TO_VERIFY_LEAF_SIGNATURE'))).toMatch(
      /^refused \(set NODE_EXTRA_CA_CERTS to/,
    )
    expect(lineOf(refused('ERR_TLS_CERT_ALTNAME_INVALID'))).toMatch(/^refused \(connect by a name that/)
    expect(lineOf(refused('constructor'))).toBe('refused')
  })
})
