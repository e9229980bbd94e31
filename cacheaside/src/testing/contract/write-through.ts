import assert from 'node:assert/strict'
import { guardText } from '../../shared/register.ts'
import type { ReleaseReply } from '../../shared/shared-store.ts'
import { KEY, LONG_MS, type Scene, SHORT_MS, type Stage, spell, token } from './stage.ts'

const ANNA = token('Anna')
const BERT = token('Bert')
const ROW = spell('{"damage":31}', { freshMs: LONG_MS, staleMs: LONG_MS })

const stored: ReleaseReply = { held: true, stored: true }
const refused: ReleaseReply = { held: true, stored: false }

/** When the value that a writer has committed may be stored: only if nobody else was there from its guard to its release. */
export function writeThroughContract(on: Stage): void {
  allowed(on)
  dirty(on)
  dirtyByOthersWhoLeft(on)
}

function allowed(on: Stage): void {
  on('release with a value stores it as a fill would', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    const before = await scene.timeMs()
    assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), stored)
    const value = await scene.value()
    assert.equal(value.text, ROW.text)
    assert.equal(value.generation, ROW.generation)
    assert.equal(value.shape, ROW.shape)
    assert.equal(value.claimUntilMs, 0)
    assert.ok(value.filledAtMs >= before - 1 && value.filledAtMs <= (await scene.timeMs()) + 1)
    assert.equal(value.softExpiryMs, value.filledAtMs + LONG_MS)
  })

  on('release with a value gives it the life of a value', async scene => {
    await scene.store.guard('spell:1', ANNA, LONG_MS, false)
    await scene.store.release('spell:1', ANNA, spell('x', { freshMs: SHORT_MS / 2, staleMs: SHORT_MS / 2 }))
    await scene.store.guard('spell:2', ANNA, 300, false)
    await scene.store.release('spell:2', ANNA, spell('x'))
    await scene.advance(350)
    assert.equal(await scene.state('spell:1'), 'absent')
    assert.equal(await scene.state('spell:2'), 'a value')
  })

  on('release with a value stores it after any number of renewals', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    for (let i = 0; i < 3; i++) assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, true), 'renewed')
    assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), stored)
  })

  on(
    'release with a value stores it although its own deadline has passed, if it is in the guard',
    async scene => {
      const deadlineMs = (await scene.timeMs()) - 1000
      await scene.plant(KEY, guardText(false, [{ token: ANNA, deadlineMs }]), LONG_MS)
      assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), stored)
    },
  )

  on('release with a value that arrives twice stores nothing the second time', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.release(KEY, ANNA, ROW)
    assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), { held: false, stored: false })
    assert.equal(await scene.state(), 'absent')
  })

  on('release with a value by a stranger stores nothing, even where nobody else is left', async scene => {
    const deadlineMs = (await scene.timeMs()) - 1000
    await scene.plant(KEY, guardText(false, [{ token: BERT, deadlineMs }]), LONG_MS)
    assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), { held: false, stored: false })
    assert.equal(await scene.state(), 'absent')
  })

  on('release with the mark of an absent row stores that', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    assert.deepEqual(await scene.store.release(KEY, ANNA, spell(undefined)), stored)
    assert.equal((await scene.value()).text, undefined)
  })
}

/** Anna's write-through must be refused, and nothing may be left. */
async function annaIsRefused(scene: Scene): Promise<void> {
  assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), refused)
  assert.equal(await scene.state(), 'absent')
}

function dirty(on: Stage): void {
  on('release with a value stores nothing while another writer is there', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), refused)
    assert.equal(await scene.state(), 'a dirty guard of Bert')
  })

  on('release with a value stores nothing after an invalidation', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.invalidate(KEY)
    await annaIsRefused(scene)
  })

  on('release with a value stores nothing when the guard had been lost and was joined again', async scene => {
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.outlive()
    assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, true), 'rejoined')
    await annaIsRefused(scene)
  })

  on('release with a value stores nothing when the guard was lost', async scene => {
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.outlive()
    assert.deepEqual(await scene.store.release(KEY, ANNA, ROW), { held: false, stored: false })
    assert.equal(await scene.state(), 'absent')
  })

  on('release with a value stores nothing after a renewal of a dirty guard', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.invalidate(KEY)
    assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, true), 'renewed')
    await annaIsRefused(scene)
  })

  on("release with a value stores nothing after a stranger's release", async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.release(KEY, BERT)
    await annaIsRefused(scene)
  })
}

function dirtyByOthersWhoLeft(on: Stage): void {
  on('release with a value stores nothing when another writer came and went', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    await scene.store.release(KEY, BERT)
    await annaIsRefused(scene)
  })

  on('release with a value stores nothing when another writer was there first and left', async scene => {
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.release(KEY, BERT)
    await annaIsRefused(scene)
  })

  on('release with a value stores nothing when another writer came and died', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.guard(KEY, BERT, SHORT_MS, false)
    await scene.outlive()
    await annaIsRefused(scene)
  })

  on(
    'release with a value stores nothing when it joined writers who were all past their deadlines',
    async scene => {
      const deadlineMs = (await scene.timeMs()) - 1000
      await scene.plant(KEY, guardText(false, [{ token: BERT, deadlineMs }]), LONG_MS)
      assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, false), 'new')
      await annaIsRefused(scene)
    },
  )

  // Anna's guard is evicted; Bert guards, commits, writes; Anna commits and releases; Bert writes through.
  on(
    'release with a value stores nothing after the release of a writer whose guard was lost',
    async scene => {
      await scene.store.guard(KEY, BERT, SHORT_MS, false)
      await scene.outlive()
      await scene.store.guard(KEY, ANNA, LONG_MS, false)
      assert.deepEqual(await scene.store.release(KEY, BERT, spell('old')), { held: false, stored: false })
      await annaIsRefused(scene)
    },
  )
}
