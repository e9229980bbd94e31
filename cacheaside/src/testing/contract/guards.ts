import assert from 'node:assert/strict'
import { guardText, MAX_HOLDERS, MERGED } from '../../shared/register.ts'
import { KEY, LONG_MS, SHORT_MS, type Stage, spell, token } from './stage.ts'

const ANNA = token('Anna')
const BERT = token('Bert')

/** How guards stand, each writer by a deadline of its own, and how they go. */
export function guardContract(on: Stage): void {
  deadlines(on)
  endedDeadlines(on)
  manyWriters(on)
  renewals(on)
  releases(on)
}

function deadlines(on: Stage): void {
  on('guard goes by itself after guardMs, and the next reader gets the lease', async scene => {
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.outlive()
    assert.equal(await scene.store.lease(KEY, token('reader'), LONG_MS), null)
  })

  on('guard stands until the latest deadline in it, in any order of writers', async scene => {
    await scene.store.guard('spell:1', ANNA, 600, false)
    await scene.store.guard('spell:1', BERT, 200, false)
    await scene.store.guard('spell:2', BERT, 200, false)
    await scene.store.guard('spell:2', ANNA, 600, false)
    await scene.advance(250)
    assert.equal(await scene.state('spell:1'), 'a dirty guard of Anna, Bert')
    assert.equal(await scene.state('spell:2'), 'a dirty guard of Anna, Bert')
    await scene.advance(400)
    assert.equal(await scene.state('spell:1'), 'absent')
    assert.equal(await scene.state('spell:2'), 'absent')
  })

  on('guard replaces the life of a value by its own', async scene => {
    await scene.filled('spell:1', spell('x', { freshMs: 300 }))
    await scene.filled('spell:2')
    await scene.store.guard('spell:1', ANNA, LONG_MS, false)
    await scene.store.guard('spell:2', ANNA, SHORT_MS, false)
    await scene.advance(350)
    assert.equal(await scene.state('spell:1'), 'a clean guard of Anna')
    assert.equal(await scene.state('spell:2'), 'absent')
  })

  on('guard stamps deadlines by the time of the store', async scene => {
    const before = await scene.timeMs()
    await scene.store.guard(KEY, ANNA, 5000, false)
    const after = await scene.timeMs()
    const guard = await scene.register()
    assert.ok(guard?.state === 'guard')
    assert.deepEqual(
      guard.holders.map(holder => holder.token),
      [ANNA],
    )
    const deadlineMs = guard.holders[0]!.deadlineMs
    assert.ok(deadlineMs >= before + 5000 - 1 && deadlineMs <= after + 5000 + 1)
  })
}

/** What operations make of writers whose deadline has passed. */
function endedDeadlines(on: Stage): void {
  on('release takes out the writers whose deadline has passed', async scene => {
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.outlive()
    assert.deepEqual(await scene.store.release(KEY, BERT), { held: true, stored: false })
    assert.equal(await scene.state(), 'absent')
  })

  on('release leaves no writer in the guard whose deadline has passed', async scene => {
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    await scene.store.guard(KEY, token('Cara'), LONG_MS, false)
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.outlive()
    assert.equal(await scene.state(), 'a dirty guard of Anna, Bert, Cara')
    await scene.store.release(KEY, BERT)
    assert.equal(await scene.state(), 'a dirty guard of Cara')
  })

  on('release holds for a writer whose deadline has passed, as long as it is in the guard', async scene => {
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.outlive()
    assert.deepEqual(await scene.store.release(KEY, ANNA), { held: true, stored: false })
    assert.equal(await scene.state(), 'a dirty guard of Bert')
  })

  on('release leaves the guard standing until the latest deadline of those left', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.guard(KEY, BERT, SHORT_MS, false)
    await scene.store.release(KEY, ANNA)
    await scene.outlive()
    assert.equal(await scene.state(), 'absent')
  })

  on('invalidate leaves the deadlines of a guard as they are', async scene => {
    await scene.store.guard('spell:1', ANNA, LONG_MS, false)
    await scene.store.guard('spell:2', ANNA, SHORT_MS, false)
    const before = await scene.register('spell:1')
    await scene.store.invalidate('spell:1')
    await scene.store.invalidate('spell:2')
    assert.deepEqual(await scene.register('spell:1'), { ...before, dirty: true })
    await scene.outlive()
    assert.equal(await scene.state('spell:1'), 'a dirty guard of Anna')
    assert.equal(await scene.state('spell:2'), 'absent')
  })
}

