import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CacheEvent } from '../../src/base/events.ts'
import { type Key, wholeKeyspace } from '../../src/base/key.ts'
import { Relay } from '../../src/feed/relay.ts'
import type { RelayTarget } from '../../src/feed/relay-target.ts'
import { gate, SimulatedClock } from '../../src/testing/index.ts'
import { FakeFeed } from './fake-feed.ts'

/** A cache as a relay sees it: writes down what is invalidated, and confirms what it is told to. */
class FakeTarget implements RelayTarget {
  isPrivate = false
  names = ['spell', 'list']
  name: string | undefined = 'store 1'
  readonly log: string[]
  refuses: (what: string) => boolean = () => false
  constructor(log: string[]) {
    this.log = log
  }
  keyspaces() {
    return this.names
  }
  isKnown(keyspace: string) {
    return this.names.includes(keyspace)
  }
  async identity() {
    return this.name
  }
  trace<T>(_message: object, work: () => Promise<T>) {
    return work()
  }
  async invalidate(key: Key) {
    return this.#answer(key)
  }
  async invalidateKeyspace(keyspace: string) {
    return this.#answer(`all ${keyspace}`)
  }
  #answer(what: string): boolean {
    const refused = this.refuses(what)
    this.log.push(refused ? `${what} unconfirmed` : what)
    return !refused
  }
}

const key = (text: string) => text as Key

let clock: SimulatedClock
let feed: FakeFeed
let target: FakeTarget
let events: CacheEvent[]
let relays: Relay[]

function relay(to: RelayTarget = target, from = feed): Relay {
  const started = new Relay(from, to, clock, 10_000, event => void events.push(event))
  relays.push(started)
  return started
}

/** A relay that has compared identities and waits for changes; what it did so far is forgotten. */
async function idleRelay(): Promise<Relay> {
  const started = relay()
  await clock.advance(1)
  feed.log.length = 0
  events.length = 0
  return started
}

/** A relay for another target that has compared identities. */
async function relayFor(other: RelayTarget): Promise<Relay> {
  const started = relay(other)
  await clock.advance(1)
  return started
}

/** What was invalidated, settled and remembered, without the looks in between. */
const deeds = () => feed.log.filter(line => line !== 'take' && line !== 'open')
const looks = () => feed.log.filter(line => line === 'take').length
const eventsOf = <Type extends CacheEvent['type']>(type: Type) =>
  events.filter((event): event is Extract<CacheEvent, { type: Type }> => event.type === type)

beforeEach(() => {
  clock = new SimulatedClock()
  events = []
  relays = []
  feed = new FakeFeed(clock, {
    spell: { keys: row => [key(`spell:${row.id}`), key('list:all')], keyspaces: ['spell', 'list'] },
    note: { keys: row => [key(`note:${row.id}`)] },
  })
  target = new FakeTarget(feed.log)
})

afterEach(async () => {
  const closing = Promise.all(relays.map(each => each.close()))
  await clock.advance(20_000)
  await closing
  expect(clock.pendingTimers, clock.describeTimers()).toBe(0)
  expect(feed.living).toEqual([])
})

