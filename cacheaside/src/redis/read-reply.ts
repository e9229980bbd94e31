const TEXT = '$'.charCodeAt(0)
const LIST = '*'.charCodeAt(0)
const INTEGER = ':'.charCodeAt(0)
const NOTHING = '_'.charCodeAt(0)
const PLUS = '+'.charCodeAt(0)
const MINUS = '-'.charCodeAt(0)
const ZERO = '0'.charCodeAt(0)
const LINE_END = 2

/** What a reply says, with texts as strings. */
export type Reply = string | number | null | readonly Reply[]

/**
 * Reads a reply to a command of the store. The parsers of clients make a buffer of each text before it becomes a string.
 * That takes longer than all else they do.
 *
 * @param from - Where the reply begins. `ReplyScanner` has found it whole and well-formed.
 * @returns `undefined` for a reply of another type, such as an error, or one with such a reply in it.
 */
export function readReply(chunk: Buffer, from: number): Reply | undefined {
  return new ReplyReader(chunk, from).next()
}

class ReplyReader {
  readonly #chunk: Buffer
  #at: number

  constructor(chunk: Buffer, at: number) {
    this.#chunk = chunk
    this.#at = at
  }

  next(): Reply | undefined {
    switch (this.#chunk[this.#at++]) {
      case TEXT:
        return this.#text()
      case LIST:
        return this.#list()
      case INTEGER:
        return this.#number()
      case NOTHING:
        this.#at += LINE_END
        return null
      default:
        return undefined
    }
  }

  #text(): string | null {
    const length = this.#number()
    if (length < 0) return null
    const begin = this.#at
    const end = begin + length
    this.#at = end + LINE_END
    return this.#chunk.toString('utf8', begin, end)
  }

  #list(): Reply[] | null | undefined {
    const length = this.#number()
    if (length < 0) return null
    const replies: Reply[] = []
    for (let i = 0; i < length; i++) {
      const reply = this.next()
      if (reply === undefined) return undefined
      replies.push(reply)
    }
    return replies
  }

  /** The number to the end of the line. */
  #number(): number {
    const chunk = this.#chunk
    const sign = chunk[this.#at]
    if (sign === MINUS || sign === PLUS) this.#at++
    let number = 0
    let at = this.#at
    for (let digit = chunk[at]! - ZERO; digit >= 0 && digit <= 9; digit = chunk[at]! - ZERO) {
      number = number * 10 + digit
      at++
    }
    this.#at = at + LINE_END
    return sign === MINUS ? -number : number
  }
}
