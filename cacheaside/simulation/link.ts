import { isMarked, markOf, parseRegister } from '../src/shared/register.ts'
import type {
  Expected,
  Fill,
  RegistersAtHand,
  SharedStore,
  StreamListener,
} from '../src/shared/shared-store.ts'
import type { SimulatedClock } from '../src/testing/index.ts'
import { Grants } from './grants.ts'
import type { LinkEnd, Message, Operation, Primary } from './primary.ts'
import type { ProcessClock } from './process-clock.ts'
import type { Random } from './random.ts'
import { type ReplyFault, ReplyOrder } from './reply-order.ts'
import type { Weather } from './weather.ts'

const LATENCY_MS = 9
const SLOW_MS = 120
const LONGEST_OUTAGE_MS = 120
const USUAL_STREAM_MS = [0, 30, 200, 600]
const LONGEST_DELAY_MS = 2_500
const MOST_BEATS = 8
const INVALIDATIONS: ReadonlySet<Operation> = new Set(['release', 'invalidate', 'invalidateKeyspace'])

/** What a fault may wait for. */
type Happening = 'heartbeat' | 'fill' | 'generation' | 'look'

/**
 * The network between one process and the shared server: a few connections for commands, which overtake each other, and one
 * for the stream, which keeps its order. What may be repeated is now and then delivered a second time, late; what creates a
 * token is delivered once at most, and may be late as well, also after its process has died.
 */
export class Link implements SharedStore, LinkEnd {
  readonly synchronous: boolean
  readonly stream?: 'none'
  readonly atHand?: RegistersAtHand
  /** The connection is refused or broken, and the process is told. */
  isCut = false
  /** Everything is swallowed, and nobody is told. */
  isHalfOpen = false
  /** Only the stream is swallowed. */
  isMute = false
  /** The server refuses to invalidate anything, and says so; all else it does. */
  isRefused = false
  /** How often a request or a reply is lost. */
  loss = 0
  streamDelayMs = 0
  /** Whether its process is astray: what is answered by a primary that has been replaced is promised by nobody. */
  isAstray = false
  /** Grows when the process goes astray, unawares, and when it is told that this is over. */
  crossings = 0
  /** Guards that were put up and not released yet, by key. */
  readonly tokens = new Map<string, Set<string>>()
  /** Those of them that the process knows of. */
  readonly confirmed = new Set<string>()
  readonly grants = new Grants()
  /** In which waking of its process the lease of a key was last given back. */
  readonly givenBack = new Map<string, number>()
  /** The last message about each subject that this process has heard. */
  readonly heard = new Map<number, Message>()
  readonly #listeners = new Set<StreamListener>()
  readonly name: string
  /** The server that everybody is to use. */
  readonly #home: Primary
  /** The one that it leads to. */
  #server: Primary
  readonly #clock: ProcessClock
  readonly #world: SimulatedClock
  readonly #random: Random
  readonly #weather: Weather
  readonly #slowMs: number
  #busyUntilMs: number[]
  /** How much later messages are than commands, on the way to this process. */
  /** How much longer than replies its messages take, where nothing is in their way. */
  readonly usualStreamMs: number
  readonly #swallowed: (() => void)[] = []
  readonly #beats: string[] = []
  /** Where only their order says which reply is to which command. */
  #replies: ReplyOrder | undefined
  /** When the last reply arrives, where they keep their order. */
  #lastReplyMs = 0
  /** What each key was answered with that is another key's. */
  readonly #distrusted = new Map<string, string>()
  #awaited: { readonly event: Happening; readonly run: () => void } | undefined
  /** Which life of the server the stream is connected to, and by which connection. */
  #heardLife: number | undefined
  #connection = 0
  /** How long the next reply takes. Left out: as replies do. */
  #nextReplyMs: number | undefined
  /** Messages are lost on their way, and nobody is told. */
  #hasGap = false
  #lastMessageMs = 0

