import { afterThisTurn } from '../base/clock.ts'

/**
 * Collects what one turn of the event loop sends, so that it leaves together at the end of the turn: each write to a connection
 * takes as long as all the rest of a command.
 *
 * A program that reads one key after the other has only one command in each turn. It would gain nothing, and wait: all that a
 * read has to do behind the sending can be done while the server answers. So a command may leave at once if the last one
 * was alone in its turn. Until a reply has come, the next one counts as one of the same turn: to ask for each turn's end
 * would take a tenth of what a read does here.
 */
export class Turn {
  readonly #end: () => void
  /** How many commands wait for the end of this turn. */
  #waiting = 0
  #wasAlone = false
  /** A command has left at once, and no reply has come since. */
  #hasOneLeft = false

  /** @param sendAll - Called at the end of a turn in which commands wait. */
  constructor(sendAll: () => void) {
    this.#end = () => {
      this.#wasAlone = this.#waiting === 1 && !this.#hasOneLeft
      this.#waiting = 0
      this.#hasOneLeft = false
      sendAll()
    }
  }

  /** Counts one more command. Returns whether it should leave at once. */
  add(): boolean {
    if (this.#wasAlone && !this.#hasOneLeft && this.#waiting === 0) {
      this.#hasOneLeft = true
      return true
    }
    if (this.#waiting++ === 0) afterThisTurn(this.#end)
    return false
  }

  /** A reply has come. So the turn of the command that has left at once is over. */
  replied(): void {
    this.#hasOneLeft = false
  }
}
