import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Step, stepOf } from '../trials/steps.ts'
import type { Ended, Methods, OpenOptions, Order, Report } from './worker.ts'

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url))
const START_DEADLINE_MS = 60_000
/** How long an answer is waited for, where a trial says nothing else. */
export const CALL_DEADLINE_MS = 120_000

/** A step at which a process is held. */
export interface Hold {
  /** Whether it has come there. */
  readonly isReached: boolean
  /** Resolves when it has come there; rejects when the process has ended. */
  readonly reached: Promise<void>
  letGo(): void
}

/** A process of a trial, from the lab's side. */
export class LabProcess {
  readonly #child: ChildProcess
  readonly #calls = new Map<number, (ended: Ended) => void>()
  readonly #reached = new Map<string, () => void>()
  readonly #exited: Promise<void>
  #started: (problem?: string) => void = () => {}
  #nextCall = 0
  #output = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    const keep = (chunk: Buffer) => {
      this.#output = (this.#output + chunk).slice(-2000)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    this.#exited = once(child, 'exit').then(() => this.#end())
    child.on('message', message => this.#hear(message as Report))
  }

  /** Starts a process that has opened what it was told to. */
  static async start(options: OpenOptions): Promise<LabProcess> {
    const child = fork(WORKER, {
      execArgv: ['--conditions=source', '--import', import.meta.resolve('tsx')],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    const one = new LabProcess(child)
    const isReady = new Promise<void>((resolve, reject) => {
      one.#started = problem => (problem === undefined ? resolve() : reject(new Error(problem)))
      one.#exited.then(() => reject(new Error(`the process ended before it was ready: ${one.#output}`)))
      setTimeout(reject, START_DEADLINE_MS, new Error('the process did not start')).unref()
    })
    one.#send({ open: options })
    try {
      await isReady
    } catch (error) {
      await one.kill()
      throw error
    }
    return one
  }

  /** The version that is answered; `null`: there is no such row. */
  get(id: number): Promise<number | null> {
    return this.#ask('get', id)
  }

  getMany(ids: readonly number[]): Promise<(number | null)[] | null> {
    return this.#ask('getMany', ids)
  }

  getBoth(ids: readonly number[]): Promise<(number | null)[]> {
    return this.#ask('getBoth', ids)
  }

  move(from: number, to: number): Promise<void> {
    return this.#ask('move', from, to)
  }

  getAtOnce(id: number, times: number): Promise<number> {
    return this.#ask('getAtOnce', id, times)
  }

  write(id: number): Promise<string | undefined> {
    return this.#ask('write', id)
  }

  loads(ids: readonly number[]): Promise<number[]> {
    return this.#ask('loads', ids)
  }

  trouble(kind: { delayMs?: number; fail?: boolean }): Promise<void> {
    return this.#ask('trouble', kind)
  }

  /** How a call ends, for trials in which it may fail or take for ever: then `undefined`. */
  attempt(method: 'get' | 'write', id: number, withinMs = CALL_DEADLINE_MS): Promise<Ended | undefined> {
    return this.#call(method, [id], withinMs)
  }

  /** Holds the first of its work on the row that comes to the step. */
  hold(step: Step, id: number): Hold {
    const name = stepOf(step, id)
    const hold = { isReached: false, reached: Promise.resolve(), letGo: () => this.#send({ letGo: name }) }
    hold.reached = new Promise<void>((resolve, reject) => {
      this.#reached.set(name, () => {
        hold.isReached = true
        resolve()
      })
      this.#exited.then(() => reject(new Error(`the process ended before it came to ${name}`)))
    })
    // Where the trial does not wait for it, the end of the process is no news.
    hold.reached.catch(() => {})
    this.#send({ hold: name })
    return hold
  }

  /** Ends it at once, whatever it is doing, and resolves when it has gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  #send(order: Order): void {
    if (this.#child.connected) this.#child.send(order, () => {})
  }

  // biome-ignore lint/suspicious/noExplicitAny: the methods above say what comes back.
  async #ask(method: keyof Methods, ...args: unknown[]): Promise<any> {
    const ended = await this.#call(method, args, CALL_DEADLINE_MS)
    if (ended === undefined) throw new Error(`${method} was not answered within ${CALL_DEADLINE_MS} ms`)
    if (ended.error !== undefined) throw new Error(`${method} failed: ${ended.error}`)
    return ended.value
  }

  #call(method: keyof Methods, args: readonly unknown[], withinMs: number): Promise<Ended | undefined> {
    const call = this.#nextCall++
    return new Promise(resolve => {
      const timer = setTimeout(resolve, withinMs, undefined)
      this.#calls.set(call, ended => {
        clearTimeout(timer)
        resolve(ended)
      })
      if (this.#child.connected) this.#send({ call, method, args })
      else this.#end()
    })
  }

  #hear(report: Report): void {
    if ('ready' in report) this.#started()
    else if ('failed' in report) this.#started(report.failed)
    else if ('reached' in report) {
      this.#reached.get(report.reached)?.()
      this.#reached.delete(report.reached)
    } else {
      this.#calls.get(report.reply)?.(report.ended)
      this.#calls.delete(report.reply)
    }
  }

  #end(): void {
    const error = `the process has ended: ${this.#output.trim() || 'without a word'}`
    for (const answer of this.#calls.values()) answer({ error, tookMs: 0 })
    this.#calls.clear()
  }
}
