import assert from 'node:assert/strict'
import type { StreamListener } from '../../shared/shared-store.ts'
import {
  hearing,
  inWords,
  KEY,
  LONG_MS,
  type Scene,
  type Stage,
  spell,
  token,
  withoutFences,
} from './stage.ts'

/** Who hears what, and when. (What each operation broadcasts is part of the transitions.) */
export function streamContract(on: Stage): void {
  listening(on)
  moments(on)
  trouble(on)
}

function listening(on: Stage): void {
  // In any order: the messages of keys that lie on different servers may overtake each other.
  on('subscribe lets every listener hear everything, once', async scene => {
    const first = await scene.listen()
    const second = await scene.listen()
    await scene.store.invalidate('spell:1')
    await scene.store.invalidateKeyspace('wizard', token('second'))
    await scene.store.heartbeat('process 7 beat 1', [])
    await scene.store.guard('spell:2', token('Anna'), LONG_MS, false)
    await scene.store.release('spell:2', token('Anna'))
    const sent = [
      'heartbeat process 7 beat 1',
      'invalidated spell:1',
      'invalidated spell:2',
      'invalidated spell:2',
      'keyspace wizard',
    ]
    assert.deepEqual((await scene.fence(first.messages)).sort(), sent)
    assert.deepEqual((await scene.fence(second.messages)).sort(), sent)
  })

  on('subscribe can be undone, more than once and without harm to others', async scene => {
    const leaving = await scene.listen()
    const staying = await scene.listen()
    leaving.stop()
    leaving.stop()
    leaving.messages.length = 0
    await scene.store.invalidate(KEY)
    assert.deepEqual(await scene.fence(staying.messages), [`invalidated ${KEY}`])
    assert.deepEqual(leaving.messages, [])
  })

  on('subscribe with one listener twice needs two farewells', async scene => {
    const heard = hearing()
    const once = await scene.listen(heard)
    const twice = await scene.listen(heard)
    await scene.store.invalidate(KEY)
    await scene.until(() => withoutFences(heard.messages).length === 2, 'two messages')
    once.stop()
    once.stop()
    heard.messages.length = 0
    await scene.store.invalidate(KEY)
    assert.deepEqual(await scene.fence(heard.messages), [`invalidated ${KEY}`])
    twice.stop()
  })

  on('heartbeat is heard back with its text, whatever is in it', async scene => {
    const { messages } = await scene.listen()
    const text = '{"process":"ä\u0000\n✨","beat":1}'
    await scene.store.heartbeat(text, [{ name: 'spell', candidate: token('first') }])
    assert.deepEqual(await scene.fence(messages), [`heartbeat ${text}`])
  })
}

function moments(on: Stage): void {
  const operations: [string, (scene: Scene) => Promise<unknown>][] = [
    ['guard', ({ store }) => store.guard(KEY, token('Anna'), LONG_MS, false)],
    ['release', ({ store }) => store.release(KEY, token('Anna'))],
    ['release with a value', ({ store }) => store.release(KEY, token('Anna'), spell('new'))],
    ['invalidate', ({ store }) => store.invalidate(KEY)],
  ]
  for (const [name, run] of operations) {
    on(
      `${name} is heard before anything changes, where the store is synchronous, and heard anywhere`,
      async scene => {
        await scene.filled()
        const seen: Promise<string | undefined>[] = []
        const heard = hearing()
        const { invalidated } = heard.listener
        const listener: StreamListener = {
          ...heard.listener,
          invalidated: key => {
            invalidated(key)
            seen.push(scene.raw(key))
          },
        }
        await scene.listen({ messages: heard.messages, listener })
        await run(scene)
        if (scene.store.synchronous) assert.equal(seen.length, 1)
        await scene.until(() => seen.length === 1, 'the message')
        if (scene.store.synchronous) assert.equal(inWords(await seen[0]), 'a value')
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
      await scene.listen({ messages: heard.messages, listener })
      await scene.store.invalidateKeyspace('spell', token('second'))
      if (scene.store.synchronous) assert.equal(seen.length, 1)
      await scene.until(() => seen.length === 1, 'the message')
      if (scene.store.synchronous) assert.equal(await seen[0], token('first'))
    },
  )
}

function trouble(on: Stage): void {
  on('subscribe isolates a listener that throws', async scene => {
    const scream = () => {
      throw new Error('this listener is broken')
    }
    const broken = scene.store.subscribe({
      invalidated: scream,
      keyspaceInvalidated: scream,
      heartbeat: scream,
      interrupted: scream,
    })
    const { messages } = await scene.listen()
    await scene.filled()
    await scene.store.invalidate(KEY)
    await scene.store.invalidateKeyspace('spell', token('second'))
    // In any order: the key and the keyspace may lie on different servers.
    assert.deepEqual((await scene.fence(messages)).sort(), [`invalidated ${KEY}`, 'keyspace spell'])
    assert.equal(await scene.state(), 'absent')
    broken()
  })

  on('subscribe lets a listener leave while it is being told', async scene => {
    const heard = hearing()
    let leaving: () => void = () => {}
    const { invalidated } = heard.listener
    const listener: StreamListener = {
      ...heard.listener,
      invalidated: key => {
        invalidated(key)
        leaving()
      },
    }
    const { messages, stop } = await scene.listen({ messages: heard.messages, listener })
    leaving = stop
    const staying = await scene.listen()
    messages.length = 0
    await scene.store.invalidate(KEY)
    await scene.store.invalidate(KEY)
    assert.deepEqual(await scene.fence(staying.messages), [`invalidated ${KEY}`, `invalidated ${KEY}`])
    assert.equal(withoutFences(messages)[0], `invalidated ${KEY}`)
    if (scene.store.synchronous) assert.equal(messages.length, 1)
  })

  on('close can be called twice', async scene => {
    await scene.store.close()
    await scene.store.close()
  })
}
