import assert from 'node:assert/strict'
import { KEY, LONG_MS, type Stage, spell, token } from './stage.ts'

/** Keys may hold any Unicode but lone surrogates; so may values, of any length. */
const KEYS: readonly (readonly [name: string, key: string])[] = [
  ['an empty id', 'spell:'],
  ['spaces and line ends', 'spell: a b\r\nc\td'],
  ['a NUL', 'spell:a\u0000b'],
  ['quotes and backslashes', 'spell:"\'\\`$(x)'],
  ['braces', 'spell:{4}:{}'],
  ['patterns', 'spell:*?[a-z]'],
  ['letters beyond ASCII', 'spell:Zauberspruch-ÄöüßéČ'],
  ['letters of other scripts', 'spell:魔法の火の玉 огненный шар'],
  ['signs beyond the basic plane', 'spell:🔥\u{10ffff}👩‍👩‍👧'],
  ['combining marks', 'spell:e\u0301\u0323'],
  ['a byte order mark', 'spell:\ufeff4'],
  ['great length', `spell:${'a🔥'.repeat(300)}`],
]

const TEXTS: readonly (readonly [name: string, text: string])[] = [
  ['no text', ''],
  ['one character', '0'],
  ['a NUL and other controls', 'a\u0000b\u0001\u001f\u007f\u0085\u2028'],
  ['something like a lease', `L${token('reader')}`],
  ['something like a guard', `W0${token('Anna')}1893456000000`],
  ['something like a value', `V${'0'.repeat(200)} x`],
  ['letters of other scripts', 'ÄöüßéČ 魔法 огонь'],
  ['signs beyond the basic plane', '🔥\u{10ffff}👩‍👩‍👧'],
  ['combining marks in either form', 'e\u0301 \u00e9'],
  ['a byte order mark', '\ufeff{}'],
  ['ends of lines', '\r\n\r\n$5\r\nhello\r\n'],
]

/** Every text of a key or of a value comes back as it was. */
export function textContract(on: Stage): void {
  for (const [name, key] of KEYS) {
    on(`lease, fill, guard and invalidate work under a key with ${name}`, async scene => {
      const assertBroadcasts = await scene.broadcasts()
      const { nonce } = await scene.filled(key)
      assert.equal(await scene.store.claim(key, nonce, token('reader'), LONG_MS), true)
      assert.equal(await scene.store.guard(key, token('Anna'), LONG_MS, false), 'new')
      assert.deepEqual(await scene.store.release(key, token('Anna'), spell('x')), {
        held: true,
        stored: true,
      })
      await scene.store.invalidate(key)
      assert.equal(await scene.state(key), 'absent')
      await assertBroadcasts(Array(3).fill(`invalidated ${key}`))
    })
  }

  on('lease tells keys apart that only look alike', async ({ store }) => {
    const keys = ['spell:\u00e9', 'spell:e\u0301', 'spell:e', 'spell:E', 'spell:\ufeffe', 'spell:e ']
    // The longest that there are: a store may cut off what its columns have no room for.
    for (const end of ['a', 'b']) keys.push(`spell:${'魔'.repeat(505)}${end}`)
    for (const key of keys) assert.equal(await store.lease(key, token('reader'), LONG_MS), null)
  })

  for (const [name, text] of TEXTS) {
    on(`fill and release bring back a value with ${name}`, async scene => {
      assert.equal((await scene.filled('spell:1', spell(text))).text, text)
      await scene.store.guard('spell:2', token('Anna'), LONG_MS, false)
      await scene.store.release('spell:2', token('Anna'), spell(text))
      assert.equal((await scene.value('spell:2')).text, text)
      const hit = await scene.store.lease('spell:2', token('reader'), LONG_MS)
      assert.equal(hit, await scene.raw('spell:2'))
    })
  }

  on('fill tells an absent row from an empty text', async scene => {
    assert.equal((await scene.filled('spell:1', spell(undefined))).text, undefined)
    assert.equal((await scene.filled('spell:2', spell(''))).text, '')
  })

  on('fill brings back a value of a megabyte', async scene => {
    const text = 'Fireball 🔥 '.repeat(80_000)
    const value = await scene.filled(KEY, spell(text))
    assert.equal(value.text, text)
    assert.equal(await scene.store.claim(KEY, value.nonce, token('reader'), LONG_MS), true)
    assert.equal((await scene.value()).text, text)
  })
}
