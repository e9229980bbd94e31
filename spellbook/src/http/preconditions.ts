import type { IncomingHttpHeaders } from 'node:http'

/**
 * The conditions of a request: `If-Match` and `If-None-Match`. No answer here has a date, so conditions on dates are ignored,
 * as RFC 9110 asks of a server without dates.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13
 */

/** An entity tag, weak or strong, between commas. A list may have empty places. */
const MEMBER = /[\t ,]*(?:(W\/)?("[\x21\x23-\x7e\x80-\xff]*")[\t ]*(?:,[\t ,]*|$))/y

/** A field of either condition: `*`, or entity tags; `undefined` if it is neither. */
function* tagsIn(field: string): Generator<{ readonly tag: string; readonly weak: boolean } | undefined> {
  MEMBER.lastIndex = 0
  let at = 0
  do {
    MEMBER.lastIndex = at
    const found = MEMBER.exec(field)
    if (found === null) return yield undefined
    at = MEMBER.lastIndex
    yield { tag: found[2]!, weak: found[1] !== undefined }
  } while (at < field.length)
}

/** Whether a field names a tag; `malformed` if the field is not valid as a whole. */
function names(field: string, tag: string, comparison: 'weak' | 'strong'): boolean | 'malformed' {
  let found = false
  for (const member of tagsIn(field)) {
    if (member === undefined) return 'malformed'
    if (member.tag === tag && (comparison === 'weak' || !member.weak)) found = true
  }
  return found
}

type Conditions = Pick<IncomingHttpHeaders, 'if-match' | 'if-none-match'>

/** What a condition asks of a read. */
export type ReadVerdict = 'send' | 'not modified' | 'failed'

/**
 * How to answer a read that finds something. A malformed condition is ignored.
 *
 * @param etag - The strong entity tag of what was found.
 */
export function judgeRead(
  { 'if-match': wanted = '*', 'if-none-match': known }: Conditions,
  etag: string,
): ReadVerdict {
  if (wanted !== '*' && names(wanted, etag, 'strong') === false) return 'failed'
  if (known === undefined) return 'send'
  return known === '*' || names(known, etag, 'weak') === true ? 'not modified' : 'send'
}

/** The present state on which a change has a condition. */
export interface Present {
  /** Whether the target of the request is there. */
  readonly exists: boolean
  /** Its strong entity tag. */
  readonly etag: string
}

/**
 * The condition of a change. It is checked against the locked row, which cannot change before the change is made. A malformed
 * condition does not hold: its purpose is unknown.
 *
 * @returns nothing if there is none.
 */
export function conditionOf({
  'if-match': wanted,
  'if-none-match': unwanted,
}: Conditions): ((present: Present) => boolean) | undefined {
  if (wanted === undefined && unwanted === undefined) return undefined
  return ({ exists, etag }) => {
    const isWanted =
      wanted === undefined || (wanted === '*' ? exists : names(wanted, etag, 'strong') === true)
    const isUnwanted =
      unwanted !== undefined && (unwanted === '*' ? exists : names(unwanted, etag, 'weak') !== false)
    return isWanted && !isUnwanted
  }
}
