import type { EmbeddedShared, SharedStore } from 'cacheaside'
import {
  type Expected,
  type Fill,
  type LeaseReply,
  REFUSED,
  type StreamListener,
  TOO_LARGE,
} from 'cacheaside/store'
import type { Answered, Party } from './party.ts'
import type { Recording } from './recording.ts'
import { stateOf } from './registers.ts'

/**
 * The shared store as one process sees it: what is done to registers goes over the gates of the process, and what is
 * broadcast may be kept back. Heartbeats and generations pass undrawn.
 */
export class RecordedStore implements SharedStore {
  readonly name = 'recorded'
  readonly synchronous = false
  readonly #inner: EmbeddedShared
  readonly #party: Party
  readonly #recording: Recording
  /** What the process has not been told yet; `undefined`: it is told at once. */
  #late: (() => void)[] | undefined

  constructor(inner: EmbeddedShared, party: Party, recording: Recording) {
    this.#inner = inner
    this.#party = party
    this.#recording = recording
  }

  /** From now on broadcasts are under way and do not arrive. */
  holdBroadcasts(): void {
    this.#late ??= []
  }

  /** What is under way arrives. */
  releaseBroadcasts(): void {
    const late = this.#late ?? []
    this.#late = undefined
    for (const tell of late) tell()
  }

  lease(key: string, token: string, leaseMs: number) {
    return this.#party.exchange('cache', {
      asked: `get or lease ${key}`,
      run: () => this.#inner.lease(key, token, leaseMs),
      answered: found,
    })
  }

  look(keys: readonly string[]) {
    return this.#party.exchange('cache', {
      asked: `get ${keys.join(', ')}`,
      run: () => this.#inner.look(keys),
      answered: ([text = null]) => (text === null ? { text: 'nothing' } : found(text)),
    })
  }

  fill(key: string, prefix: string, value: Fill) {
    const { version } = value.text === undefined ? {} : (JSON.parse(value.text) as { version?: number })
    return this.#comparing(`fill ${key} with v${version}`, 'accepted', () =>
      this.#inner.fill(key, prefix, value),
    )
  }

  swap(key: string, seen: Expected, token: string, leaseMs: number) {
    return this.#comparing(`lease ${key} instead`, 'leased', () =>
      this.#inner.swap(key, seen, token, leaseMs),
    )
  }

  drop(key: string, seen: Expected) {
    return this.#comparing('give the lease back', 'done', () => this.#inner.drop(key, seen))
  }

  claim(key: string, nonce: string, token: string, claimMs: number) {
    return this.#comparing(`claim ${key}`, 'claimed', () => this.#inner.claim(key, nonce, token, claimMs))
  }

  guard(key: string, token: string, guardMs: number, renewal: boolean) {
    return this.#party.exchange('cache', {
      asked: renewal ? `renew the guard of ${key}` : `guard ${key}`,
      run: () => this.#inner.guard(key, token, guardMs, renewal),
      answered: reply => ({ text: reply === 'barred' ? 'barred' : 'guarded', refused: reply === 'barred' }),
    })
  }

  release(key: string, token: string, committed?: Fill) {
    return this.#party.exchange('cache', {
      asked: `release ${key}`,
      run: () => this.#inner.release(key, token, committed),
      answered: ({ held, stored }) => ({
        text: !held ? 'the guard was gone' : stored ? 'released and stored' : 'released',
        refused: !held,
      }),
    })
  }

  invalidate(key: string) {
    return this.#party.exchange('cache', {
      asked: `invalidate ${key}`,
      run: () => this.#inner.invalidate(key),
      answered: () => ({ text: 'done' }),
    })
  }

  #comparing(asked: string, yes: string, run: () => Promise<boolean>): Promise<boolean> {
    return this.#party.exchange('cache', {
      asked,
      run,
      answered: done => (done ? { text: yes } : { text: 'refused', refused: true }),
    })
  }

  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number) {
    return this.#party.quietly(() => this.#inner.leaseMany(requests, leaseMs))
  }
  stampMany(requests: readonly { key: string; token: string }[], lifeMs: number) {
    return this.#party.quietly(() => this.#inner.stampMany(requests, lifeMs))
  }
  renewStamp(key: string, token: string, lifeMs: number) {
    return this.#party.quietly(() => this.#inner.renewStamp(key, token, lifeMs))
  }
  generation(keyspace: string, candidate: string) {
    return this.#party.quietly(() => this.#inner.generation(keyspace, candidate))
  }
  invalidateKeyspace(keyspace: string, generation: string) {
    return this.#party.quietly(() => this.#inner.invalidateKeyspace(keyspace, generation))
  }
  heartbeat(text: string, keyspaces: readonly { name: string; candidate: string }[]) {
    return this.#party.quietly(() => this.#inner.heartbeat(text, keyspaces))
  }
  identity() {
    return this.#party.quietly(() => this.#inner.identity())
  }

  subscribe(listener: StreamListener): () => void {
    return this.#inner.subscribe({
      invalidated: key =>
        this.#tell(() => {
          if (this.#party.name === 'reader')
            this.#recording.add('broadcast', 'cache', `${key} is invalid`, 'reader')
          listener.invalidated(key)
        }),
      keyspaceInvalidated: name => this.#tell(() => listener.keyspaceInvalidated(name)),
      heartbeat: text => this.#tell(() => listener.heartbeat(text)),
      interrupted: reason => this.#tell(() => listener.interrupted(reason)),
    })
  }

  /** In order: what comes behind a late message is late, too. */
  #tell(message: () => void): void {
    if (this.#party.isDead) return
    if (this.#late === undefined) message()
    else this.#late.push(message)
  }

  async close(): Promise<void> {}
}

/** What a lease has found. */
function found(reply: LeaseReply): Answered {
  if (reply === null) return { text: 'nothing: leased' }
  if (reply === REFUSED || reply === TOO_LARGE) return { text: 'no room', refused: true }
  const { holds, version } = stateOf(reply)
  if (holds === 'value') return { text: `v${version}`, version }
  return { text: holds === 'guard' ? 'guarded' : holds === 'lease' ? 'leased to another' : 'something else' }
}
