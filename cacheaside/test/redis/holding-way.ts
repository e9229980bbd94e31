import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What a client has sent, and the server has not got. */
interface Kept {
  readonly chunk: Buffer
  readonly socket: Socket
  readonly upstream: Socket
}

/** A way to the server that can keep back what clients send. */
export async function startHoldingWay(serverPort: number) {
  const sockets = new Set<Socket>()
  /** From the command on that has this text; `undefined`: nothing is kept back. */
  let from: string | undefined
  let kept: Kept[] = []
  const way = createServer(socket => {
    const upstream = connect(serverPort, '127.0.0.1')
    for (const one of [socket, upstream]) sockets.add(one.on('error', () => {}))
    socket.on('data', chunk => {
      const at = kept.length > 0 ? 0 : beginOf(chunk, from)
      if (at > 0) upstream.write(chunk.subarray(0, at))
      if (at < chunk.length) kept.push({ chunk: chunk.subarray(at), socket, upstream })
    })
    upstream.pipe(socket)
    socket.on('close', () => upstream.destroy())
  })
  way.listen(0, '127.0.0.1')
  await once(way, 'listening')
  return {
    port: (way.address() as AddressInfo).port,
    /** What is kept back. */
    get held() {
      return Buffer.concat(kept.map(({ chunk }) => chunk)).toString('latin1')
    },
    /** Keeps back all from now on, or from the command on that has this text. */
    hold(text = '') {
      from = text
    },
    /** Hands a reply to the clients of what is kept back. */
    say(reply: string) {
      for (const socket of new Set(kept.map(one => one.socket))) socket.write(reply)
    },
    letGo() {
      from = undefined
      for (const { chunk, upstream } of kept) upstream.write(chunk)
      kept = []
    },
    close() {
      for (const socket of sockets) socket.destroy()
      way.close()
    },
  }
}

/** Where the first command begins that has this text; the end, if none does. */
function beginOf(chunk: Buffer, text: string | undefined): number {
  if (text === '') return 0
  const at = text === undefined ? -1 : chunk.indexOf(text)
  if (at < 0) return chunk.length
  const end = chunk.lastIndexOf('\r\n*', at)
  return end < 0 ? 0 : end + 2
}
