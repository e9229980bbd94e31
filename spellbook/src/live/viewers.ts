import type { ServerResponse } from 'node:http'

/** The limits of viewers. */
export interface ViewerLimits {
  /** How many there are at most. */
  readonly maxViewers: number
  /** How long one may take nothing, in milliseconds, before the connection is ended. */
  readonly takingMs: number
  /** How long nothing is said before a sign of life, in milliseconds. */
  readonly heartbeatMs: number
}

/** Something that every viewer is told. */
export interface Told {
  /** As it goes over the wire. It is made once for all of them. */
  readonly bytes: Buffer
  /** How many reads are in it: a viewer that is too slow loses this many. */
  readonly reads: number
}

interface Viewer {
  readonly response: ServerResponse
  /** How many reads it was not told of since it was last told something. */
  lost: number
  /** Since when it takes nothing; `undefined`: it takes what comes. */
  stuckSinceMs: number | undefined
  toldMs: number
}

/** How many viewers are written to in one turn of the event loop: a thousand at once would hold up every read for 20 ms. */
const AT_ONCE = 50

/** A sign of life, which clients ignore. https://html.spec.whatwg.org/multipage/server-sent-events.html */
const HEARTBEAT = Buffer.from(':\n\n')

/**
 * The viewers, over server-sent events. A message is made once and written to each of them. Nothing is queued for a viewer
 * beyond its socket, which holds at most one message more than its high-water mark. A viewer that is too slow loses messages,
 * and is told how many reads were in them.
 */
export class Viewers {
  readonly #limits: ViewerLimits
  readonly #nowMs: () => number
  readonly #viewers = new Set<Viewer>()
  readonly #timer: NodeJS.Timeout
  #isClosed = false

  /** @param nowMs - A clock that never goes back. */
  constructor(limits: ViewerLimits, nowMs: () => number = () => performance.now()) {
    this.#limits = limits
    this.#nowMs = nowMs
    this.#timer = setInterval(() => this.#look(), limits.heartbeatMs).unref()
  }

  /** How many there are. */
  get size(): number {
    return this.#viewers.size
  }

  /** Whether no other may come. */
  get isFull(): boolean {
    return this.#viewers.size >= this.#limits.maxViewers
  }

  /**
   * Adds a viewer. One who comes after the end gets the greeting, which says when to come again, and nothing else.
   *
   * @param response - With its head written.
   * @param greeting - The first message for this viewer.
   */
  add(response: ServerResponse, greeting: string): void {
    if (this.#isClosed) return void response.end(greeting)
    // A client that closes its side still gets answers that end. This answer has no end.
    if (response.socket?.readableEnded === true) return void response.destroy()
    const viewer: Viewer = { response, lost: 0, stuckSinceMs: undefined, toldMs: this.#nowMs() }
    this.#viewers.add(viewer)
    response.once('close', () => this.#viewers.delete(viewer))
    response.socket?.once('end', () => response.destroy())
    response.on('drain', () => {
      viewer.stuckSinceMs = undefined
    })
    this.#write(viewer, greeting)
  }

  /**
   * Tells all of them, and resolves when it has been written to each. One who comes meanwhile is not told: the message is a part
   * of what the greeting says.
   */
  async tell({ bytes, reads }: Told): Promise<void> {
    let written = 0
    for (const viewer of [...this.#viewers]) {
      if (!this.#viewers.has(viewer)) continue
      this.#tellOne(viewer, bytes, reads)
      if (++written % AT_ONCE === 0) await new Promise(resolve => setImmediate(resolve))
    }
  }

  /** Ends all of them. They may come again, to the next process. */
  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    for (const { response } of this.#viewers) response.end()
    this.#viewers.clear()
  }

  #tellOne(viewer: Viewer, bytes: Buffer, reads: number): void {
    if (viewer.stuckSinceMs !== undefined) {
      viewer.lost += reads
      return
    }
    if (viewer.lost > 0) {
      this.#write(viewer, `event: lost\ndata: ${viewer.lost}\n\n`)
      viewer.lost = 0
    }
    this.#write(viewer, bytes)
  }

  #write(viewer: Viewer, what: Buffer | string): void {
    viewer.toldMs = this.#nowMs()
    if (!viewer.response.write(what)) viewer.stuckSinceMs ??= viewer.toldMs
  }

  /** Sends a sign of life to quiet viewers, and ends those that take nothing. */
  #look(): void {
    const nowMs = this.#nowMs()
    const { takingMs, heartbeatMs } = this.#limits
    for (const viewer of this.#viewers) {
      if (viewer.stuckSinceMs !== undefined) {
        if (nowMs - viewer.stuckSinceMs >= takingMs) viewer.response.destroy()
      } else if (nowMs - viewer.toldMs >= heartbeatMs / 2) this.#write(viewer, HEARTBEAT)
    }
  }
}
