import { expect, it } from 'vitest'
import { Broadcast, type EarHooks } from '../../src/redis/broadcast.ts'
import type { Link } from '../../src/redis/link.ts'
import type { Primary } from '../../src/redis/route.ts'
import { SimulatedClock } from '../../src/testing/index.ts'

const OWN = '@heartbeat:own'

/** A broadcast over primaries whose connections are in the test's hands. */
function stage(...addresses: string[]) {
  const clock = new SimulatedClock()
  const ears = new Map<string, { hooks: EarHooks; resets: string[]; facts: string | undefined }>()
  const published: string[] = []
  const broadcast = new Broadcast({
    clock,
    ownChannel: OWN,
    listen: ({ address }, hooks) => {
      const ear = { hooks, resets: [] as string[], facts: `server ${address}` as string | undefined }
      ears.set(address, ear)
      const link = {
        get facts() {
          return ear.facts
        },
        reset: (reason: string) => void ear.resets.push(reason),
        close: () => void ears.delete(address),
      }
      return link as unknown as Link<string>
    },
  })
  const primaries = addresses.map(address => {
    const link = { send: async (args: string[]) => void published.push(args.join(' ')) }
    return { address, link } as unknown as Primary
  })
  const heard: string[] = []
  const stop = broadcast.subscribe({
    invalidated: key => heard.push(`invalidated ${key}`),
    keyspaceInvalidated: keyspace => heard.push(`keyspace ${keyspace}`),
    heartbeat: text => heard.push(`heartbeat ${text}`),
    interrupted: reason => heard.push(`interrupted ${reason}`),
  })
  broadcast.listenTo(primaries)
  return {
    broadcast,
    clock,
    ears,
    heard,
    published,
    stop,
    primaries,
    /** All that a heartbeat's exchange tells. */
    exchange(text: string, identities = addresses.map(address => `server ${address}`)) {
      broadcast.sending(text)
      for (const [i, primary] of primaries.entries())
        broadcast.answered(text, primary, { identity: identities[i]! })
      broadcast.complete(text)
    },
    /** What the connection to a primary brings. */
    bring(address: string, message: string, channel = OWN) {
      ears.get(address)!.hooks.onMessage(channel, message)
    },
  }
}

it('tells of a heartbeat when the connection to each primary has brought it back', () => {
  const { exchange, bring, heard } = stage('a:1', 'b:2', 'c:3')
  exchange('beat')
  bring('a:1', 'a:1 beat')
  bring('c:3', 'c:3 beat')
  expect(heard).toEqual([])
  bring('b:2', 'b:2 beat')
  expect(heard).toEqual(['heartbeat beat'])
  bring('b:2', 'b:2 beat')
  expect(heard).toEqual(['heartbeat beat'])
})

it('counts no copy that the Cluster has passed on to another node', () => {
  const { exchange, bring, heard } = stage('a:1', 'b:2')
  exchange('beat')
  for (const copy of ['a:1 beat', 'b:2 beat']) bring('a:1', copy)
  expect(heard).toEqual([])
  bring('b:2', 'b:2 beat')
  expect(heard).toEqual(['heartbeat beat'])
})

it('tells of a heartbeat no sooner than its exchange is complete', () => {
  const { broadcast, bring, heard, primaries } = stage('a:1')
  broadcast.sending('beat')
  bring('a:1', 'a:1 beat')
  broadcast.answered('beat', primaries[0]!, { identity: 'server a:1' })
  expect(heard).toEqual([])
  broadcast.complete('beat')
  expect(heard).toEqual(['heartbeat beat'])
})

it('tells of no heartbeat that another server than the one listened to has published', () => {
  const { exchange, bring, heard, ears } = stage('a:1', 'b:2')
  exchange('beat', ['server a:1', 'another server'])
  bring('a:1', 'a:1 beat')
  bring('b:2', 'b:2 beat')
  expect(heard).toEqual([])
  expect(ears.get('b:2')!.resets).toEqual([expect.stringMatching(/^it led to another server/)])
})

it('tells of no heartbeat from before an interruption', () => {
  const { exchange, bring, heard, broadcast } = stage('a:1')
  exchange('beat')
  broadcast.interrupted('something')
  bring('a:1', 'a:1 beat')
  expect(heard).toEqual(['interrupted something'])
})

it('waits for a connection that brings the message before it counts as live', () => {
  const { exchange, bring, heard, ears } = stage('a:1')
  const ear = ears.get('a:1')!
  ear.facts = undefined
  exchange('beat')
  bring('a:1', 'a:1 beat')
  expect(heard).toEqual([])
  ear.facts = 'server a:1'
  ear.hooks.onLive()
  expect(heard).toEqual(['heartbeat beat'])
})

it('publishes a heartbeat again through a primary that is listened to only now', () => {
  const { exchange, ears, published } = stage('a:1', 'b:2')
  exchange('beat')
  ears.get('b:2')!.hooks.onLive()
  expect(published).toEqual([`PUBLISH ${OWN} b:2 beat`])
})

it('gives up a connection that brings back nothing for two seconds, and no other', async () => {
  const { exchange, bring, clock, ears } = stage('a:1', 'b:2')
  for (let i = 0; i < 30; i++) {
    exchange(`beat ${i}`)
    bring('a:1', `a:1 beat ${i}`)
    await clock.advance(60)
  }
  expect(ears.get('b:2')!.resets).toEqual([])
  await clock.advance(300)
  exchange('beat')
  expect(ears.get('b:2')!.resets).toEqual(['it is silent'])
  expect(ears.get('a:1')!.resets).toEqual([])
})

it('listens again and interrupts when the primaries change, and opens no connection when nobody listens', () => {
  const { broadcast, ears, heard, primaries, stop } = stage('a:1', 'b:2')
  broadcast.listenTo([primaries[0]!])
  expect([...ears.keys()]).toEqual(['a:1'])
  expect(heard).toEqual([expect.stringMatching(/^interrupted the primaries of the Cluster/)])
  stop()
  expect(ears.size).toBe(0)
})

it('passes on what is published for all, and ignores what it does not know', () => {
  const { bring, heard } = stage('a:1')
  bring('a:1', 'invalidated spell:4', '@broadcast')
  bring('a:1', 'keyspace spell', '@broadcast')
  bring('a:1', '', '@broadcast')
  bring('a:1', 'something of a later version', '@broadcast')
  expect(heard).toEqual(['invalidated spell:4', 'keyspace spell'])
})
