/**
 * How a register tells which key it belongs to: the token of a lease and the nonce of a value begin with a version
 * character and a short keyed hash of the key, and go on with random characters, which are the hash's own key.
 *
 * So a reply that a broken server or proxy gives to the wrong question is recognised without a round trip. The hash is
 * HalfSipHash-1-3. A new key of the hash is drawn for every token, so nobody can choose two ids with the same mark.
 *
 * @see https://www.aumasson.jp/siphash/siphash.pdf
 */

/** The first character of this version's tokens. Not a base64url character: tokens of earlier versions consist of those. */
const VERSION = '.'
const MARK_LENGTH = 5
const BITS = 6
const SALT_AT = 1 + MARK_LENGTH

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const VALUES = new Uint8Array(128)
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i

/** Whose token this is: of this key; of another; of an earlier version, whose tokens do not tell; of a later version. */
export type Mark = 'own' | 'foreign' | 'none' | 'later'

/**
 * A random token, with the mark of a key.
 *
 * @param token - 16 random characters of base64url, as a `Clock` draws them.
 */
export function markedToken(key: string, token: string): string {
  const hash = hashOf(key, token, SALT_AT)
  let mark = ''
  for (let i = MARK_LENGTH - 1; i >= 0; i--) mark += ALPHABET[(hash >>> (i * BITS)) & 63]
  return VERSION + mark + token.slice(SALT_AT)
}

/**
 * Whose a text is, by the token in it.
 *
 * @param at - Where the token begins in the text.
 */
export function markAt(text: string, at: number, key: string): Mark {
  const version = versionAt(text, at)
  if (version !== 'this') return version === 'earlier' ? 'none' : 'later'
  return partAt(text, at + 1) === hashOf(key, text, at + SALT_AT) ? 'own' : 'foreign'
}

/** Which version of the library has made the token that begins here. */
export function versionAt(text: string, at: number): 'earlier' | 'this' | 'later' {
  const code = text.charCodeAt(at)
  if (code === 46) return 'this'
  const isBase64url = (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 57)
  return isBase64url || code === 45 || code === 95 ? 'earlier' : 'later'
}

/** Five characters as a number of 30 bits. Written out: read three times at every hit. */
function partAt(text: string, at: number): number {
  return (
    (VALUES[text.charCodeAt(at) & 127]! << (4 * BITS)) |
    (VALUES[text.charCodeAt(at + 1) & 127]! << (3 * BITS)) |
    (VALUES[text.charCodeAt(at + 2) & 127]! << (2 * BITS)) |
    (VALUES[text.charCodeAt(at + 3) & 127]! << BITS) |
    VALUES[text.charCodeAt(at + 4) & 127]!
  )
}

/** HalfSipHash-1-3 of a key under the ten characters of a text from `saltAt`, cut to 30 bits. */
function hashOf(key: string, text: string, saltAt: number): number {
  const k0 = partAt(text, saltAt)
  const k1 = partAt(text, saltAt + MARK_LENGTH)
  let v0 = k0
  let v1 = k1
  let v2 = 0x6c796765 ^ k0
  let v3 = 0x74656462 ^ k1
  // The key's UTF-16, two units to a word, then a word with its length; three more rounds end it.
  const { length } = key
  const pairs = length >> 1
  for (let i = 0; i < pairs + 4; i++) {
    let word = 0
    if (i < pairs) word = key.charCodeAt(2 * i) | (key.charCodeAt(2 * i + 1) << 16)
    else if (i === pairs) word = (length % 2 === 1 ? key.charCodeAt(2 * i) : length & 0xffff) | (length << 16)
    else if (i === pairs + 1) v2 ^= 0xff
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  return (v1 ^ v3) & 0x3fffffff
}
