import assert from 'node:assert/strict'
import { markedToken } from '../../shared/key-mark.ts'
import { markOf, type StampRegister, stampText } from '../../shared/register.ts'
import { KEY, LONG_MS, type Scene, SHORT_MS, type Stage, spell, token } from './stage.ts'

const FIRST = token('first')
const SECOND = token('second')
const ANNA = token('Anna')

/** How the stamp of a tag is created, lives, is renewed, and falls. */
export function stampContract(on: Stage): void {
  creating(on)
  lives(on)
  renewing(on)
  falling(on)
}

/** Takes the stamp of a register that is absent. */
async function stamped(scene: Scene, key = KEY, mine = FIRST, lifeMs = LONG_MS): Promise<void> {
  assert.deepEqual(await scene.store.stampMany([{ key, token: mine }], lifeMs), [null])
}

function creating(on: Stage): void {
  on('stampMany answers each request in its place', async scene => {
    const { store } = scene
    await scene.filled('author:1')
    await store.lease('author:2', FIRST, LONG_MS)
    await stamped(scene, 'author:3')
    await store.guard('author:4', ANNA, LONG_MS, false)
    const keys = ['author:5', 'author:4', 'author:3', 'author:6', 'author:2', 'author:1']
    const held = await Promise.all(keys.map(async key => (await scene.raw(key)) ?? null))
    const requests = keys.map(key => ({ key, token: token(key) }))
    assert.deepEqual(await store.stampMany(requests, LONG_MS), held)
    assert.equal(await scene.raw('author:5'), `S${token('author:5')}`)
    assert.equal(await scene.raw('author:6'), `S${token('author:6')}`)
    assert.equal(await scene.raw('author:3'), `S${FIRST}`)
  })

  on('stampMany of nothing answers nothing', async ({ store }) => {
    assert.deepEqual(await store.stampMany([], LONG_MS), [])
  })

  on('stampMany grants a key that is asked for twice to the first', async ({ store }) => {
    const requests = [FIRST, SECOND].map(mine => ({ key: KEY, token: mine }))
    assert.deepEqual(await store.stampMany(requests, LONG_MS), [null, `S${FIRST}`])
  })

  on('stampMany is granted to exactly one of many who ask at once', async ({ store }) => {
    const tokens = Array.from({ length: 20 }, (_, i) => token(`reader ${i}`))
    const replies = await Promise.all(
      tokens.map(mine => store.stampMany([{ key: KEY, token: mine }], LONG_MS)),
    )
    const winner = replies.findIndex(([reply]) => reply === null)
    assert.notEqual(winner, -1)
    for (const [i, reply] of replies.entries())
      if (i !== winner) assert.deepEqual(reply, [`S${tokens[winner]}`])
  })

  on('stampMany, look and lease tell of a stamp with the mark of its key', async scene => {
    const keys = ['author:1', 'author:\u00e9', 'author:🔥', `author:${'a'.repeat(300)}`]
    const requests = keys.map(key => ({ key, token: markedToken(key, 'abcdefghijklmnop') }))
    assert.deepEqual(
      await scene.store.stampMany(requests, LONG_MS),
      keys.map(() => null),
    )
    const texts = requests.map(request => stampText(request.token))
    assert.deepEqual(await scene.store.look(keys), texts)
    for (const [i, key] of keys.entries()) {
      assert.equal(await scene.store.lease(key, FIRST, LONG_MS), texts[i])
      const register = (await scene.register(key)) as StampRegister
      for (const other of keys) assert.equal(markOf(register, other), other === key ? 'own' : 'foreign')
    }
  })
}

function lives(on: Stage): void {
  on('stampMany takes stamps that end by themselves, and may be taken again', async scene => {
    await stamped(scene, KEY, FIRST, SHORT_MS)
    await scene.outlive()
    await stamped(scene, KEY, SECOND)
    assert.equal(await scene.raw(KEY), `S${SECOND}`)
  })

  on('stampMany, lease and look neither prolong nor shorten the life of a stamp', async scene => {
    await stamped(scene, 'author:short', FIRST, 600)
    await stamped(scene, 'author:long')
    await scene.advance(200)
    for (const [key, lifeMs] of [
      ['author:short', LONG_MS],
      ['author:long', SHORT_MS],
    ] as const) {
      assert.deepEqual(await scene.store.stampMany([{ key, token: SECOND }], lifeMs), [`S${FIRST}`])
      assert.equal(await scene.store.lease(key, SECOND, lifeMs), `S${FIRST}`)
      assert.deepEqual(await scene.store.look([key]), [`S${FIRST}`])
    }
    await scene.advance(450)
    assert.equal(await scene.state('author:short'), 'absent')
    assert.equal(await scene.state('author:long'), 'a stamp of first')
  })
}