describe('a batch', () => {
  it('is settled only after every key of it was confirmed, each once', async () => {
    await idleRelay()
    feed.commit('spell', [{ id: '1' }])
    feed.commit('spell', [{ id: '1' }, { id: '2' }])
    feed.commit('note', [{ id: '7' }])
    await clock.advance(250)
    expect(deeds()).toEqual(['spell:1', 'list:all', 'spell:2', 'note:7', 'settle 1,2,3'])
    expect(feed.outbox).toEqual([])
    expect(eventsOf('feed-batch')).toMatchObject([{ changes: 3, applied: 3 }])
  })

  it('of a whole table invalidates the keyspaces that are named for it, or else every one', async () => {
    feed.memory.set('elsewhere', 'store 1 origin 1')
    await idleRelay()
    feed.commit('spell')
    await clock.advance(250)
    expect(deeds()).toEqual(['all spell', 'all list', 'settle 1'])
    feed.log.length = 0
    feed.commit('note')
    await clock.advance(250)
    expect(deeds()).toEqual(['all elsewhere', 'all spell', 'all list', 'settle 2'])
  })

  it('of rows for which the map names a whole keyspace invalidates it, once for all of them', async () => {
    feed = new FakeFeed(clock, {
      role: { keys: row => [key(`role:${row.id}`), wholeKeyspace('permissions')], keyspaces: ['role'] },
    })
    target = new FakeTarget(feed.log)
    await idleRelay()
    feed.commit('role', [{ id: '1' }])
    feed.commit('role', [{ id: '1' }, { id: '2' }])
    await clock.advance(250)
    expect(deeds()).toEqual(['all permissions', 'role:1', 'role:2', 'settle 1,2'])
    feed.log.length = 0
    target.refuses = what => what === 'all permissions'
    feed.commit('role', [{ id: '3' }])
    await clock.advance(250)
    expect(feed.outbox, 'kept until the keyspace is confirmed').toHaveLength(1)
    target.refuses = () => false
    await clock.advance(1_000)
    expect(feed.outbox).toEqual([])
  })

  it('with a map that names what is neither a key nor a whole keyspace counts as one of the whole table', async () => {
    const made = [
      { wholeKeyspace: 'a b' },
      { wholeKeyspace: 4 },
      {},
      null,
      undefined,
      4,
      'spell',
    ] as unknown as Key[]
    feed = new FakeFeed(clock, {
      spell: { keys: row => [key('spell:1'), made[row.at]!], keyspaces: ['spell'] },
    })
    target = new FakeTarget(feed.log)
    await idleRelay()
    for (const at of made.keys()) {
      feed.log.length = 0
      feed.commit('spell', [{ at }])
      await clock.advance(250)
      expect(deeds()).toEqual(['all spell', `settle ${at + 1}`])
    }
  })

  it('that is full is followed by the next one at once', async () => {
    feed.mostChanges = 2
    await idleRelay()
    for (let id = 1; id <= 5; id++) feed.commit('note', [{ id }])
    await clock.advance(250)
    expect(deeds().filter(line => line.startsWith('settle'))).toEqual([
      'settle 1,2',
      'settle 3,4',
      'settle 5',
    ])
  })

  it('with a map that throws invalidates the table’s keyspaces instead, reports it once, and is settled', async () => {
    const thrown = new Error('no such column')
    feed = new FakeFeed(clock, {
      spell: {
        keys: row => {
          if (row.id === 'poison') throw thrown
          return [key(`spell:${row.id}`)]
        },
        keyspaces: ['spell'],
      },
    })
    target = new FakeTarget(feed.log)
    await idleRelay()
    feed.commit('spell', [{ id: '1' }])
    feed.commit('spell', [{ id: 'poison' }])
    feed.commit('spell', [{ id: 'poison' }])
    await clock.advance(10_000)
    expect(deeds()).toEqual(['all spell', 'spell:1', 'settle 1,2,3'])
    expect(eventsOf('fault')).toEqual([
      { type: 'fault', during: "the feed's map of table spell", error: thrown },
    ])
    expect(looks()).toBe(40)
  })

  it.each([
    ['a text that is no key', ['spell'], /expected a key .*, got "spell"/],
    ['something else than texts', [4], /expected a key .*, got 4/],
    ['a key alone', key('spell:1'), /expected the map to return an array of keys, got "spell:1"/],
    ['nothing', undefined, /expected the map to return an array of keys, got undefined/],
    ['a promise', Promise.resolve(['spell:1']), /the map answers with a promise/],
  ])('with a map that returns %s counts as one that throws', async (_what, returned, message) => {
    feed = new FakeFeed(clock, { spell: { keys: () => returned as unknown as Key[], keyspaces: ['spell'] } })
    target = new FakeTarget(feed.log)
    await idleRelay()
    feed.commit('spell', [{ id: '1' }])
    await clock.advance(250)
    expect(deeds()).toEqual(['all spell', 'settle 1'])
    expect(eventsOf('fault').map(({ error }) => (error as Error).message)).toEqual([
      expect.stringMatching(message),
    ])
  })

  it('of a table that is not known here invalidates every keyspace', async () => {
    await idleRelay()
    feed.commit('wizard', [{ id: '1' }])
    await clock.advance(250)
    expect(deeds()).toEqual(['all spell', 'all list', 'settle 1'])
    expect(eventsOf('fault')).toMatchObject([{ during: "the feed's map of table wizard" }])
  })

  it('on which nothing depends is settled', async () => {
    feed = new FakeFeed(clock, { spell: { keys: () => [] } })
    target = new FakeTarget(feed.log)
    await idleRelay()
    feed.commit('spell', [{ id: '1' }])
    await clock.advance(250)
    expect(deeds()).toEqual(['settle 1'])
  })
})

