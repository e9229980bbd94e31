import assert from 'node:assert/strict'
import { LAYOUT, MAX_TAG_LENGTH, MAX_TAGS } from '../../shared/register.ts'
import type { Fill, Stamp } from '../../shared/shared-store.ts'
import { GENERATION, KEY, LONG_MS, type Scene, type Stage, spell, token } from './stage.ts'

const ANNA = token('Anna')
const READER = token('reader')

const tag = (name: string): Stamp => ({ name, token: token(`.stamp ${name.length}`), generation: GENERATION })
const many = (count: number): Stamp[] =>
  Array.from({ length: count }, (_, i) => tag(`author:${String(i).padStart(2, '0')}`))

const TAGS: readonly (readonly [name: string, tags: readonly Stamp[]])[] = [
  ['one tag', [tag('author:7')]],
  ['two tags, one of which begins like the other', [tag('author:7'), tag('author:77')]],
  ['as many tags as there may be', many(MAX_TAGS)],
  ['tags with letters beyond ASCII', [tag('Autor:Äöüßé'), tag('автор:огонь'), tag('魔法:火')]],
  ['tags with signs beyond the basic plane', [tag('author:🔥\u{10ffff}'), tag('👩‍👩‍👧:e\u0301')]],
  [
    'tags with spaces, line ends, digits and a NUL',
    [tag('a b:\r\n$5\t'), tag('author:010'), tag('n:\u0000')],
  ],
  ['a tag of one character', [tag(':')]],
  ['tags with names as long as they may be', [tag('a'.repeat(MAX_TAG_LENGTH)), tag('🔥'.repeat(256))]],
]
const TEXTS = [undefined, '', 'x', '{"name":"Feuerbällchen 🔥"}', '01008author:7']

/** The text of a register from the kind of its value on, for a value with tags. */
function written(tags: readonly Stamp[], text: string | undefined): string {
  const sections = tags.map(
    ({ name, token: mine, generation }) =>
      `${String(name.length).padStart(3, '0')}${name}${mine}${generation}`,
  )
  return `${text === undefined ? '~' : '#'} ${String(tags.length).padStart(2, '0')}${sections.join('')}${text ?? ''}`
}

/** How a value keeps the tags that it was loaded under: byte for byte, whatever their names. */
export function tagContract(on: Stage): void {
  for (const [name, tags] of TAGS) {
    on(`fill and release bring back a value, or an absent row, with ${name}`, async scene => {
      for (const [i, text] of TEXTS.entries()) {
        const value: Fill = { ...spell(text), tags }
        await keeps(scene, `spell:filled ${i}`, value)
        await scene.store.guard(`spell:written ${i}`, ANNA, LONG_MS, false)
        await scene.store.release(`spell:written ${i}`, ANNA, value)
        await holds(scene, `spell:written ${i}`, value)
      }
    })
  }

  on('fill without tags, and with none, writes the same', async scene => {
    for (const text of TEXTS) {
      for (const tags of [undefined, []]) {
        const { tags: kept } = await scene.filled(
          KEY,
          tags === undefined ? spell(text) : { ...spell(text), tags },
        )
        assert.deepEqual(kept, [])
        const raw = await scene.raw(KEY)
        assert.equal(raw?.slice(LAYOUT.value.kind.at), text === undefined ? '0 ' : `= ${text}`)
        await scene.store.invalidate(KEY)
      }
    }
  })

  on('claim, and a refresh by it, keep what they should of the tags of a value', async scene => {
    const { nonce } = await scene.filled(KEY, { ...spell('old'), tags: [tag('author:7')] })
    assert.equal(await scene.store.claim(KEY, nonce, READER, LONG_MS), true)
    const claimed = await scene.value()
    assert.deepEqual(claimed.tags, [tag('author:7')])
    assert.equal(claimed.text, 'old')
    const value = { ...spell('new'), tags: [tag('author:8'), tag('author:9')] }
    assert.equal(await scene.store.fill(KEY, `V${nonce}${READER}`, value), true)
    await holds(scene, KEY, value)
  })

  on('lease and look answer a value with its tags', async scene => {
    await scene.filled(KEY, { ...spell('x'), tags: many(3) })
    const raw = await scene.raw(KEY)
    assert.equal(await scene.store.lease(KEY, READER, LONG_MS), raw)
    assert.deepEqual(await scene.store.look([KEY]), [raw])
  })
}

async function keeps(scene: Scene, key: string, value: Fill): Promise<void> {
  await scene.filled(key, value)
  await holds(scene, key, value)
}

async function holds(scene: Scene, key: string, value: Fill): Promise<void> {
  const register = await scene.value(key)
  assert.deepEqual(register.tags, value.tags)
  assert.equal(register.text, value.text)
  assert.equal(register.costMs, value.costMs)
  const raw = await scene.raw(key)
  assert.equal(raw?.slice(LAYOUT.value.kind.at), written(value.tags!, value.text))
}
