/**
 * A network between a test and a server: a TCP proxy on a loopback port of its own that can cut, refuse, swallow,
 * garble and delay what passes through it.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Which way bytes go. */
export type Direction = 'toServer' | 'toClient'

/** A proxy that a test can break; made by {@link startProxy}. */
export interface Proxy {
  readonly port: number
  /** Connections that are open through it. */
  readonly connections: number
  /** How many connections have been accepted since it was started. */
  readonly accepted: number
  /** Resets every connection; new ones are accepted. */
  cut(): void
  /** Resets every connection; new ones lead to another port. */
  lead(port: number): void
  /** Resets every connection and refuses new ones. */
  refuse(): Promise<void>
  /**
   * Swallows what is sent, without a word, on the connections there are and on new ones. A connection on which
   * something was swallowed stays dead for good, as behind a router that has forgotten it.
   */
  swallow(...directions: Direction[]): void
  /** Swallows everything on one connection, the first accepted being 1, for good. */
  forget(nth: number): void
  /** Passes nothing on, and answers every command with this reply. */
  garble(reply: string): void
  /** Makes what is sent from now on arrive `ms` later, in order. */
  delay(ms: number, ...directions: Direction[]): void
  /** Ends all faults: new connections are accepted and work, those that are not dead work again. */
  restore(): Promise<void>
  /** Ends the proxy and every connection. */
  close(): Promise<void>
}

const BOTH: readonly Direction[] = ['toServer', 'toClient']

/** How many commands of Redis begin in a chunk. */
const commandsIn = (chunk: Buffer): number => chunk.toString('latin1').split(/\*\d+\r\n\$/).length - 1

/** Starts a proxy to a port on this machine. */
export async function startProxy(firstPort: number): Promise<Proxy> {
  let targetPort = firstPort
  const sockets = new Set<Socket>()
  const swallowed = new Set<Direction>()
  const forgotten = new Set<number>()
  const delays: Record<Direction, number> = { toServer: 0, toClient: 0 }
  let accepted = 0
  let garbled: string | undefined

  /** Passes on what comes from one socket, as the faults of the moment let it. */
  function pass(nth: number, from: Socket, to: Socket, direction: Direction): void {
    let dead = false
    /** What is on its way, with the moment of its arrival. Nothing overtakes what was sent before it. */
    const late: { chunk: Buffer; atMs: number }[] = []
    const arrive = () => {
      while (late.length > 0 && late[0]!.atMs <= performance.now()) {
        const { chunk } = late.shift()!
        if (!to.destroyed) to.write(chunk)
      }
      if (late.length > 0) setTimeout(arrive, Math.ceil(late[0]!.atMs - performance.now()))
    }
    from.on('data', (chunk: Buffer) => {
      dead ||= swallowed.has(direction) || forgotten.has(nth)
      if (dead || to.destroyed) return
      if (garbled !== undefined) {
        if (direction === 'toServer') from.write(garbled.repeat(commandsIn(chunk)))
        return
      }
      if (late.length === 0 && delays[direction] === 0) return void to.write(chunk)
      const atMs = Math.max(performance.now() + delays[direction], late.at(-1)?.atMs ?? 0)
      if (late.push({ chunk, atMs }) === 1) setTimeout(arrive, Math.ceil(atMs - performance.now()))
    })
    from.on('close', () => {
      sockets.delete(from)
      if (!dead) to.destroy()
    })
    from.on('error', () => {})
  }

  const accept = (client: Socket) => {
    const nth = ++accepted
    const server = connect({ host: '127.0.0.1', port: targetPort, noDelay: true })
    client.setNoDelay(true)
    sockets.add(client).add(server)
    pass(nth, client, server, 'toServer')
    pass(nth, server, client, 'toClient')
  }

  async function listen(port: number): Promise<Server> {
    const listening = createServer(accept).listen(port, '127.0.0.1')
    await once(listening, 'listening')
    return listening
  }

  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy()
    sockets.clear()
  }
  async function stopListening(): Promise<void> {
    if (!server.listening) return
    server.close()
    cut()
    await once(server, 'close')
  }

  let server = await listen(0)
  const { port } = server.address() as AddressInfo
  return {
    port,
    get connections() {
      return sockets.size / 2
    },
    get accepted() {
      return accepted
    },
    cut,
    lead(port) {
      targetPort = port
      cut()
    },
    refuse: stopListening,
    swallow(...directions) {
      for (const direction of directions.length > 0 ? directions : BOTH) swallowed.add(direction)
    },
    forget: nth => void forgotten.add(nth),
    delay(ms, ...directions) {
      for (const direction of directions.length > 0 ? directions : BOTH) delays[direction] = ms
    },
    garble(reply) {
      garbled = reply
    },
    async restore() {
      swallowed.clear()
      garbled = undefined
      delays.toServer = 0
      delays.toClient = 0
      if (!server.listening) server = await listen(port)
    },
    close: stopListening,
  }
}