describe('what is not confirmed', () => {
  it('stays in the outbox while the store is away, is tried at growing intervals, and is applied when it is back', async () => {
    await idleRelay()
    target.refuses = () => true
    feed.commit('note', [{ id: '1' }])
    await clock.advance(60_000)
    const attempts = feed.log.filter(line => line === 'note:1 unconfirmed').length
    expect(attempts).toBeGreaterThan(10)
    expect(attempts).toBeLessThan(30)
    expect(feed.outbox).toHaveLength(1)
    target.refuses = () => false
    await clock.advance(5_000)
    expect(feed.outbox).toEqual([])
    expect(eventsOf('feed-batch').at(-1)).toMatchObject({ changes: 1, applied: 1 })
  })

  it('is tried at once when the store answers again', async () => {
    const started = await idleRelay()
    target.refuses = () => true
    feed.commit('note', [{ id: '1' }])
    await clock.advance(60_000)
    target.refuses = () => false
    started.verify()
    await clock.advance(1)
    expect(feed.outbox).toEqual([])
  })

  it('does not hold up what comes after it', async () => {
    feed.mostChanges = 3
    await idleRelay()
    target.refuses = what => what === 'note:1'
    for (let id = 1; id <= 7; id++) feed.commit('note', [{ id }])
    await clock.advance(250)
    expect(feed.outbox.map(({ id }) => id)).toEqual(['1'])
    feed.commit('note', [{ id: 8 }])
    await clock.advance(250)
    expect(feed.outbox.map(({ id }) => id)).toEqual(['1'])
  })

  it('is all there is to do, however many changes there are, after a whole round without an answer', async () => {
    feed.mostChanges = 1_000
    await idleRelay()
    target.refuses = () => true
    for (let id = 1; id <= 1_000; id++) feed.commit('note', [{ id }])
    await clock.advance(250)
    expect(feed.log.filter(line => line.endsWith('unconfirmed'))).toHaveLength(64)
    expect(feed.outbox).toHaveLength(1_000)
  })

  it('keeps a change of which only a part was confirmed', async () => {
    await idleRelay()
    target.refuses = what => what === 'list:all'
    feed.commit('spell', [{ id: '1' }])
    feed.commit('note', [{ id: '2' }])
    await clock.advance(250)
    expect(feed.outbox.map(({ id }) => id)).toEqual(['1'])
  })
})

