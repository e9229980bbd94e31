import { hash } from 'node:crypto'
import type { Prepared } from './prepared-head.ts'

/** A value as it is sent: its JSON, and the header fields that depend on it alone. */
export interface Representation extends Prepared {
  /** Its strong entity tag. @see https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3 */
  readonly etag: string
  readonly headers: Readonly<Record<string, string>>
}

/** How a value is shown. */
export interface Shown {
  /** What the body tells. */
  readonly content: unknown
  /** Header fields that are part of the representation: if they differ, so do the entity tags. */
  readonly headers: Readonly<Record<string, string>>
}

const made = new WeakMap<object, Representation>()

/**
 * A value as it is sent. The cache hands out the same frozen value again and again, so this is made once for each.
 *
 * @param show - Shows the value. It must give the same result for the same value each time.
 */
export function representationOf<T extends object>(value: T, show: (value: T) => Shown): Representation {
  const known = made.get(value)
  if (known !== undefined) return known
  const { content, headers } = show(value)
  const body = JSON.stringify(content)
  const etag = entityTag(body + JSON.stringify(headers))
  // A browser may keep it, and asks each time whether it is still so.
  const always = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-cache', etag }
  const all = { ...always, ...headers }
  const fields = Object.entries({ ...all, 'content-length': String(Buffer.byteLength(body)) }).flat()
  const representation = { body, etag, headers: all, fields }
  if (Object.isFrozen(value)) made.set(value, representation)
  return representation
}

/** Long enough that nobody finds two texts with one tag. */
const ETAG_LENGTH = 27

const entityTag = (text: string): string => `"${hash('sha256', text, 'base64url').slice(0, ETAG_LENGTH)}"`
