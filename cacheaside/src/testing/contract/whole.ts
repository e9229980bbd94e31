/**
 * The interplay of a whole store's parts: the stream tells of changes of the registers, its heartbeat reads the registers'
 * generations, and the identity is that of these registers.
 */
import assert from 'node:assert/strict'
import type { StreamListener } from '../../shared/shared-store.ts'
import {
  hearing,
  inWords,
  KEY,
  LONG_MS,
  type Stage,
  type StoreScene,
  spell,
  token,
  withoutFences,
} from './stage.ts'

const FIRST = token('first')
const SECOND = token('second')

/** What a whole store promises beyond its parts. (What each operation broadcasts is part of the transitions.) */
export function wholeContract(on: Stage<StoreScene>): void {
  listening(on)
  moments(on)
  asking(on)
  ending(on)
}

function listening(on: Stage<StoreScene>): void {
  // In any order: the messages of keys that lie on different servers may overtake each other.
  on('subscribe lets every listener hear what writers and invalidations do, once', async scene => {
    const first = await scene.stream.listen()
    const second = await scene.stream.listen()
    await scene.store.invalidate('spell:1')
    await scene.store.invalidateKeyspace('wizard', token('second'))
    await scene.store.heartbeat('Process 7 Beat 1', [])
    await scene.store.guard('spell:2', token('Anna'), LONG_MS, false)
    await scene.store.release('spell:2', token('Anna'))
    const sent = [
      'heartbeat Process 7 Beat 1',
      'invalidated spell:1',
      'invalidated spell:2',
      'invalidated spell:2',
      'keyspace wizard',
    ]
    assert.deepEqual((await scene.stream.fence(first.messages)).sort(), sent)
    assert.deepEqual((await scene.stream.fence(second.messages)).sort(), sent)
  })

  on('invalidate does its work although a listener throws', async scene => {
    const scream = () => {
      throw new Error('this listener is broken')
    }
    const broken = scene.store.subscribe({
      invalidated: scream,
      keyspaceInvalidated: scream,
      heartbeat: scream,
      interrupted: scream,
    })
    const { messages } = await scene.stream.listen()
    await scene.registers.filled()
    await scene.store.invalidate(KEY)
    await scene.store.invalidateKeyspace('spell', token('second'))
    // In any order: the key and the keyspace may lie on different servers.
    assert.deepEqual((await scene.stream.fence(messages)).sort(), [`invalidated ${KEY}`, 'keyspace spell'])
    assert.equal(await scene.registers.state(), 'absent')
    broken()
  })
}

function moments(on: Stage<StoreScene>): void {
  const operations: [string, (scene: StoreScene) => Promise<unknown>][] = [
    ['guard', ({ store }) => store.guard(KEY, token('Anna'), LONG_MS, false)],
    ['release', ({ store }) => store.release(KEY, token('Anna'))],
    ['release with a value', ({ store }) => store.release(KEY, token('Anna'), spell('new'))],
    ['invalidate', ({ store }) => store.invalidate(KEY)],
  ]
  for (const [name, run] of operations) {
    on(
      `${name} is heard before anything changes, where the store is synchronous, and heard anywhere`,
      async scene => {
        await scene.registers.filled()
        const seen: Promise<string | undefined>[] = []
        const heard = hearing()
        const { invalidated } = heard.listener
        const listener: StreamListener = {
          ...heard.listener,
          invalidated: key => {
            invalidated(key)
            seen.push(scene.registers.raw(key))
          },
        }
        await scene.stream.listen({ messages: heard.messages, listener })
        await run(scene)
        if (scene.store.synchronous) assert.equal(seen.length, 1)
        await scene.stream.until(() => seen.length === 1, 'the message')
        const [first] = await Promise.all(seen)
        if (scene.store.synchronous) assert.equal(inWords(first), 'a value')
      },
    )
  }

  on(
    'invalidateKeyspace is heard before it changes, where the store is synchronous, and heard anywhere',
    async scene => {
      await scene.store.generation('spell', token('first'))
      const seen: Promise<string>[] = []
      const heard = hearing()
      const listener: StreamListener = {
        ...heard.listener,
        keyspaceInvalidated: () => seen.push(scene.store.generation('spell', token('other'))),
      }
      await scene.stream.listen({ messages: heard.messages, listener })
      await scene.store.invalidateKeyspace('spell', token('second'))
      if (scene.store.synchronous) assert.equal(seen.length, 1)
      await scene.stream.until(() => seen.length === 1, 'the message')
      // Awaited before the store is closed: that would end the calls under way.
      const [first] = await Promise.all(seen)
      if (scene.store.synchronous) assert.equal(first, token('first'))
    },
  )
}

