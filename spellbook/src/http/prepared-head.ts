import { SECURITY_HEADERS } from './security-headers.ts'

/** Names and values of header fields, by turns, as `writeHead` takes them. */
export type Fields = readonly string[]

/** What is prepared with a value. */
export interface Prepared {
  readonly body: string
  /** The fields that depend on the value, with the length of the body. */
  readonly fields: Fields
}

/** How long a connection is kept open after an answer. */
export const KEPT_MS = 72_000

const { 'cache-control': _, ...common } = SECURITY_HEADERS
/** The fields of all prepared answers. They say themselves how long they may be kept elsewhere. */
export const COMMON: Fields = Object.entries(common).flat()
const COMMON_TEXT = `HTTP/1.1 200 OK\r\n${linesOf(COMMON)}`
const END_TEXT = `Connection: keep-alive\r\nKeep-Alive: timeout=${KEPT_MS / 1_000}\r\n\r\n`

function linesOf(fields: Fields): string {
  let text = ''
  for (let at = 0; at < fields.length; at += 2) text += `${fields[at]}: ${fields[at + 1]}\r\n`
  return text
}

const SECOND_MS = 1_000
let dateMs = 0
let dateText = ''

/** The field `Date`. Formatting it takes as long as all the rest of the head. */
function dateLine(): string {
  const nowMs = Math.floor(Date.now() / SECOND_MS) * SECOND_MS
  if (nowMs !== dateMs) {
    dateMs = nowMs
    dateText = `Date: ${new Date(nowMs).toUTCString()}\r\n`
  }
  return dateText
}

/** An answer as it is sent, on a connection that is kept open. Its head is the one that Node makes of the same fields. */
export const preparedText = ({ body, fields }: Prepared, others: Fields): string =>
  COMMON_TEXT + linesOf(fields) + linesOf(others) + dateLine() + END_TEXT + body
