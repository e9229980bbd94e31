import { expect, onTestFinished, test } from 'vitest'
import { type CacheOptions, createCache, type SharedStore, systemClock } from '../../src/index.ts'
import { type Explanation, explain, explanationText } from '../../src/operate/index.ts'
import { markedToken } from '../../src/shared/key-mark.ts'
import { guardText, leaseText, MERGED, stampText, valueText, withClaim } from '../../src/shared/register.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'

/** A store, and a plain way to put something under a key of it. */
export interface Planting {
  readonly shared: SharedStore
  plant(key: string, text: string, lifeMs: number): Promise<unknown>
  /** Everything under the store's keys, in some order. */
  dump(): Promise<unknown>
}

/** A text of the length of a token. */
const token = (name: string): string => name.padEnd(16, '_').slice(0, 16)
const LONG_MS = 600_000
const GENERATION = token('generation')
const KEY = 'spell:4'

interface Planted {
  readonly agoMs?: number
  readonly freshMs?: number
  readonly generation?: string
  readonly shape?: number
  readonly nonce?: string
}

function value(nowMs: number, text: string | undefined, planted: Planted = {}): string {
  const { agoMs = 1_000, freshMs = LONG_MS, generation = GENERATION, shape = 2 } = planted
  const { nonce = markedToken(KEY, systemClock.token()) } = planted
  return valueText(nonce, { generation, shape, freshMs, staleMs: 0, costMs: 12, text }, nowMs - agoMs)
}

const OPTIONS = { shape: 2, staleMs: 30_000, staleIfErrorMs: 300_000 }
const FRESH = { from: 'shared', why: 'fresh', kept: true, absent: false }
const loads = (why: string, kept = true) => ({ from: 'origin', why, kept, absent: false })

interface Case {
  readonly name: string
  /** `undefined`: nothing is planted. */
  readonly text: (nowMs: number) => string | undefined
  readonly register: object
  /** What a default read, a strong read, and a read with a failing origin get. */
  readonly readers: object
  readonly says: readonly RegExp[]
}

