import assert from 'node:assert/strict'
import { markOf } from '../../shared/register.ts'
import { KEY, LONG_MS, SHORT_MS, type Stage, spell, token } from './stage.ts'

const FIRST = token('first')
const SECOND = token('second')

/** How a lease is taken, lives, and becomes a value; how values live. */
export function leaseContract(on: Stage): void {
  granting(on)
  batches(on)
  looking(on)
  filling(on)
  lives(on)
  takingAway(on)
}

function granting(on: Stage): void {
  on('lease is granted to exactly one of many who ask at once', async ({ store }) => {
    const tokens = Array.from({ length: 20 }, (_, i) => token(`reader ${i}`))
    const replies = await Promise.all(tokens.map(mine => store.lease(KEY, mine, LONG_MS)))
    const winner = replies.indexOf(null)
    assert.notEqual(winner, -1)
    for (const [i, reply] of replies.entries()) {
      if (i !== winner) assert.equal(reply, `L${tokens[winner]}`)
    }
  })

  on('lease of one key leaves every other key alone', async ({ store, raw }) => {
    await store.lease('spell:1', FIRST, LONG_MS)
    assert.equal(await store.lease('spell:10', SECOND, LONG_MS), null)
    assert.equal(await raw('spell:1'), `L${FIRST}`)
    assert.equal(await raw('spell:'), undefined)
  })

  on('lease is granted again after leaseMs, and the first then fills nothing', async scene => {
    await scene.store.lease(KEY, FIRST, SHORT_MS)
    await scene.outlive()
    assert.equal(await scene.store.lease(KEY, SECOND, LONG_MS), null)
    assert.equal(await scene.store.fill(KEY, `L${FIRST}`, spell('late')), false)
    assert.equal(await scene.raw(KEY), `L${SECOND}`)
  })

  on('lease that finds a lease does not prolong it', async ({ store, advance, raw }) => {
    await store.lease(KEY, FIRST, 600)
    await advance(200)
    assert.equal(await store.lease(KEY, SECOND, LONG_MS), `L${FIRST}`)
    await advance(450)
    assert.equal(await raw(KEY), undefined)
  })

  on('lease that finds a value neither prolongs nor shortens its life', async scene => {
    await scene.filled('spell:long')
    await scene.filled('spell:short', spell('x', { freshMs: 600 }))
    await scene.advance(200)
    assert.equal(typeof (await scene.store.lease('spell:short', FIRST, LONG_MS)), 'string')
    assert.equal(typeof (await scene.store.lease('spell:long', FIRST, SHORT_MS)), 'string')
    await scene.advance(450)
    assert.equal(await scene.state('spell:short'), 'absent')
    assert.equal(await scene.state('spell:long'), 'a value')
  })
}

function batches(on: Stage): void {
  on('leaseMany answers each request in its place', async scene => {
    const { store } = scene
    await scene.filled('spell:1')
    await store.lease('spell:2', FIRST, LONG_MS)
    const keys = ['spell:3', 'spell:2', 'spell:4', 'spell:1']
    const replies = await store.leaseMany(
      keys.map(key => ({ key, token: token(key) })),
      LONG_MS,
    )
    assert.deepEqual(replies, [null, `L${FIRST}`, null, await scene.raw('spell:1')])
    assert.equal(await scene.raw('spell:3'), `L${token('spell:3')}`)
    assert.equal(await scene.raw('spell:4'), `L${token('spell:4')}`)
  })

  on('leaseMany of nothing answers nothing', async ({ store }) => {
    assert.deepEqual(await store.leaseMany([], LONG_MS), [])
  })

  on('leaseMany grants a key that is asked for twice to the first', async ({ store }) => {
    const requests = [FIRST, SECOND].map(mine => ({ key: KEY, token: mine }))
    assert.deepEqual(await store.leaseMany(requests, LONG_MS), [null, `L${FIRST}`])
  })

  on('leaseMany takes leases that end by themselves', async scene => {
    await scene.store.leaseMany([{ key: KEY, token: FIRST }], SHORT_MS)
    await scene.outlive()
    assert.equal(await scene.state(), 'absent')
  })
}