describe('a relay that dies', () => {
  it.each(['take', 'settle'] as const)(
    'before its %s came through leaves its changes to another one',
    async step => {
      await idleRelay()
      const stuck = feed.hold(step)
      feed.commit('note', [{ id: '1' }])
      await clock.advance(250)
      await stuck.reached
      feed.letPass(step)
      const second = new FakeTarget(feed.log)
      relay(second)
      await clock.advance(1_000)
      expect(feed.outbox, 'what is locked is left to its holder').toHaveLength(step === 'settle' ? 1 : 0)
      feed.sessions[0]!.vanish()
      await clock.advance(250)
      expect(feed.outbox).toEqual([])
      const applied = deeds().filter(line => line === 'note:1').length
      expect(applied, 'applied twice if the first had applied it already').toBe(step === 'settle' ? 2 : 1)
      stuck.open()
    },
  )

  it('while the store is asked leaves its changes to another one', async () => {
    const asked = gate<boolean>()
    const hung = new FakeTarget(feed.log)
    hung.invalidate = () => asked.wait()
    relay(hung)
    await clock.advance(1)
    feed.commit('note', [{ id: '1' }])
    await clock.advance(250)
    await asked.reached
    feed.sessions[0]!.vanish()
    relay()
    await clock.advance(250)
    expect(deeds().slice(-2)).toEqual(['note:1', 'settle 1'])
    asked.open(true)
  })

  it('after it has settled them leaves nothing to do', async () => {
    await idleRelay()
    feed.commit('note', [{ id: '1' }])
    await clock.advance(250)
    feed.sessions[0]!.vanish()
    relay()
    await clock.advance(1_000)
    expect(deeds().filter(line => line === 'note:1')).toHaveLength(1)
  })
})

describe('several relays', () => {
  it('share the changes: each is applied by one of them', async () => {
    feed.mostChanges = 10
    relay()
    relay()
    await clock.advance(1)
    feed.log.length = 0
    for (let id = 1; id <= 200; id++) feed.commit('note', [{ id }])
    await clock.advance(1_000)
    const applied = deeds().filter(line => line.startsWith('note:'))
    expect(applied).toHaveLength(200)
    expect(new Set(applied).size).toBe(200)
    expect(feed.outbox).toEqual([])
  })
})

describe('poke', () => {
  it('has the outbox looked at without waiting for the next poll', async () => {
    const started = await idleRelay()
    await clock.advance(100)
    feed.commit('note', [{ id: '1' }])
    started.poke()
    await clock.advance(1)
    expect(feed.outbox).toEqual([])
  })

  it('does so at most every 20 ms, however often it is called', async () => {
    const started = await idleRelay()
    for (let ms = 0; ms < 1_000; ms++) {
      started.poke()
      await clock.advance(1)
    }
    expect(looks()).toBeGreaterThanOrEqual(45)
    expect(looks()).toBeLessThanOrEqual(51)
  })

  it('during a look has it followed by another one', async () => {
    const started = await idleRelay()
    const looking = feed.hold('take')
    started.poke()
    await clock.advance(30)
    await looking.reached
    feed.letPass('take')
    started.poke()
    looking.open()
    await clock.advance(20)
    expect(looks()).toBe(2)
  })

  it('does not hurry a store that is away, however much there is to try', async () => {
    feed.mostChanges = 1
    const started = await idleRelay()
    target.refuses = () => true
    for (let id = 1; id <= 500; id++) feed.commit('note', [{ id }])
    for (let ms = 0; ms < 10_000; ms += 10) {
      started.poke()
      await clock.advance(10)
    }
    expect(feed.log.filter(line => line.endsWith('unconfirmed')).length).toBeLessThan(12)
  })
})

describe('the lag', () => {
  it('is the time since a change was written, if nothing else is known', async () => {
    feed.commit('note', [{ id: '1' }], 70_000)
    relay()
    await clock.advance(1)
    expect(eventsOf('feed-batch')).toMatchObject([{ lagMs: 70_000 }])
  })

  it('is not that of the transaction’s length: a change was committed after the outbox was last seen empty', async () => {
    await idleRelay()
    await clock.advance(1_100)
    feed.commit('note', [{ id: '1' }], 70_000)
    await clock.advance(150)
    expect(eventsOf('feed-batch')).toMatchObject([{ lagMs: 250 }])
  })

  it('goes on for as long as the store does not confirm', async () => {
    await idleRelay()
    target.refuses = () => true
    feed.commit('note', [{ id: '1' }])
    await clock.advance(30_000)
    target.refuses = () => false
    await clock.advance(5_000)
    expect(eventsOf('feed-batch').at(-1)!.lagMs).toBeGreaterThan(30_000)
    feed.commit('note', [{ id: '2' }], 70_000)
    await clock.advance(500)
    expect(eventsOf('feed-batch').at(-1)!.lagMs).toBeLessThanOrEqual(500)
  })
})

