import { describe, expect, test } from 'vitest'
import { CacheError, integerKey, type KeyspaceOptions, uuidKey } from '../src/index.ts'
import { openWorld, type Process, within } from './world.ts'

/** A row of an origin to which `Frost`, `FROST` and `frost` are one name, as with citext. */
interface Rune {
  readonly name: string
  readonly power: number
}

/** An origin that takes a name in any case, and a record of what it was asked. */
function runeTable(...rows: Rune[]) {
  const runes = new Map(rows.map(row => [row.name.toLowerCase(), row]))
  const asked: string[][] = []
  const find = async (name: string): Promise<Rune | undefined> => {
    asked.push([name])
    return runes.get(name.toLowerCase())
  }
  return {
    asked,
    find,
    /** Answers with the names as they were asked for. */
    async findAsAsked(names: readonly string[]) {
      asked.push([...names])
      return names.map(name => [name, runes.get(name.toLowerCase())] as const)
    },
    /** Answers with the names as the rows have them, and leaves out what is not there. */
    async findAsStored(names: readonly string[]) {
      asked.push([...names])
      const found = names.map(name => runes.get(name.toLowerCase()))
      return found.flatMap(row => (row === undefined ? [] : [[row.name, row] as const]))
    },
    put(row: Rune) {
      runes.set(row.name.toLowerCase(), row)
      return row
    },
  }
}

const frost: Rune = { name: 'frost', power: 1 }
const flame: Rune = { name: 'flame', power: 2 }
const idOf = (rune: Rune) => rune.name

const runesOf = (process: Process, options: KeyspaceOptions<string, Rune>) =>
  process.cache.keyspace('rune', { idOf, ttlJitter: 0, ...options })

const aliases = (process: Process) =>
  process
    .eventsOf('fill')
    .flatMap(({ outcome, key, belongsTo }) => (outcome === 'alias' ? [[key, belongsTo]] : []))

