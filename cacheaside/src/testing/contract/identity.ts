/** The identity of a store's registers: the same while nothing is lost, and another one after a loss. */
import assert from 'node:assert/strict'
import type { SharedIdentity } from '../../shared/shared-store.ts'
import type { OpenedIdentity, Stage } from './stage.ts'

/** The tests for any store: nothing is lost. */
export function identityContract(on: Stage<{ readonly identity: SharedIdentity }>): void {
  on(
    'identity is one text without control characters, however often it is asked for',
    async ({ identity }) => {
      const text = await identity.identity()
      assert.doesNotMatch(text, /\p{Cc}/u)
      const again = await Promise.all(Array.from({ length: 10 }, () => identity.identity()))
      assert.deepEqual(again, Array(10).fill(text))
    },
  )
}

/** The tests for registers that can be lost. */
export function lossContract(on: Stage<OpenedIdentity>): void {
  on('identity is another text, or none, once registers have been lost', async ({ identity, lose }) => {
    const before = await identity.identity()
    await lose()
    const after = await identity.identity()
    assert.ok(after === '' || after !== before, `it is still ${after}`)
  })
}
