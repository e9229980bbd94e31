import assert from 'node:assert/strict'
import { KEY, LONG_MS, SHORT_MS, type Stage, spell, token } from './stage.ts'

const FIRST = token('first')
const SECOND = token('second')

/** How the right to refresh a value is claimed, ends and is given back. */
export function claimContract(on: Stage): void {
  claiming(on)
  givingBack(on)
  refreshing(on)
}

function claiming(on: Stage): void {
  on('claim is granted to exactly one of many who ask at once', async scene => {
    const { nonce } = await scene.filled()
    const tokens = Array.from({ length: 20 }, (_, i) => token(`reader ${i}`))
    const granted = await Promise.all(tokens.map(mine => scene.store.claim(KEY, nonce, mine, LONG_MS)))
    assert.equal(granted.filter(Boolean).length, 1)
    assert.equal(await scene.state(), `a value claimed by reader ${granted.indexOf(true)}`)
  })

  on('claim leaves the value readable as it was', async scene => {
    const before = await scene.filled()
    await scene.store.claim(KEY, before.nonce, FIRST, LONG_MS)
    const { claimUntilMs, ...claimed } = await scene.value()
    const { claimUntilMs: unclaimed, ...unchanged } = before
    assert.deepEqual(claimed, unchanged)
    assert.equal(unclaimed, 0)
    const timeMs = await scene.timeMs()
    assert.ok(claimUntilMs > timeMs && claimUntilMs <= timeMs + LONG_MS + 1)
  })

  on('claim keeps the life of the value', async scene => {
    const long = await scene.filled('spell:long')
    const short = await scene.filled('spell:short', spell('x', { freshMs: 600 }))
    await scene.advance(200)
    assert.equal(await scene.store.claim('spell:short', short.nonce, FIRST, LONG_MS), true)
    assert.equal(await scene.store.claim('spell:long', long.nonce, FIRST, SHORT_MS), true)
    await scene.advance(450)
    assert.equal(await scene.state('spell:short'), 'absent')
    assert.equal(await scene.state('spell:long'), 'a value claimed by first')
  })

  on('claim of another value than the one that is there is refused', async scene => {
    await scene.filled()
    assert.equal(await scene.store.claim(KEY, token('another nonce'), FIRST, LONG_MS), false)
    assert.equal(await scene.state(), 'a value')
  })

  on('claim is granted to another once its time has passed', async scene => {
    const { nonce } = await scene.filled()
    await scene.store.claim(KEY, nonce, FIRST, SHORT_MS)
    await scene.outlive()
    assert.equal(await scene.store.claim(KEY, nonce, SECOND, LONG_MS), true)
    assert.equal(await scene.state(), 'a value claimed by second')
  })

  on('claim by who has the claim moves its end', async scene => {
    const { nonce } = await scene.filled()
    await scene.store.claim(KEY, nonce, FIRST, SHORT_MS)
    assert.equal(await scene.store.claim(KEY, nonce, FIRST, LONG_MS), true)
    await scene.outlive()
    assert.equal(await scene.store.claim(KEY, nonce, SECOND, LONG_MS), false)
  })
}

function givingBack(on: Stage): void {
  on(
    'claim of 0 ms gives an own claim back, keeps the life of the value, and another may claim',
    async scene => {
      const { nonce } = await scene.filled(KEY, spell('x', { freshMs: 300 }))
      await scene.store.claim(KEY, nonce, FIRST, LONG_MS)
      assert.equal(await scene.store.claim(KEY, nonce, FIRST, 0), true)
      assert.equal(await scene.store.claim(KEY, nonce, SECOND, LONG_MS), true)
      await scene.advance(350)
      assert.equal(await scene.state(), 'absent')
    },
  )

  on('claim of 0 ms that arrives late or twice harms nobody', async scene => {
    const { nonce } = await scene.filled()
    await scene.store.claim(KEY, nonce, FIRST, LONG_MS)
    await scene.store.claim(KEY, nonce, FIRST, 0)
    assert.equal(await scene.store.claim(KEY, nonce, FIRST, 0), false)
    await scene.store.claim(KEY, nonce, SECOND, LONG_MS)
    assert.equal(await scene.store.claim(KEY, nonce, FIRST, 0), false)
    assert.equal(await scene.state(), 'a value claimed by second')
  })
}

function refreshing(on: Stage): void {
  on('fill by the claim replaces the value, with a nonce, times and a life of its own', async scene => {
    const { nonce } = await scene.filled(KEY, spell('old', { freshMs: 300 }))
    await scene.store.claim(KEY, nonce, FIRST, LONG_MS)
    assert.equal(await scene.store.fill(KEY, `V${nonce}${FIRST}`, spell('new')), true)
    await scene.advance(350)
    const value = await scene.value()
    assert.equal(value.text, 'new')
    assert.equal(value.claimUntilMs, 0)
    assert.notEqual(value.nonce, nonce)
  })

  on('fill by a claim that another has taken over is refused', async scene => {
    const { nonce } = await scene.filled()
    await scene.store.claim(KEY, nonce, FIRST, SHORT_MS)
    await scene.outlive()
    await scene.store.claim(KEY, nonce, SECOND, LONG_MS)
    assert.equal(await scene.store.fill(KEY, `V${nonce}${FIRST}`, spell('late')), false)
    assert.equal(await scene.store.fill(KEY, `V${nonce}${SECOND}`, spell('in time')), true)
    assert.equal((await scene.value()).text, 'in time')
  })

  on('fill by a claim sent twice fills once', async scene => {
    const { nonce } = await scene.filled()
    await scene.store.claim(KEY, nonce, FIRST, LONG_MS)
    assert.equal(await scene.store.fill(KEY, `V${nonce}${FIRST}`, spell('once')), true)
    assert.equal(await scene.store.fill(KEY, `V${nonce}${FIRST}`, spell('twice')), false)
    assert.equal((await scene.value()).text, 'once')
  })

  on('fill by a claim from before a write is refused after it', async scene => {
    const { nonce } = await scene.filled()
    await scene.store.claim(KEY, nonce, FIRST, LONG_MS)
    await scene.store.guard(KEY, token('writer'), LONG_MS, false)
    await scene.store.release(KEY, token('writer'), spell('written'))
    assert.equal(await scene.store.fill(KEY, `V${nonce}${FIRST}`, spell('old')), false)
    assert.equal((await scene.value()).text, 'written')
  })
}
