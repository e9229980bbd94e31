/**
 * Questions of people and answers of processes, by publish and subscribe: on channels and connections of their own, so that
 * they never hold up the broadcast. A node of a Cluster passes what is published on to all others.
 */
import type { Clock } from '../base/clock.ts'
import type { Address, Driver, RedisConnection } from './driver.ts'
import { Link } from './link.ts'

/** What {@link Inquiries} are made of. */
export interface InquiriesOptions {
  readonly driver: Driver
  readonly clock: Clock
  /** What comes before every channel. */
  readonly prefix: string
  /** Publishes a message by a connection that is there. */
  readonly publish: (channel: string, message: string) => Promise<unknown>
}

/** More answers than this, or more characters in all, are not kept. An answer has a thousand characters for each keyspace. */
const MOST_ANSWERS = 1_000
const MOST_CHARACTERS = 256 * 2 ** 20
/** Longer questions are not answered. */
const LONGEST_QUESTION = 256 * 2 ** 10
/** More questions at once are not answered. */
const MOST_QUESTIONS = 4

/** The questions and answers of one store. */
export class Inquiries {
  readonly #options: InquiriesOptions
  readonly #links = new Set<Link<unknown>>()
  #answering = 0

  constructor(options: InquiriesOptions) {
    this.#options = options
  }

  /** As `SharedInquiries.answer`. */
  answer(respond: (question: string) => Promise<string | undefined>): () => void {
    const link = this.#listen(this.#askChannel, message => void this.#answerTo(message, respond))
    return () => this.#end(link)
  }

  /** As `SharedInquiries.ask`. */
  async ask(question: string, forMs: number): Promise<readonly string[]> {
    const { clock, publish } = this.#options
    const token = clock.token()
    const answers: string[] = []
    let characters = 0
    const link = this.#listen(this.#answerChannel(token), message => {
      if (answers.length >= MOST_ANSWERS || characters + message.length > MOST_CHARACTERS) return
      characters += message.length
      answers.push(message)
    })
    try {
      await link.started
      if (link.problem !== undefined) throw link.problem
      await publish(this.#askChannel, `${token} ${question}`)
      await new Promise<void>(resolve => void clock.after(forMs, resolve, true))
    } finally {
      this.#end(link)
    }
    return answers
  }

  /** Ends all listening. */
  close(): void {
    for (const link of this.#links) this.#end(link)
  }

  get #askChannel(): string {
    return `${this.#options.prefix}@ask`
  }

  #answerChannel(token: string): string {
    return `${this.#options.prefix}@answer:${token}`
  }

  async #answerTo(
    message: string,
    respond: (question: string) => Promise<string | undefined>,
  ): Promise<void> {
    const [, token, question] = /^([\w-]{16}) (.*)$/s.exec(message) ?? []
    if (token === undefined || question === undefined || question.length > LONGEST_QUESTION) return
    if (this.#answering >= MOST_QUESTIONS) return
    this.#answering++
    try {
      const answer = await respond(question)
      if (answer !== undefined) await this.#options.publish(this.#answerChannel(token), answer)
    } catch {
      // Nobody here waits for it. The asker gets no answer.
    } finally {
      this.#answering--
    }
  }

  #listen(channel: string, onMessage: (message: string) => void): Link<unknown> {
    const { driver, clock } = this.#options
    const link = new Link<unknown>({
      clock,
      target: driver.target,
      open: (onLost, signal) => openAny(driver, onLost, signal),
      welcome: connection => connection.subscribe([channel], (_channel, message) => onMessage(message)),
    })
    this.#links.add(link)
    return link
  }

  #end(link: Link<unknown>): void {
    this.#links.delete(link)
    link.close()
  }
}

/** A connection to any node: in a Cluster, to the first that is there. */
async function openAny(
  driver: Driver,
  onLost: (error: Error) => void,
  signal: AbortSignal,
): Promise<RedisConnection> {
  const nodes: readonly (Address | undefined)[] =
    driver.deployment === 'cluster' ? await driver.seeds() : [undefined]
  let problem: unknown = new Error('the client names no node of its Cluster')
  for (const node of nodes) {
    try {
      return await driver.open(node === undefined ? node : driver.reachable(node), onLost, signal)
    } catch (error) {
      problem = error
      if (signal.aborted) break
    }
  }
  throw problem
}
