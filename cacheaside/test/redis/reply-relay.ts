/**
 * Something between a client and a Redis that understands replies, and now and then hands on one too few or one too many:
 * a proxy or a server with a fault. All that follows on the connection is then the answer to another command.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What becomes of one reply: it is lost, handed on twice, or comes after a reply of nothing. */
export const FAULTS = ['lost', 'doubled', 'after a nothing'] as const
export type Fault = (typeof FAULTS)[number]

export interface ReplyRelay {
  readonly port: number
  /** How many connections have been accepted. */
  readonly accepted: number
  /** How many replies have been tampered with. */
  readonly tampered: number
  /** Tampers with the next reply of which this is true. */
  tamper(fault: Fault, isMeant: (reply: string) => boolean): void
  /** Hands on something else in place of the next reply of which this is true. */
  change(change: (reply: Buffer) => Buffer, isMeant: (reply: string) => boolean): void
  /** Hands a reply to everybody, which nobody has asked for. */
  say(reply: string): void
  /** Ends all connections. */
  cut(): void
  close(): Promise<void>
}

/** A reply that is one value. */
export const isValue = (reply: string): boolean => /^\$\d+\r\nV/.test(reply)

/** What replies begin with that are followed by as many bytes as they say, or as many replies. */
const TEXTS = '$=!'
const LISTS = '*>~%'
/** A reply of nothing, in either version of the protocol. The later one greets with a map. */
const nothing = (isLater: boolean): string => (isLater ? '_\r\n' : '$-1\r\n')

type Change = (reply: Buffer, isLater: boolean) => Buffer
const CHANGES: Record<Fault, Change> = {
  lost: () => Buffer.alloc(0),
  doubled: reply => Buffer.concat([reply, reply]),
  'after a nothing': (reply, isLater) => Buffer.concat([Buffer.from(nothing(isLater)), reply]),
}

export async function startReplyRelay(serverPort: number): Promise<ReplyRelay> {
  const sockets = new Set<Socket>()
  let accepted = 0
  let tampered = 0
  let meant: { change: Change; isMeant: (reply: string) => boolean } | undefined

  const handOn = (reply: Buffer, isLater: boolean): Buffer => {
    if (meant?.isMeant(reply.toString('latin1')) !== true) return reply
    const { change } = meant
    meant = undefined
    tampered++
    return change(reply, isLater)
  }

  const server = createServer(socket => {
    accepted++
    sockets.add(socket)
    const upstream = connect(serverPort, '127.0.0.1')
    for (const one of [socket, upstream]) one.on('error', () => {})
    socket.on('data', chunk => upstream.write(chunk))
    socket.on('close', () => {
      sockets.delete(socket)
      upstream.destroy()
    })
    upstream.on('close', () => socket.destroy())
    let rest = Buffer.alloc(0)
    let isLater = false
    upstream.on('data', chunk => {
      rest = Buffer.concat([rest, chunk])
      const out: Buffer[] = []
      for (let end = endOf(rest, 0); end > 0; end = endOf(rest, 0)) {
        isLater ||= rest[0] === 0x25
        out.push(handOn(rest.subarray(0, end), isLater))
        rest = rest.subarray(end)
      }
      if (out.length > 0) socket.write(Buffer.concat(out))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get accepted() {
      return accepted
    },
    get tampered() {
      return tampered
    },
    tamper(fault, isMeant) {
      meant = { change: CHANGES[fault], isMeant }
    },
    change(change, isMeant) {
      meant = { change, isMeant }
    },
    say(reply) {
      for (const socket of sockets) socket.write(reply)
    },
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Where the reply ends that begins here, or -1 if not all of it has come. */
function endOf(bytes: Buffer, at: number): number {
  const line = bytes.indexOf('\r\n', at)
  if (line < 0) return -1
  const type = String.fromCharCode(bytes[at]!)
  const count = Number(bytes.toString('latin1', at + 1, line))
  let end = line + 2
  if (TEXTS.includes(type) && count >= 0) end += count + 2
  else if (LISTS.includes(type))
    for (let i = 0; i < (type === '%' ? 2 * count : count) && end > 0; i++) end = endOf(bytes, end)
  return end <= bytes.length ? end : -1
}
