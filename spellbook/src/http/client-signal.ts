import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

type Listener = NonNullable<Parameters<AbortSignal['addEventListener']>[1]>

/**
 * Aborts when the client has left before it had its answer. Fastify's `request.signal` does the same, but makes an
 * `AbortController`, which takes as long as a hit; and every read that waits for Redis listens. This one listens to the
 * connection, and only while somebody listens to it.
 */
export class ClientSignal implements AbortSignal {
  onabort: AbortSignal['onabort'] = null
  readonly #socket: Socket
  #reason: DOMException | undefined
  #listeners: Set<Listener> | undefined
  #onClose: (() => void) | undefined

  constructor({ socket }: Pick<IncomingMessage, 'socket'>) {
    this.#socket = socket
  }

  get aborted(): boolean {
    return this.#reason !== undefined
  }

  get reason(): unknown {
    return this.#reason
  }

  throwIfAborted(): void {
    if (this.#reason !== undefined) throw this.#reason
  }

  addEventListener(type: string, listener: Listener | null): void {
    if (type !== 'abort' || listener === null || this.aborted) return
    if (this.#listeners === undefined) {
      this.#listeners = new Set()
      this.#onClose = () => this.dispatchEvent(new Event('abort'))
      this.#socket.once('close', this.#onClose)
    }
    this.#listeners.add(listener)
  }

  removeEventListener(_type: string, listener: Listener | null): void {
    if (listener === null || !this.#listeners?.delete(listener) || this.#listeners.size > 0) return
    this.#listeners = undefined
    this.#socket.off('close', this.#onClose!)
  }

  /** Aborts it. Each listener is told once. */
  dispatchEvent(event: Event): boolean {
    this.#reason = new DOMException('The client has left', 'AbortError')
    const listeners = this.#listeners ?? []
    this.#listeners = undefined
    this.onabort?.call(this, event)
    for (const listener of listeners) {
      if (typeof listener === 'function') listener.call(this, event)
      else listener.handleEvent(event)
    }
    return true
  }
}