describe('a comparison that readers wait for', () => {
  /** Whether it has ended. */
  function compared(started: Relay): { ended: boolean } {
    const comparison = { ended: false }
    void started.compared().then(() => {
      comparison.ended = true
    })
    return comparison
  }

  it('ends when every keyspace of another store has its new generation', async () => {
    const started = await idleRelay()
    await clock.advance(200)
    target.name = 'store 2'
    const comparison = compared(started)
    await clock.advance(1)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
    expect(comparison.ended).toBe(true)
  })

  it('is made soon where a look has just found the store away', async () => {
    const started = await idleRelay()
    target.name = undefined
    started.verify()
    await clock.advance(1)
    target.name = 'store 2'
    const comparison = compared(started)
    await clock.advance(101)
    expect(comparison.ended).toBe(true)
  })

  it('is not made by a look that began before', async () => {
    const started = await idleRelay()
    const answer = gate<string>()
    target.identity = () => answer.wait()
    started.verify()
    await clock.advance(1)
    const comparison = compared(started)
    target.identity = async () => undefined
    answer.open('store 1')
    await clock.advance(500)
    expect(comparison.ended).toBe(false)
    target.identity = async () => 'store 1'
    await clock.advance(400)
    expect(comparison.ended).toBe(true)
  })

  it.each([
    ['when the session is lost', () => feed.sessions[0]!.end()],
    [
      'when it takes too long',
      () => {
        target.identity = () => new Promise(() => {})
      },
    ],
  ])('ends %s: hits are served while the origin is away', async (_, goWrong) => {
    const started = await idleRelay()
    goWrong()
    const comparison = compared(started)
    expect(comparison.ended).toBe(false)
    await clock.advance(feed.timeoutMs + 200)
    expect(comparison.ended).toBe(true)
  })

  it('does not hurry a store that answers and confirms nothing', async () => {
    const started = await idleRelay()
    target.name = 'store 2'
    target.refuses = () => true
    started.verify()
    for (let i = 0; i < 1_000; i++) {
      compared(started)
      await clock.advance(10)
    }
    const refused = deeds().filter(line => line === 'all spell unconfirmed').length
    // At every poll, as without readers.
    expect(refused).toBeGreaterThan(10_000 / feed.pollMs - 5)
    expect(refused).toBeLessThan(10_000 / feed.pollMs + 5)
  })
})

