/** Decides who may operate Spellbook over HTTP. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { isLoopbackHost } from '../http/hosts.ts'
import { isLoopback } from '../http/loopback.ts'
import type { Telling } from '../http/problem.ts'
import { WrongTokens } from './wrong-tokens.ts'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/**
 * Headers that a proxy adds to a request that it passes on. Then the address is the proxy's, and does not tell who asks.
 * Proxies invent names that begin with `X-`; direct clients hardly send any.
 */
const OF_PROXIES =
  /^(?:x-(?!prometheus-|requested-with$)|(?:akamai|cdn|cf|fastly|fly|ngrok|proxy|tailscale|wl-proxy)-|(?:(?:true-)?client-ip|forwarded(?:-for)?|max-forwards|via)$)/

/** Says what is wrong with a request for `/admin`, or nothing. */
export type AdminGuard = (request: FastifyRequest) => Telling | undefined

/** Who may use `/admin`. */
export interface AdminAccess {
  /** `ADMIN_TOKEN`. Left out: none is set. */
  readonly token?: string
  /**
   * Whether proxies pass requests on to Spellbook. Then no request is known to come from this machine. @defaultValue false
   */
  readonly isBehindProxy?: boolean
}

/**
 * Judges requests for `/admin`, and for all routes with the same access. A guard counts wrong tokens, so an application has
 * only one.
 *
 * With a token, everybody who has it may ask, from any place. Without one, only this machine may, by a name of the loopback:
 * a page of another site whose name points to this machine (DNS rebinding) still sends its own host. A request that shows
 * signs of a proxy is refused; a proxy on this machine that leaves no sign looks like this machine. Pages of other sites may
 * never ask.
 *
 * A client that has sent ten wrong tokens is refused for a minute, even with the right token: otherwise it could go on
 * trying. Clients are told apart by their addresses, also behind proxies that are trusted.
 *
 * @param nowMs - A clock that never goes back.
 */
export function guardAdmin(
  { token, isBehindProxy = false }: AdminAccess,
  nowMs: () => number = () => performance.now(),
): AdminGuard {
  if (token === undefined)
    return request =>
      fromAnotherSite(request) ?? (!isBehindProxy && isThisMachine(request) ? undefined : CLOSED)
  const wanted = digest(token)
  const wrong = new WrongTokens(nowMs)
  return request => {
    const strange = fromAnotherSite(request)
    if (strange !== undefined) return strange
    const retryAfterS = wrong.blockedForS(request.ip)
    if (retryAfterS !== undefined) return { status: 429, detail: 'Too many wrong tokens.', retryAfterS }
    const [, given] = /^Bearer +([\x21-\x7e]+) *$/i.exec(request.headers.authorization ?? '') ?? []
    if (given === undefined)
      return { status: 401, detail: 'Authorization: Bearer ADMIN_TOKEN is needed here.' }
    // Digests have equal length, and are compared in constant time.
    if (timingSafeEqual(digest(given), wanted)) return undefined
    wrong.add(request.ip)
    return { status: 401, detail: 'That is not the ADMIN_TOKEN.' }
  }
}

const CLOSED: Telling = {
  status: 403,
  detail:
    'This is for this machine only, by a name of the loopback and without a proxy, as long as no ADMIN_TOKEN is set.',
}

function fromAnotherSite({ headers }: FastifyRequest): Telling | undefined {
  const { origin, host = '', 'sec-fetch-site': site = 'none' } = headers
  const isOwn = origin === undefined || (URL.canParse(origin) && host !== '' && new URL(origin).host === host)
  if (isOwn && (site === 'none' || site === 'same-origin')) return undefined
  return { status: 403, detail: 'A page of another site may not ask here.' }
}

function isThisMachine(request: FastifyRequest): boolean {
  const { remoteAddress } = request.socket
  const { host = '', connection = 'keep-alive' } = request.headers
  return (
    remoteAddress !== undefined &&
    isLoopback(remoteAddress) &&
    // A target in absolute form names a host of its own.
    request.originalUrl.startsWith('/') &&
    isLoopbackHost(host) &&
    // By default nginx passes requests on by HTTP/1.0, or with `Connection: close`.
    request.raw.httpVersion === '1.1' &&
    connection.toLowerCase() === 'keep-alive' &&
    !Object.keys(request.headers).some(name => OF_PROXIES.test(name))
  )
}
