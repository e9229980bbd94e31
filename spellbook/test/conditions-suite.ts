import { parseList } from 'structured-headers'
import { describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import type { Wizard } from '../src/api.ts'
import { type Harness, serveUncached } from './harness.ts'
import type { Surroundings } from './wizard-suite.ts'

const TAG = /^"[\w-]{27}"$/

/** Entity tags and conditions, and what answers tell caches, as a part of the API. */
export function conditionsSuite({ harness, database, replace }: Surroundings): void {
  const ask: Harness['ask'] = (...request) => harness().ask(...request)
  const askIf = (
    method: 'GET' | 'HEAD' | 'PUT' | 'DELETE' | 'POST',
    url: string,
    headers: object,
    payload?: object,
  ) =>
    harness().app.inject({
      method,
      url,
      headers: headers as Record<string, string>,
      ...(payload === undefined ? {} : { payload }),
    })
  const etagOf = async (url: string) => String((await ask('GET', url)).headers.etag)
  const groupsIn = (field: unknown) => parseList(String(field)).map(([group]) => group)

  /** Merlin, with two spells in the book. */
  async function makeMerlin(): Promise<void> {
    await ask('POST', '/wizards', { name: 'Merlin' })
    for (const id of [1, 4]) await ask('PUT', `/wizards/1/spells/${id}`)
  }

  describe('an entity tag', () => {
    test('is strong, and the same from the cache as from the database, with it or without', async () => {
      await makeMerlin()
      const urls = ['/spells/4', '/spells', '/spells?limit=3', '/wizards/1', '/wizards']
      const tags = await Promise.all(urls.map(etagOf))
      for (const tag of tags) expect(tag).toMatch(TAG)
      expect(new Set(tags).size).toBe(tags.length)
      expect(await Promise.all(urls.map(etagOf))).toEqual(tags)
      await replace(() => serveUncached(database()))
      expect(await Promise.all(urls.map(etagOf))).toEqual(tags)
    })

    test('changes with all that is shown: of a wizard with the spells, of a page with its link', async () => {
      await makeMerlin()
      const urls = ['/spells?limit=8', '/wizards/1', '/spells/4']
      const before = await Promise.all(urls.map(etagOf))
      await ask('POST', '/spells', { name: 'Spark', damage: 1 })
      const [page, wizard, spell] = await Promise.all(urls.map(etagOf))
      expect(page).not.toBe(before[0])
      expect([wizard, spell]).toEqual(before.slice(1))
      await ask('PUT', '/spells/4', { damage: 41 })
      expect(await etagOf('/wizards/1')).not.toBe(wizard)
    })

    test('of a new spell comes with it, of a changed one not, because it was not sent as it is now', async () => {
      const created = await ask('POST', '/spells', { name: 'Spark', damage: 1 })
      expect(created.headers.etag).toBe(await etagOf('/spells/9'))
      expect((await ask('PUT', '/spells/9', { damage: 2 })).headers.etag).toBeUndefined()
    })
  })

  describe('a read that names the entity tag', () => {
    test.each(['GET', 'HEAD'] as const)(
      'by %s is answered 304, with what a cache needs to know',
      async method => {
        await makeMerlin()
        for (const url of ['/spells/4', '/spells?limit=3', '/wizards/1', '/wizards']) {
          const whole = await ask('GET', url)
          const { etag } = whole.headers
          for (const known of [`${etag}`, `W/${etag}`, `"x", ${etag}`, `, ${etag} ,,"y"`, '*']) {
            const response = await askIf(method, url, { 'if-none-match': known })
            expect([response.statusCode, response.payload]).toEqual([304, ''])
            const { headers } = response
            expect(headers).toMatchObject({ etag, 'cache-control': 'no-cache', date: expect.any(String) })
            expect(headers['cache-status']).toMatch(/^spellbook; (hit|fwd)/)
            expect(headers['cache-groups']).toBe(whole.headers['cache-groups'])
            expect([undefined, whole.headers['content-length']]).toContain(headers['content-length'])
          }
          expect((await askIf(method, url, { 'if-none-match': '"x"' })).statusCode).toBe(200)
        }
      },
    )

    test('is answered whole after a change, and told what is not there any more', async () => {
      const known = { 'if-none-match': await etagOf('/spells/4') }
      await ask('PUT', '/spells/4', { damage: 41 })
      expect((await askIf('GET', '/spells/4', known)).json()).toMatchObject({ damage: 41 })
      await ask('DELETE', '/spells/4')
      expect((await askIf('GET', '/spells/4', known)).statusCode).toBe(404)
    })

    test('and wants only that is refused once it is another', async () => {
      const etag = await etagOf('/spells/4')
      expect((await askIf('GET', '/spells/4', { 'if-match': etag })).statusCode).toBe(200)
      const refused = await askIf('GET', '/spells/4', { 'if-match': '"x"' })
      expect([refused.statusCode, refused.headers.etag]).toEqual([412, undefined])
    })

    test('in a malformed way is answered whole', async () => {
      const fields = ['x', '"', "'x'", '"a" "b"', 'w/"a"', '"a', '*, "a"', '"x"'.repeat(2_000), '']
      for (const known of fields)
        expect((await askIf('GET', '/spells/4', { 'if-none-match': known })).statusCode).toBe(200)
    })

    test('among thousands is answered 304', async () => {
      const known = `${'"x", '.repeat(3_000)}${await etagOf('/spells/4')}`
      expect((await askIf('GET', '/spells/4', { 'if-none-match': known })).statusCode).toBe(304)
    })
  })

  describe('a change with a condition', () => {
    const refusals = ['"x"', 'x', '', '"x", W/"y"', '"*"']

    test('is made if it names the entity tag, and only once', async () => {
      const etag = await etagOf('/spells/4')
      const first = await askIf('PUT', '/spells/4', { 'if-match': `"x", ${etag}` }, { damage: 41 })
      expect([first.statusCode, first.json().damage]).toEqual([200, 41])
      const again = await askIf('PUT', '/spells/4', { 'if-match': etag }, { damage: 42 })
      expect(again.statusCode).toBe(412)
      expect(again.headers['cache-group-invalidation']).toBeUndefined()
      expect((await askIf('DELETE', '/spells/4', { 'if-match': etag })).statusCode).toBe(412)
      expect((await ask('GET', '/spells/4')).json().damage).toBe(41)
      const now = await etagOf('/spells/4')
      expect((await askIf('DELETE', '/spells/4', { 'if-match': now })).statusCode).toBe(204)
      expect((await askIf('DELETE', '/spells/4', { 'if-match': now })).statusCode).toBe(404)
    })

    test('is not made if the condition does not hold, or cannot be understood', async () => {
      await makeMerlin()
      const tags = Object.fromEntries(
        await Promise.all(['/spells/4', '/wizards/1'].map(async url => [url, await etagOf(url)] as const)),
      )
      for (const [url, body] of [
        ['/spells/4', { damage: 1 }],
        ['/wizards/1', { name: 'Myrddin' }],
      ] as const) {
        const conditions = [
          ...refusals.map(value => ({ 'if-match': value })),
          // Weakly the same is not enough for a change.
          { 'if-match': `W/${tags[url]}` },
          { 'if-none-match': '*' },
          { 'if-none-match': `W/${tags[url]}` },
          { 'if-none-match': 'x' },
          { 'if-match': tags[url], 'if-none-match': tags[url] },
        ]
        for (const headers of conditions) {
          expect((await askIf('PUT', url, headers, body)).statusCode, JSON.stringify(headers)).toBe(412)
          expect((await askIf('DELETE', url, headers)).statusCode).toBe(412)
        }
        expect(await etagOf(url)).toBe(tags[url])
      }
    })

    test('that is not made leaves what is cached where it is, as a change of what is not there does', async () => {
      await makeMerlin()
      const urls = ['/spells', '/spells/4', '/wizards', '/wizards/1']
      const statuses = async () =>
        Promise.all(urls.map(async url => (await ask('GET', url)).headers['cache-status']))
      await statuses()
      // A book may have to be loaded twice until its tags are known.
      const isHit = expect.stringMatching(/; hit;/)
      await vi.waitFor(async () => expect(await statuses()).toEqual(urls.map(() => isHit)), PATIENCE)
      for (const url of ['/spells/4', '/wizards/1', '/wizards/1/spells/4'])
        expect((await askIf('DELETE', url, { 'if-match': '"x"' })).statusCode).toBe(412)
      expect((await askIf('PUT', '/spells/4', { 'if-match': '"x"' }, { damage: 1 })).statusCode).toBe(412)
      for (const response of [
        await ask('PUT', '/spells/99999', { damage: 1 }),
        await ask('DELETE', '/spells/99999'),
        await ask('PUT', '/wizards/99999', { name: 'x' }),
        await ask('DELETE', '/wizards/99999'),
        await ask('PUT', '/wizards/1/spells/99999'),
        await ask('DELETE', '/wizards/1/spells/8'),
      ]) {
        expect(response.statusCode).toBe(404)
        expect(response.headers['cache-status']).toBe('spellbook; fwd=method; detail=unchanged')
      }
      // On a busy machine Redis may take longer than a read waits for it.
      const found = await vi.waitFor(async () => {
        const all = await statuses()
        expect(all.join()).not.toContain('unavailable')
        return all
      }, PATIENCE)
      expect(found).toEqual(urls.map(() => isHit))
    })

    test('is judged by the row that is written, and not by what is cached', async () => {
      const etag = await etagOf('/spells/4')
      // Behind the back of the cache, which goes on showing the spell as it was.
      await database().query('update spell set damage = 99 where id = 4')
      expect(await etagOf('/spells/4')).toBe(etag)
      expect((await askIf('PUT', '/spells/4', { 'if-match': etag }, { damage: 1 })).statusCode).toBe(412)
      const rows = await database().query<{ damage: number }>('select damage from spell where id = 4')
      expect(rows[0]!.damage).toBe(99)
    })

    test('of many that name the same entity tag is made once: no update is lost', async () => {
      await makeMerlin()
      for (const [url, bodyOf] of [
        ['/spells/4', (n: number) => ({ damage: n })],
        ['/wizards/1', (n: number) => ({ name: `Merlin ${n}` })],
      ] as const) {
        const etag = await etagOf(url)
        const responses = await Promise.all(
          Array.from({ length: 6 }, (_, n) => askIf('PUT', url, { 'if-match': etag }, bodyOf(n))),
        )
        expect(responses.map(({ statusCode }) => statusCode).sort()).toEqual([200, 412, 412, 412, 412, 412])
        const done = responses.find(({ statusCode }) => statusCode === 200)!.json()
        expect((await ask('GET', url)).json()).toMatchObject(done)
      }
    })

    test('of a wizard does not hold any more once a spell of the book has changed', async () => {
      await makeMerlin()
      const etag = await etagOf('/wizards/1')
      await ask('PUT', '/spells/4', { damage: 41 })
      const renamed = await askIf('PUT', '/wizards/1', { 'if-match': etag }, { name: 'Myrddin' })
      expect(renamed.statusCode).toBe(412)
      expect((await ask('GET', '/wizards/1')).json<Wizard>().name).toBe('Merlin')
    })

    test('of a book is on the wizard with that book, and on whether the spell is in it', async () => {
      await makeMerlin()
      const etag = await etagOf('/wizards/1')
      const put = async (id: number, headers: object) =>
        (await askIf('PUT', `/wizards/1/spells/${id}`, headers)).statusCode
      const remove = async (id: number, headers: object) =>
        (await askIf('DELETE', `/wizards/1/spells/${id}`, headers)).statusCode
      expect(await put(2, { 'if-match': '"x"' })).toBe(412)
      expect(await put(2, { 'if-match': '*' })).toBe(412)
      expect(await put(1, { 'if-none-match': '*' })).toBe(412)
      expect(await remove(1, { 'if-match': '"x"' })).toBe(412)
      // What cannot be done at all is told first.
      expect(await put(99, { 'if-match': '"x"' })).toBe(404)
      expect(await remove(2, { 'if-match': '"x"' })).toBe(404)
      expect(await etagOf('/wizards/1')).toBe(etag)
      expect(await put(2, { 'if-match': etag, 'if-none-match': '*' })).toBe(204)
      expect(await put(3, { 'if-match': etag })).toBe(412)
      expect(await remove(1, { 'if-match': etag })).toBe(412)
      expect(await remove(1, { 'if-match': await etagOf('/wizards/1') })).toBe(204)
      expect((await ask('GET', '/wizards/1')).json<Wizard>().spells.map(({ id }) => id)).toEqual([2, 4])
    })

    test('of a list is none that could be kept: nothing is added', async () => {
      for (const url of ['/spells', '/wizards']) {
        const payload = url === '/spells' ? { name: 'x', damage: 1 } : { name: 'x' }
        const before = await etagOf(url)
        for (const headers of [{ 'if-match': before }, { 'if-none-match': '*' }, { 'if-none-match': '"x"' }])
          expect((await askIf('POST', url, headers, payload)).statusCode).toBe(412)
        expect(await etagOf(url)).toBe(before)
        expect((await askIf('POST', url, { 'if-match': '*' }, payload)).statusCode).toBe(201)
      }
    })
  })

  describe('an answer', () => {
    test('from the cache says how old it is, in whole seconds; one from the database does not', async () => {
      expect((await ask('GET', '/spells/4')).headers.age).toBeUndefined()
      await vi.waitFor(
        async () => expect((await ask('GET', '/spells/4')).headers.age).toMatch(/^\d{1,2}$/),
        PATIENCE,
      )
      expect((await ask('GET', '/spells/99')).headers.age).toBeUndefined()
      await vi.waitFor(
        async () => expect((await ask('GET', '/spells/99')).headers.age).toMatch(/^\d{1,2}$/),
        PATIENCE,
      )
    })

    test('to a change says what became of the cache, and how long it took', async () => {
      await makeMerlin()
      for (const response of [
        await ask('POST', '/spells', { name: 'Spark', damage: 1 }),
        await ask('PUT', '/spells/4', { damage: 1 }),
        await ask('DELETE', '/wizards/1/spells/4'),
        await ask('DELETE', '/wizards/1'),
      ]) {
        expect(response.headers['cache-status']).toBe('spellbook; fwd=method; detail=invalidated')
        expect(response.headers['server-timing']).toMatch(
          /^total;dur=[\d.]+, cache;dur=[\d.]+, database;dur=[\d.]+$/,
        )
        expect(response.headers['cache-control']).toBe('no-store')
        expect(response.headers.age).toBeUndefined()
      }
    })

    test('that is an error says so, too', async () => {
      for (const [response, detail] of [
        [await ask('GET', '/spells/x'), 'not-asked'],
        [await ask('POST', '/spells', {}), 'not-asked'],
        [await ask('GET', '/nothing'), 'not-asked'],
        [await askIf('PUT', '/spells/1', { 'if-match': '"x"' }, { damage: 1 }), 'condition-failed'],
      ] as const) {
        expect(response.headers['cache-status']).toBe(`spellbook; detail=${detail}`)
        expect(response.headers['server-timing']).toMatch(/^total;dur=\d+\.\d{3}$/)
        expect(response.headers['cache-control']).toBe('no-store')
      }
    })

    test('names the groups that it belongs to, one of which every change of it ends', async () => {
      await makeMerlin()
      const urls = ['/spells/4', '/spells', '/spells?after=3&limit=2', '/wizards/1', '/wizards']
      const before = await Promise.all(urls.map(url => ask('GET', url)))
      for (const change of [
        () => ask('PUT', '/spells/4', { damage: 41 }),
        () => ask('DELETE', '/wizards/1/spells/1'),
        () => ask('PUT', '/wizards/1', { name: 'Myrddin' }),
        () => ask('POST', '/spells', { name: 'Spark', damage: 1 }),
        () => ask('DELETE', '/spells/4'),
        () => ask('DELETE', '/wizards/1'),
      ]) {
        const ended = groupsIn((await change()).headers['cache-group-invalidation'])
        for (const [at, url] of urls.entries()) {
          const now = await ask('GET', url)
          const isChanged = now.payload !== before[at]!.payload
          if (isChanged)
            expect(ended.some(group => groupsIn(before[at]!.headers['cache-groups']).includes(group))).toBe(
              true,
            )
          before[at] = now
        }
      }
    })
  })
}
