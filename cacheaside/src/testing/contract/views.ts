import assert from 'node:assert/strict'
import type { StoreView } from '../../shared/shared-store.ts'
import { GENERATION, KEY, LONG_MS, type Scene, SHORT_MS, type Stage, spell, token } from './stage.ts'

/** More than any store puts on one page. */
const MANY = 1_200

/** Opens the view of a scene's store for as long as `look` takes. */
async function looking(scene: Scene, look: (view: StoreView) => Promise<void>): Promise<void> {
  assert.ok(scene.store.view !== undefined, 'the store has no view; say so with hasView: false')
  const view = await scene.store.view()
  try {
    await look(view)
  } finally {
    await view.close()
  }
}

async function keysOf(view: StoreView, keyspace?: string): Promise<string[]> {
  const keys: string[] = []
  for await (const page of view.keys(keyspace)) keys.push(...page)
  return [...new Set(keys)].sort()
}

/** What a look at the registers tells, and that it leaves everything as it was. */
export function viewContract(on: Stage): void {
  telling(on)
  walking(on)
  leaving(on)
}

function telling(on: Stage): void {
  on('view tells what registers hold, in every state', scene =>
    looking(scene, async view => {
      await scene.filled('spell:1')
      await scene.filled('spell:2', spell(undefined))
      await scene.store.lease('spell:3', token('reader'), LONG_MS)
      await scene.store.guard('spell:4', token('Anna'), LONG_MS, false)
      await scene.plant('spell:5', 'of no known form')
      const keys = [1, 2, 3, 4, 5].map(id => `spell:${id}`)
      const held = await view.peek([...keys, 'spell:6'])
      for (const [i, key] of keys.entries()) assert.equal(held[i], await scene.raw(key))
      assert.equal(held[5], undefined)
      assert.deepEqual(await view.peek([]), [])
    }),
  )

  on('view tells what is left of the life of each register, if it tells lives', scene =>
    looking(scene, async view => {
      if (view.lives === undefined) return
      await scene.store.lease('spell:1', token('reader'), LONG_MS)
      await scene.store.guard('spell:2', token('Anna'), LONG_MS / 2, false)
      const [lease, guard, absent] = await view.lives(['spell:1', 'spell:2', 'spell:3'])
      assert.ok(lease !== undefined && lease <= LONG_MS && lease > LONG_MS / 2)
      assert.ok(guard !== undefined && guard <= LONG_MS / 2 && guard > 0)
      assert.equal(absent, undefined)
      assert.deepEqual(await view.lives([]), [])
    }),
  )

  on('view does not tell of what has ended', scene =>
    looking(scene, async view => {
      await scene.filled(KEY, spell('{}', { freshMs: SHORT_MS }))
      await scene.outlive()
      assert.deepEqual(await keysOf(view), [])
      assert.deepEqual(await view.peek([KEY]), [undefined])
    }),
  )

  on('view tells generations, and makes none', scene =>
    looking(scene, async view => {
      await scene.store.generation('spell', GENERATION)
      assert.deepEqual(await view.generations(['wizard', 'spell']), [undefined, GENERATION])
      assert.equal(await scene.store.generation('wizard', token('first')), token('first'))
      await scene.store.invalidateKeyspace('spell', token('second'))
      assert.deepEqual(await view.generations(['wizard', 'spell']), [token('first'), token('second')])
    }),
  )

  on("view tells the store's time", scene =>
    looking(scene, async view => {
      const before = await scene.timeMs()
      await scene.advance(SHORT_MS)
      const after = await view.timeMs()
      assert.ok(Number.isInteger(after))
      assert.ok(after - before >= SHORT_MS - 1, `only ${after - before} ms have passed`)
    }),
  )
}

function walking(on: Stage): void {
  on('view walks over all keys, of one keyspace or of all', scene =>
    looking(scene, async view => {
      assert.deepEqual(await keysOf(view), [])
      const spells = Array.from({ length: MANY }, (_, i) => `spell:${i}`)
      const requests = [...spells, 'spellbook:1', 'wizard:*', 'wizard:🔥'].map(key => ({
        key,
        token: token('reader'),
      }))
      await scene.store.leaseMany(requests, LONG_MS)
      await scene.store.generation('spell', GENERATION)
      assert.deepEqual(await keysOf(view), requests.map(({ key }) => key).sort())
      assert.deepEqual(await keysOf(view, 'spell'), spells.sort())
      assert.deepEqual(await keysOf(view, 'wizard'), ['wizard:*', 'wizard:🔥'])
      assert.deepEqual(await keysOf(view, 'w[a-z]*'), [])
    }),
  )

  on('view tells a key at least once that is there throughout, whatever else comes and goes', scene =>
    looking(scene, async view => {
      const staying = Array.from({ length: MANY }, (_, i) => ({ key: `spell:${i}`, token: token('reader') }))
      const going = staying.map(({ key, token }) => ({ key: `wizard:${key}`, token }))
      await scene.store.leaseMany([...staying, ...going], LONG_MS)
      const seen = new Set<string>()
      let pages = 0
      for await (const page of view.keys()) {
        for (const key of page) seen.add(key)
        if (pages++ > 0) continue
        await Promise.all(going.map(({ key }) => scene.store.invalidate(key)))
        await scene.store.leaseMany(
          going.map(({ key, token }) => ({ key: `sorcerer:${key}`, token })),
          LONG_MS,
        )
      }
      assert.deepEqual(
        staying.filter(({ key }) => !seen.has(key)),
        [],
      )
    }),
  )
}

/** What a view leaves behind: nothing. */
function leaving(on: Stage): void {
  on('view leaves registers as they are, and leases for others to take', scene =>
    looking(scene, async view => {
      await scene.filled('spell:1')
      await scene.store.guard('spell:2', token('Anna'), LONG_MS, false)
      const before = [await scene.raw('spell:1'), await scene.raw('spell:2')]
      await keysOf(view)
      await view.peek(['spell:1', 'spell:2', 'spell:3'])
      assert.deepEqual([await scene.raw('spell:1'), await scene.raw('spell:2')], before)
      assert.equal(await scene.store.lease('spell:3', token('reader'), LONG_MS), null)
      assert.equal(await scene.store.guard('spell:2', token('Anna'), LONG_MS, true), 'renewed')
    }),
  )

  on('view may be closed twice, and the store goes on', async scene => {
    const view = await scene.store.view?.()
    await view?.close()
    await view?.close()
    await scene.filled()
    assert.equal(await scene.state(), 'a value')
  })
}