function renewing(on: Stage): void {
  on('renewStamp lets a stamp live for as long as it is given', async scene => {
    await stamped(scene, 'author:1', FIRST, 300)
    await stamped(scene, 'author:2', FIRST, 300)
    assert.equal(await scene.store.renewStamp('author:1', FIRST, 800), true)
    await scene.advance(400)
    assert.equal(await scene.state('author:1'), 'a stamp of first')
    assert.equal(await scene.state('author:2'), 'absent')
    await scene.advance(500)
    assert.equal(await scene.state('author:1'), 'absent')
  })

  on('renewStamp never shortens a life', async scene => {
    await stamped(scene)
    assert.equal(await scene.store.renewStamp(KEY, FIRST, SHORT_MS), true)
    await scene.outlive()
    assert.equal(await scene.raw(KEY), `S${FIRST}`)
  })

  on('renewStamp that arrives late or twice harms nobody', async scene => {
    await stamped(scene)
    assert.equal(await scene.store.renewStamp(KEY, FIRST, LONG_MS), true)
    assert.equal(await scene.store.renewStamp(KEY, FIRST, LONG_MS), true)
    await scene.store.invalidate(KEY)
    assert.equal(await scene.store.renewStamp(KEY, FIRST, LONG_MS), false)
    assert.equal(await scene.state(), 'absent')
    await stamped(scene, KEY, SECOND, SHORT_MS)
    assert.equal(await scene.store.renewStamp(KEY, FIRST, LONG_MS), false)
    assert.equal(await scene.raw(KEY), `S${SECOND}`)
    await scene.outlive()
    assert.equal(await scene.state(), 'absent')
  })

  on('renewStamp takes nothing for the stamp that only begins like it', async scene => {
    await scene.plant(KEY, `S${FIRST}x`)
    assert.equal(await scene.store.renewStamp(KEY, FIRST, LONG_MS), false)
    await scene.plant(KEY, `S${FIRST}`.slice(0, -1))
    assert.equal(await scene.store.renewStamp(KEY, FIRST, LONG_MS), false)
    assert.equal(await scene.raw(KEY), `S${FIRST}`.slice(0, -1))
  })
}

function falling(on: Stage): void {
  on('guard and release take a stamp away, and the next one is another', async scene => {
    await stamped(scene)
    assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, false), 'new')
    assert.deepEqual(await scene.store.stampMany([{ key: KEY, token: SECOND }], LONG_MS), [
      await scene.raw(KEY),
    ])
    assert.equal(await scene.state(), 'a clean guard of Anna')
    assert.deepEqual(await scene.store.release(KEY, ANNA), { held: true, stored: false })
    await stamped(scene, KEY, SECOND)
  })

  on('guard replaces the life of a stamp by its own', async scene => {
    await stamped(scene, 'author:1', FIRST, 300)
    await stamped(scene, 'author:2')
    await scene.store.guard('author:1', ANNA, LONG_MS, false)
    await scene.store.guard('author:2', ANNA, SHORT_MS, false)
    await scene.advance(350)
    assert.equal(await scene.state('author:1'), 'a clean guard of Anna')
    assert.equal(await scene.state('author:2'), 'absent')
  })

  on('drop and swap of a stamp take away that one and no other', async scene => {
    await stamped(scene)
    const other = { prefix: `S${SECOND}` }
    assert.equal(await scene.store.drop(KEY, other), false)
    assert.equal(await scene.store.swap(KEY, other, ANNA, LONG_MS), false)
    assert.equal(await scene.raw(KEY), `S${FIRST}`)
    assert.equal(await scene.store.drop(KEY, { prefix: `S${FIRST}` }), true)
    await stamped(scene, KEY, SECOND)
    assert.equal(await scene.store.swap(KEY, other, ANNA, LONG_MS), true)
    assert.equal(await scene.store.fill(KEY, `L${ANNA}`, spell('x')), true)
  })
}
