import assert from 'node:assert/strict'
import type { StreamListener } from '../../shared/shared-store.ts'
import { hearing, KEY, type Stage, type StreamScene, token, withoutFences } from './stage.ts'

/** Who hears what, and how a listener leaves. */
export function streamContract(on: Stage<StreamScene>): void {
  listening(on)
  trouble(on)
}

function listening(on: Stage<StreamScene>): void {
  // In any order: the messages of keys that lie on different servers may overtake each other.
  on('subscribe lets every listener hear everything, once', async scene => {
    const first = await scene.listen()
    const second = await scene.listen()
    await scene.invalidate('spell:1')
    await scene.invalidateKeyspace('wizard', token('second'))
    await scene.stream.heartbeat('process 7 beat 1', [])
    await scene.invalidate('spell:2')
    await scene.invalidate('spell:2')
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
    await scene.invalidate(KEY)
    assert.deepEqual(await scene.fence(staying.messages), [`invalidated ${KEY}`])
    assert.deepEqual(leaving.messages, [])
  })

  on('subscribe with one listener twice needs two farewells', async scene => {
    const heard = hearing()
    const once = await scene.listen(heard)
    const twice = await scene.listen(heard)
    await scene.invalidate(KEY)
    await scene.until(() => withoutFences(heard.messages).length === 2, 'two messages')
    once.stop()
    once.stop()
    heard.messages.length = 0
    await scene.invalidate(KEY)
    assert.deepEqual(await scene.fence(heard.messages), [`invalidated ${KEY}`])
    twice.stop()
  })

  on('heartbeat is heard back with its text, whatever is in it', async scene => {
    const { messages } = await scene.listen()
    const text = '{"process":"Anna Ä ä\u0000\n✨","beat":1}'
    await scene.stream.heartbeat(text, [{ name: 'spell', candidate: token('first') }])
    assert.deepEqual(await scene.fence(messages), [`heartbeat ${text}`])
  })

  on('heartbeat tells a time that goes on as time does', async ({ stream, advance }) => {
    const before = await stream.heartbeat('1', [])
    await advance(100)
    const after = await stream.heartbeat('2', [])
    assert.deepEqual(before.generations, [])
    assert.ok(after.timeMs - before.timeMs >= 99, `only ${after.timeMs - before.timeMs} ms have passed`)
    assert.ok(Number.isInteger(after.timeMs))
  })
}

function trouble(on: Stage<StreamScene>): void {
  on('subscribe isolates a listener that throws', async scene => {
    const scream = () => {
      throw new Error('this listener is broken')
    }
    const broken = scene.stream.subscribe({
      invalidated: scream,
      keyspaceInvalidated: scream,
      heartbeat: scream,
      interrupted: scream,
    })
    const { messages } = await scene.listen()
    await scene.invalidate(KEY)
    await scene.invalidateKeyspace('spell', token('second'))
    // In any order: the key and the keyspace may lie on different servers.
    assert.deepEqual((await scene.fence(messages)).sort(), [`invalidated ${KEY}`, 'keyspace spell'])
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
    await scene.invalidate(KEY)
    await scene.invalidate(KEY)
    assert.deepEqual(await scene.fence(staying.messages), [`invalidated ${KEY}`, `invalidated ${KEY}`])
    assert.equal(withoutFences(messages)[0], `invalidated ${KEY}`)
    if (scene.stream.synchronous) assert.equal(messages.length, 1)
  })
}
