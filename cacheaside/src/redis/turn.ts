import { afterThisTurn } from '../base/clock.ts'

/**
 * Collects what one turn of the event loop sends, so that it leaves together at the end of the turn: each write to a connection
 * takes as long as all the rest of a command.
 *
 * A program that reads one key after the other has only one command in each turn. It would gain nothing, and wait: all that a
 * read has to do behind the sending can be done while the server answers. So the first command of a turn may leave at
 * once if the last turn had no other.
 */
export class Turn {
  readonly #end: () => void
  #commands = 0
  #wasAlone = false

  /** @param sendAll - Called at the end of a turn. */
  constructor(sendAll: () => void) {
    this.#end = () => {
      this.#wasAlone = this.#commands === 1
      this.#commands = 0
      sendAll()
    }
  }

  /** Counts one more command. Returns whether it should leave at once. */
  add(): boolean {
    if (this.#commands++ > 0) return false
    afterThisTurn(this.#end)
    return this.#wasAlone
  }
}