describe('a keyspace with idOf', () => {
  test.each(['embedded', 'over a network'])(
    'answers what was asked for under another text, and does not keep it there (%s)',
    async how => {
      const world = openWorld()
      const process =
        how === 'embedded'
          ? world.process({ local: { maxEntries: 9 } })
          : world.process({ local: { maxEntries: 9 } }, world.network())
      await world.clock.advance(1_000)
      const table = runeTable(frost)
      const runes = runesOf(process, { load: table.find })
      for (let i = 0; i < 2; i++) {
        const { value, kept } = await runes.read('FROST')
        expect([value, kept]).toEqual([frost, false])
        await world.clock.drain()
        expect(runes.peek('FROST')).toBeUndefined()
        expect(world.inspect('rune:FROST')).toBeUndefined()
      }
      await runes.get('frost')
      await world.clock.drain()
      expect(runes.peek('frost')).toEqual({ value: frost })
      expect(table.asked).toEqual([['FROST'], ['FROST'], ['frost']])
      expect(aliases(process)).toEqual([
        ['rune:FROST', 'rune:frost'],
        ['rune:FROST', 'rune:frost'],
      ])
      expect(process.cache.stats().keyspaces.rune?.fills).toMatchObject({ accepted: 1, alias: 2 })
    },
  )

  test('shows a change that reaches only the id of the row itself', async () => {
    const { process } = openWorld()
    const table = runeTable(frost)
    const runes = runesOf(process({ local: { maxEntries: 9 } }), { load: table.find })
    for (const name of ['FROST', 'frost']) expect(await runes.get(name)).toEqual(frost)
    await runes.write('frost', async () => table.put({ name: 'frost', power: 7 }))
    for (const name of ['FROST', 'frost', 'Frost']) expect((await runes.get(name))?.power).toBe(7)
  })

  test('and without it goes on showing the old value', async () => {
    const { process } = openWorld()
    const table = runeTable(frost)
    const runes = process().cache.keyspace('rune', { load: table.find })
    await runes.get('FROST')
    await runes.write('frost', async () => table.put({ name: 'frost', power: 7 }))
    expect((await runes.get('FROST'))?.power).toBe(1)
  })

  test('keeps the others of a batch, and answers each under the id it was asked for by', async () => {
    const world = openWorld()
    const process = world.process()
    const table = runeTable(frost, flame)
    const runes = runesOf(process, { loadMany: table.findAsAsked })
    const found = await runes.getMany(['FROST', 'flame', 'nothing', 'frost'])
    expect(found).toEqual(
      new Map([
        ['FROST', frost],
        ['flame', flame],
        ['frost', frost],
      ]),
    )
    expect(world.inspect('rune:FROST')).toBeUndefined()
    for (const name of ['flame', 'frost', 'nothing']) expect(world.inspect(`rune:${name}`)).toMatch(/^V/)
    expect(aliases(process)).toEqual([['rune:FROST', 'rune:frost']])
  })

  test('loads for itself what a batch answers under another id, and takes nothing for absent by that', async () => {
    const world = openWorld()
    const process = world.process()
    const table = runeTable(frost, flame)
    const runes = runesOf(process, { load: table.find, loadMany: table.findAsStored })
    const found = await runes.getMany(['FROST', 'flame', 'nothing'])
    expect(found).toEqual(
      new Map([
        ['FROST', frost],
        ['flame', flame],
      ]),
    )
    expect(table.asked).toEqual([['FROST', 'flame', 'nothing'], ['FROST'], ['nothing']])
    expect(world.inspect('rune:FROST')).toBeUndefined()
    expect(world.inspect('rune:nothing')).toMatch(/^V/)
    // Nobody answered with an id that was not asked for: what is left out is absent.
    await runes.getMany(['flame', 'nowhere', 'never'])
    expect(table.asked.slice(3)).toEqual([['nowhere', 'never']])
  })

  test('without a load fails for what it cannot tell, and never guesses', async () => {
    const { process } = openWorld()
    const table = runeTable(frost, flame)
    const runes = runesOf(process(), { loadMany: table.findAsStored })
    const message =
      /^rune\.loadMany answered with ids that it was not asked for, and not with that of rune:FROST: answer with/
    await expect(runes.get('FROST')).rejects.toThrow(message)
    await expect(runes.getMany(['FROST', 'flame'])).rejects.toThrow(message)
    expect(await runes.get('nothing')).toBeUndefined()
    expect(await runes.get('flame')).toEqual(flame)
  })

  test('takes the value away that a refresh finds to belong elsewhere', async () => {
    const world = openWorld()
    const process = world.process()
    const table = runeTable(frost)
    const runes = runesOf(process, { load: table.find, ttlMs: 1_000, staleMs: 60_000 })
    await runes.get('frost')
    table.put({ name: 'Frost', power: 9 })
    await world.clock.advance(1_500)
    expect(await runes.get('frost')).toEqual(frost)
    await world.clock.drain()
    expect(world.inspect('rune:frost')).toBeUndefined()
    expect(await runes.get('frost')).toEqual({ name: 'Frost', power: 9 })
    expect(world.inspect('rune:frost')).toBeUndefined()
  })

  test('replaces what a process that does not know it has stored under another text', async () => {
    const world = openWorld()
    const [old, now] = [world.process(), world.process()]
    const table = runeTable(frost)
    await old.cache.keyspace('rune', { load: table.find }).get('FROST')
    expect(world.inspect('rune:FROST')).toMatch(/^V/)
    table.put({ name: 'frost', power: 7 })
    const runes = runesOf(now, { load: table.find })
    expect(await runes.read('FROST')).toMatchObject({ value: { power: 7 }, why: 'unreadable' })
    expect(world.inspect('rune:FROST')).toBeUndefined()
    expect(now.eventsOf('unreadable')).toMatchObject([{ key: 'rune:FROST', reason: 'alias' }])
  })

  test('writes nothing through under an id that is not that of the row', async () => {
    const world = openWorld()
    const process = world.process()
    const table = runeTable(frost)
    const runes = runesOf(process, { load: table.find })
    const update = async () => table.put({ name: 'frost', power: 7 })
    await runes.write('FROST', update, { writeThrough: true })
    expect(world.inspect('rune:FROST')).toBeUndefined()
    await runes.write('frost', update, { writeThrough: true })
    expect(world.inspect('rune:frost')).toMatch(/^V/)
    expect(aliases(process)).toEqual([['rune:FROST', 'rune:frost']])
  })

  test('remembers under any text that there is no row, for as long as absentTtlMs', async () => {
    const world = openWorld()
    const table = runeTable()
    const runes = runesOf(world.process(), { load: table.find, absentTtlMs: 5_000 })
    expect(await runes.get('FROST')).toBeUndefined()
    await runes.write('frost', async () => table.put(frost))
    expect(await runes.get('frost')).toEqual(frost)
    expect(await runes.get('FROST')).toBeUndefined()
    await world.clock.advance(5_000)
    expect(await runes.get('FROST')).toEqual(frost)
  })

  test.each<[string, (rune: Rune) => string]>([
    [
      'throws',
      () => {
        throw new Error('no id')
      },
    ],
    ['answers with no id', () => undefined as unknown as string],
  ])('that %s fails no read, and nothing is kept', async (_what, broken) => {
    const world = openWorld()
    const process = world.process()
    const table = runeTable(frost)
    const runes = runesOf(process, { load: table.find, idOf: broken })
    expect(await runes.read('frost')).toMatchObject({ value: frost, kept: false })
    expect(world.inspect('rune:frost')).toBeUndefined()
    expect(aliases(process)).toEqual([['rune:frost', undefined]])
    expect(process.eventsOf('fault')).toMatchObject([{ during: 'rune.idOf' }])
  })

  test('answers everybody who waits under each text with one load, and keeps none of them elsewhere', async () => {
    const world = openWorld()
    const [first, second] = [world.process({}, world.network()), world.process({}, world.network())]
    await world.clock.advance(1_000)
    const table = runeTable(frost)
    const spaces = [first, second].map(process => runesOf(process, { load: table.find }))
    const asked = ['frost', 'FROST', 'Frost', 'frost', 'FROST']
    const answers = await within(
      world.clock,
      10_000,
      Promise.all(spaces.flatMap(runes => asked.map(name => runes.get(name)))),
    )
    expect(new Set(answers.map(rune => rune?.power))).toEqual(new Set([1]))
    await world.clock.drain()
    for (const name of ['FROST', 'Frost']) expect(world.inspect(`rune:${name}`)).toBeUndefined()
    expect(world.inspect('rune:frost')).toMatch(/^V/)
  })

  test('is refused where it is no function', () => {
    const { process } = openWorld()
    const wrong = { load: runeTable().find, idOf: 'name' } as unknown as KeyspaceOptions<string, Rune>
    expect(() => process().cache.keyspace('rune', wrong)).toThrow('expected rune.idOf to be a function')
  })
})