/** Guards with more writers than are listed, or longer than they are ever written. */
function manyWriters(on: Stage): void {
  on('guard lists no more writers than its bound, and stands for all of them', async scene => {
    const writers = Array.from({ length: MAX_HOLDERS + 6 }, (_, i) => token(`writer${i}`))
    for (const writer of writers) assert.equal(await scene.store.guard(KEY, writer, LONG_MS, false), 'new')
    const guard = await scene.register()
    assert.ok(guard?.state === 'guard' && guard.dirty)
    assert.deepEqual(
      guard.holders.map(holder => holder.token),
      [...writers.slice(0, MAX_HOLDERS), MERGED],
    )
    for (const writer of writers) {
      const held = writers.indexOf(writer) < MAX_HOLDERS
      assert.deepEqual(await scene.store.release(KEY, writer), { held, stored: false })
    }
    assert.equal((await scene.register())?.state, 'guard')
    assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, true), 'rejoined')
    await scene.store.release(KEY, ANNA)
    assert.equal((await scene.register())?.state, 'guard')
  })

  on('guard goes with the deadline of those that it does not list', async scene => {
    const writers = Array.from({ length: MAX_HOLDERS + 1 }, (_, i) => token(`writer${i}`))
    for (const writer of writers) await scene.store.guard(KEY, writer, SHORT_MS, false)
    await scene.outlive()
    assert.equal(await scene.state(), 'absent')
  })

  on('guard longer than it is ever written stands for its life, and nobody is in it', async scene => {
    const deadlineMs = (await scene.timeMs()) + LONG_MS
    const holders = Array.from({ length: 2_000 }, (_, i) => ({ token: token(`w${i}`), deadlineMs }))
    const long = guardText(false, holders)
    for (const text of [long, `W0${'x'.repeat(1_000_000)}`]) {
      await scene.plant(KEY, text, LONG_MS)
      assert.deepEqual(await scene.store.release(KEY, token('w3')), { held: false, stored: false })
      await scene.store.invalidate(KEY)
      assert.equal(await scene.store.guard(KEY, ANNA, SHORT_MS, false), 'new')
      const guard = await scene.register()
      assert.ok(guard?.state === 'guard' && guard.dirty)
      assert.deepEqual(
        guard.holders.map(holder => holder.token),
        [MERGED, ANNA],
      )
      assert.ok(Math.abs(guard.holders[0]!.deadlineMs - deadlineMs) < LONG_MS / 2)
    }
  })
}

function renewals(on: Stage): void {
  on('guard renewed moves the deadline of its writer, later or earlier', async scene => {
    await scene.store.guard('spell:1', ANNA, 300, false)
    await scene.store.guard('spell:2', ANNA, LONG_MS, false)
    assert.equal(await scene.store.guard('spell:1', ANNA, LONG_MS, true), 'renewed')
    assert.equal(await scene.store.guard('spell:2', ANNA, SHORT_MS, true), 'renewed')
    await scene.advance(350)
    assert.equal(await scene.state('spell:1'), 'a clean guard of Anna')
    assert.equal(await scene.state('spell:2'), 'absent')
  })

  on("guard renewed leaves the others' deadlines as they are", async scene => {
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.store.guard(KEY, BERT, LONG_MS, true)
    await scene.outlive()
    await scene.store.release(KEY, BERT)
    assert.equal(await scene.state(), 'absent')
  })

  on('guard renewed after its end takes away what has been filled meanwhile', async scene => {
    await scene.store.guard(KEY, ANNA, SHORT_MS, false)
    await scene.outlive()
    await scene.filled()
    assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, true), 'rejoined')
    assert.equal(await scene.state(), 'a dirty guard of Anna')
  })

  on('guard by a token that is in it already counts it once', async scene => {
    await scene.store.guard(KEY, ANNA, 300, false)
    assert.equal(await scene.store.guard(KEY, ANNA, LONG_MS, false), 'renewed')
    await scene.advance(350)
    const guard = await scene.register()
    assert.ok(guard?.state === 'guard')
    assert.equal(guard.holders.length, 1)
    await scene.store.release(KEY, ANNA)
    assert.equal(await scene.state(), 'absent')
  })
}

function releases(on: Stage): void {
  on('release of one writer after another ends in an absent register', async scene => {
    const writers = ['Anna', 'Bert', 'Cara', 'Dora'].map(token)
    for (const writer of writers) await scene.store.guard(KEY, writer, LONG_MS, false)
    for (const [i, writer] of writers.entries()) {
      assert.deepEqual(await scene.store.release(KEY, writer), { held: true, stored: false })
      assert.equal((await scene.state()) === 'absent', i === writers.length - 1)
    }
  })

  on('release that arrives twice leaves a later guard standing', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.release(KEY, ANNA)
    await scene.store.guard(KEY, BERT, LONG_MS, false)
    assert.deepEqual(await scene.store.release(KEY, ANNA), { held: false, stored: false })
    assert.equal(await scene.state(), 'a dirty guard of Bert')
    assert.deepEqual(await scene.store.release(KEY, BERT), { held: true, stored: false })
    assert.equal(await scene.state(), 'absent')
  })

  on('release that arrives twice takes a later value or lease away, and no more', async scene => {
    await scene.store.guard(KEY, ANNA, LONG_MS, false)
    await scene.store.release(KEY, ANNA)
    await scene.filled()
    await scene.store.release(KEY, ANNA)
    assert.equal(await scene.store.lease(KEY, token('reader'), LONG_MS), null)
    await scene.store.release(KEY, ANNA)
    assert.equal(await scene.store.fill(KEY, `L${token('reader')}`, spell('old')), false)
    assert.equal(await scene.state(), 'absent')
  })

  on('release leaves nothing of writers who are all past their deadlines', async scene => {
    // The life of such a register ended with its last deadline; a person or a clock may have given it a longer one.
    const past = (await scene.timeMs()) - 1000
    const holders = [ANNA, BERT].map(writer => ({ token: writer, deadlineMs: past }))
    await scene.plant(KEY, guardText(false, holders), LONG_MS)
    assert.deepEqual(await scene.store.release(KEY, token('stranger')), { held: false, stored: false })
    assert.equal(await scene.state(), 'absent')
  })
}