  constructor(
    name: string,
    server: Primary,
    clock: ProcessClock,
    world: { clock: SimulatedClock; random: Random; weather: Weather },
    isStreamless: boolean,
  ) {
    if (isStreamless) this.stream = 'none'
    this.name = name
    this.#home = server
    this.#server = server
    this.#clock = clock
    this.#world = world.clock
    this.#random = world.random.fork()
    this.#weather = world.weather
    this.#slowMs = world.weather.slowMs ?? SLOW_MS
    this.synchronous = world.weather.embedded
    // In one process nothing lies between.
    if (this.synchronous && server.atHand !== undefined) this.atHand = server.atHand
    this.#busyUntilMs = new Array<number>(this.#random.between(1, 3)).fill(0)
    if (world.weather.inOrder) {
      this.#busyUntilMs = [0]
      this.#replies = this.#newReplies()
    }
    this.#heardLife = server.life
    this.usualStreamMs = this.#random.pick(USUAL_STREAM_MS)
    server.links.add(this)
  }

  lease(...given: [key: string, token: string, leaseMs: number]) {
    return this.#send<Awaited<ReturnType<SharedStore['lease']>>>('lease', given)
  }
  leaseMany(...given: [requests: readonly { key: string; token: string }[], leaseMs: number]) {
    return this.#send<Awaited<ReturnType<SharedStore['leaseMany']>>>('leaseMany', given)
  }
  stampMany(...given: [requests: readonly { key: string; token: string }[], lifeMs: number]) {
    return this.#send<Awaited<ReturnType<SharedStore['stampMany']>>>('stampMany', given)
  }
  renewStamp(...given: [key: string, token: string, lifeMs: number]) {
    return this.#send<boolean>('renewStamp', given, true)
  }
  look(...given: [keys: readonly string[]]) {
    return this.#send<Awaited<ReturnType<SharedStore['look']>>>('look', given)
  }
  fill(...given: [key: string, prefix: string, value: Fill]) {
    return this.#send<boolean>('fill', given, true)
  }
  swap(...given: [key: string, seen: Expected, token: string, leaseMs: number]) {
    return this.#send<boolean>('swap', given)
  }
  drop(...given: [key: string, seen: Expected]) {
    return this.#send<boolean>('drop', given, true)
  }
  claim(...given: [key: string, nonce: string, token: string, claimMs: number]) {
    return this.#send<boolean>('claim', given, given[3] === 0)
  }
  guard(...given: [key: string, token: string, guardMs: number, renewal: boolean]) {
    const [key, token] = given
    const tokens = this.tokens.get(key)
    if (tokens === undefined) this.tokens.set(key, new Set([token]))
    else tokens.add(token)
    const sent = this.#send<Awaited<ReturnType<SharedStore['guard']>>>('guard', given)
    sent.then(
      () => this.confirmed.add(token),
      () => {},
    )
    return sent
  }
  release(...given: [key: string, token: string, committed?: Fill]) {
    this.tokens.get(given[0])?.delete(given[1])
    return this.#send<Awaited<ReturnType<SharedStore['release']>>>('release', given, true)
  }
  invalidate(...given: [key: string]) {
    return this.#send<void>('invalidate', given, true)
  }
  generation(...given: [keyspace: string, candidate: string]) {
    return this.#send<string>('generation', given)
  }
  invalidateKeyspace(...given: [keyspace: string, generation: string]) {
    return this.#send<void>('invalidateKeyspace', given)
  }
  heartbeat(...given: [text: string, keyspaces: readonly { name: string; candidate: string }[]]) {
    this.#beats.push(given[0])
    if (this.#beats.length > MOST_BEATS) this.#beats.shift()
    return this.#send<Awaited<ReturnType<SharedStore['heartbeat']>>>('heartbeat', given)
  }
  identity() {
    return this.#send<string>('identity', [])
  }

  subscribe(listener: StreamListener): () => void {
    if (this.stream === 'none') throw new Error('there is no stream')
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  distrust(key: string, prefix: string): boolean {
    if (this.#distrusted.get(key) === prefix) return false
    this.#distrusted.set(key, prefix)
    this.#loseCommands("a reply held another key's register")
    return true
  }

  async close(): Promise<void> {}

  /** How long it takes at most until a command arrives that is not lost. */
  get longestMs(): number {
    return 1 + (this.#weather.slow > 0 ? this.#slowMs : LATENCY_MS)
  }

  /**
   * Calls `run` when the next of its heartbeats has been heard, when its next fill has been accepted, or its next look at a
   * generation was answered, before it knows, or when it sends its next new generation.
   */
  when(event: Happening, run: () => void): void {
    this.#awaited = { event, run }
  }

  #happened(event: Happening): void {
    if (this.#awaited?.event !== event) return
    const { run } = this.#awaited
    this.#awaited = undefined
    run()
  }

  /** A message for this process. */
  publish(message: Message): void {
    if (this.#clock.isDead) return
    if (this.stream === 'none') return
    if (this.synchronous) this.#hear(message)
    if (this.synchronous || this.isCut || this.isHalfOpen || this.isMute) return
    if (this.#heardLife !== this.#server.life || this.#hasGap) return
    const nowMs = this.#world.nowMs()
    const usualMs = this.usualStreamMs + this.streamDelayMs
    const atMs = Math.max(this.#lastMessageMs, nowMs + usualMs + this.#latency())
    this.#lastMessageMs = atMs
    const connection = this.#connection
    this.#world.after(atMs - nowMs, () => {
      if (connection !== this.#connection || this.isCut || this.isHalfOpen || this.isMute) return
      this.#clock.deliver(() => {
        if (connection === this.#connection) this.#hear(message)
      })
    })
  }

  #hear(message: Message): void {
    this.#tell(message.tell)
    for (const subject of message.subjects) this.heard.set(subject, message)
    if (this.#awaited !== undefined && this.#isOwnBeat(message)) this.#happened('heartbeat')
  }

  #isOwnBeat(message: Message): boolean {
    let isOwn = false
    message.tell({
      invalidated: () => {},
      keyspaceInvalidated: () => {},
      heartbeat: text => {
        isOwn = this.#beats.includes(text)
      },
      interrupted: () => {},
    })
    return isOwn
  }

  /** The stream's connection is lost, the process is told, and it connects again. */
  interrupt(reason: string, longestMs = LONGEST_OUTAGE_MS): void {
    const connection = ++this.#connection
    this.#heardLife = undefined
    this.#hasGap = false
    this.#clock.deliver(() => this.#tell(listener => listener.interrupted(reason)))
    this.#reconnect(connection, longestMs)
  }

  /** The server is gone; that is noticed at once, or when nothing has been heard for long. */
  serverLost(): void {
    if (this.synchronous) return
    const afterMs = this.#random.chance(0.8) ? this.#random.below(60) : this.#random.below(2_000)
    const connection = this.#connection
    this.#world.after(afterMs, () => {
      if (connection === this.#connection) this.interrupt('the connection to the server was lost')
    })
  }

  /** The reply that is sent next takes this long. */
  delayNextReply(ms: number): void {
    this.#nextReplyMs = ms
  }

  /** The next reply to a command is lost, or one more comes: nobody is told. */
  breakReply(fault: ReplyFault): void {
    this.#replies?.breakNext(fault)
  }

  #newReplies(): ReplyOrder {
    return new ReplyOrder(this.#random, this.#weather.isOnCluster === true, reason =>
      this.#loseCommands(reason),
    )
  }

  /** Ends the connection for commands, makes it again, and lets nobody trust what it has brought. */
  #loseCommands(reason: string): void {
    this.#replies?.end()
    if (this.#replies !== undefined) this.#replies = this.#newReplies()
    this.#tell(listener => listener.interrupted(reason))
  }

  /** Ends all that is wrong with the network, or was to be; connections that were dead are made again. */
  heal(): void {
    const wasAstray = this.#server !== this.#home
    const wasBroken = this.isCut || this.isHalfOpen || this.isMute || this.#hasGap || wasAstray
    this.isCut = false
    this.isHalfOpen = false
    this.isMute = false
    this.isRefused = false
    this.loss = 0
    this.streamDelayMs = 0
    this.#awaited = undefined
    this.#replies?.breakNext(undefined)
    for (const lose of this.#swallowed.splice(0)) lose()
    if (wasAstray) this.#leadTo(this.#home)
    if (wasBroken) this.interrupt('reconnected')
    if (wasAstray) this.#clock.deliver(() => this.#cross())
  }

  /** From now on it leads to a primary that has been replaced, and nobody is told: until all is healed. */
  stayWith(old: Primary): void {
    this.#leadTo(old)
    this.#cross()
  }

  /** Whether its process is astray, or has been at some time since there were that many crossings. */
  hasStrayed(sinceCrossings: number): boolean {
    return this.isAstray || this.crossings !== sinceCrossings
  }

  /** What the process was about, and what it is owed, is not comparable with what comes now. */
  #cross(): void {
    this.isAstray = this.#server !== this.#home
    this.crossings++
    this.#clock.disturbances++
  }

  #leadTo(primary: Primary): void {
    this.#server.links.delete(this)
    this.#server = primary
    primary.links.add(this)
  }

  /** Breaks the connection, which the process is told. */
  cut(): void {
    this.isCut = true
    this.interrupt('connection lost')
  }

  /**
   * From now on messages are lost, until a heartbeat of this process is among them and it knows that it was sent: more than
   * that cannot be noticed.
   */
  openGap(): void {
    this.#hasGap = true
  }

  #tell(tell: (listener: StreamListener) => void): void {
    for (const listener of this.#listeners) tell(listener)
  }

  #reconnect(connection: number, longestMs: number): void {
    this.#world.after(1 + this.#random.below(longestMs), () => {
      if (connection !== this.#connection || this.#clock.isDead) return
      if (!this.#server.isUp || this.isCut || this.isHalfOpen) return this.#reconnect(connection, longestMs)
      this.#heardLife = this.#server.life
      // As the store on Redis does: what nobody could hear is published once more.
      if (this.#random.chance(0.5))
        for (const text of this.#beats)
          this.publish({
            tell: listener => listener.heartbeat(text),
            subjects: [],
            floors: [],
            forgetting: 0,
          })
    })
  }

  #send<T>(operation: Operation, given: readonly unknown[], isRepeatable = false): Promise<T> {
    if (this.synchronous) return this.#server.apply(this, operation, given) as Promise<T>
    const tokens = tokensOf(operation, given)
    this.#note(operation, given, tokens)
    if (operation === 'invalidateKeyspace') this.#happened('generation')
    return new Promise<T>((resolve, reject) => {
      // Of a command whose connection was lost nothing more is heard, whatever becomes of it.
      let isSettled = false
      const fail = () =>
        this.#clock.deliver(() => {
          if (!isSettled) for (const token of tokens) this.grants.fail(token, this.#world.nowMs())
          isSettled = true
          reject(new Error('connection lost'))
        })
      const answer = (reply: unknown) => {
        if (isSettled) return
        isSettled = true
        for (const [i, token] of tokens.entries())
          if (isOfAnotherKey(operation, given, reply, i)) this.grants.fail(token, this.#world.nowMs())
          else this.grants.hear(token, isGranted(reply, i), this.#world.nowMs())
        resolve(reply as T)
      }
      if (this.isCut) return void this.#world.after(1, fail)
      const isLate = this.#random.chance(this.#weather.late)
      const afterMs = isLate ? this.#random.below(LONGEST_DELAY_MS) : this.#inOrder()
      if (isLate && this.#random.chance(0.5)) this.#world.after(this.#random.below(afterMs + 1), fail)
      const mayRepeat = isRepeatable || (this.#weather.repeatsStamps && operation === 'stampMany')
      if (mayRepeat && this.#random.chance(this.#weather.repeated)) this.#repeat(operation, given)
      const arrived = this.#replies?.ask({ operation, given, answer, fail }) ?? answer
      this.#world.after(afterMs, () => {
        if (this.isHalfOpen && !isLate) return void this.#swallowed.push(fail)
        // What was on its way when its process died arrives, or does not.
        if (this.#clock.isDead && this.#random.chance(0.5)) return
        if (this.isCut || !this.#server.isUp) return fail()
        if (this.isRefused && INVALIDATIONS.has(operation)) return fail()
        if (this.#random.chance(this.loss)) return this.#lose(fail)
        const isMissed = this.#hasGap && operation === 'heartbeat' && given[0] !== ''
        this.#server.apply(this, operation, given).then(reply => {
          if (operation === 'fill' && reply === true) this.#happened('fill')
          if (operation === 'generation') this.#happened('look')
          this.#reply(() => {
            arrived(reply)
            if (isMissed) this.#hasGap = false
          }, fail)
        })
      })
    })
  }

  #note(operation: Operation, given: readonly unknown[], tokens: readonly string[]): void {
    for (const token of tokens) this.grants.ask(token, this.#world.nowMs(), this.#clock.disturbances)
    const seen = operation === 'drop' ? (given[1] as Expected) : undefined
    if (seen !== undefined && 'prefix' in seen) {
      this.grants.giveBack(seen.prefix.slice(1))
      this.givenBack.set(given[0] as string, this.#clock.wakings)
    }
    if (operation === 'claim' && given[3] === 0) this.grants.giveBack(given[2] as string)
  }

  #reply(resolve: () => void, fail: () => void): void {
    const life = this.#server.life
    const { slowRepliesMs } = this.#weather
    let afterMs = slowRepliesMs === undefined ? this.#latency() : 1 + this.#random.below(slowRepliesMs)
    if (this.#nextReplyMs !== undefined) afterMs = this.#nextReplyMs
    this.#nextReplyMs = undefined
    if (this.#replies !== undefined) {
      this.#lastReplyMs = Math.max(this.#lastReplyMs, this.#world.nowMs() + afterMs)
      afterMs = this.#lastReplyMs - this.#world.nowMs()
    }
    this.#world.after(afterMs, () => {
      if (this.isHalfOpen) return void this.#swallowed.push(fail)
      if (this.isCut || life !== this.#server.life) return fail()
      if (this.#random.chance(this.loss) || this.#random.chance(this.#weather.deaf)) return this.#lose(fail)
      this.#clock.deliver(resolve)
    })
  }

  #latency(): number {
    return 1 + this.#random.below(this.#random.chance(this.#weather.slow) ? this.#slowMs : LATENCY_MS)
  }

  /** Lost, with an error or without a word. */
  #lose(fail: () => void): void {
    if (this.#random.chance(0.5)) fail()
    else this.#swallowed.push(fail)
  }

  #repeat(operation: Operation, given: readonly unknown[]): void {
    this.#world.after(1 + this.#random.below(LONGEST_DELAY_MS), () => {
      if (this.#server.isUp) void this.#server.apply(this, operation, given)
    })
  }

