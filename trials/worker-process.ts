import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { argumentsFor } from '../test/programs.ts'
import { type Step, stepOf } from './steps.ts'
import type {
  Operation,
  Order,
  ProcessOptions,
  Report,
  Seen,
  SeenTogether,
  Status,
  Subject,
  Written,
} from './subject.ts'

const START_DEADLINE_MS = 90_000

/** A step at which a process is held. */
export interface Hold {
  /** Resolves when it has come there. */
  readonly reached: Promise<void>
  letGo(): void
}

/** The methods of a subject, from outside. */
type Remote = {
  [Name in keyof Subject]: Subject[Name] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never
}

interface Call {
  resolve(value: unknown): void
  reject(error: Error): void
}

/** A process of a trial, from the test's side. */
export class WorkerProcess implements Remote {
  readonly #child: ChildProcess
  readonly #calls = new Map<number, Call>()
  readonly #reached = new Map<string, () => void>()
  readonly #exited: Promise<void>
  #heard: (history: readonly Operation[]) => void = () => {}
  #ready = () => {}
  #nextCall = 0
  #cleaner: ChildProcess | undefined

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#exited = once(child, 'exit').then(() => this.#fail(new Error('the process has ended')))
    child.on('message', message => this.#hear(message as Report))
  }

  /** Starts a process that has opened what it was told to. */
  static async start(options: ProcessOptions): Promise<WorkerProcess> {
    const [option, file] = argumentsFor('trials/worker.ts')
    const child = fork(file, {
      execArgv: [option],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const worker = new WorkerProcess(child)
    const isReady = new Promise<void>((resolve, reject) => {
      worker.#ready = resolve
      worker.#exited.then(() => reject(new Error('the process ended before it was ready')))
      setTimeout(reject, START_DEADLINE_MS, new Error('the process did not start')).unref()
    })
    worker.#send({ open: options })
    try {
      await isReady
    } catch (error) {
      await worker.kill()
      throw error
    }
    return worker
  }

  get pid(): number {
    return this.#child.pid as number
  }

  get(id: number, strong = false): Promise<Seen> {
    return this.#call('get', id, strong)
  }

  getMany(ids: readonly number[], strong = false): Promise<(number | null)[]> {
    return this.#call('getMany', ids, strong)
  }

  write(id: number, how: { through?: boolean; statement?: boolean } = {}): Promise<Written> {
    return this.#call('write', id, how)
  }

  writeAll(ids: readonly number[]): Promise<Written[]> {
    return this.#call('writeAll', ids)
  }

  move(from: number, to: number): Promise<void> {
    return this.#call('move', from, to)
  }

  snapshot(ids: readonly number[]): Promise<SeenTogether> {
    return this.#call('snapshot', ids)
  }

  status(): Promise<Status> {
    return this.#call('status')
  }

  /** Has it do a random load, and hands out its history bit by bit. */
  runAtRandom(
    load: object,
    heard: (history: readonly Operation[]) => void,
  ): Promise<{ operations: number; failed: number }> {
    this.#heard = heard
    return this.#call('runAtRandom', load)
  }

  /** Holds the first of its work on the key that comes to the step. */
  hold(step: Step, id: number): Hold {
    const name = stepOf(step, id)
    const reached = new Promise<void>((resolve, reject) => {
      this.#reached.set(name, resolve)
      this.#exited.then(() => reject(new Error(`the process ended before it came to ${name}`)))
    })
    // Where the test does not wait for it, the end of the process is no news.
    reached.catch(() => {})
    this.#send({ hold: name })
    return { reached, letGo: () => this.#send({ letGo: name }) }
  }

  /** Has it end at the step as by `kill -9`, and resolves when it has gone. */
  async dieAt(step: Step, id: number): Promise<void> {
    this.#send({ dieAt: stepOf(step, id) })
    await this.#exited
  }

  /**
   * Stops it where it is. Should the test end meanwhile, in whatever way, a helper lets it go on, so that it notices
   * that it is alone.
   */
  async suspend(): Promise<void> {
    const cleaner = spawn(
      'sh',
      ['-c', 'trap "" HUP INT TERM; cat >/dev/null; kill -CONT "$1"', 'cleaner', `${this.pid}`],
      {
        detached: true,
        stdio: ['pipe', 'ignore', 'ignore'],
      },
    )
    await once(cleaner, 'spawn')
    this.#cleaner = cleaner
    this.#child.kill('SIGSTOP')
  }

  /** Lets it go on. */
  async resume(): Promise<void> {
    const cleaner = this.#cleaner
    if (cleaner === undefined) return
    this.#cleaner = undefined
    cleaner.stdin?.end()
    await once(cleaner, 'exit')
  }

  /** Ends it at once, whatever it is doing, and resolves when it has gone. */
  async kill(): Promise<void> {
    await this.resume()
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  #send(order: Order): void {
    if (this.#child.connected) this.#child.send(order, () => {})
  }

  // biome-ignore lint/suspicious/noExplicitAny: the methods above say what comes back.
  #call(method: string, ...args: unknown[]): Promise<any> {
    const call = this.#nextCall++
    return new Promise((resolve, reject) => {
      if (!this.#child.connected) return reject(new Error('the process has ended'))
      this.#calls.set(call, { resolve, reject })
      this.#send({ call, method, args })
    })
  }

  #hear(report: Report): void {
    if ('ready' in report) this.#ready()
    else if ('reached' in report) {
      this.#reached.get(report.reached)?.()
      this.#reached.delete(report.reached)
    } else if ('history' in report) this.#heard(report.history)
    else {
      const call = this.#calls.get(report.reply)
      this.#calls.delete(report.reply)
      if (report.error === undefined) call?.resolve(report.value)
      else call?.reject(new Error(report.error))
    }
  }

  #fail(error: Error): void {
    for (const { reject } of this.#calls.values()) reject(error)
    this.#calls.clear()
  }
}
