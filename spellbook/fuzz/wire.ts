import { connect } from 'node:net'

/** What is said on one connection, and how it ends. */
export interface Talk {
  readonly bytes: Buffer
  /** So much is sent, and then the connection is reset; left out: all is sent, and the sending side is closed. */
  readonly cutAt?: number
}

/** An answer, taken apart. */
export interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** How long to wait for the server to do what it must, such as to end a connection on which all has been said. */
export const PATIENCE_MS = 30_000

/**
 * Says it, and answers with what is heard until the server ends the connection.
 *
 * @throws Error if the server does not end it.
 */
export function say(port: number, { bytes, cutAt }: Talk): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const heard: Buffer[] = []
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => {
      if (cutAt === undefined) socket.end(bytes)
      else socket.write(bytes.subarray(0, cutAt), () => socket.resetAndDestroy())
    })
    socket.setTimeout(PATIENCE_MS, () => {
      reject(new Error(`no end within ${PATIENCE_MS} ms`))
      socket.destroy()
    })
    socket.on('data', data => heard.push(data))
    socket.on('end', () => socket.destroy())
    // A server that will not hear the rest may reset the connection; what it said before counts.
    socket.on('error', () => {})
    socket.on('close', () => resolve(Buffer.concat(heard)))
  })
}

/**
 * Takes apart the answers to requests with these methods.
 *
 * @throws Error if what was heard is no sequence of answers, each as long as it says.
 */
export function answersIn(heard: Buffer, methods: readonly string[]): Answer[] {
  const answers: Answer[] = []
  let rest = heard
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n')
    const [line = '', ...fields] = rest.subarray(0, Math.max(0, end)).toString('latin1').split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1])
    if (end === -1 || Number.isNaN(status))
      throw new Error(`no answer: ${JSON.stringify(rest.toString('latin1'))}`)
    rest = rest.subarray(end + 4)
    if (status === 100) continue
    const headers = new Map(
      fields.map(field => {
        const at = field.indexOf(':')
        return [field.slice(0, at).toLowerCase(), field.slice(at + 1).trim()]
      }),
    )
    // These have no body, whatever their length says (RFC 9112, section 6.3).
    const isBare = methods[answers.length] === 'HEAD' || status === 204 || status === 304
    const length = isBare ? 0 : Number(headers.get('content-length'))
    if (!(length <= rest.length)) throw new Error(`an answer of ${length} bytes is cut off: ${line}`)
    answers.push({ status, headers, body: rest.subarray(0, length).toString('utf8') })
    rest = rest.subarray(length)
  }
  return answers
}