describe('the identity of store and origin', () => {
  it('that is not known yet gives every keyspace a new generation, and is remembered after that', async () => {
    relay()
    await clock.advance(1)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
    expect([...feed.memory]).toEqual([
      ['spell', 'store 1 origin 1'],
      ['list', 'store 1 origin 1'],
    ])
    expect(eventsOf('feed-distrust')).toMatchObject([{ keyspaces: ['spell', 'list'] }])
  })

  it('that is the one remembered changes nothing: a new process finds the cache warm', async () => {
    await idleRelay()
    relay()
    await clock.advance(60_000)
    expect(deeds()).toEqual([])
  })

  it.each([
    [
      'the store’s',
      () => {
        target.name = 'store 2'
      },
    ],
    [
      'the origin’s',
      () => {
        feed.origin = 'origin 2'
      },
    ],
  ])(
    'if it has changed, %s, when a relay begins, gives every keyspace a new generation',
    async (_whose, change) => {
      await (await idleRelay()).close()
      change()
      relay()
      await clock.advance(1)
      expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
    },
  )

  it('is compared when the store is connected again', async () => {
    const started = await idleRelay()
    target.name = 'store 2'
    await clock.advance(1_000)
    expect(deeds(), 'not yet').toEqual([])
    started.reconnected('test')
    await clock.advance(1)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
  })

  it('is compared when the session is a new one', async () => {
    await idleRelay()
    feed.origin = 'origin 2'
    feed.sessions[0]!.end()
    await clock.advance(100)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
  })

  it('does not count for a process that has followed the origin to another server after others', async () => {
    await idleRelay()
    // Another process has followed, and written the identity down. This one could still load from the old server.
    feed.origin = 'origin 2'
    for (const name of feed.memory.keys()) feed.memory.set(name, 'store 1 origin 2')
    feed.server = 'server 2'
    feed.sessions[0]!.end()
    await clock.advance(100)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
    expect(eventsOf('feed-distrust').at(-1)).toMatchObject({
      reason: 'this process has followed the origin to another server',
    })
    await clock.advance(60_000)
    expect(deeds(), 'once').toHaveLength(4)
  })

  it('counts for a process that finds the same server restarted after others', async () => {
    await idleRelay()
    feed.origin = 'origin 2'
    for (const name of feed.memory.keys()) feed.memory.set(name, 'store 1 origin 2')
    feed.sessions[0]!.end()
    await clock.advance(100)
    expect(deeds()).toEqual([])
  })

  it('is compared every 15 seconds, for what no connection tells of', async () => {
    await idleRelay()
    target.name = 'store 2'
    await clock.advance(15_300)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
  })

  it('keeps two stores that were given one feed by mistake from staying stale', async () => {
    await idleRelay()
    const other = new FakeTarget(feed.log)
    other.name = 'store 2'
    relay(other)
    await clock.advance(62_000)
    const generations = deeds().filter(line => line === 'all spell').length
    expect(generations).toBeGreaterThanOrEqual(7)
  })

  it('is remembered only for keyspaces whose new generation was confirmed; the others are tried again', async () => {
    target.refuses = what => what === 'all list'
    relay()
    await clock.advance(1)
    expect([...feed.memory]).toEqual([
      ['spell', 'store 1 origin 1'],
      ['list', expect.stringMatching(/^doubted /)],
    ])
    target.refuses = () => false
    await clock.advance(1_000)
    expect(new Set(feed.memory.values())).toEqual(new Set(['store 1 origin 1']))
    expect(
      deeds().filter(line => line === 'all spell'),
      'spell was done',
    ).toHaveLength(1)
  })

  it('that cannot be read is read again, and changes are carried meanwhile', async () => {
    target.name = undefined
    relay()
    feed.commit('note', [{ id: '1' }])
    await clock.advance(1_000)
    expect(deeds()).toEqual(['note:1', 'settle 1'])
    target.name = 'store 1'
    await clock.advance(2_000)
    expect(deeds().slice(2)).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
  })

  it('if it was found to be another one elsewhere, keeps what was applied to the old store from being settled', async () => {
    await idleRelay()
    const promoted = new FakeTarget(feed.log)
    promoted.name = 'store 2'
    await relayFor(promoted).then(follower => follower.close())
    feed.log.length = 0
    feed.commit('spell', [{ id: '1' }])
    feed.commit('note', [{ id: '1' }])
    await clock.advance(1_000)
    expect(deeds(), 'nobody has doubts about notes').toContain('settle 2')
    expect(feed.outbox.map(({ id }) => id)).toEqual(['1'])
    await relayFor(promoted)
    await clock.advance(1_000)
    expect(feed.outbox).toEqual([])
  })

  it('is doubted before the first new generation is given, and nothing older is settled after it', async () => {
    await idleRelay()
    const promoted = new FakeTarget(feed.log)
    promoted.name = 'store 2'
    promoted.refuses = what => what.startsWith('all')
    await relayFor(promoted)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell unconfirmed', 'all list unconfirmed'])
    feed.commit('spell', [{ id: '1' }])
    await clock.advance(1_000)
    expect(feed.outbox).toHaveLength(1)
  })

  it('is remembered only instead of its own doubt, as another relay may have settled changes since', async () => {
    const staying = await idleRelay()
    const promoted = new FakeTarget([])
    promoted.name = 'store 2'
    const slow = gate<boolean>()
    let given = 0
    promoted.invalidateKeyspace = () => {
      given++
      return slow.wait()
    }
    await relayFor(promoted)
    staying.reconnected('the session with the origin is a new one')
    await clock.advance(1)
    feed.commit('spell', [{ id: '1' }])
    await clock.advance(300)
    expect(deeds().at(-1), 'nobody seems to doubt').toBe('settle 1')
    expect(given).toBe(2)
    slow.open(true)
    await clock.advance(1_000)
    expect(given).toBe(4)
    expect(new Set(feed.memory.values())).toEqual(new Set(['store 2 origin 1']))
  })

  it('covers keyspaces that only other processes have', async () => {
    const other = new FakeTarget(feed.log)
    other.names = ['wizard']
    relay(other)
    await idleRelay()
    target.name = 'store 2'
    await (await idleRelay()).close()
    expect(new Set(feed.memory.values())).toEqual(new Set(['store 2 origin 1']))
    expect([...feed.memory.keys()].sort()).toEqual(['list', 'spell', 'wizard'])
  })

  it('covers a keyspace that is defined later', async () => {
    const started = await idleRelay()
    target.names.push('late')
    started.verify()
    await clock.advance(1)
    expect(deeds()).toEqual(['doubt late', 'all late', 'remember late'])
  })

  it('that the store cannot tell counts as changed at every new connection, and only then', async () => {
    target.name = ''
    const started = await idleRelay()
    await clock.advance(60_000)
    expect(deeds()).toEqual([])
    started.reconnected('test')
    await clock.advance(1)
    feed.sessions[0]!.end()
    await clock.advance(200)
    expect(deeds()).toEqual(['all spell', 'all list', 'all spell', 'all list'])
    expect(feed.memory.size).toBe(0)
  })

  it('does not count if the origin may take commits back and the session was lost', async () => {
    feed.mayTakeBack = true
    await idleRelay()
    feed.sessions[0]!.end()
    await clock.advance(200)
    expect(deeds()).toEqual(['doubt spell,list', 'all spell', 'all list', 'remember spell,list'])
    expect(eventsOf('feed-distrust').at(-1)?.reason).toContain('session')
  })

  it('counts if the origin keeps its commits and the session was lost', async () => {
    await idleRelay()
    feed.sessions[0]!.end()
    await clock.advance(200)
    expect(feed.sessions).toHaveLength(2)
    expect(deeds()).toEqual([])
  })
})

