import type { Clock } from '../base/clock.ts'

/** One call, as it was sent. */
export interface SentOperation<Operation extends string = string> {
  readonly operation: Operation
  readonly arguments: readonly unknown[]
  /** When, by the clock's {@link Clock.nowMs}. */
  readonly atMs: number
}

/**
 * The faults that a test can give a network.
 *
 * A fault without an operation's name holds for all of them. A later fault of an operation replaces an earlier
 * one; all hold until {@link NetworkFaults.restore}.
 */
export interface NetworkFaults<Operation extends string> {
  /** How often each operation was sent, with or without success. */
  readonly calls: Readonly<Record<Operation, number>>
  /** Everything that was sent, in order. */
  readonly log: readonly SentOperation<Operation>[]

  /**
   * A server that has stopped (SIGSTOP, a full queue): nothing is answered, and nothing is applied *yet*. `restore` applies
   * the sent operations, late and in order; `cut` loses them.
   */
  hang(operation?: Operation): void
  /** A server that refuses: nothing is applied, and `error` is the answer. */
  fail(operation?: Operation, error?: Error): void
  /** A distant server: applied after half of `ms` milliseconds and answered after all of them. */
  delay(ms: number, operation?: Operation): void
  /**
   * Operations are applied, and their replies are lost: the answer is an error of the connection. With `'silence'` there is
   * no answer until `restore` or `cut`, which then give that error.
   */
  loseReplies(operation?: Operation, how?: 'error' | 'silence'): void
  /**
   * The connection is lost: new operations are refused at once, and those under way get an error. (`hang` is a dead
   * connection without a sign.)
   */
  cut(): void
  /** Ends the faults of this operation, or all of them; after a `cut` it reconnects. */
  restore(operation?: Operation): void
}

type Fault =
  | { readonly kind: 'hang' }
  | { readonly kind: 'fail'; readonly error: Error }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'lose'; readonly how: 'error' | 'silence' }

/** An operation that was sent and has not been answered. */
interface UnderWay<Operation> {
  readonly operation: Operation
  /** Goes on as if the fault had not been. */
  resume(): void
  lose(error: Error): void
}

/** The way of one process to a server, which a test can make slow, lossy or dead: commands and replies. */
export class FaultyLine<Operation extends string> implements NetworkFaults<Operation> {
  readonly calls: Readonly<Record<Operation, number>>
  readonly log: SentOperation<Operation>[] = []
  readonly #counts: Record<Operation, number>
  readonly #operations: readonly Operation[]
  readonly #server: string
  readonly #clock: Clock
  readonly #faults = new Map<Operation, Fault>()
  readonly #underWay = new Set<UnderWay<Operation>>()
  #isCut = false
  #isClosed = false

  /** @param server - the name of the other end, for the messages of errors. */
  constructor(operations: readonly Operation[], server: string, clock: Clock) {
    this.#operations = operations
    this.#server = server
    this.#clock = clock
    this.#counts = Object.fromEntries(operations.map(name => [name, 0])) as Record<Operation, number>
    this.calls = this.#counts
  }

  get isCut(): boolean {
    return this.#isCut
  }

  hang(operation?: Operation): void {
    this.#set(operation, { kind: 'hang' })
  }
  fail(operation?: Operation, error: Error = new Error(`${this.#server} refused`)): void {
    this.#set(operation, { kind: 'fail', error })
  }
  delay(ms: number, operation?: Operation): void {
    this.#set(operation, { kind: 'delay', ms })
  }
  loseReplies(operation?: Operation, how: 'error' | 'silence' = 'error'): void {
    this.#set(operation, { kind: 'lose', how })
  }

  cut(): void {
    this.#isCut = true
    this.loseAll()
  }

  /** @param before - called when operations can be sent again, and before those under way go on. */
  restore(operation?: Operation, before: () => void = () => {}): void {
    for (const name of this.#named(operation)) this.#faults.delete(name)
    if (operation === undefined) this.#isCut = false
    before()
    for (const sent of [...this.#underWay]) if (!this.#faults.has(sent.operation)) sent.resume()
  }

  /** Ends it for good: nothing that is sent from now on arrives. */
  close(): void {
    this.#isClosed = true
    this.loseAll()
  }

  /** Answers all operations under way with the error of a lost connection. */
  loseAll(): void {
    for (const sent of [...this.#underWay]) sent.lose(this.lost())
  }

  /** The error of a lost connection. */
  lost(): Error {
    return new Error(`the connection to ${this.#server} was lost`)
  }

  /** Sends an operation over the line; `apply` runs it at the other end. */
  send<T>(operation: Operation, args: readonly unknown[], apply: () => Promise<T>): Promise<T> {
    this.#counts[operation]++
    this.log.push({ operation, arguments: args, atMs: this.#clock.nowMs() })
    if (this.#isClosed) return Promise.reject(this.lost())
    if (this.#isCut) return Promise.reject(this.lost())
    const fault = this.#faults.get(operation)
    switch (fault?.kind) {
      case undefined:
        return apply()
      case 'fail':
        return Promise.reject(fault.error)
      case 'hang':
        return this.#stop(operation, apply)
      case 'delay':
        return this.#travel(operation, fault.ms, apply)
      case 'lose':
        // Nobody hears the answer, even if it is an error.
        apply().catch(() => {})
        if (fault.how === 'error') return Promise.reject(this.lost())
        return this.#stop(operation, () => Promise.reject(this.lost()))
    }
  }

  #set(operation: Operation | undefined, fault: Fault): void {
    for (const name of this.#named(operation)) this.#faults.set(name, fault)
  }

  #named(operation: Operation | undefined): readonly Operation[] {
    return operation === undefined ? this.#operations : [operation]
  }

  /** Waits for `restore`, then goes on with `next`; or is lost. */
  #stop<T>(operation: Operation, next: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const sent: UnderWay<Operation> = {
        operation,
        resume: () => {
          this.#underWay.delete(sent)
          next().then(resolve, reject)
        },
        lose: error => {
          this.#underWay.delete(sent)
          reject(error)
        },
      }
      this.#underWay.add(sent)
    })
  }

  /** Half of the way there, the other half back. A connection that is lost stops it where it is. */
  #travel<T>(operation: Operation, ms: number, apply: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const sent: UnderWay<Operation> = {
        operation,
        // An operation on its way keeps its delay, even if the fault has been taken away.
        resume: () => {},
        lose: error => {
          this.#underWay.delete(sent)
          timer.cancel()
          reject(error)
        },
      }
      this.#underWay.add(sent)
      const wayBack = (deliver: () => void) => {
        if (!this.#underWay.has(sent)) return
        timer = this.#clock.after(ms / 2, () => {
          this.#underWay.delete(sent)
          deliver()
        })
      }
      let timer = this.#clock.after(ms / 2, () => {
        apply().then(
          value => wayBack(() => resolve(value)),
          error => wayBack(() => reject(error)),
        )
      })
    })
  }
}