  /** How long a command takes that waits behind those sent before it on the same connection. */
  #inOrder(): number {
    const at = this.#random.below(this.#busyUntilMs.length)
    const nowMs = this.#world.nowMs()
    const arrivesMs = Math.max(this.#busyUntilMs[at]!, nowMs + this.#latency())
    this.#busyUntilMs[at] = arrivesMs
    return arrivesMs - nowMs
  }
}

/** The tokens that an operation would create. */
function tokensOf(operation: Operation, given: readonly unknown[]): readonly string[] {
  if (operation === 'lease') return [given[1] as string]
  if (operation === 'leaseMany') return (given[0] as { token: string }[]).map(({ token }) => token)
  if (operation === 'swap' || (operation === 'claim' && given[3] !== 0)) return [given[2] as string]
  return []
}

/** Whether the reply grants the token at this place of the request. */
function isGranted(reply: unknown, at: number): boolean {
  return Array.isArray(reply) ? reply[at] === null : reply === null || reply === true
}

/** Whether the reply to a lease is a register that tells of another key: then nobody knows whether it was granted. */
function isOfAnotherKey(
  operation: Operation,
  given: readonly unknown[],
  reply: unknown,
  at: number,
): boolean {
  const isBatch = operation === 'leaseMany'
  if (operation !== 'lease' && !isBatch) return false
  const text = isBatch ? (reply as readonly unknown[])[at] : reply
  if (typeof text !== 'string') return false
  const register = parseRegister(text)
  const key = isBatch ? (given[0] as readonly { key: string }[])[at]!.key : (given[0] as string)
  return isMarked(register) && markOf(register, key) === 'foreign'
}
