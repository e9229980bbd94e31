/**
 * The commands on registers and generations: each operation of the contract as one script (`scripts.ts`), or one
 * native command. The primary of the key runs it. A server with full memory refuses commands that store; what is answered
 * then is decided here.
 */
import { type Clock, endOfThisTurn } from '../base/clock.ts'
import { markedToken } from '../shared/key-mark.ts'
import { leaseText, stampText, valueAroundTimes } from '../shared/register.ts'
import {
  type Expected,
  type Fill,
  type GuardReply,
  type LeaseReply,
  type LookReply,
  REFUSED,
  type ReleaseReply,
  TOO_LARGE,
} from '../shared/shared-store.ts'
import { bytesBeyond } from '../shared/text-size.ts'
import { INVALIDATED, KEYSPACE } from './broadcast.ts'
import type { CheckedCommands } from './checked-commands.ts'
import { errorCode } from './driver.ts'
import { generationKey, type Names } from './names.ts'
import {
  doneOf,
  generationOf,
  guardOf,
  nothingOf,
  registersOf,
  releaseOf,
  textOf,
  textsOf,
} from './replies.ts'
import { beginsAsRegister, LONG_STRANGER, NOT_A_STRING, type Scripts } from './scripts.ts'
import { Turn } from './turn.ts'
import { MOST_TOGETHER, type ValueSizes } from './value-sizes.ts'

/** What {@link RegisterCommands} are made of. */
export interface RegisterCommandsOptions {
  readonly commands: CheckedCommands
  readonly scripts: Scripts
  readonly names: Names
  /** Whether keys lie on several servers: then one command is about one slot. */
  readonly onCluster: boolean
  readonly clock: Clock
  readonly sizes: ValueSizes
}

/** A lease or a stamp for an absent register. */
interface Creation {
  readonly key: string
  readonly text: string
}

/** A look at one key that waits for those of the same turn. */
interface SingleLook {
  readonly name: string
  resolve(replies: [LookReply]): void
  reject(error: unknown): void
}

/** The operations on registers and generations, as `SharedRegisters` documents them. */
export class RegisterCommands {
  readonly #commands: CheckedCommands
  readonly #scripts: Scripts
  readonly #names: Names
  readonly #onCluster: boolean
  readonly #clock: Clock
  readonly #sizes: ValueSizes
  /** Whether a SET was refused because memory was full, and none has succeeded since: then GET comes first. */
  #full = false
  /** The looks at single keys that this turn of the event loop has asked for, and that wait for its end. */
  #looks: SingleLook[] = []
  readonly #turn = new Turn(() => this.#sendLooks())
  /** Sends the fills that wait for the end of this turn, by key. */
  readonly #fills = new Map<string, () => void>()

  constructor({ commands, scripts, names, onCluster, clock, sizes }: RegisterCommandsOptions) {
    this.#commands = commands
    this.#scripts = scripts
    this.#names = names
    this.#onCluster = onCluster
    this.#clock = clock
    this.#sizes = sizes
  }

