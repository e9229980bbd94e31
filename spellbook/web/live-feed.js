import { createParser } from '/lib/eventsource-parser/index.js'
import { nextToken, operatorFetch } from './operator.js'

/**
 * @typedef {import('../src/live/wire.ts').Lane} Lane
 * @typedef {import('../src/live/wire.ts').Sample} Sample
 * @typedef {import('../src/live/wire.ts').Hello} Hello
 * @typedef {import('../src/live/wire.ts').Batch} Batch
 */

/**
 * `locked`: it is for those who have the token. `closed`: it is for other visitors. `none`: there is no cache. `full`: as many
 * watch as may. `away`: the server does not answer, or not now.
 *
 * @typedef {'connecting' | 'live' | 'locked' | 'closed' | 'none' | 'full' | 'away'} FeedState
 */

const LANES = 50
const SAMPLES = 120
/** Without a sign of life for so long the connection is taken for dead. The server gives one every 15 seconds. */
const SILENCE_MS = 40_000
/** Where an answer does not say when to ask again. */
const REFUSED_RETRY_MS = 10_000

/** The reads of the server, as they happen. Nothing is asked for while nobody looks at the page. */
export class LiveFeed {
  /** @type {FeedState} */
  state = 'connecting'
  /** The newest first. @type {Lane[]} */
  lanes = []
  /** The newest last. @type {Sample[]} */
  samples = []
  /** How many reads there were. */
  reads = 0
  /** How many of them were not told one by one. */
  untold = 0
  hasLocal = false
  #signal
  #changed
  #lastId = ''
  #retryMs = 2_000

  /**
   * @param {(news: { lanes: Lane[], fills: Batch['fills'] }) => void} changed - Called after every change.
   * @param {AbortSignal} signal
   */
  constructor(changed, signal) {
    this.#changed = changed
    this.#signal = signal
    this.#run()
  }

  async #run() {
    while (!this.#signal.aborted) {
      await seen(this.#signal)
      if (this.#signal.aborted) return
      const waitMs = await this.#connect()
      if (waitMs === undefined) return
      await later(waitMs, this.#signal)
    }
  }

  /** Watches until the connection ends. @returns {Promise<number | undefined>} When to try again; `undefined`: never. */
  async #connect() {
    const leave = new AbortController()
    const end = () => leave.abort()
    const hide = () => document.hidden && end()
    this.#signal.addEventListener('abort', end)
    document.addEventListener('visibilitychange', hide)
    try {
      const headers = this.#lastId === '' ? {} : { 'last-event-id': this.#lastId }
      const response = await operatorFetch('/live', { headers, signal: leave.signal })
      if (!response.ok || response.body === null) return await this.#refused(response)
      this.#become('live')
      await this.#follow(response.body, leave)
      return this.#retryMs
    } catch {
      if (document.hidden) return 0
      this.#become('away')
      return this.#retryMs
    } finally {
      this.#signal.removeEventListener('abort', end)
      document.removeEventListener('visibilitychange', hide)
    }
  }

  /** @param {Response} response */
  async #refused({ status, headers }) {
    if (status === 401 || status === 429) {
      this.#become('locked')
      await nextToken(this.#signal)
      return 0
    }
    if (status === 403 || status === 404) {
      this.#become(status === 403 ? 'closed' : 'none')
      return undefined
    }
    // A server that starts, or has too much to do, also says 503.
    const isFull = headers.get('cache-status')?.endsWith('detail=viewers-full')
    this.#become(isFull ? 'full' : 'away')
    return Number(headers.get('retry-after')) * 1000 || REFUSED_RETRY_MS
  }

  /**
   * @param {ReadableStream<Uint8Array>} body
   * @param {AbortController} leave
   */
  async #follow(body, leave) {
    const parser = createParser({
      onEvent: event => this.#hear(event),
      onRetry: ms => {
        this.#retryMs = ms
      },
    })
    const decoder = new TextDecoder()
    const reader = body.getReader()
    const silent = () => leave.abort()
    let silence = setTimeout(silent, SILENCE_MS)
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        clearTimeout(silence)
        silence = setTimeout(silent, SILENCE_MS)
        parser.feed(decoder.decode(value, { stream: true }))
      }
    } finally {
      clearTimeout(silence)
    }
  }

  /** @param {{ id?: string | undefined, event?: string | undefined, data: string }} event */
  #hear({ id, event, data }) {
    // What was lost also shows as a gap in the numbers of reads.
    if (event !== 'hello' && event !== 'batch') return
    const told = JSON.parse(data)
    const isOtherLife = id?.split('-')[0] !== this.#lastId.split('-')[0]
    this.#lastId = id ?? ''
    if (event === 'hello') this.#begin(told, isOtherLife)
    this.#take(told)
  }

  /**
   * @param {Hello} hello
   * @param {boolean} isOtherLife
   */
  #begin(hello, isOtherLife) {
    this.hasLocal = hello.hasLocal
    this.samples = []
    if (!isOtherLife) return
    this.lanes = []
    this.untold = 0
    // Those before are not missed.
    this.reads = hello.reads - hello.lanes.length
  }

  /** @param {Partial<Batch> & Pick<Batch, 'reads' | 'lanes' | 'samples'>} told */
  #take({ reads, lanes, samples, fills = [] }) {
    const newest = this.lanes[0]?.number ?? 0
    const fresh = lanes.filter(({ number }) => number > newest)
    this.untold += Math.max(0, reads - this.reads - fresh.length)
    this.reads = reads
    this.lanes = [...fresh.toReversed(), ...this.lanes].slice(0, LANES)
    const filled = new Map(fills.map(fill => [fill.number, fill]))
    if (filled.size > 0) this.lanes = this.lanes.map(lane => ({ ...lane, ...filled.get(lane.number) }))
    this.samples = [...this.samples, ...samples].slice(-SAMPLES)
    this.#changed({ lanes: fresh, fills: [...fills] })
  }

  /** @param {FeedState} state */
  #become(state) {
    if (this.state === state) return
    this.state = state
    this.#changed({ lanes: [], fills: [] })
  }
}

/** Resolves when somebody looks at the page. @param {AbortSignal} signal @returns {Promise<void>} */
function seen(signal) {
  if (!document.hidden) return Promise.resolve()
  return new Promise(resolve => {
    const look = () => {
      if (document.hidden && !signal.aborted) return
      document.removeEventListener('visibilitychange', look)
      resolve()
    }
    document.addEventListener('visibilitychange', look)
    signal.addEventListener('abort', look)
  })
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function later(ms, signal) {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
