import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { isId } from '../api.ts'
import { origin, sourceFields } from '../cache-status.ts'
import type { Answer } from '../spells.ts'
import { ClientSignal } from './client-signal.ts'
import type { HitLog } from './hit-log.ts'
import { preparedText } from './prepared-head.ts'
import { representationOf, type Shown } from './representation.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly fastPath: FastPath
  }
}

/** What is shown at `{prefix}{id}`. */
export interface Place<T extends object> {
  /** With the slash before the id. */
  readonly prefix: string
  readonly find: (id: string, signal: AbortSignal) => Promise<Answer<T | undefined>>
  /** Names it in the log. */
  readonly what: (id: string) => string
  readonly show: (value: T) => Shown
}

/** A read that was begun without Fastify. */
export interface Begun {
  readonly place: Place<object>
  readonly id: string
  readonly read: Promise<Answer<object | undefined>>
}

const METHOD = 'GET '
const VERSION = ' HTTP/1.1\r\n'

/** Fields that let an answer depend on more than the path, or that announce a body. */
const DECIDING = new Set([
  'content-length',
  'expect',
  'if-match',
  'if-none-match',
  'transfer-encoding',
  'upgrade',
])

/**
 * Answers hits without Node's parser and without Fastify, which take longer than the hit. It judges nothing by itself. It knows
 * a request by its bytes: they are, except for the id, those of an earlier request of the same connection, which Node
 * has parsed and Fastify has let through. The same bytes mean the same. All else goes to them: the first request of a connection,
 * conditions, other methods, absent rows, reads of the database, and errors.
 *
 * @see docs/decisions/0082-hits-before-fastify.md
 */
export class FastPath {
  readonly #hitLog: HitLog
  readonly #isOpen: () => boolean
  readonly #places: Place<object>[] = []
  /** Reads whose requests Node and Fastify got after all. */
  readonly #begun = new WeakMap<IncomingMessage, Begun>()

  /** @param isOpen - Whether answers may be sent without Fastify, now. */
  constructor(hitLog: HitLog, isOpen: () => boolean) {
    this.#hitLog = hitLog
    this.#isOpen = isOpen
  }

  /** Hits at this place may be answered here from now on. */
  add<T extends object>(place: Place<T>): void {
    this.#places.push(place as unknown as Place<object>)
  }

  /**
   * All of a request that Fastify has let through but its path: the rest of what is sent again. `undefined`: its answer depends
   * on more than the path.
   *
   * @param text - The request as it came.
   */
  restOf({ url, rawHeaders }: IncomingMessage, text: string): string | undefined {
    const line = METHOD + url
    if (!text.startsWith(line + VERSION) || !this.#isOpen()) return undefined
    for (let at = 0; at < rawHeaders.length; at += 2)
      if (DECIDING.has(rawHeaders[at]!.toLowerCase())) return undefined
    return text.slice(line.length)
  }

  /**
   * Begins the read that a request asks for.
   *
   * @param text - The request as it came.
   * @param rest - The rest of an earlier one of the same connection.
   * @returns nothing if Node and Fastify are to have it.
   */
  begin(text: string, rest: string, socket: Socket): Begun | undefined {
    if (!text.startsWith(METHOD) || !text.endsWith(rest) || !this.#isOpen()) return undefined
    const path = text.slice(METHOD.length, text.length - rest.length)
    for (const place of this.#places) {
      if (!path.startsWith(place.prefix)) continue
      const id = path.slice(place.prefix.length)
      return isId(id) ? { place, id, read: place.find(id, new ClientSignal({ socket })) } : undefined
    }
    return undefined
  }

  /** The whole answer, if it is a hit. */
  answerOf({ place: { what, show }, id }: Begun, answer: Answer<object | undefined>): string | undefined {
    const { value } = answer
    if (value === undefined || origin(answer) !== 'cache' || !this.#isOpen()) return undefined
    this.#hitLog.note(answer, () => what(id))
    return preparedText(representationOf(value, show), sourceFields(answer))
  }

  /** Notes that Node and Fastify get this request. */
  handOver(request: IncomingMessage, begun: Begun): void {
    this.#begun.set(request, begun)
  }

  /** For a request that Fastify has: the read that was begun before, or else one that begins now. */
  read<T extends object>(
    request: IncomingMessage,
    place: Place<T>,
    id: string,
  ): Promise<Answer<T | undefined>> {
    const begun = this.#begun.get(request)
    if (begun !== undefined) return begun.read as Promise<Answer<T | undefined>>
    return place.find(id, new ClientSignal(request))
  }
}