describe('a relay of a private store', () => {
  beforeEach(() => {
    target.isPrivate = true
  })

  it('gives every keyspace a new generation whenever it begins a session, and remembers nothing elsewhere', async () => {
    relay()
    await clock.advance(1)
    feed.sessions[0]!.end()
    await clock.advance(200)
    expect(deeds()).toEqual(['all spell', 'all list', 'all spell', 'all list'])
    expect(feed.memory.size).toBe(0)
    await clock.advance(60_000)
    expect(deeds(), 'once per session').toHaveLength(4)
  })

  it('applies every change, as all others of its kind do', async () => {
    const other = new FakeTarget([])
    other.isPrivate = true
    relay(other)
    await idleRelay()
    for (let id = 1; id <= 3; id++) feed.commit('note', [{ id }])
    await clock.advance(250)
    expect(deeds().filter(line => line.startsWith('note'))).toEqual(['note:1', 'note:2', 'note:3'])
    expect(other.log.slice(-3)).toEqual(['note:1', 'note:2', 'note:3'])
  })

  it('asks again for what was not confirmed', async () => {
    await idleRelay()
    target.refuses = () => true
    feed.commit('note', [{ id: 1 }])
    await clock.advance(500)
    target.refuses = () => false
    await clock.advance(1_000)
    expect(deeds().slice(-2)).toEqual(['note:1', 'settle 1'])
  })
})

