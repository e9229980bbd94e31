import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/thrown.ts'
import type { StreamListener } from '../shared/shared-store.ts'
import type { Link } from './link.ts'
import type { Primary } from './route.ts'

/** How a message on the channel of all processes begins, readable with `redis-cli SUBSCRIBE`. */
export const INVALIDATED = 'invalidated '
/** The same for a whole keyspace. */
export const KEYSPACE = 'keyspace '

/** What a {@link Broadcast} is made of. */
export interface BroadcastOptions {
  readonly clock: Clock
  /** The channel of this store's own heartbeats. */
  readonly ownChannel: string
  /** Makes a link for listening to a primary; its facts are the identity of the server it leads to. */
  readonly listen: (primary: Primary, hooks: EarHooks) => Link<string>
}

/** The callbacks of one listening connection. */
export interface EarHooks {
  onMessage(channel: string, message: string): void
  onLive(): void
  onLost(error: Error): void
}

/** What a heartbeat's exchange with one primary brought. */
export interface ExchangeFacts {
  /** Which server answered; `''` where it does not tell. */
  readonly identity: string
}

/** A heartbeat that has been sent and not been told to the listeners yet. */
interface Beat {
  /** What each primary answered, once it has. */
  readonly answered: Map<Primary, ExchangeFacts>
  readonly heard: Set<Primary>
  /** Whether the whole exchange is done, and found nothing amiss. */
  complete: boolean
}

const SILENCE_MS = 2_000
const MOST_BEATS = 16

/**
 * The broadcast stream: one listening connection to each primary, open while anybody listens.
 *
 * Messages about a key are published by the primary that owns it, in the script that changes the register, so the connection
 * to that primary brings them in the order of the changes. A Cluster also passes messages on between its nodes, unordered and
 * without a promise; such copies must prove nothing. So a heartbeat is published through every primary with that primary's
 * name in it. It counts only once the connection to each primary has brought back that primary's own copy. Then one heartbeat
 * proves all connections at once.
 *
 * Where messages may have been lost the listeners are interrupted: a connection was lost, or found silent; it leads to
 * another server than the commands do (after a failover by Sentinel, the old primary may well live on); the primaries
 * have changed.
 */
export class Broadcast {
  readonly #options: BroadcastOptions
  readonly #listeners = new Set<{ readonly listener: StreamListener }>()
  readonly #ears = new Map<Primary, Link<string>>()
  readonly #beats = new Map<string, Beat>()
  /** For each primary, since when a heartbeat that it has published is missing. */
  readonly #unheardSince = new Map<Primary, number>()
  #primaries: readonly Primary[] = []
  #closed = false

  constructor(options: BroadcastOptions) {
    this.#options = options
  }

  /** Adds a listener; with the first the connections are opened, with the last they are closed. */
  subscribe(listener: StreamListener): () => void {
    // A subscription of its own, so that a listener subscribed twice is taken off once per call.
    const subscription = { listener }
    this.#listeners.add(subscription)
    this.#tune()
    return () => {
      this.#listeners.delete(subscription)
      this.#tune()
    }
  }

  /** The primaries to listen to. If there were others before, messages may have been missed. */
  listenTo(primaries: readonly Primary[]): void {
    const hadOthers = this.#primaries.length > 0
    this.#primaries = primaries
    if (hadOthers) this.interrupted('the primaries of the Cluster, or what they own, have changed')
    this.#tune()
  }

  /** Tells the listeners that messages may have been lost. */
  interrupted(reason: string): void {
    this.#beats.clear()
    this.#tell(listener => listener.interrupted(reason))
  }

