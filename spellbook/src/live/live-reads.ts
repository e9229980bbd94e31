import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Cache } from 'cacheaside'
import { ReadRecorder } from './read-recorder.ts'
import { Viewers } from './viewers.ts'
import type { Batch, Hello } from './wire.ts'

/** The shortest time between two messages; about six frames of a screen. */
const BATCH_MS = 100
/**
 * Time between two messages, for each viewer. So watching costs at most a thousand writes a second, for any number of
 * viewers: a thousand viewers get one message a second.
 */
const PER_VIEWER_MS = 1
const SECOND_MS = 1_000
const HEARTBEAT_MS = 15_000
const TAKING_MS = 20_000
/** When a viewer whose connection ended may come back. */
const RETRY_MS = 2_000

/** The reads of a cache, sent live to all viewers. */
export class LiveReads {
  readonly viewers: Viewers
  readonly #recorder: ReadRecorder
  readonly #hasLocal: boolean
  /** Tells this life of the process from others, which count from zero. */
  readonly #life = randomUUID().slice(0, 8)
  readonly #silence: () => void
  readonly #seconds: NodeJS.Timeout
  #telling: NodeJS.Timeout | undefined
  #isClosed = false

  /**
   * @param cache - Whose events are told.
   * @param hasLocal - Whether it keeps values in L1.
   * @param maxViewers - How many may watch at once.
   */
  constructor(cache: Pick<Cache, 'listen' | 'stats'>, hasLocal: boolean, maxViewers: number) {
    this.#hasLocal = hasLocal
    this.viewers = new Viewers({ maxViewers, takingMs: TAKING_MS, heartbeatMs: HEARTBEAT_MS })
    this.#recorder = new ReadRecorder(() => cache.stats().now.loads)
    this.#silence = cache.listen(event => {
      this.#recorder.hear(event)
      if (this.viewers.size > 0) this.#tellSoon()
    })
    this.#seconds = setInterval(() => {
      this.#recorder.tick()
      if (this.viewers.size > 0) this.#tellSoon()
      // Dropped: a viewer who comes later gets the last reads in the greeting.
      else this.#recorder.takeNews()
    }, SECOND_MS).unref()
  }

  /**
   * Adds a viewer.
   *
   * @param response - With its head written.
   * @param lastId - The header `Last-Event-ID` of one who comes back.
   */
  add(response: ServerResponse, lastId: string | undefined): void {
    // Nobody else waits for the news: the first viewer gets it in its greeting.
    if (this.viewers.size === 0) this.#recorder.takeNews()
    const hello: Hello = { hasLocal: this.#hasLocal, ...this.#recorder.hello(this.#knownBy(lastId)) }
    this.viewers.add(response, `retry: ${RETRY_MS}\n${this.#message('hello', hello)}`)
  }

  /** Ends all viewers, and listens no more. */
  close(): void {
    this.#isClosed = true
    this.#silence()
    clearInterval(this.#seconds)
    clearTimeout(this.#telling)
    this.viewers.close()
  }

  #tellSoon(): void {
    if (this.#telling !== undefined || this.#isClosed) return
    const ms = Math.max(BATCH_MS, this.viewers.size * PER_VIEWER_MS)
    this.#telling = setTimeout(async () => {
      await this.#tell()
      this.#telling = undefined
      if (this.#recorder.hasNews) this.#tellSoon()
    }, ms).unref()
  }

  async #tell(): Promise<void> {
    if (!this.#recorder.hasNews) return
    const batch = this.#recorder.takeNews()
    await this.viewers.tell({ bytes: Buffer.from(this.#message('batch', batch)), reads: batch.count })
  }

  #message(event: 'hello' | 'batch', data: Hello | Batch): string {
    return `event: ${event}\nid: ${this.#life}-${data.reads}\ndata: ${JSON.stringify(data)}\n\n`
  }

  #knownBy(lastId: string | undefined): number | undefined {
    const [, life, reads] = /^([\da-f]{8})-(\d{1,15})$/.exec(lastId ?? '') ?? []
    return life === this.#life ? Number(reads) : undefined
  }
}
