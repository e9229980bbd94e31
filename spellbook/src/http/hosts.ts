import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Config } from '../config.ts'
import { isLoopback } from './loopback.ts'

/**
 * The host names that requests to Spellbook may use.
 *
 * A browser lets a page ask the host that it came from. A page of another site can have its name point to this machine
 * once it is loaded (DNS rebinding); then the browser takes Spellbook for that site. The request still carries the
 * site's name, which is none of ours.
 */

/** Whether only this machine reaches what listens at a host. */
export async function isForThisMachine(host: string): Promise<boolean> {
  // An unknown name fails later, when the program listens at it.
  const addresses = await lookup(host, { all: true }).catch(() => [])
  return addresses.length > 0 && addresses.every(({ address }) => isLoopback(address))
}

/**
 * The names that requests must use, besides the loopback's. `undefined`: any name, because other machines may use names that
 * are not known here.
 */
export async function servedHosts({
  host,
  allowedHosts,
}: Pick<Config, 'host' | 'allowedHosts'>): Promise<readonly string[] | undefined> {
  if (allowedHosts === 'any') return undefined
  if (allowedHosts !== undefined) return allowedHosts
  if (!(await isForThisMachine(host))) return undefined
  return host === 'localhost' || isIP(host) !== 0 ? [] : [host]
}

/** A name or an address, and a port. It may be empty. https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2 */
const AUTHORITY = /^(\[[\da-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?$/i

/** Whether a text has the form of the header `Host`. */
export const isAuthority = (text: string): boolean => AUTHORITY.test(text)

/** A host and its port, in one form for all that mean the same. */
interface Place {
  /** In small letters, addresses as browsers write them, without a dot at the end. */
  readonly name: string
  /** Empty: the usual one of the scheme. */
  readonly port: string
}

function placeOf(url: string): Place | undefined {
  if (!URL.canParse(url)) return undefined
  const { hostname, port } = new URL(url)
  return { name: hostname.replace(/\.$/, ''), port }
}

/** Whether the header `Host` names the loopback, with or without a port. */
export function isLoopbackHost(host: string): boolean {
  const name = host === '' || !isAuthority(host) ? undefined : placeOf(`http://${host}`)?.name
  return name !== undefined && (name === 'localhost' || isLoopback(name.replace(/^\[|\]$/g, '')))
}

/** The host that a request names, and the origin of the page that sent it. */
export interface Addressed {
  readonly method: string
  /** The authority of the target, or else the header `Host`; `undefined` or empty: none is named, as no browser does. */
  readonly host: string | undefined
  /** The header `Origin`. */
  readonly origin: string | undefined
}

/** So many texts of the header `Host` are remembered. */
const MOST_JUDGED = 100

/** Methods that change nothing, which other sites' pages may use; they cannot read the answers. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Judges requests by the names that they use.
 *
 * @param names - Those that Spellbook has besides the loopback's, without a port. A page that comes from one of them is
 *   Spellbook's own.
 * @returns what is wrong with a request: `host`, `origin`, or nothing.
 */
export function judgeHosts(
  names: readonly string[],
): (addressed: Addressed) => 'host' | 'origin' | undefined {
  const own = new Set(names.map(name => placeOf(`http://${name}`)?.name))
  const isOwn = (name: string) =>
    own.has(name) || name === 'localhost' || isLoopback(name.replace(/^\[|\]$/g, ''))

  /** Clients nearly always send the same text, and parsing it takes longer than a hit. */
  const judged = new Map<string, boolean>()
  const isOurs = (host: string): boolean => {
    const known = judged.get(host)
    if (known !== undefined) return known
    const ours = isOwn(placeOf(`http://${host}`)?.name ?? '')
    if (judged.size >= MOST_JUDGED) judged.clear()
    judged.set(host, ours)
    return ours
  }

  return ({ method, host = '', origin }) => {
    if (host !== '' && !isOurs(host)) return 'host'
    if (origin === undefined || SAFE.has(method)) return undefined
    const page = /^https?:/.test(origin) ? placeOf(origin) : undefined
    if (page === undefined) return 'origin'
    // Behind a proxy with another host name or port, the public name counts.
    if (own.has(page.name)) return undefined
    const scheme = origin.slice(0, origin.indexOf(':'))
    const here = placeOf(`${scheme}://${host}`)
    return page.name === here?.name && page.port === here.port ? undefined : 'origin'
  }
}
