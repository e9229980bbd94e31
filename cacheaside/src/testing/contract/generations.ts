import assert from 'node:assert/strict'
import { KEY, LONG_MS, type Stage, token } from './stage.ts'

const FIRST = token('first')
const SECOND = token('second')

/** How a keyspace's generation is found, kept and changed. */
export function generationContract(on: Stage): void {
  on('generation is the first candidate for ever after', async ({ store }) => {
    assert.equal(await store.generation('spell', FIRST), FIRST)
    assert.equal(await store.generation('spell', SECOND), FIRST)
  })

  on('generation is one for all who ask at once', async ({ store }) => {
    const candidates = Array.from({ length: 20 }, (_, i) => token(`candidate ${i}`))
    const replies = await Promise.all(candidates.map(mine => store.generation('spell', mine)))
    assert.equal(new Set(replies).size, 1)
    assert.ok(candidates.includes(replies[0]!))
  })

  on('generation belongs to one keyspace', async ({ store }) => {
    assert.equal(await store.generation('spell', FIRST), FIRST)
    assert.equal(await store.generation('spell:4', SECOND), SECOND)
    assert.equal(await store.generation('', token('third')), token('third'))
    assert.equal(await store.generation('spell', token('fourth')), FIRST)
  })

  on('generation and a register of the same name are two things', async scene => {
    await scene.store.generation('spell', FIRST)
    assert.equal(await scene.store.lease('spell', SECOND, LONG_MS), null)
    await scene.store.release('spell', token('writer'))
    assert.equal(await scene.store.generation('spell', SECOND), FIRST)
  })

  on('invalidateKeyspace gives the keyspace its new generation', async ({ store }) => {
    await store.generation('spell', FIRST)
    await store.generation('wizard', FIRST)
    await store.invalidateKeyspace('spell', SECOND)
    assert.equal(await store.generation('spell', FIRST), SECOND)
    assert.equal(await store.generation('wizard', SECOND), FIRST)
  })

  on('invalidateKeyspace counts for a keyspace that nobody has asked for yet', async ({ store }) => {
    await store.invalidateKeyspace('spell', FIRST)
    assert.equal(await store.generation('spell', SECOND), FIRST)
  })

  on('invalidateKeyspace leaves guards standing', async scene => {
    await scene.store.guard(KEY, token('Anna'), LONG_MS, false)
    await scene.store.invalidateKeyspace('spell', FIRST)
    assert.equal(await scene.state(), 'a clean guard of Anna')
  })
}
