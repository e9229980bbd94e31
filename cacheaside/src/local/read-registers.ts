/** Most characters of registers in each half: about six megabytes, with what was made of all of them. */
const MOST_CHARACTERS = 2 ** 20
/** A longer register is not remembered: a few of them would take the room of all others. */
const MOST_OF_ONE = MOST_CHARACTERS / 32

/** A register's text, and what was made of it. */
interface ReadRegister<Made> {
  readonly text: string
  readonly made: Made
}

/**
 * The texts of registers that this process read last, and what it has made of them. It only saves decoding the same text
 * again: the store is asked each time, and everything that may have changed since is judged each time.
 *
 * There are two halves. What is read goes to the younger one. When that is full, it becomes the older one, and what only the
 * former older one held is forgotten.
 */
export class ReadRegisters<Made> {
  #young = new Map<string, ReadRegister<Made>>()
  #old = new Map<string, ReadRegister<Made>>()
  /** How many the younger half holds. */
  #characters = 0

  /** What was made of this text under this key; `undefined` if it is another one, or not remembered. */
  madeOf(key: string, text: string): Made | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young.text === text ? young.made : undefined
    const old = this.#old.get(key)
    if (old === undefined || old.text !== text) return undefined
    this.#add(key, old)
    return old.made
  }

  /** Remembers what was made of the text of a register: it must be the same for every reader of this text. */
  remember(key: string, text: string, made: Made): void {
    if (text.length > MOST_OF_ONE) return
    this.forget(key)
    this.#add(key, { text, made })
  }

  forget(key: string): void {
    const young = this.#young.get(key)
    if (young !== undefined) {
      this.#characters -= young.text.length
      this.#young.delete(key)
    }
    this.#old.delete(key)
  }

  #add(key: string, register: ReadRegister<Made>): void {
    if (this.#characters + register.text.length > MOST_CHARACTERS) {
      this.#old = this.#young
      this.#young = new Map()
      this.#characters = 0
    }
    this.#characters += register.text.length
    this.#young.set(key, register)
  }
}
