import { ask } from './ask.js'

/**
 * A list that is shown page by page.
 *
 * @template Row
 */
export class ListPager {
  /** @type {readonly Row[]} */
  rows = []
  /** Where the next page is; `undefined`: there is none. @type {string | undefined} */
  next
  /** Whether it was read once. */
  isRead = false
  #first
  #page
  #draw
  /** Only the answer to the newest question is shown. */
  #newest = 0

  /**
   * @param {string} first - The path of the first page.
   * @param {() => void} draw - Called when there is something new to show.
   */
  constructor(first, draw) {
    this.#first = first
    this.#page = first
    this.#draw = draw
  }

  get isFirst() {
    return this.#page === this.#first
  }

  /**
   * @param {string} [path] - Which page; left out: the one that is shown.
   * @param {boolean} [follows] - See `ask`.
   */
  async read(path = this.#page, follows = false) {
    const turn = ++this.#newest
    const answer = await ask('GET', path, undefined, follows)
    if (turn !== this.#newest || !answer.ok) return answer
    this.#page = path
    this.rows = answer.value
    this.next = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
    this.isRead = true
    this.#draw()
    return answer
  }

  /** Reads the page that is shown again, because of something else that was done. */
  follow() {
    return this.read(this.#page, true)
  }

  readFirst() {
    return this.read(this.#first)
  }

  readNext() {
    return this.read(this.next)
  }
}