const CASES: readonly Case[] = [
  {
    name: 'nothing',
    text: () => undefined,
    register: { state: 'absent' },
    readers: { plain: loads('missing'), strong: loads('missing'), originDown: undefined },
    says: [
      /absent: never stored, invalidated, expired or evicted/,
      /a reader +loads it .*: nothing is there/,
    ],
  },
  {
    name: 'a fresh value',
    text: nowMs => value(nowMs, '{"damage":4}'),
    register: { state: 'value', mark: 'own', costMs: 12, shape: 2, characters: 12, absent: false },
    readers: { plain: FRESH, strong: FRESH, originDown: FRESH },
    says: [/a value of 12 characters, stored \d/, /a reader +gets it from the store: it is fresh/],
  },
  {
    name: 'the absence of a row',
    text: nowMs => value(nowMs, undefined),
    register: { state: 'value', absent: true },
    readers: { plain: { ...FRESH, absent: true } },
    says: [/the absence of the row, stored/, /gets the absence of the row from the store/],
  },
  {
    name: 'a stale value',
    text: nowMs => value(nowMs, '{"damage":4}', { agoMs: 20_000, freshMs: 10_000 }),
    register: { state: 'value', absent: false },
    readers: { plain: { ...FRESH, why: 'stale' }, strong: loads('expired') },
    says: [/past its soft expiry for \d/],
  },
  {
    name: 'a value that only a failing origin makes good',
    text: nowMs => value(nowMs, '{"damage":4}', { agoMs: 120_000, freshMs: 10_000 }),
    register: { state: 'value' },
    readers: { plain: loads('expired'), originDown: { ...FRESH, why: 'stale-error' } },
    says: [/origin down +gets it from the store: .*staleIfErrorMs/],
  },
  {
    name: 'a value that is being refreshed',
    text: nowMs =>
      withClaim(value(nowMs, '{"damage":4}', { agoMs: 120_000, freshMs: 10_000 }), {
        token: token('claim'),
        untilMs: nowMs + 100_000,
      }),
    register: { state: 'value', claimLeftMs: expect.any(Number) },
    readers: { plain: loads('busy', false) },
    says: [/its claim stands for another \d/],
  },
  {
    name: 'a value of an old generation',
    text: nowMs => value(nowMs, '{"damage":4}', { generation: token('old') }),
    register: { state: 'value', generation: token('old') },
    readers: { plain: loads('generation'), strong: loads('generation') },
    says: [/generation_*, and the value has old_+/],
  },
  {
    name: 'a value of an older shape',
    text: nowMs => value(nowMs, '{"damage":4}', { shape: 1 }),
    register: { state: 'value', shape: 1, keyspaceShape: 2 },
    readers: { plain: loads('shape') },
    says: [/shape 1, and the keyspace has 2/],
  },
  {
    name: 'a value of a newer shape',
    text: nowMs => value(nowMs, '{"damage":4}', { shape: 3 }),
    register: { state: 'value', shape: 3 },
    readers: { plain: loads('shape', false) },
    says: [/loads it from the origin, and keeps nothing/],
  },
  {
    name: 'bytes that the codec cannot read',
    text: nowMs => value(nowMs, '{'),
    register: { state: 'value' },
    readers: { plain: loads('unreadable') },
    says: [/cannot be read/],
  },
  {
    name: 'no register',
    text: () => '\u0001 something \u001b[31m else',
    register: { state: 'unreadable' },
    readers: { plain: loads('unreadable') },
    says: [/no register/],
  },
  {
    name: 'a value of a later version',
    text: nowMs => `V!${value(nowMs, '{}').slice(2)}`,
    register: { state: 'later', of: 'value' },
    readers: { plain: loads('version', false) },
    says: [/a value of a later version/],
  },
  {
    name: 'a lease',
    text: () => leaseText(markedToken(KEY, systemClock.token())),
    register: { state: 'lease', mark: 'own' },
    readers: { plain: loads('busy', false) },
    says: [/a lease: a reader loads it/, /a reader +waits for the reader that loads, up to busyWaitMs/],
  },
  {
    name: 'a stamp',
    text: () => stampText(markedToken(KEY, systemClock.token())),
    register: { state: 'stamp', mark: 'own' },
    readers: { plain: loads('unreadable') },
    says: [/a stamp: it is the name of a tag/],
  },
  {
    name: 'a guard of two writers and of some more',
    text: nowMs =>
      guardText(true, [
        { token: token('first'), deadlineMs: nowMs - 5_000 },
        { token: token('second'), deadlineMs: nowMs + 50_000 },
        { token: MERGED, deadlineMs: nowMs + 40_000 },
      ]),
    register: {
      state: 'guard',
      dirty: true,
      writers: [
        { token: token('first'), leftMs: expect.any(Number) },
        { token: token('second'), leftMs: expect.any(Number) },
      ],
      othersLeftMs: expect.any(Number),
    },
    readers: { plain: loads('guarded', false), strong: loads('guarded', false), originDown: undefined },
    says: [
      /a guard, dirty/,
      /writer first_+: its deadline passed [45]\.\d s ago/,
      /second_+: (49|50)\.\d s left/,
    ],
  },
]

