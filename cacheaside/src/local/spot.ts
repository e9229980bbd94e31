/**
 * What a value is found by inside its keyspace: its id, in one form for all ids with the same key. So a hit does not have to
 * make the text of a key, and no entry has to keep one.
 *
 * A whole number of at most {@link MOST_DIGITS} digits is that number, also if it was given as a text or a bigint; any other id is
 * its text. A composite id has no spot: it is found by the text of its key.
 */
export type Spot = number | string

/** Up to this many digits are read as a number without any loss. */
const MOST_DIGITS = 15
const LEAST_UNREAD = 10 ** MOST_DIGITS
const MINUS = 45
const ZERO = 48

/** The spot of an id; `undefined` for a composite one, and for what can be no id. */
export function spotOf(id: unknown): Spot | undefined {
  switch (typeof id) {
    case 'number':
      return (id | 0) === id ? id : spotOfNumber(id)
    case 'string':
      return spotOfText(id)
    case 'bigint':
    case 'boolean':
      return spotOfText(String(id))
    default:
      return undefined
  }
}

function spotOfNumber(id: number): Spot | undefined {
  // No key can be made of these numbers, and another id may have their text.
  if (!Number.isFinite(id) || Math.abs(id) > Number.MAX_SAFE_INTEGER) return undefined
  return Number.isInteger(id) && Math.abs(id) < LEAST_UNREAD ? id : '' + id
}

/** The spot of an id that is one part of this text. */
export function spotOfText(text: string): Spot {
  const { length } = text
  const begin = length > 0 && text.charCodeAt(0) === MINUS ? 1 : 0
  const digits = length - begin
  if (digits === 0 || digits > MOST_DIGITS) return text
  if (text.charCodeAt(begin) === ZERO) return length === 1 ? 0 : text
  let number = 0
  for (let at = begin; at < length; at++) {
    const digit = text.charCodeAt(at) - ZERO
    if (digit < 0 || digit > 9) return text
    number = number * 10 + digit
  }
  return begin === 0 ? number : -number
}
