import { randomInt } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fuzz } from '../fuzz/fuzz.ts'
import { answersIn } from '../fuzz/wire.ts'
import type { Database } from '../src/database/database.ts'
import { DatabaseAwayError } from '../src/database/database.ts'
import { openPGlite } from '../src/database/pglite.ts'
import { migrate } from '../src/migrations.ts'
import type { Spells } from '../src/spells.ts'
import { openSpells, written } from './harness.ts'

let database: Database
let spells: Spells
beforeAll(async () => {
  database = await openPGlite({ kind: 'pglite', folder: undefined })
  await migrate(database)
  spells = await openSpells(database)
})
afterAll(async () => {
  await spells.close()
  await database.close()
})

describe('Spellbook', () => {
  test('answers thousands of strange requests as it says that it does, and loses nothing that it acknowledged', async () => {
    const seed = randomInt(2 ** 29)
    const { requests, byStatus, acknowledged, cut } = await fuzz({ seed, requests: 3_000, database, spells })
    expect(requests).toBeGreaterThanOrEqual(3_000)
    // The fuzz does what it is for, whatever the seed.
    expect(acknowledged).toBeGreaterThan(50)
    expect(cut).toBeGreaterThan(20)
    for (const status of [200, 201, 204, 400, 404, 405, 415, 431])
      expect(byStatus.get(status), `seed ${seed}, status ${status}`).toBeGreaterThan(0)
  })

  test('begins nothing behind an answer that ends the connection, which a seed once showed', async () => {
    await fuzz({ seed: 1, requests: 500, database, spells })
  })
})

describe('the fuzz', () => {
  test.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 4'],
    ['DELETE', 'HTTP/1.1 204 No Content'],
    ['GET', 'HTTP/1.1 304 Not Modified'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 4'],
  ])('reads no body after %s %s', (method, head) => {
    const next = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext'
    const answers = answersIn(Buffer.from(`${head}\r\n\r\n${next}`), [method, 'GET'])
    expect(answers.map(({ body }) => body)).toEqual(['', 'next'])
  })

  test.each<[what: string, wrong: Partial<Spells>]>([
    [
      'acknowledges a change that it does not make',
      { update: async id => written((await spells.find(id)).value) },
    ],
    [
      'acknowledges a removal that it does not make',
      { delete: async id => written((await spells.find(id)).value !== undefined) },
    ],
    [
      'makes a spell twice',
      {
        create: async fields => {
          await spells.create(fields)
          return spells.create(fields)
        },
      },
    ],
    [
      'finds what is not there any more',
      { find: async id => spells.find(String(Math.max(1, Number(id) - 1))) },
    ],
    [
      'fails',
      {
        create: async () => {
          throw new Error('a mistake')
        },
      },
    ],
  ])('notices a service that %s', async (_what, wrong) => {
    const broken = fuzz({ seed: 2, requests: 1_000, database, spells: { ...spells, ...wrong } })
    await expect(broken).rejects.toThrow(/\nseed 2, said: /)
  })

  test('takes a write that was refused for want of a database for done or not done', async () => {
    let n = 0
    const create: Spells['create'] = async fields => {
      const made = await spells.create(fields)
      if (n++ % 2 === 0) throw new DatabaseAwayError(new Error('cut off'), true)
      return made
    }
    const { byStatus } = await fuzz({ seed: 3, requests: 300, database, spells: { ...spells, create } })
    expect(byStatus.get(503)).toBeGreaterThan(0)
  })
})