/** Explanations of everything that a register may hold, on one kind of store. */
export function explainSuite(open: () => Planting): void {
  const load = async () => ({ damage: 5 })
  const audited = auditedKeyspace('spell', { load, idFromKey: ([id]) => Number(id), ...OPTIONS })
  const cacheOptions = { sharedTimeoutMs: 1_000, busyWaitMs: 1_001, leaseMs: 20_000 } satisfies CacheOptions

  async function planted(text: Case['text']) {
    const planting = open()
    const { shared } = planting
    await shared.invalidateKeyspace('spell', GENERATION)
    const view = await shared.view!()
    const nowMs = await view.timeMs()
    await view.close()
    const put = text(nowMs)
    if (put !== undefined) await planting.plant(KEY, put, LONG_MS)
    return planting
  }

  test.each(CASES)(
    'explain tells of $name, and changes nothing',
    async ({ text, register, readers, says }) => {
      const { shared, dump } = await planted(text)
      const before = await dump()
      const found: Explanation = await explain(
        { shared, keyspaces: [audited], cache: cacheOptions },
        'spell',
        ['4'],
      )
      expect(await dump()).toEqual(before)
      expect(found).toMatchObject({ keyspace: 'spell', key: KEY, register, generation: GENERATION })
      expect(found.readers).toMatchObject(readers)
      if (found.register.state === 'absent') expect(found.lifeMs).toBeUndefined()
      else expect(found.lifeMs).toBeGreaterThan(LONG_MS / 2)
      const said = explanationText(found)
      for (const line of says) expect(said).toMatch(line)
      expect(said).not.toMatch(/\u001b|undefined|NaN/)
      expect(JSON.parse(JSON.stringify(found))).toMatchObject({ register: { state: found.register.state } })
    },
  )

  test.each(CASES)('a read then gets what explain has told of $name', async ({ text }) => {
    const { shared } = await planted(text)
    const found = await explain({ shared, keyspaces: [audited], cache: cacheOptions }, 'spell', ['4'])
    const cache = createCache({ shared, ...cacheOptions, logger: { info() {}, warn() {}, error() {} } })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load, ...OPTIONS })
    const { from, why, kept } = await spells.read(4)
    expect({ from, why, kept }).toEqual({
      from: found.readers.plain.from,
      why: found.readers.plain.why,
      kept: found.readers.plain.kept,
    })
  })

  test('explain tells how the tags of a value are now', async () => {
    const tags = ['stands', 'other', 'gone', 'guarded', 'strange', 'old'].map(name => ({
      name: `tag:${name}`,
      token: markedToken(`tag:${name}`, systemClock.token()),
      generation: name === 'old' ? token('old') : GENERATION,
    }))
    const { shared, plant } = await planted(nowMs =>
      valueText(
        markedToken(KEY, systemClock.token()),
        { generation: GENERATION, shape: 2, freshMs: LONG_MS, staleMs: 0, costMs: 1, tags, text: '4' },
        nowMs,
      ),
    )
    await shared.invalidateKeyspace('tag', GENERATION)
    for (const { name, token } of [tags[0]!, tags[5]!]) await plant(name, stampText(token), LONG_MS)
    await plant('tag:other', stampText(markedToken('tag:other', systemClock.token())), LONG_MS)
    await shared.guard('tag:guarded', token('writer'), LONG_MS, false)
    await plant('tag:strange', 'x', LONG_MS)
    const { register } = await explain({ shared, keyspaces: [audited] }, 'spell', ['4'])
    expect(register).toMatchObject({
      characters: 1,
      tags: tags.map(({ name, token }, i) => ({
        name,
        token,
        now: ['stands', 'invalidated', 'gone', 'guarded', 'strange', 'invalidated'][i],
      })),
    })
  })

  test('explain with compare says whether the value is that of the origin', async () => {
    const { shared } = await planted(nowMs => value(nowMs, '{"damage":4}'))
    const options = { shared, keyspaces: [audited], graceMs: 20 }
    const stale = await explain(options, 'spell', ['4'], { compare: true, withText: true })
    expect(stale.origin).toMatchObject({ kind: 'stale', key: KEY })
    expect(stale.register).toMatchObject({ text: '{"damage":4}' })
    expect(explanationText(stale)).toMatch(/the origin +holds something else: the value has been stale for/)
    const same = await planted(nowMs => value(nowMs, '{"damage":5}'))
    const equal = await explain({ ...options, shared: same.shared }, 'spell', ['4'], { compare: true })
    expect(equal.origin).toMatchObject({ kind: 'equal' })
  })
}