  /** Notes that a heartbeat is being sent through all primaries. */
  sending(text: string): void {
    if (this.#listeners.size === 0) return
    this.#resetSilent()
    if (this.#beats.size >= MOST_BEATS) this.#beats.delete(this.#beats.keys().next().value!)
    this.#beats.set(text, { answered: new Map(), heard: new Set(), complete: false })
  }

  /** What is published through a primary for a heartbeat. */
  heartbeatMessage(primary: Primary, text: string): string {
    return `${primary.address} ${text}`
  }

  /** Notes that a primary has answered the exchange of a heartbeat. */
  answered(text: string, primary: Primary, facts: ExchangeFacts): void {
    const beat = this.#beats.get(text)
    if (beat === undefined) return
    beat.answered.set(primary, facts)
    if (!beat.heard.has(primary) && !this.#unheardSince.has(primary))
      this.#unheardSince.set(primary, this.#options.clock.nowMs())
  }

  /** Notes that the exchange of a heartbeat is done and found nothing amiss. */
  complete(text: string): void {
    const beat = this.#beats.get(text)
    if (beat === undefined) return
    beat.complete = true
    this.#deliver(text, beat)
  }

  /** Ends all listening, for good: a later subscriber hears nothing. */
  close(): void {
    this.#closed = true
    this.interrupted('the store was closed')
    this.#listeners.clear()
    this.#tune()
  }

  /** Opens the connections that are needed and closes the others. */
  #tune(): void {
    const needed = this.#closed || this.#listeners.size === 0 ? [] : this.#primaries
    for (const [primary, ear] of this.#ears) {
      if (needed.includes(primary)) continue
      this.#ears.delete(primary)
      this.#unheardSince.delete(primary)
      ear.close()
    }
    for (const primary of needed) if (!this.#ears.has(primary)) this.#ears.set(primary, this.#open(primary))
    if (needed.length === 0) this.#beats.clear()
  }

  #open(primary: Primary): Link<string> {
    return this.#options.listen(primary, {
      onMessage: (channel, message) => this.#heard(primary, channel, message),
      onLive: () => this.#live(primary),
      onLost: error =>
        this.interrupted(`the subscription to ${primary.address} was lost: ${messageOf(error)}`),
    })
  }

  #heard(primary: Primary, channel: string, message: string): void {
    if (channel === this.#options.ownChannel) this.#heardBeat(primary, message)
    else if (message.startsWith(INVALIDATED)) {
      const key = message.slice(INVALIDATED.length)
      this.#tell(listener => listener.invalidated(key))
    } else if (message.startsWith(KEYSPACE)) {
      const keyspace = message.slice(KEYSPACE.length)
      this.#tell(listener => listener.keyspaceInvalidated(keyspace))
    }
  }

  #heardBeat(primary: Primary, message: string): void {
    const name = `${primary.address} `
    if (!message.startsWith(name)) return
    this.#unheardSince.delete(primary)
    const text = message.slice(name.length)
    const beat = this.#beats.get(text)
    if (beat === undefined) return
    beat.heard.add(primary)
    this.#deliver(text, beat)
  }

  #deliver(text: string, beat: Beat): void {
    if (!beat.complete || !this.#primaries.every(primary => beat.heard.has(primary))) return
    for (const primary of this.#primaries) {
      const ear = this.#ears.get(primary)
      // The message may come together with the reply to SUBSCRIBE, before the connection counts as live.
      if (ear?.facts === undefined) return
      if (ear.facts === beat.answered.get(primary)?.identity) continue
      ear.reset('it led to another server than the commands do, or to another life of it')
      return
    }
    this.#beats.delete(text)
    this.#tell(listener => listener.heartbeat(text))
  }

  /**
   * A heartbeat published before the connection listened is not heard. It is published again. That proves no less, because a
   * heartbeat only proves what happened before it was first sent, and a listener does not have to wait for the next.
   */
  #live(primary: Primary): void {
    this.#unheardSince.delete(primary)
    for (const [text, beat] of this.#beats) {
      if (beat.heard.has(primary)) {
        this.#deliver(text, beat)
        continue
      }
      const message = this.heartbeatMessage(primary, text)
      primary.link.send(['PUBLISH', this.#options.ownChannel, message]).catch(() => {})
    }
  }

  /** Resets a connection that has not brought back a heartbeat published long ago: it is dead, without a sign. */
  #resetSilent(): void {
    const nowMs = this.#options.clock.nowMs()
    for (const [primary, sinceMs] of this.#unheardSince) {
      if (nowMs - sinceMs < SILENCE_MS) continue
      this.#unheardSince.delete(primary)
      this.#ears.get(primary)?.reset('it is silent')
    }
  }

  #tell(tell: (listener: StreamListener) => void): void {
    for (const one of [...this.#listeners]) {
      // An earlier listener may have taken this one off. One that is added now hears the next message first.
      if (!this.#listeners.has(one)) continue
      try {
        tell(one.listener)
      } catch {
        // The contract: a listener that throws does not affect the others. Listeners are the library's own.
      }
    }
  }
}