describe('an origin that is away', () => {
  it('is tried at growing intervals, reported once, and found again without help', async () => {
    feed.away = new Error('connection refused')
    relay()
    feed.commit('note', [{ id: '1' }])
    await clock.advance(60_000)
    expect(feed.log.filter(line => line === 'open').length).toBeLessThan(30)
    expect(feed.log.filter(line => line === 'open').length).toBeGreaterThan(10)
    expect(events).toEqual([{ type: 'feed', state: 'lost', error: feed.away }])
    feed.away = undefined
    await clock.advance(5_000)
    expect(feed.outbox).toEqual([])
    expect(eventsOf('feed').map(({ state }) => state)).toEqual(['lost', 'open'])
  })

  it('that does not answer is given up after the time limit, and a session that comes too late is ended', async () => {
    const opening = feed.hold('open')
    relay()
    await clock.advance(4_999)
    expect(events).toEqual([])
    await clock.advance(1)
    expect(String(eventsOf('feed')[0]?.error)).toContain('did not answer within 5000 ms')
    feed.letPass('open')
    await clock.advance(1_000)
    opening.open()
    await clock.advance(1)
    expect(feed.sessions).toHaveLength(2)
    expect(feed.living).toHaveLength(1)
    expect(eventsOf('feed').at(-1)?.state).toBe('open')
  })

  it.each(['take', 'settle', 'remembered', 'remember'] as const)(
    'in the middle of %s is given up after the time limit, and all is done in a new session',
    async step => {
      const stuck = feed.hold(step)
      relay()
      feed.commit('note', [{ id: '1' }])
      await clock.advance(300)
      await stuck.reached
      feed.letPass(step)
      await clock.advance(4_600)
      expect(eventsOf('feed').at(-1)?.state).not.toBe('lost')
      await clock.advance(500)
      expect(
        eventsOf('feed')
          .map(({ state }) => state)
          .slice(-2),
      ).toEqual(['lost', 'open'])
      expect(feed.sessions[0]!.hasEnded).toBe(true)
      expect(feed.outbox).toEqual([])
      expect([...feed.memory.keys()]).toEqual(['spell', 'list'])
      stuck.fail(new Error('too late'))
      await clock.advance(1)
    },
  )

  it('ends the wait for the next poll', async () => {
    await idleRelay()
    await clock.advance(10)
    feed.sessions[0]!.end(new Error('terminated by administrator'))
    await clock.advance(1)
    expect(eventsOf('feed')).toMatchObject([
      { state: 'lost', error: new Error('terminated by administrator') },
    ])
    await clock.advance(100)
    expect(feed.living).toHaveLength(1)
  })

  it('cannot end a session with what it says of an earlier one', async () => {
    await idleRelay()
    feed.sessions[0]!.end()
    await clock.advance(200)
    feed.sessions[0]!.end()
    await clock.advance(60_000)
    expect(feed.sessions).toHaveLength(2)
  })
})

describe('close', () => {
  it('lets the batch under way be settled', async () => {
    const started = await idleRelay()
    const asked = gate<boolean>()
    target.invalidate = () => asked.wait()
    feed.commit('note', [{ id: '1' }])
    await clock.advance(250)
    let closed = false
    const closing = started.close().then(() => {
      closed = true
    })
    await clock.drain()
    expect(closed).toBe(false)
    asked.open(true)
    await closing
    expect(deeds()).toEqual(['settle 1'])
    expect(feed.living).toEqual([])
  })

  it('does not wait for a session that is being opened', async () => {
    const opening = feed.hold('open')
    const started = relay()
    await clock.drain()
    await started.close()
    opening.open()
    await clock.drain()
    expect(feed.living).toEqual([])
    expect(events).toEqual([])
  })

  it('ends a relay that waits for an origin that is away', async () => {
    feed.away = new Error('connection refused')
    const started = relay()
    await clock.advance(10_000)
    await started.close()
    expect(clock.pendingTimers).toBe(0)
  })
})
