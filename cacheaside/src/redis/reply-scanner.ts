/** The types of replies with a count of bytes; those of lists have a count of replies. */
const TEXTS = '$!='
const LISTS = '*~>%'
/** The form of the rest of the line in replies of one line. After `+` and `-` any text is valid. */
const LINES: Readonly<Record<string, RegExp>> = {
  '+': /^/,
  '-': /^/,
  ':': /^[+-]?\d+$/,
  '(': /^[+-]?\d+$/,
  '#': /^[tf]$/,
  ',': /^([+-]?(inf|\d+(\.\d*)?([eE][+-]?\d+)?)|nan)$/,
  _: /^$/,
}
const BEFORE_RESP3 = '+-:$*'
const LF = 10
const CR = 13
const TEXT = '$'.charCodeAt(0)
const ZERO = '0'.charCodeAt(0)
const MOST_DIGITS = 10
/** A map of this many pairs still fits, and no list that is asked for here comes near it. */
const MOST_IN_LIST = 1_000_000
const DEEPEST = 16
/** Errors are the longest lines. */
const LONGEST_LINE = 65_536
const LONGEST_SHAPE = 8

/** Bytes that no version of the protocol allows, or that no expected reply contains. */
class MalformedReply extends Error {
  constructor(line: string) {
    super(`a reply of a wrong form came: ${JSON.stringify(line.slice(0, 80))}`)
  }
}

/**
 * Finds where replies begin and end in the bytes of a server, in chunks of any size, without decoding them. It is stricter
 * than the parsers of clients: where it sees the end of a reply, each of them does.
 */
export class ReplyScanner {
  readonly #types: string
  /** How many replies each open list still lacks, outermost first. */
  readonly #lacking: number[] = []
  /** How many bytes of a text are still to come. */
  #skip = 0
  /** The beginning of a line whose end has not come. */
  #line = ''
  #shape = ''

  /** @param isResp3 - whether the types of that version of the protocol may come. */
  constructor(isResp3: boolean) {
    this.#types = isResp3 ? Object.keys(LINES).join('') + TEXTS + LISTS : BEFORE_RESP3
  }

  /** Whether the last reply has ended and the next has not begun. */
  get isBetween(): boolean {
    return this.#skip === 0 && this.#line === '' && this.#lacking.length === 0
  }

  /** The type of the last reply; of a list also its length and the types of its first elements. `_` is null. */
  get shape(): string {
    return this.#shape
  }

  /**
   * Goes on to the end of one reply.
   *
   * @returns the place behind it, or -1 if the chunk ends before it.
   * @throws {@link MalformedReply}
   */
  next(chunk: Buffer, from: number): number {
    let at = from
    if (this.isBetween) this.#shape = ''
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at)
        this.#skip -= skipped
        at += skipped
      } else {
        const text = this.#line === '' ? this.#textAt(chunk, at) : -1
        if (text >= 0) {
          at = text
          continue
        }
        const end = chunk.indexOf(LF, at)
        this.#line += chunk.toString('latin1', at, end < 0 ? chunk.length : end)
        if (this.#line.length > LONGEST_LINE) throw new MalformedReply(this.#line)
        if (end < 0) return -1
        at = end + 1
        const line = this.#line
        this.#line = ''
        if (!this.#isWhole(line)) continue
      }
      if (this.#skip === 0 && this.#closes()) return at
    }
    return -1
  }

  /**
   * Reads the first line of a text by its bytes. Most replies are texts, and making a string of each line takes longer than
   * all that the client does with it.
   *
   * @returns the place behind the line, or -1 if it is anything else, or not whole.
   */
  #textAt(chunk: Buffer, from: number): number {
    if (chunk[from] !== TEXT) return -1
    let length = 0
    let at = from + 1
    for (let digit = chunk[at]! - ZERO; digit >= 0 && digit <= 9; digit = chunk[at]! - ZERO) {
      length = length * 10 + digit
      at++
    }
    const digits = at - from - 1
    if (digits === 0 || digits > MOST_DIGITS || chunk[at] !== CR || chunk[at + 1] !== LF) return -1
    if (this.#lacking.length <= 1) this.#describe('$')
    this.#skip = length + 2
    return at + 2
  }

  /** Reads the first line of a reply, or of one in a list. Returns whether it is all of it. */
  #isWhole(line: string): boolean {
    const type = line[0] ?? ''
    const rest = line.slice(1, -1)
    if (line.length < 2 || line.indexOf('\r') !== line.length - 1 || !this.#types.includes(type))
      throw new MalformedReply(line)
    const isNothing = rest === '-1' && (type === '$' || type === '*')
    this.#describe(isNothing ? '_' : type)
    if (isNothing) return true
    if (LISTS.includes(type)) return !this.#opens(line)
    if (TEXTS.includes(type)) {
      if (!/^\d{1,10}$/.test(rest)) throw new MalformedReply(line)
      this.#skip = Number(rest) + 2
      return false
    }
    if (!LINES[type]!.test(rest)) throw new MalformedReply(line)
    return true
  }

  /** Whether this begins a list that is not empty. */
  #opens(line: string): boolean {
    const length = line.slice(1, -1)
    const count = Number(length) * (line[0] === '%' ? 2 : 1)
    if (!/^\d+$/.test(length) || count > MOST_IN_LIST) throw new MalformedReply(line)
    if (this.#lacking.length === 0) this.#shape += length
    if (count === 0) return false
    if (this.#lacking.length >= DEEPEST) throw new MalformedReply(line)
    this.#lacking.push(count)
    return true
  }

  #describe(type: string): void {
    if (this.#lacking.length <= 1 && this.#shape.length < LONGEST_SHAPE) this.#shape += type
  }

  /** Notes the end of a reply, and whether it was also the end of those that contain it. */
  #closes(): boolean {
    const lacking = this.#lacking
    while (lacking.length > 0) {
      if (--lacking[lacking.length - 1]! > 0) return false
      lacking.pop()
    }
    return true
  }
}