function asking(on: Stage<StoreScene>): void {
  on('heartbeat brings the generations in the order of the keyspaces asked for', async ({ store }) => {
    await store.generation('spell', FIRST)
    const keyspaces = [
      { name: 'wizard', candidate: SECOND },
      { name: 'spell', candidate: SECOND },
    ]
    assert.deepEqual((await store.heartbeat('1', keyspaces)).generations, [SECOND, FIRST])
    await store.invalidateKeyspace('wizard', token('third'))
    assert.deepEqual((await store.heartbeat('2', keyspaces)).generations, [token('third'), FIRST])
  })

  on('identity is one text, whatever is done to the registers', async ({ store }) => {
    const identity = await store.identity()
    const operations = [
      () => store.lease(KEY, FIRST, LONG_MS),
      () => store.guard(KEY, SECOND, LONG_MS, false),
      () => store.release(KEY, SECOND),
      () => store.invalidate(KEY),
      () => store.generation('spell', FIRST),
      () => store.invalidateKeyspace('spell', SECOND),
      () => store.heartbeat('1', []),
    ]
    assert.doesNotMatch(identity, /\p{Cc}/u)
    for (const run of operations) {
      await run()
      assert.equal(await store.identity(), identity)
    }
  })
}

function ending(on: Stage<StoreScene>): void {
  on('close can be called twice', async scene => {
    await scene.store.close()
    await scene.store.close()
  })

  // 1. a store is closed, and tells nobody anything any more; 2. a process keeps a value; 3. another one writes it, and its guard
  // is confirmed; 4. the first one is not told.
  on('close interrupts every listener, and nothing is confirmed after it', async scene => {
    const { store } = scene
    await scene.registers.filled()
    const listening = [await scene.stream.listen(), await scene.stream.listen()]
    await store.close()
    for (const { messages } of listening) {
      await scene.stream.until(() => withoutFences(messages).length > 0, 'the interruption')
      assert.match(withoutFences(messages).join(), /^interrupted [^,]*$/)
    }
    const operations: [string, () => Promise<unknown>][] = [
      ['lease', () => store.lease('spell:9', FIRST, LONG_MS)],
      ['leaseMany', () => store.leaseMany([{ key: 'spell:9', token: FIRST }], LONG_MS)],
      ['stampMany', () => store.stampMany([{ key: 'spell:9', token: FIRST }], LONG_MS)],
      ['look', () => store.look([KEY])],
      ['guard', () => store.guard(KEY, FIRST, LONG_MS, false)],
      ['release', () => store.release(KEY, FIRST)],
      ['invalidate', () => store.invalidate(KEY)],
      ['generation', () => store.generation('spell', FIRST)],
      ['invalidateKeyspace', () => store.invalidateKeyspace('spell', SECOND)],
      ['heartbeat', () => store.heartbeat('1', [])],
      ['identity', () => store.identity()],
    ]
    for (const [name, run] of operations)
      await assert.rejects(run, `${name} was confirmed by a store that is closed`)
    for (const { messages } of listening) assert.equal(withoutFences(messages).length, 1)
  })
}