function looking(on: Stage): void {
  on('look says what each register holds, in its place, and changes nothing', async scene => {
    const { store, raw } = scene
    await scene.filled('spell:1')
    await store.lease('spell:2', FIRST, LONG_MS)
    await store.guard('spell:3', FIRST, LONG_MS, false)
    const keys = ['spell:4', 'spell:3', 'spell:1', 'spell:2', 'spell:1']
    const held = await Promise.all(keys.map(async key => (await raw(key)) ?? null))
    assert.deepEqual(await store.look(keys), held)
    assert.deepEqual(await Promise.all(keys.map(async key => (await raw(key)) ?? null)), held)
    assert.equal(held[0], null)
  })

  on('look at nothing says nothing', async ({ store }) => {
    assert.deepEqual(await store.look([]), [])
  })

  on('look neither prolongs nor shortens a life', async scene => {
    await scene.filled('spell:short', spell('x', { freshMs: 600 }))
    await scene.advance(200)
    assert.equal(typeof (await scene.store.look(['spell:short']))[0], 'string')
    await scene.advance(450)
    assert.deepEqual(await scene.store.look(['spell:short']), [null])
  })
}

function filling(on: Stage): void {
  on('fill keeps what it was given and stamps the time of the store', async scene => {
    const before = await scene.timeMs()
    const value = await scene.filled(KEY, spell('{"damage":30}', { freshMs: 5000, staleMs: LONG_MS }))
    const after = await scene.timeMs()
    assert.equal(value.generation, token('generation'))
    assert.equal(value.shape, 3)
    assert.equal(value.costMs, 12)
    assert.equal(value.text, '{"damage":30}')
    assert.equal(value.claimUntilMs, 0)
    assert.ok(value.filledAtMs >= before - 1 && value.filledAtMs <= after + 1)
    assert.equal(value.softExpiryMs, value.filledAtMs + 5000)
  })

  on('fill gives equal values nonces of their own', async scene => {
    const nonces = [
      (await scene.filled('spell:1')).nonce,
      (await scene.filled('spell:2')).nonce,
      (await scene.filled('spell:3')).nonce,
    ]
    assert.equal(new Set(nonces).size, 3)
    for (const nonce of nonces) assert.match(nonce, /^\.[\w-]{15}$/)
  })

  on('fill and release mark a value with its key, and with no other', async scene => {
    const keys = ['spell:1', 'spell:2', 'spell:\u00e9', 'spell:🔥', `spell:${'a'.repeat(300)}`]
    for (const key of keys) {
      const filled = await scene.filled(key)
      await scene.store.guard(key, FIRST, LONG_MS, false)
      await scene.store.release(key, FIRST, spell('x'))
      for (const value of [filled, await scene.value(key)])
        for (const other of keys) assert.equal(markOf(value, other), other === key ? 'own' : 'foreign')
    }
  })

  on('fill sent twice fills once', async ({ store, raw }) => {
    await store.lease(KEY, FIRST, LONG_MS)
    assert.equal(await store.fill(KEY, `L${FIRST}`, spell('once')), true)
    const filled = await raw(KEY)
    assert.equal(await store.fill(KEY, `L${FIRST}`, spell('twice')), false)
    assert.equal(await raw(KEY), filled)
  })

  on('fill by a lease from before a write is refused after it', async scene => {
    await scene.store.lease(KEY, FIRST, LONG_MS)
    await scene.store.guard(KEY, token('writer'), LONG_MS, false)
    await scene.store.release(KEY, token('writer'))
    assert.equal(await scene.store.fill(KEY, `L${FIRST}`, spell('old')), false)
    assert.equal(await scene.state(), 'absent')
  })

  on('fill by a lease from before an invalidation is refused after it', async scene => {
    await scene.store.lease(KEY, FIRST, LONG_MS)
    await scene.store.invalidate(KEY)
    assert.equal(await scene.store.fill(KEY, `L${FIRST}`, spell('old')), false)
    assert.equal(await scene.state(), 'absent')
  })
}