describe('uuidKey', () => {
  const canonical: string = '9c2cf775-f764-4643-aecf-0b22cdbb453b'

  test.each([
    canonical,
    '9C2CF775-F764-4643-AECF-0B22CDBB453B',
    '{9c2cf775-f764-4643-aecf-0b22cdbb453b}',
    '9c2cf775f7644643aecf0b22cdbb453b',
    '9c2c-f775-f764-4643-aecf-0b22-cdbb-453b',
    '{9C2CF775f764-4643AECF0B22CDBB453B}',
  ])('makes one text of %s', text => {
    expect(uuidKey(text)).toBe(canonical)
  })

  test.each([
    '',
    'frost',
    `${canonical} `,
    `{${canonical}`,
    `${canonical}-`,
    '9c2cf77-5f764-4643-aecf-0b22cdbb453b',
    '9c2cf775--f764-4643-aecf-0b22cdbb453b',
    '９c2cf775-f764-4643-aecf-0b22cdbb453b',
    `urn:uuid:${canonical}`,
    7 as unknown as string,
    null as unknown as string,
  ])('refuses %s before anything is asked', async text => {
    const { process } = openWorld()
    const items = process().cache.keyspace('item', { key: uuidKey, load: () => expect.fail('it was asked') })
    const error = await items.get(text).catch(error => error)
    expect(error).toBeInstanceOf(CacheError)
    expect(error.code).toBe('INVALID_KEY')
  })

  test('has every text of a row read and written under one key', async () => {
    const { process } = openWorld()
    let power = 1
    const items = process().cache.keyspace('item', {
      key: uuidKey,
      loadMany: async () => [[canonical, { power }] as const],
    })
    const loud = canonical.toUpperCase()
    expect(await items.get(loud)).toEqual({ power: 1 })
    expect(await items.getMany([loud, canonical])).toEqual(
      new Map([
        [loud, { power: 1 }],
        [canonical, { power: 1 }],
      ]),
    )
    await items.write(`{${loud}}`, () => {
      power = 2
    })
    expect(await items.get(canonical)).toEqual({ power: 2 })
  })
})

describe('integerKey', () => {
  test.each<[string | number | bigint, string]>([
    [4, '4'],
    [-4n, '-4'],
    ['007', '7'],
    ['+4', '4'],
    [' 4\n', '4'],
    ['-0', '0'],
    ['0x1f', '31'],
    ['0b_101', '5'],
    ['1_000', '1000'],
    ['9223372036854775807', '9223372036854775807'],
  ])('makes one text of %s', (id, text) => {
    expect(integerKey(id)).toBe(text)
  })

  test.each<string | number>([
    '',
    ' ',
    '4.0',
    '4e0',
    '1__0',
    '٤',
    '+ 4',
    '--4',
    'x',
    1.5,
    Number.NaN,
    2 ** 60,
    '9'.repeat(600),
  ])('refuses %s', id => {
    expect(() => integerKey(id)).toThrow(CacheError)
  })
})
