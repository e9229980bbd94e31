import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { ConfigError, loadEnvFile, readConfig } from '../src/config.ts'

const messageOf = (env: Record<string, string>): string => {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'no error'
}

describe('readConfig', () => {
  test('without variables describes an embedded Spellbook on port 3000 of localhost', () => {
    expect(readConfig({}, '/somewhere')).toEqual({
      port: 3000,
      host: 'localhost',
      trustedProxies: [],
      logLevel: 'info',
      adminToken: undefined,
      database: { kind: 'pglite', folder: '/somewhere/data/pglite' },
      cache: {
        shared: { kind: 'embedded', policy: 's3-fifo', maxBytes: 67_108_864 },
        localMaxBytes: undefined,
        feed: false,
        fill: 'background',
        ttlMs: 600_000,
        flushOnStart: false,
        writeThrough: false,
      },
      lab: true,
    })
  })

  test('takes an IPv6 address as URLs write it', () => {
    expect(readConfig({ HOST: '[::1]' }).host).toBe('::1')
  })

  test('takes every variable', () => {
    const config = readConfig({
      PORT: '0',
      HOST: '::1',
      ALLOWED_HOSTS: 'spells.example, [::2],10.0.0.7',
      MAX_CONNECTIONS: '50',
      LOG_LEVEL: 'debug',
      ADMIN_TOKEN: 'abracadabra',
      DATABASE_URL: 'postgresql://merlin:secret@db/spells?sslmode=verify-full',
      DATABASE_POOL_MAX: '3',
      DATABASE_TIMEOUT_MS: '700',
      CACHE_FILL: 'blocking',
      CACHE_TTL_MS: '1000',
      CACHE_POLICY: 'volatile-ttl',
      CACHE_MAX_BYTES: '65536',
      CACHE_LOCAL_MAX_BYTES: '70000',
      CACHE_FEED: 'off',
      CACHE_FLUSH_ON_START: 'true',
      CACHE_WRITE_THROUGH: 'on',
      RATE_LIMIT: '600',
      SHED_ABOVE_MS: 'off',
      TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8,2001:db8::/32',
      LAB: 'on',
    })
    expect(config).toEqual({
      port: 0,
      host: '::1',
      allowedHosts: ['spells.example', '[::2]', '10.0.0.7'],
      maxConnections: 50,
      rateLimit: 600,
      shedAboveMs: 'off',
      trustedProxies: ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32'],
      logLevel: 'debug',
      adminToken: 'abracadabra',
      database: {
        kind: 'postgres',
        url: 'postgresql://merlin:secret@db/spells?sslmode=verify-full',
        poolMax: 3,
        timeoutMs: 700,
      },
      cache: {
        shared: { kind: 'embedded', policy: 'volatile-ttl', maxBytes: 65_536 },
        localMaxBytes: 70_000,
        feed: false,
        fill: 'blocking',
        ttlMs: 1000,
        flushOnStart: true,
        writeThrough: true,
      },
      lab: true,
    })
  })

  test('counts an empty variable as unset', () => {
    expect(readConfig({ PORT: '', DATABASE_URL: '', REDIS_URL: '', CACHE: '' })).toEqual(readConfig({}))
  })

  test('has no cache where CACHE is off, and no folder where DATA_DIR is the word memory', () => {
    const config = readConfig({ CACHE: 'off', DATA_DIR: 'memory' })
    expect(config.cache).toBeUndefined()
    expect(config.database).toEqual({ kind: 'pglite', folder: undefined })
  })

  test('takes a DATA_DIR relative to the working folder', () => {
    expect(readConfig({ DATA_DIR: 'x/y' }, '/here').database).toEqual({ kind: 'pglite', folder: '/here/x/y' })
    expect(readConfig({ DATA_DIR: '/x' }, '/here').database).toEqual({ kind: 'pglite', folder: '/x' })
  })

  test.each([
    ['PORT', '80.5', 'PORT must be a whole number from 0 to 65535 (0: any free port); it is "80.5"'],
    ['PORT', '0x50', 'PORT must be a whole number from 0 to 65535 (0: any free port); it is "0x50"'],
    ['PORT', '65536', 'PORT must be a whole number from 0 to 65535 (0: any free port); it is "65536"'],
    ['PORT', '-1', 'PORT must be a whole number from 0 to 65535 (0: any free port); it is "-1"'],
    ['HOST', 'a b', 'HOST must be a host name or an IP address; it is "a b"'],
    ...['spells.example:80', 'a,,b', 'http://a', '*.example', 'a b'].map(text => [
      'ALLOWED_HOSTS',
      text,
      `ALLOWED_HOSTS must be names of hosts without a port, with commas between them, or * for any; it is "${text}"`,
    ]),
    [
      'ADMIN_TOKEN',
      'open sesame',
      'ADMIN_TOKEN must be of 1 to 512 printable characters of ASCII, without blanks; it is something else (not shown: it may hold a password)',
    ],
    ['RATE_LIMIT', '0', 'RATE_LIMIT must be off, or a whole number from 1 to 1000000000; it is "0"'],
    ['SHED_ABOVE_MS', '1e3', 'SHED_ABOVE_MS must be off, or a whole number from 1 to 60000; it is "1e3"'],
    ...['true', '*', '0.0.0.0/0', '::/0', '10.0.0.0/33', '10.0.0.0/8/8', 'proxy.example', '10.0.0.1,'].map(
      (text): [string, string, string] => [
        'TRUSTED_PROXIES',
        text,
        `TRUSTED_PROXIES must be addresses of proxies, or ranges such as 10.0.0.0/8, with commas between them; it is "${text}"`,
      ],
    ),
    ['MAX_CONNECTIONS', '0', 'MAX_CONNECTIONS must be a whole number from 1 to 1000000; it is "0"'],
    [
      'LOG_LEVEL',
      'loud',
      'LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent; it is "loud"',
    ],
    ['DATABASE_POOL_MAX', '0', 'DATABASE_POOL_MAX must be a whole number from 1 to 1000; it is "0"'],
    [
      'DATABASE_TIMEOUT_MS',
      '6001',
      'DATABASE_TIMEOUT_MS must be a whole number from 100 to 6000; it is "6001"',
    ],
    ['CACHE', 'yes', 'CACHE must be one of on, off; it is "yes"'],
    ['CACHE_FILL', 'never', 'CACHE_FILL must be one of background, blocking; it is "never"'],
    ['CACHE_TTL_MS', '0', 'CACHE_TTL_MS must be a whole number from 1 to 31622400000; it is "0"'],
    ['CACHE_MAX_BYTES', '1', 'CACHE_MAX_BYTES must be a whole number from 65536 to 1099511627776; it is "1"'],
    ['CACHE_FLUSH_ON_START', '1', 'CACHE_FLUSH_ON_START must be one of true, false; it is "1"'],
    ['CACHE_WRITE_THROUGH', 'true', 'CACHE_WRITE_THROUGH must be one of on, off; it is "true"'],
    ['LAB', 'open', 'LAB must be one of on, off; it is "open"'],
  ])('refuses %s=%s in one line', (name, text, message) => {
    expect(messageOf({ [name]: text })).toBe(message)
  })

  test('names the policies there are when CACHE_POLICY is none of them', () => {
    expect(messageOf({ CACHE_POLICY: 'fifo' })).toMatch(
      /^CACHE_POLICY must be one of s3-fifo, noeviction, .*volatile-ttl; it is "fifo"$/,
    )
  })

  test.each([
    'mysql://root:hunter2@db/x',
    'hunter2',
    'postgres://u:hunter2@[bad/x',
    'postgres//u:hunter2@h/x',
    ' postgres://u:hunter2@h/x',
    'postgres://u:hunter2@%zz/x',
  ])('refuses DATABASE_URL=%s without showing it', text => {
    const message = messageOf({ DATABASE_URL: text })
    expect(message).toMatch(/^DATABASE_URL must be a URL such as postgres:.* it is something else/)
    expect(message).not.toContain('hunter2')
  })

  test('takes a REDIS_URL, leaves the policy of the server alone, and sets one if it is asked to', () => {
    const REDIS_URL = 'rediss://merlin:s%40cret@cache.example/3'
    const redis = {
      kind: 'redis',
      servers: [{ host: 'cache.example', port: 6379 }],
      cluster: false,
      tls: true,
      username: 'merlin',
      password: 's@cret',
      database: 3,
    }
    expect(readConfig({ REDIS_URL }).cache?.shared).toEqual({ ...redis, policy: undefined })
    expect(readConfig({ REDIS_URL, CACHE_POLICY: 'allkeys-lru' }).cache?.shared).toEqual({
      ...redis,
      policy: 'allkeys-lru',
    })
  })

  test.each([
    ['statement_timeout', 'postgres://m:hunter2@db/x?statement_timeout=60000'],
    ['lock_timeout', 'postgres://m:hunter2@db/x?sslmode=require&options=-c%20lock_timeout%3D5s'],
  ])('refuses a DATABASE_URL with %s, which a pooler may refuse and a guard may not outlast', (name, url) => {
    const message = messageOf({ DATABASE_URL: url })
    expect(message).toMatch(
      `DATABASE_URL must be a URL without ${name}: DATABASE_TIMEOUT_MS is for that; it is something else`,
    )
    expect(message).not.toContain('hunter2')
  })

  test.each(['bogus', 'allow', 'Require', 'require&sslmode=bogus'])(
    'refuses a DATABASE_URL with sslmode=%s',
    mode => {
      expect(messageOf({ DATABASE_URL: `postgres://m:hunter2@db/x?sslmode=${mode}` })).toBe(
        'DATABASE_URL must be a URL whose sslmode is one of disable, no-verify, prefer, require, verify-ca, verify-full; it is something else (not shown: it may hold a password)',
      )
    },
  )

  test.each(['postgresql:///x?host=/run/sockets', 'postgresql://m:secret@/x?host=/run/sockets'])(
    'takes a DATABASE_URL that leads to a socket: %s',
    url => {
      expect(readConfig({ DATABASE_URL: url }).database).toMatchObject({ url })
    },
  )

  test('takes a DATABASE_URL with options of another kind', () => {
    const url = 'postgres://m:hunter2@db/x?options=endpoint%3Dspells&application_name=%zz'
    expect(readConfig({ DATABASE_URL: url }).database).toMatchObject({ url })
  })

  test.each(['s3-fifo', 'volatile-ttl'])('refuses CACHE_POLICY=%s on Redis', policy => {
    expect(messageOf({ REDIS_URL: 'redis://localhost', CACHE_POLICY: policy })).toBe(
      `CACHE_POLICY must be one of noeviction, allkeys-lru, allkeys-lfu, allkeys-random, volatile-lru, volatile-lfu, volatile-random, on Redis; it is "${policy}"`,
    )
  })

  test.each([
    [{}, false],
    [{ REDIS_URL: 'redis://localhost' }, true],
    [{ DATABASE_URL: 'postgres://localhost/x' }, true],
    [{ DATABASE_URL: 'postgres://localhost/x', REDIS_URL: 'redis://localhost' }, true],
    [{ CACHE_FEED: 'outbox' }, true],
    [{ DATABASE_URL: 'postgres://localhost/x', CACHE_FEED: 'off' }, false],
  ])(
    'has a change feed where others can change the rows or the cache, or where it is told to: %o',
    (env, feed) => {
      expect(readConfig(env).cache?.feed).toBe(feed)
    },
  )

  test.each(['http://:hunter2@localhost', 'redis://hunter2@localhost', 'hunter2', 'redis://:hunter2@a,b/1'])(
    'refuses REDIS_URL=%s without showing it',
    text => {
      const message = messageOf({ REDIS_URL: text })
      expect(message).toMatch(/^REDIS_URL must be [^\n]*; it is something else \(not shown/)
      expect(message).not.toContain('hunter2')
    },
  )

  const POSTGRES = { DATABASE_URL: 'postgres://localhost/x' }
  test.each([
    [{}, true],
    [{ HOST: '127.0.0.1' }, true],
    [{ HOST: '::1', ADMIN_TOKEN: 'x' }, true],
    [{ LAB: 'off' }, false],
    [{ CACHE: 'off' }, false],
    [{ HOST: '0.0.0.0' }, false],
    [{ HOST: '0.0.0.0', ADMIN_TOKEN: 'x' }, false],
    [{ HOST: '0.0.0.0', ADMIN_TOKEN: 'x', LAB: 'on' }, true],
    [POSTGRES, false],
    [{ ...POSTGRES, ADMIN_TOKEN: 'x', LAB: 'on' }, true],
    [{ REDIS_URL: 'redis://localhost' }, false],
  ])('opens the laboratory where nothing depends on it, or somebody has said so: %o', (env, lab) => {
    expect(readConfig(env as Record<string, string>).lab).toBe(lab)
  })

  test.each([{ HOST: '0.0.0.0' }, POSTGRES, { REDIS_URL: 'redis://localhost' }])(
    'refuses a laboratory that others would feel, and anyone could enter: %o',
    env => {
      expect(messageOf({ ...(env as Record<string, string>), LAB: 'on' })).toBe(
        'LAB must be off, or ADMIN_TOKEN set, where there is a DATABASE_URL, a REDIS_URL or a HOST that others reach',
      )
    },
  )

  test('refuses a laboratory without a cache', () => {
    expect(messageOf({ LAB: 'on', CACHE: 'off' })).toBe('LAB must be off where CACHE is off')
  })

  test('names all that is malformed, in the order they are described in, in one line', () => {
    const message = messageOf({ CACHE: 'x', PORT: 'y' })
    expect(message).toMatch(/^PORT must .* it is "y"\. CACHE must .* it is "x"$/)
    expect(message).not.toContain('\n')
  })
})

describe('.env.example', () => {
  const example = readFileSync(new URL('../.env.example', import.meta.url), 'utf8')
  const settings = [...example.matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(
    ([, name, value]) => [name!, value!] as const,
  )

  test('shows the defaults, but for what the choice of servers decides, and for what is off without a value', () => {
    const decided = [
      'DATABASE_URL',
      'REDIS_URL',
      'CACHE_FEED',
      'RATE_LIMIT',
      'SHED_ABOVE_MS',
      'TRUSTED_PROXIES',
      'CACHE_LOCAL_MAX_BYTES',
    ]
    const defaults = Object.fromEntries(settings.filter(([name]) => !decided.includes(name)))
    expect(readConfig(defaults, '/x')).toEqual(readConfig({}, '/x'))
  })

  test('shows every variable that is read', () => {
    const read = new Set<string>()
    const env = new Proxy<Record<string, string>>(
      {},
      {
        get: (_target, name) => {
          read.add(String(name))
          return undefined
        },
      },
    )
    readConfig(env)
    expect(settings.map(([name]) => name).sort()).toEqual([...read].sort())
  })
})

describe('loadEnvFile', () => {
  const NAMES = ['SPELLBOOK_TEST_A', 'SPELLBOOK_TEST_B', 'SPELLBOOK_TEST_C']
  const root = mkdtempSync(join(tmpdir(), 'spellbook-env-'))
  afterEach(() => {
    for (const name of NAMES) delete process.env[name]
    rmSync(root, { recursive: true, force: true })
  })

  test('reads the first file found, and the environment wins, even by an empty text', () => {
    for (const folder of ['first', 'second']) mkdirSync(join(root, folder), { recursive: true })
    writeFileSync(
      join(root, 'first/.env'),
      'SPELLBOOK_TEST_A=file\nSPELLBOOK_TEST_B=file\nSPELLBOOK_TEST_C=file\n',
    )
    writeFileSync(join(root, 'second/.env'), 'SPELLBOOK_TEST_A=never\n')
    process.env.SPELLBOOK_TEST_B = 'environment'
    process.env.SPELLBOOK_TEST_C = ''
    const read = loadEnvFile([join(root, 'none'), join(root, 'first'), join(root, 'second')])
    expect(read).toBe(join(root, 'first/.env'))
    expect(NAMES.map(name => process.env[name])).toEqual(['file', 'environment', ''])
  })

  test('reads a file as Windows writes it', () => {
    mkdirSync(root, { recursive: true })
    writeFileSync(
      join(root, '.env'),
      '\ufeffSPELLBOOK_TEST_A=first\r\nexport SPELLBOOK_TEST_B="second" # it is\r\n',
    )
    loadEnvFile([root])
    expect(NAMES.map(name => process.env[name])).toEqual(['first', 'second', undefined])
  })

  test.each([
    ['UTF-16', Buffer.from('\ufeffSPELLBOOK_TEST_A=first\r\n', 'utf16le')],
    ['UTF-16 without a mark', Buffer.from('SPELLBOOK_TEST_A=first\r\n', 'utf16le')],
    ['Latin-1', Buffer.from('SPELLBOOK_TEST_A=Zaubersprüche\n', 'latin1')],
  ])('refuses a file in %s, in which it would not find what was meant', (_what, bytes) => {
    mkdirSync(root, { recursive: true })
    writeFileSync(join(root, '.env'), bytes)
    expect(() => loadEnvFile([root])).toThrow(`${join(root, '.env')} cannot be read: it is not UTF-8`)
  })

  test('reads nothing where there is no file', () => {
    expect(loadEnvFile([join(root, 'none')])).toBeUndefined()
  })

  test('refuses a file that cannot be read, by its name', () => {
    mkdirSync(join(root, '.env'), { recursive: true })
    expect(() => loadEnvFile([root])).toThrow(ConfigError)
    expect(() => loadEnvFile([root])).toThrow(join(root, '.env'))
  })
})
