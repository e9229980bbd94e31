import { expect, test } from 'vitest'
import { DatabaseAwayError } from '../src/database/database.ts'
import { explainFailure } from '../src/explain-failure.ts'

const failure = (message: string, about: object) => Object.assign(new Error(message), about)

test.each([
  [
    'listen EADDRINUSE',
    { code: 'EADDRINUSE', syscall: 'listen' },
    'port 3000 of merlin.invalid is in use by another program',
  ],
  [
    'listen EADDRNOTAVAIL',
    { code: 'EADDRNOTAVAIL', syscall: 'listen' },
    'HOST is merlin.invalid, which is no address of this machine',
  ],
  [
    'getaddrinfo ENOTFOUND merlin.invalid',
    { code: 'ENOTFOUND', syscall: 'getaddrinfo' },
    'HOST is merlin.invalid, a name without an address: getaddrinfo ENOTFOUND merlin.invalid',
  ],
  [
    'no permission',
    { code: 'EACCES', syscall: 'listen' },
    'port 3000 of merlin.invalid may not be used: no permission',
  ],
  ['listen EINVAL', { code: 'EINVAL', syscall: 'listen' }, 'listen EINVAL'],
  ['no folder', { code: 'EACCES', syscall: 'mkdir' }, 'no folder'],
  [
    'the relation exists',
    { code: '42P07' },
    'the relation exists. Another program has tables in this database: give Spellbook one of its own',
  ],
  ['first\nsecond', {}, 'first'],
  ['a\u001b[2J\u009bb', {}, String.raw`a\u001b[2J\u009bb`],
])(
  'a start that failed with "%s" %o is explained in a line that names what to change',
  (message, about, line) => {
    const config = { host: 'merlin.invalid', port: 3000 }
    expect(explainFailure(failure(message, about), config)).toBe(line)
  },
)

test('an address that needs the name of an interface is explained with one', () => {
  const config = { host: 'fe80::1', port: 3000 }
  expect(explainFailure(failure('listen EINVAL', { code: 'EINVAL', syscall: 'listen' }), config)).toBe(
    'HOST is fe80::1, an address of one link: name its interface as well, such as fe80::1%eth0',
  )
})

test('a start on a standby is explained with what DATABASE_URL must name', () => {
  const refused = failure('cannot execute CREATE TABLE', { code: '25006', severity: 'ERROR' })
  expect(explainFailure(new DatabaseAwayError(refused, true))).toBe(
    'the database takes no writes: cannot execute CREATE TABLE. DATABASE_URL must name the primary, and no standby',
  )
})
