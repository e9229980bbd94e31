import { TOKEN_LENGTH } from '../base/clock.ts'
import { markAt } from '../shared/key-mark.ts'
import { type GuardReply, type LookReply, type ReleaseReply, TOO_LARGE } from '../shared/shared-store.ts'

/**
 * The replies to commands, checked. A server with any other reply is no Redis, or answers an earlier question: 1. a client,
 * or something between it and the server, has lost or added a reply; 2. from then on every question gets the answer to
 * another one. Such a reply counts as none, and its connection as lost.
 */
export class UnexpectedReply extends Error {
  constructor(reply: unknown) {
    super(`an unexpected reply: ${JSON.stringify(reply, short)?.slice(0, 80)}`)
  }
}

/** A part of a reply, shortened for JSON: texts may be long, and node-redis gives large numbers as bigint. */
function short(_name: string, part: unknown): unknown {
  if (typeof part === 'string') return part.slice(0, 80)
  return typeof part === 'bigint' ? String(part) : part
}

/** The reply of a script, behind the echo that says to which call it belongs. */
export function echoed(reply: unknown, echo: string): unknown {
  if (!Array.isArray(reply) || reply.length > 2 || reply[0] !== echo) throw new UnexpectedReply(reply)
  return reply.length === 2 ? reply[1] : null
}

/** A string, or nothing. */
export function textOf(reply: unknown): string | null {
  if (reply === null || typeof reply === 'string') return reply
  throw new UnexpectedReply(reply)
}

/** As many strings or nothings as were asked for. */
export function textsOf(reply: unknown, count: number): (string | null)[] {
  if (!Array.isArray(reply) || reply.length !== count) throw new UnexpectedReply(reply)
  for (const one of reply) textOf(one)
  return reply
}

/** The same from a script, which says 0 of what is too large to be sent. */
export function registersOf(reply: unknown, count: number): LookReply[] {
  if (!Array.isArray(reply) || reply.length !== count) throw new UnexpectedReply(reply)
  return reply.map(one => (one === 0 ? TOO_LARGE : textOf(one)))
}

/** Whether it was done: 1 or 0. */
export function doneOf(reply: unknown): boolean {
  if (reply === 1 || reply === 0) return reply === 1
  throw new UnexpectedReply(reply)
}

/** Nothing, from a script that returns nothing. */
export function nothingOf(reply: unknown): void {
  if (reply !== null) throw new UnexpectedReply(reply)
}

/** What a guard found. */
export function guardOf(reply: unknown): GuardReply {
  if (reply === 'new' || reply === 'renewed' || reply === 'rejoined' || reply === 'barred') return reply
  throw new UnexpectedReply(reply)
}

/** Whether the token was there, and whether a value was stored. */
export function releaseOf(reply: unknown): ReleaseReply {
  if (!Array.isArray(reply) || reply.length !== 2) throw new UnexpectedReply(reply)
  return { held: doneOf(reply[0]), stored: doneOf(reply[1]) }
}

/** A generation, checked not to be that of another keyspace. */
export function generationOf(reply: unknown, keyspace: string): string {
  if (typeof reply === 'string' && reply.length === TOKEN_LENGTH && markAt(reply, 0, keyspace) !== 'foreign')
    return reply
  throw new UnexpectedReply(reply)
}

/** A time in whole milliseconds. */
export function timeOf(reply: unknown): number {
  if (typeof reply === 'number' && Number.isSafeInteger(reply) && reply > 0) return reply
  throw new UnexpectedReply(reply)
}