function lives(on: Stage): void {
  on('fill keeps a value for freshMs and staleMs together', async scene => {
    await scene.filled('spell:1', spell('x', { freshMs: SHORT_MS / 2, staleMs: SHORT_MS / 2 }))
    await scene.filled('spell:2', spell('x', { freshMs: SHORT_MS, staleMs: LONG_MS }))
    await scene.filled('spell:3', spell('x', { freshMs: LONG_MS, staleMs: SHORT_MS }))
    await scene.outlive()
    assert.equal(await scene.state('spell:1'), 'absent')
    assert.equal(await scene.state('spell:2'), 'a value')
    assert.equal(await scene.state('spell:3'), 'a value')
  })

  on('fill replaces the life of the lease by that of the value', async scene => {
    for (const key of ['spell:1', 'spell:2']) {
      await scene.store.lease(key, FIRST, key === 'spell:1' ? 300 : LONG_MS)
      const value = spell('x', { freshMs: key === 'spell:1' ? LONG_MS : SHORT_MS })
      assert.equal(await scene.store.fill(key, `L${FIRST}`, value), true)
    }
    await scene.advance(350)
    assert.equal(await scene.state('spell:1'), 'a value')
    assert.equal(await scene.state('spell:2'), 'absent')
  })

  on('swap replaces the life of the value by that of the lease', async scene => {
    const { nonce } = await scene.filled()
    assert.equal(await scene.store.swap(KEY, { prefix: `V${nonce}` }, FIRST, SHORT_MS), true)
    await scene.outlive()
    assert.equal(await scene.state(), 'absent')
  })
}

function takingAway(on: Stage): void {
  on('swap is granted to exactly one of many who saw the same value', async scene => {
    const { nonce } = await scene.filled()
    const tokens = Array.from({ length: 20 }, (_, i) => token(`reader ${i}`))
    const granted = await Promise.all(
      tokens.map(mine => scene.store.swap(KEY, { prefix: `V${nonce}` }, mine, LONG_MS)),
    )
    assert.equal(granted.filter(Boolean).length, 1)
    assert.equal(await scene.raw(KEY), `L${tokens[granted.indexOf(true)]}`)
  })

  on('swap of a value that has been filled again is refused', async scene => {
    const { nonce } = await scene.filled()
    await scene.store.invalidate(KEY)
    const again = await scene.filled()
    assert.equal(await scene.store.swap(KEY, { prefix: `V${nonce}` }, FIRST, LONG_MS), false)
    assert.equal((await scene.value()).nonce, again.nonce)
  })

  on('drop frees the key for the next reader', async ({ store }) => {
    await store.lease(KEY, FIRST, LONG_MS)
    assert.equal(await store.drop(KEY, { exactly: `L${FIRST}` }), true)
    assert.equal(await store.lease(KEY, SECOND, LONG_MS), null)
  })

  on('drop that arrives late or twice harms nobody', async scene => {
    const { store } = scene
    await store.lease(KEY, FIRST, LONG_MS)
    await store.drop(KEY, { exactly: `L${FIRST}` })
    assert.equal(await store.drop(KEY, { exactly: `L${FIRST}` }), false)
    await store.lease(KEY, SECOND, LONG_MS)
    assert.equal(await store.drop(KEY, { exactly: `L${FIRST}` }), false)
    assert.equal(await store.fill(KEY, `L${SECOND}`, spell('x')), true)
    assert.equal(await store.drop(KEY, { exactly: `L${FIRST}` }), false)
    assert.equal(await scene.state(), 'a value')
  })
}
