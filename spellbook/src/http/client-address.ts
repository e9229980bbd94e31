import { isIPv6 } from 'node:net'

/** As some proxies write it in `X-Forwarded-For`: `192.0.2.1:5000`, `[2001:db8::1]:5000`. */
const WITH_PORT = /^(?:\[(.+)\](?::\d+)?|([\d.]+):\d+)$/

/**
 * Names the client that has an address: an IPv4 address, or the first half of an IPv6 address, which is what one customer gets.
 * Its port does not count: each connection has another one.
 *
 * @param address - Of the connection, or as a trusted proxy has written it, which may be any text.
 */
export function clientAt(address: string): string {
  const [, inBrackets, beforePort] = WITH_PORT.exec(address) ?? []
  const bare = inBrackets ?? beforePort ?? address
  if (!isIPv6(bare)) return bare
  const [whole = ''] = bare.split('%', 1) // without its zone
  // An IPv4 address may be written as an IPv6 address with dots.
  if (whole.includes('.')) return whole.slice(whole.lastIndexOf(':') + 1)
  const [before = [], after = []] = whole.split('::').map(part => part.split(':').filter(Boolean))
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  return [...before, ...zeros, ...after]
    .slice(0, 4)
    .map(group => group.replace(/^0+(?=.)/, '').toLowerCase())
    .join(':')
}
