import { generationOf, textOf, textsOf, UnexpectedReply } from '../src/redis/replies.ts'
import type { Random } from './random.ts'
import { keyspaceOf, TAGS } from './subjects.ts'

/** A command that has been sent, and waits for its reply. */
export interface Question {
  readonly operation: string
  readonly given: readonly unknown[]
  readonly answer: (reply: unknown) => void
  readonly fail: () => void
}

/** What may happen to one reply. */
export type ReplyFault = 'lost' | 'added'

/** These are commands of Redis itself. All others are scripts, whose replies say which call they answer. */
const NATIVE: ReadonlySet<string> = new Set(['lease', 'look', 'generation'])

/**
 * A connection on which nothing but their order says which reply answers which command, as on one to Redis. One reply is lost
 * or added, and each later one is taken for that of a neighbouring command, until the connection ends. To a Cluster there is
 * one for each node, and only one of them is out of order.
 *
 * What the store on Redis checks is checked here, by its own functions: the form of a reply, and which call of a script it
 * answers. Whose key a register is of it does not know: that is what the core looks at.
 */
export class ReplyOrder {
  readonly #random: Random
  readonly #onBroken: (reason: string) => void
  /** For each node, what has been asked of it. */
  readonly #waiting: readonly Question[][]
  #fault: ReplyFault | undefined
  #isEnded = false

  /**
   * @param isOnCluster - Whether there are two nodes: the tags lie on one of their own.
   * @param onBroken - Told of a reply that cannot be to the command that was given it. The connection has to be ended.
   */
  constructor(random: Random, isOnCluster: boolean, onBroken: (reason: string) => void) {
    this.#random = random
    this.#waiting = isOnCluster ? [[], []] : [[]]
    this.#onBroken = onBroken
  }

  /** Sends a command. A batch of leases is one command for each of them; on a Cluster, so is any other batch. */
  ask({ operation, given, answer, fail }: Question): (reply: unknown) => void {
    const send = (question: Question) => {
      const node = this.#nodeOf(question)
      this.#waiting[node]!.push(question)
      return (reply: unknown) => this.#arrived(node, question, reply)
    }
    const parts = this.#partsOf(operation, given)
    if (parts === undefined) return send({ operation, given, answer, fail })
    const replies: unknown[] = []
    let left = parts.length
    const arrivals = parts.map((part, i) => {
      const answerPart = (reply: unknown) => {
        replies[i] = part.operation === 'look' ? (reply as unknown[])[0] : reply
        if (--left === 0) answer(replies)
      }
      return send({ ...part, answer: answerPart, fail })
    })
    return all => {
      for (const [i, arrived] of arrivals.entries()) {
        const reply = (all as unknown[])[i]
        arrived(parts[i]!.operation === 'look' ? [reply] : reply)
      }
    }
  }

  /** The commands that a batch is sent as; `undefined` if it is one command. */
  #partsOf(
    operation: string,
    given: readonly unknown[],
  ): readonly Pick<Question, 'operation' | 'given'>[] | undefined {
    const isOnCluster = this.#waiting.length > 1
    if (operation === 'look' && isOnCluster)
      return (given[0] as readonly string[]).map(key => ({ operation, given: [[key]] }))
    // On a Cluster a stamp is created by the same command of Redis as a lease.
    if (operation !== 'leaseMany' && !(operation === 'stampMany' && isOnCluster)) return undefined
    const [requests, lifeMs] = given as [readonly { key: string; token: string }[], number]
    return requests.map(({ key, token }) => ({ operation: 'lease', given: [key, token, lifeMs] }))
  }

  /** Where a command goes. A stamp is never taken for the answer to a lease: they are asked of different nodes. */
  #nodeOf({ given }: Question): number {
    return this.#waiting.length > 1 && TAGS.has(keyspaceOf(String(given[0]))) ? 1 : 0
  }

  /** This will happen to the next reply. */
  breakNext(fault: ReplyFault | undefined): void {
    this.#fault = fault
  }

  /** Ends it. What waits fails, and what arrives later is heard by nobody. */
  end(): void {
    this.#isEnded = true
    for (const waiting of this.#waiting) for (const question of waiting.splice(0)) question.fail()
  }

  #arrived(node: number, to: Question, reply: unknown): void {
    if (this.#isEnded) return
    const fault = this.#fault
    this.#fault = undefined
    if (fault === 'lost') return
    if (fault === 'added' && this.#random.chance(0.5)) this.#give(node, undefined, null)
    else if (fault === 'added') this.#give(node, to, reply)
    this.#give(node, to, reply)
  }

  /** Gives a reply to the command that has waited longest for one of that node. */
  #give(node: number, to: Question | undefined, reply: unknown): void {
    if (this.#isEnded) return
    const question = this.#waiting[node]!.shift()
    if (question === undefined) this.#onBroken('a reply came that no command waits for')
    else if (question === to) question.answer(reply)
    else this.#mistake(question, onWire(to, reply))
  }

  /** Gives a command the reply to another one. */
  #mistake(question: Question, reply: unknown): void {
    try {
      question.answer(readAs(question, reply))
    } catch (error) {
      question.fail()
      this.#onBroken((error as Error).message)
    }
  }
}

/** A reply as Redis sends it. */
function onWire(to: Question | undefined, reply: unknown): unknown {
  if (to === undefined) return reply
  if (!NATIVE.has(to.operation)) return [to.operation, JSON.stringify(reply) ?? null]
  return to.operation === 'look' && (reply as unknown[]).length === 1 ? (reply as unknown[])[0] : reply
}

/** What a command makes of a reply to another one. A generation of nothing is asked for by a script, which finds it out. */
function readAs({ operation, given }: Question, reply: unknown): unknown {
  const count = operation === 'look' ? (given[0] as readonly string[]).length : 1
  if (operation === 'lease') return textOf(reply)
  if (operation === 'look') return count === 1 ? [textOf(reply)] : textsOf(reply, count)
  if (operation === 'generation') return generationOf(reply, given[0] as string)
  throw new UnexpectedReply(reply)
}
