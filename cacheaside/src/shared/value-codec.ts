import type { Codec } from './codec.ts'
import { isPlainJson } from './plain-json.ts'
import { readMarked } from './read-marked.ts'
import { MarkedWriting } from './write-marked.ts'

/** The first character of a text with marks. No JSON begins with it. */
const MARKED = '~'
const MARKED_CODE = MARKED.charCodeAt(0)

/**
 * The default codec: JSON, and what JSON has no words for.
 *
 * A value that is plain JSON is stored as `JSON.stringify` writes it, byte for byte. Any other is stored as `~` and JSON
 * in which `{"$Date":"2026-11-23T00:02:09.966Z"}` stands for a `Date`, and so on: `docs/values.md` has the table. Kept
 * are `Date`, `Map`, `Set`, `URL`, `RegExp`, the errors of the language, `Buffer`, typed arrays, `ArrayBuffer`,
 * `DataView`, `bigint`, `undefined`, `NaN`, the infinities, `-0`, holes of arrays and objects without a prototype. An instance of
 * a class is kept as what its `toJSON` answers with, and `Kept` is the type of that.
 *
 * `encode` throws for what cannot be kept, and says where in the value it is: functions, symbols, instances of a class
 * without `toJSON`, an object that holds itself, more than 500 levels. Plain JSON may have as many as `JSON.stringify` writes.
 * `decode` throws for a text that is neither, and makes only the values named here.
 */
export const valueCodec: Codec<unknown> = {
  encode(value) {
    // If a getter or a trap throws, it throws again below, where its place is known.
    if (isPlainSafely(value)) {
      try {
        return JSON.stringify(value)
      } catch {
        // It holds itself, or is too deep or too large: the writing below says what, and where.
      }
    }
    const { json, marked } = new MarkedWriting().write(value)
    const text = JSON.stringify(isPolluted() ? withoutToJson(json) : json)
    return marked ? MARKED + text : text
  },
  decode: text =>
    text.charCodeAt(0) === MARKED_CODE ? readMarked(JSON.parse(text.slice(1))) : JSON.parse(text),
}

/** Whether somebody has given all objects or all arrays a `toJSON`. */
const isPolluted = (): boolean => 'toJSON' in Object.prototype || 'toJSON' in Array.prototype

/** Keeps `JSON.stringify` from calling a `toJSON` of the JSON: that of the value has been called already. */
function withoutToJson(json: unknown): unknown {
  const found = new Set([json])
  // The set grows while it is walked.
  for (const one of found) {
    if (typeof one !== 'object' || one === null) continue
    for (const inner of Object.values(one)) found.add(inner)
    if (!Object.hasOwn(one, 'toJSON')) Object.defineProperty(one, 'toJSON', { value: undefined })
  }
  return json
}

function isPlainSafely(value: unknown): boolean {
  try {
    return isPlainJson(value)
  } catch {
    return false
  }
}
