/**
 * The races of the page: what each side comes to, and that it is what really happened. With the protection taken out of the
 * library that it is about, our side goes wrong as well.
 */
import { pino } from 'pino'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Entry, type Outcome, playRace, races, type SideName } from '../race/index.ts'
import { createApp } from '../src/app.ts'
import { bundleRaces } from '../src/race-bundle.ts'
import { FENCE, GUARD, mutantText, RELAY } from './race-mutants.ts'

const [STALE_SET, WRITER_KILLED, BY_PSQL] = ['stale-set', 'writer-killed', 'changed-by-psql']
const V1 = { version: 1, right: 2 }
const V2 = { version: 2, right: 2 }

/** A module from its text, as a browser would load it. */
const loaded = (text: string): Promise<typeof import('../race/index.ts')> =>
  import(/* @vite-ignore */ `data:text/javascript;base64,${Buffer.from(text).toString('base64')}`)

const told = (entries: readonly Entry[]) =>
  entries.map(({ at, to, text }) => `${at}${to ? `>${to}` : ''} ${text}`)
const play = (race = '', side: SideName = 'ours'): Promise<Outcome> => playRace(race, side)

describe('plain cache-aside', () => {
  test.each(races)('$title: ends stale, and stays so until its value expires', async ({ name }) => {
    const { now, later, last, staleMs, ended, states } = await play(name, 'plain')
    expect({ now, later, last, ended }).toEqual({ now: V1, later: V1, last: V2, ended: true })
    expect(staleMs / 60_000).toBeCloseTo(10, 1)
    expect(states.at(-2)?.stale).toBe(true)
  })

  test('sends what programs send', async () => {
    const { entries } = await play(STALE_SET, 'plain')
    expect(told(entries).slice(0, 14)).toEqual([
      'reader wants spell 4',
      'reader>cache GET spell:4',
      'cache>reader nothing',
      'reader>database SELECT',
      'writer changes spell 4',
      'writer>database UPDATE, COMMIT',
      'database>writer v2 committed',
      'writer>cache DEL spell:4',
      'cache>writer 0 deleted',
      'writer done',
      'database>reader v1',
      'reader>cache SET spell:4 v1',
      'cache>reader OK',
      'reader answers v1',
    ])
  })
})

describe('ours', () => {
  test.each(races)('$title: a reader gets the new row, now and a minute later', async ({ name }) => {
    const { now, later, last, ended, warnings } = await play(name)
    expect({ now, later, last, ended }).toEqual({ now: V2, later: V2, last: undefined, ended: true })
    expect(warnings).toEqual([])
  })

  test('refuses the fill of the slow reader, by the lease alone: the broadcast comes later', async () => {
    const { entries, staleMs } = await play(STALE_SET)
    const happened = told(entries)
    const fill = happened.indexOf('reader>cache fill spell:4 with v1')
    expect(happened[fill + 1]).toBe('cache>reader refused')
    expect(happened.indexOf('cache>reader spell:4 is invalid')).toBeGreaterThan(fill)
    expect(staleMs).toBe(0)
  })

  test('lets no reader find the old value of a killed writer, whose guard ends by itself', async () => {
    const { entries, states, staleMs } = await play(WRITER_KILLED)
    const killed = entries.findIndex(({ tone }) => tone === 'killed')
    expect(entries[killed]?.state.cache.holds).toBe('guard')
    expect(entries.slice(killed + 1).filter(({ at }) => at === 'writer')).toEqual([])
    expect(told(entries)).not.toContain('writer>cache release spell:4')
    expect(states.at(-1)?.cache).toMatchObject({ holds: 'value', version: 2 })
    expect(staleMs).toBe(0)
  })

  test('hears of a change by psql through the feed, and may be stale until then', async () => {
    const { entries, staleMs } = await play(BY_PSQL)
    expect(told(entries)).toContain('database>reader changed: spell 4')
    expect(staleMs).toBeGreaterThan(0)
    expect(staleMs).toBeLessThanOrEqual(300)
  })
})

describe('without the protection that a race is about', () => {
  test.each([
    ['the fence of fills', STALE_SET, FENCE],
    ['the guard', WRITER_KILLED, GUARD],
    ['what the relay does with a change', BY_PSQL, RELAY],
  ])('%s: our side of %s goes stale, too', async (_what, race, patch) => {
    const { playRace } = await loaded(await mutantText(...patch))
    const { now, later, staleMs } = await playRace(race!, 'ours')
    expect({ now, later }).toEqual({ now: V1, later: V1 })
    expect(staleMs).toBeGreaterThan(60_000)
  })
})

describe('what the browser is sent', () => {
  let text: string
  beforeAll(async () => {
    text = await bundleRaces()
  })

  test('needs nothing of Node, and plays as it does here', async () => {
    expect(text).not.toMatch(/^import\b|\brequire\(/m)
    const { playRace } = await loaded(text)
    for (const { name } of races) expect(await playRace(name, 'ours')).toEqual(await play(name))
  })

  test('is packed if the browser takes that, and not sent again while it is the same', async () => {
    const service = { spells: undefined as never, ping: async () => {} }
    const app = await createApp({ log: pino({ level: 'silent' }), service: () => service })
    const url = '/race/engine.js'
    const plain = await app.inject({ url })
    expect(plain.body).toBe(text)
    expect(plain.headers['content-type']).toBe('text/javascript; charset=utf-8')
    const packed = await app.inject({ url, headers: { 'accept-encoding': 'br, GZIP;q=0.5' } })
    expect(packed.headers['content-encoding']).toBe('gzip')
    expect(packed.rawPayload.length).toBeLessThan(text.length / 3)
    for (const refused of ['gzip;q=0', 'gzip; q=0.000, br', 'identity']) {
      const { headers } = await app.inject({ url, headers: { 'accept-encoding': refused } })
      expect(headers).not.toHaveProperty('content-encoding')
    }
    const again = await app.inject({ url, headers: { 'if-none-match': String(plain.headers.etag) } })
    expect(again.statusCode).toBe(304)
    await app.close()
  })
})

test('a race that is not there is an error', async () => {
  await expect(playRace('the-great-race', 'ours')).rejects.toThrow(RangeError)
})
