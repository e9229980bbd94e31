import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** A connection, and all that is heard on it until it is closed. */
export async function dial(
  port: number,
  address = '127.0.0.1',
): Promise<{ socket: Socket; heard: Promise<string> }> {
  const socket = connect(port, address)
  let text = ''
  socket.setEncoding('utf8').on('data', data => {
    text += data
  })
  const heard = new Promise<string>(resolve => {
    socket.on('close', () => resolve(text)).on('error', () => {})
  })
  await once(socket, 'connect')
  return { socket, heard }
}

/** The statuses of the answers in what was heard. */
export const statuses = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
