import { describe, expect, test } from 'vitest'
import { nameOfRedis, parseRedisUrl, type RedisServers } from '../src/redis-url.ts'

const plain: RedisServers = {
  servers: [{ host: 'cache', port: 6379 }],
  cluster: false,
  tls: false,
  username: undefined,
  password: undefined,
  database: 0,
}

describe('parseRedisUrl', () => {
  test.each<[string, Partial<RedisServers>]>([
    ['redis://cache', {}],
    ['redis://cache/', {}],
    ['redis://cache:7777/15', { servers: [{ host: 'cache', port: 7777 }], database: 15 }],
    ['rediss://cache', { tls: true }],
    ['redis://:secret@cache', { password: 'secret' }],
    ['redis://merlin:secret@cache', { username: 'merlin', password: 'secret' }],
    ['redis://m%3Arlin:s%40c%2Fret%3F@cache', { username: 'm:rlin', password: 's@c/ret?' }],
    ['redis://[::1]:7777', { servers: [{ host: '::1', port: 7777 }] }],
    ['redis://cache?cluster=true', { cluster: true }],
    ['redis://cache/0?cluster=false', {}],
    [
      'rediss://merlin:secret@a:7000,[::1]:7001,c',
      {
        servers: [
          { host: 'a', port: 7000 },
          { host: '::1', port: 7001 },
          { host: 'c', port: 6379 },
        ],
        cluster: true,
        tls: true,
        username: 'merlin',
        password: 'secret',
      },
    ],
  ])('reads %s', (text, differing) => {
    expect(parseRedisUrl(text)).toEqual({ ...plain, ...differing })
  })

  test.each([
    'cache',
    'cache:6379',
    'http://cache',
    'redis:/cache',
    'redis://',
    'redis://merlin@cache',
    'redis://merlin:@cache',
    'redis://a:b:c@cache',
    'redis://:%zz@cache',
    'redis://cache:port',
    'redis://cache:0',
    'redis://cache:65536',
    'redis://ca che',
    'redis://a,,b',
    'redis://a,',
    'redis://cache/x',
    'redis://cache/-1',
    'redis://cache/1/2',
    'redis://cache#1',
  ])('says what a URL should be instead of %s', text => {
    expect(parseRedisUrl(text)).toMatch(/^a URL such as redis:/)
  })

  test('says that a Cluster has one database, and what parameters there are', () => {
    expect(parseRedisUrl('redis://a,b/1')).toMatch(/^free of a database number/)
    expect(parseRedisUrl('redis://a/1?cluster=true')).toMatch(/^free of a database number/)
    expect(parseRedisUrl('redis://a?cluster=yes')).toMatch(/^free of parameters but \?cluster=true/)
    expect(parseRedisUrl('redis://a?db=1')).toMatch(/^free of parameters but \?cluster=true/)
  })
})

describe('nameOfRedis', () => {
  test.each([
    ['redis://merlin:secret@cache/3', 'Redis at cache:6379/3'],
    ['rediss://[::1]', 'Redis by TLS at [::1]:6379/0'],
    ['redis://:secret@a:7000,b:7001', 'a Redis Cluster at a:7000, b:7001'],
  ])('shows %s as %s', (text, name) => {
    expect(nameOfRedis(parseRedisUrl(text) as RedisServers)).toBe(name)
  })
})