  lease(key: string, token: string, leaseMs: number): Promise<LeaseReply> {
    this.#sendFillOf(key)
    return this.#create({ key, text: leaseText(token) }, leaseMs)
  }

  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number): Promise<LeaseReply[]> {
    if (this.#fills.size > 0) for (const { key } of requests) this.#sendFillOf(key)
    return this.#createMany(
      requests.map(({ key, token }) => ({ key, text: leaseText(token) })),
      leaseMs,
    )
  }

  stampMany(requests: readonly { key: string; token: string }[], lifeMs: number): Promise<LeaseReply[]> {
    return this.#createMany(
      requests.map(({ key, token }) => ({ key, text: stampText(token) })),
      lifeMs,
    )
  }

  renewStamp(key: string, token: string, lifeMs: number): Promise<boolean> {
    return this.#commands.runAt(this.#scripts.renewStamp, key, [stampText(token), String(lifeMs)], doneOf)
  }

  /** Puts a text under an absent register's key. Where memory is full, it looks first: the script may be refused. */
  #create(request: Creation, lifeMs: number): Promise<LeaseReply> {
    if (this.#full) return this.#createWhenFull(request, lifeMs)
    return this.#createOne(request, lifeMs, () => this.#lookWhenFull(request.key))
  }

  async #createWhenFull(request: Creation, lifeMs: number): Promise<LeaseReply> {
    const seen = await this.#lookWhenFull(request.key)
    return seen === REFUSED ? this.#createOne(request, lifeMs, () => REFUSED) : seen
  }

  #createOne(
    request: Creation,
    lifeMs: number,
    whenFull: () => LeaseReply | Promise<LeaseReply>,
  ): Promise<LeaseReply> {
    const created = ([reply]: LeaseReply[]) => {
      this.#full = false
      return reply!
    }
    return this.#runCreate([request], lifeMs, created, whenFull)
  }

  /** What is under the key, by a command that is refused where writes are, but not because memory is full. */
  async #lookWhenFull(key: string): Promise<Exclude<LeaseReply, null>> {
    const name = [this.#names.prefix + key]
    const [seen] = await this.#ask(name, mostBytes => this.#lookByScript(name, mostBytes))
    return seen ?? REFUSED
  }

  async #createMany(requests: readonly Creation[], lifeMs: number): Promise<LeaseReply[]> {
    // A script may touch one slot of a Cluster only, and is refused as a whole when memory is full.
    if (this.#onCluster || this.#full) return this.#createEach(requests, lifeMs)
    const batches: Promise<LeaseReply[]>[] = []
    for (let at = 0; at < requests.length; at += MOST_TOGETHER)
      batches.push(this.#createBatch(requests.slice(at, at + MOST_TOGETHER), lifeMs))
    return (await Promise.all(batches)).flat()
  }

  /** One batch. Memory may become full between two: what the first has created must not be taken for somebody else's. */
  #createBatch(requests: readonly Creation[], lifeMs: number): Promise<LeaseReply[]> {
    return this.#runCreate(
      requests,
      lifeMs,
      replies => replies,
      () => this.#createEach(requests, lifeMs),
    )
  }

  #createEach(requests: readonly Creation[], lifeMs: number): Promise<LeaseReply[]> {
    return Promise.all(requests.map(request => this.#create(request, lifeMs)))
  }

  /** A script, though one native command would do: the reply `nil` to a command does not tell which lease was taken. */
  #runCreate<T>(
    requests: readonly Creation[],
    lifeMs: number,
    created: (replies: LeaseReply[]) => T,
    whenFull: () => T | Promise<T>,
  ): Promise<T> {
    const names = requests.map(({ key }) => this.#names.prefix + key)
    const { mostBytes, end } = this.#sizes.ask(names)
    const args = [String(mostBytes), String(lifeMs), ...requests.map(({ text }) => text)]
    const read = (reply: unknown) => {
      const replies = registersOf(reply, names.length)
      end?.()
      return created(this.#seen(names, replies))
    }
    return this.#commands.run(this.#scripts.create, names, args, read, error => {
      end?.()
      if (errorCode(error) !== 'OOM') throw error
      this.#full = true
      return whenFull()
    })
  }

  /** Asks for registers: for all, or only for short ones while as much is on its way as comes in time. */
  #ask<T>(names: readonly string[], send: (mostBytes: number) => Promise<T>): Promise<T> {
    const { mostBytes, end } = this.#sizes.ask(names)
    const asking = send(mostBytes)
    if (end !== undefined) asking.then(end, end)
    return asking
  }

  /** Notes how long registers are. */
  #seen(names: readonly string[], replies: LookReply[]): LookReply[] {
    for (let i = 0; i < names.length; i++) this.#sizes.saw(names[i]!, replies[i])
    return replies
  }

  look(keys: readonly string[]): Promise<LookReply[]> {
    if (this.#fills.size > 0) for (const key of keys) this.#sendFillOf(key)
    if (keys.length === 1) return this.#lookAtOne(this.#names.prefix + keys[0]!)
    return this.#lookAtMany(keys.map(key => this.#names.prefix + key))
  }

  #lookAtMany(names: readonly string[]): Promise<LookReply[]> {
    if (this.#onCluster)
      return Promise.all(names.map(name => this.#lookAlone(name))).then(replies => replies.flat())
    const batches: Promise<LookReply[]>[] = []
    for (let at = 0; at < names.length; ) {
      const count = this.#sizes.fitting(names, at)
      batches.push(this.#lookTogether(names.slice(at, at + count)))
      at += count
    }
    return batches.length === 1 ? batches[0]! : Promise.all(batches).then(replies => replies.flat())
  }

  /** Looks of one turn are mostly sent together: a command costs its client more than a key. */
  #lookAtOne(name: string): Promise<LookReply[]> {
    if (this.#onCluster || this.#turn.add()) return this.#lookAlone(name)
    return new Promise<LookReply[]>((resolve, reject) => {
      this.#looks.push({ name, resolve, reject })
    })
  }

  #sendLooks(): void {
    const looks = this.#looks
    if (looks.length === 0) return
    this.#looks = []
    const names = looks.map(({ name }) => name)
    for (let at = 0; at < looks.length; ) {
      const count = this.#sizes.fitting(names, at)
      const isAll = count === looks.length
      this.#answerLooks(
        isAll ? looks : looks.slice(at, at + count),
        isAll ? names : names.slice(at, at + count),
      )
      at += count
    }
  }

  #answerLooks(looks: readonly SingleLook[], names: readonly string[]): void {
    const asking = names.length === 1 ? this.#lookAlone(names[0]!) : this.#lookTogether(names)
    asking.then(
      replies => {
        for (let i = 0; i < looks.length; i++) looks[i]!.resolve([replies[i]!])
      },
      error => {
        for (const look of looks) look.reject(error)
      },
    )
  }

  #lookAlone(name: string): Promise<LookReply[]> {
    if (this.#sizes.sawShortOnly) return this.#get(name)
    return this.#look([name], this.#sizes.isLarge(name), () => this.#get(name))
  }

  #lookTogether(names: readonly string[]): Promise<LookReply[]> {
    const areLarge = this.#sizes.knowsLarge && names.some(name => this.#sizes.isLarge(name))
    return this.#look(names, areLarge, () => this.#mget(names))
  }

  /** Looks by a native command, or by a script where not all that may be there is to be sent. */
  #look(
    names: readonly string[],
    areLarge: boolean,
    natively: () => Promise<LookReply[]>,
  ): Promise<LookReply[]> {
    return this.#ask(names, mostBytes =>
      areLarge || mostBytes < this.#sizes.maxRegisterBytes
        ? this.#lookByScript(names, mostBytes)
        : natively(),
    )
  }

  /** Looks by a script, which does not send what is longer. */
  #lookByScript(names: readonly string[], mostBytes: number): Promise<LookReply[]> {
    return this.#commands.run(this.#scripts.look, names, [String(mostBytes)], reply => {
      const replies = registersOf(reply, names.length)
      if (mostBytes === this.#sizes.maxRegisterBytes)
        for (const [i, name] of names.entries()) this.#sizes.noteLarge(name, replies[i] === TOO_LARGE)
      return this.#seen(names, replies)
    })
  }

  /** A register that has come and is too large: it is not asked for in this way again. */
  #unlessLarge(name: string, text: string | null): LookReply {
    if (text === null || bytesBeyond(text, this.#sizes.maxRegisterBytes) === undefined) {
      this.#sizes.saw(name, text)
      return text
    }
    if (!beginsAsRegister(text)) return LONG_STRANGER
    this.#sizes.noteLarge(name, true)
    return TOO_LARGE
  }

  #get(name: string): Promise<LookReply[]> {
    return this.#commands.send(name, ['GET', name]).then(
      reply => {
        this.#turn.replied()
        return [this.#unlessLarge(name, this.#commands.read(name, textOf, reply))]
      },
      error => {
        this.#turn.replied()
        if (errorCode(error) === 'WRONGTYPE') return [NOT_A_STRING]
        return this.#commands.failed(name, error)
      },
    )
  }

  /** A key that holds no string is reported as absent. The lease that is asked for next notices it. */
  #mget(names: readonly string[]): Promise<LookReply[]> {
    const first = names[0]!
    return this.#commands.send(first, ['MGET', ...names]).then(
      reply =>
        this.#commands
          .read(first, given => textsOf(given, names.length), reply)
          .map((text, i) => this.#unlessLarge(names[i]!, text)),
      error => this.#commands.failed(first, error),
    )
  }

  /**
   * A fill is sent at the end of the turn, when those whom its load has answered have gone on. A question about its key in the
   * same turn comes behind it.
   */
  fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    this.#sendFillOf(key)
    if (this.#fills.size === 0) void endOfThisTurn().then(() => this.#sendFills())
    return new Promise(resolve => {
      this.#fills.set(key, () => resolve(this.#sendFill(key, prefix, value)))
    })
  }

  #sendFillOf(key: string): void {
    const send = this.#fills.get(key)
    this.#fills.delete(key)
    send?.()
  }

  #sendFills(): void {
    for (const key of this.#fills.keys()) this.#sendFillOf(key)
  }

  async #sendFill(key: string, prefix: string, value: Fill): Promise<boolean> {
    const sent = this.#sizes.send(value.text)
    // Too much is under way already: what is behind it would come too late.
    if (sent === undefined) return false
    this.#sizes.saw(this.#names.prefix + key, value.text)
    try {
      return await this.#commands.runAt(
        this.#scripts.fill,
        key,
        [prefix, ...this.#valueArgs(key, value)],
        doneOf,
      )
    } catch (error) {
      // There is no room for it: the fill is refused, as one without its lease.
      if (errorCode(error) === 'OOM') return false
      throw error
    } finally {
      sent()
    }
  }

  swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean> {
    const args = [...comparison(seen), leaseText(token), String(leaseMs)]
    return this.#commands.runAt(this.#scripts.replace, key, args, doneOf)
  }

  drop(key: string, seen: Expected): Promise<boolean> {
    return this.#commands.runAt(this.#scripts.replace, key, comparison(seen), doneOf)
  }

  claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean> {
    return this.#commands.runAt(this.#scripts.claim, key, [nonce, token, String(claimMs)], doneOf)
  }

  guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply> {
    const args = [...this.#invalidation(key), token, String(guardMs), renewal ? '1' : '0']
    return this.#commands.runAt(this.#scripts.guard, key, args, guardOf)
  }

  release(key: string, token: string, committed?: Fill): Promise<ReleaseReply> {
    const args = [...this.#invalidation(key), token]
    const sent = committed === undefined ? undefined : this.#sizes.send(committed.text)
    return committed === undefined || sent === undefined
      ? this.#commands.runAt(this.#scripts.release, key, args, releaseOf)
      : this.#releaseThrough(key, args, committed, sent)
  }

  #releaseThrough(
    key: string,
    args: readonly string[],
    committed: Fill,
    sent: () => void,
  ): Promise<ReleaseReply> {
    const all = [...args, ...this.#valueArgs(key, committed)]
    const read = (reply: unknown) => {
      const released = releaseOf(reply)
      sent()
      return released
    }
    return this.#commands.runAt(this.#scripts.releaseThrough, key, all, read, error => {
      sent()
      if (errorCode(error) !== 'OOM') throw error
      // There is no room for the value, and nothing was done: the guard must still go.
      return this.#commands.runAt(this.#scripts.release, key, args, releaseOf)
    })
  }

  invalidate(key: string): Promise<void> {
    return this.#commands.runAt(this.#scripts.invalidate, key, this.#invalidation(key), nothingOf)
  }

  async generation(keyspace: string, candidate: string): Promise<string> {
    const key = generationKey(keyspace)
    const name = this.#names.prefix + key
    try {
      const standing = await this.#commands.send(name, ['SET', name, candidate, 'NX', 'GET'])
      if (typeof standing === 'string' && standing.length === candidate.length)
        return this.#commands.read(name, reply => generationOf(reply, keyspace), standing)
    } catch (error) {
      if (errorCode(error) !== 'OOM' && errorCode(error) !== 'WRONGTYPE') this.#commands.failed(name, error)
    }
    // An empty reply may belong to another command. So a script is asked what stands there now: its reply is certain.
    return this.#commands.runAt(this.#scripts.generation, key, [candidate], reply =>
      generationOf(reply, keyspace),
    )
  }

  invalidateKeyspace(keyspace: string, generation: string): Promise<void> {
    const args = [this.#names.channel, KEYSPACE + keyspace, generation]
    return this.#commands.runAt(this.#scripts.invalidateKeyspace, generationKey(keyspace), args, nothingOf)
  }

  /** The arguments of a script that stores a value. */
  #valueArgs(key: string, value: Fill): string[] {
    const [before, after] = valueAroundTimes(markedToken(key, this.#clock.token()), value)
    return [before, after, String(value.freshMs), String(value.freshMs + value.staleMs)]
  }

  /** The arguments by which a script broadcasts that a key was invalidated. */
  #invalidation(key: string): string[] {
    return [this.#names.channel, INVALIDATED + key]
  }
}

/** How a register is compared with what was seen of it. */
function comparison(seen: Expected): string[] {
  if ('prefix' in seen) return ['prefix', seen.prefix]
  // Bytes that are no UTF-8 were read as replacement characters, so they cannot be compared with what was seen.
  const lossy =
    seen.exactly === NOT_A_STRING ||
    seen.exactly === LONG_STRANGER ||
    (seen.exactly.includes('\ufffd') && !beginsAsRegister(seen.exactly))
  return lossy ? ['unreadable', ''] : ['exactly', seen.exactly]
}
