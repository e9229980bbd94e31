/** Who may look after Spellbook over HTTP. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { isLoopbackHost } from './hosts.ts'
import { isLoopback } from './loopback.ts'
import type { Telling } from './problem.ts'

/** So many wrong tokens of one address are judged in a window of this length; further requests are not. */
const MOST_FAILURES = 10
const WINDOW_MS = 60_000
/** Addresses beyond this are forgotten, the oldest first. */
const MOST_ADDRESSES = 1_000

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** What a proxy adds to a request that it passes on. Then the address is the proxy's, and says nothing of who asks. */
const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'] as const

/**
 * Judges requests for `/admin`.
 *
 * With a token, all who have it may ask, from any place. Without one, only this machine may, by a name of the loopback: a page of
 * another site that has its name point to this machine (DNS rebinding) still names its own host. In both cases no page of
 * another site may.
 *
 * @param token - `ADMIN_TOKEN`; `undefined`: none is set.
 * @param nowMs - A clock that never goes back.
 * @returns what is wrong with a request, or nothing.
 */
export function guardAdmin(
  token: string | undefined,
  nowMs: () => number = () => performance.now(),
): (request: FastifyRequest) => Telling | undefined {
  if (token === undefined)
    return request => fromAnotherSite(request) ?? (isThisMachine(request) ? undefined : CLOSED)
  const wanted = digest(token)
  const failures = new Failures(nowMs)
  return request => {
    const strange = fromAnotherSite(request)
    if (strange !== undefined) return strange
    const address = request.socket.remoteAddress ?? ''
    const retryAfterS = failures.blockedForS(address)
    if (retryAfterS !== undefined) return { status: 429, detail: 'Too many wrong tokens.', retryAfterS }
    const [, given] = /^Bearer +([\x21-\x7e]+) *$/i.exec(request.headers.authorization ?? '') ?? []
    if (given === undefined)
      return { status: 401, detail: 'Authorization: Bearer ADMIN_TOKEN is needed here.' }
    // Of equal length, and compared in the same time, whatever they are.
    if (timingSafeEqual(digest(given), wanted)) return undefined
    failures.add(address)
    return { status: 401, detail: 'That is not the ADMIN_TOKEN.' }
  }
}

const CLOSED: Telling = {
  status: 403,
  detail: 'This is for this machine only, by a name of the loopback, as long as no ADMIN_TOKEN is set.',
}

function fromAnotherSite({ headers }: FastifyRequest): Telling | undefined {
  const { origin, host = '', 'sec-fetch-site': site = 'none' } = headers
  const isOwn = origin === undefined || (URL.canParse(origin) && host !== '' && new URL(origin).host === host)
  if (isOwn && (site === 'none' || site === 'same-origin')) return undefined
  return { status: 403, detail: 'A page of another site may not ask here.' }
}

function isThisMachine(request: FastifyRequest): boolean {
  const { remoteAddress } = request.socket
  return (
    remoteAddress !== undefined &&
    isLoopback(remoteAddress) &&
    // A target in absolute form names a host of its own.
    request.originalUrl.startsWith('/') &&
    isLoopbackHost(request.headers.host ?? '') &&
    PROXY_HEADERS.every(name => request.headers[name] === undefined)
  )
}

/** Wrong tokens by address, in bounded memory. */
class Failures {
  readonly #nowMs: () => number
  readonly #byAddress = new Map<string, { count: number; readonly untilMs: number }>()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** For how many seconds an address is not judged any more. */
  blockedForS(address: string): number | undefined {
    const found = this.#byAddress.get(address)
    if (found === undefined) return undefined
    const leftMs = found.untilMs - this.#nowMs()
    if (leftMs <= 0) this.#byAddress.delete(address)
    return leftMs > 0 && found.count >= MOST_FAILURES ? Math.ceil(leftMs / 1000) : undefined
  }

  add(address: string): void {
    const found = this.#byAddress.get(address)
    if (found !== undefined) {
      found.count++
      return
    }
    if (this.#byAddress.size >= MOST_ADDRESSES) this.#byAddress.delete(this.#byAddress.keys().next().value!)
    this.#byAddress.set(address, { count: 1, untilMs: this.#nowMs() + WINDOW_MS })
  }
}
