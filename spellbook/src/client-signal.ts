import type { FastifyRequest } from 'fastify'

/**
 * Aborts when the client has left before it had its answer: `request.signal`, which is made when somebody listens to it and
 * not before. Making one takes as long as all else that a hit does, and nobody waits for a hit.
 */
export class ClientSignal implements AbortSignal {
  onabort: AbortSignal['onabort'] = null
  readonly #request: FastifyRequest
  #signal: AbortSignal | undefined

  constructor(request: FastifyRequest) {
    this.#request = request
  }

  get #made(): AbortSignal {
    this.#signal ??= this.#request.signal
    return this.#signal
  }

  get aborted(): boolean {
    return this.#signal?.aborted ?? false
  }

  get reason(): unknown {
    return this.#signal?.reason
  }

  throwIfAborted(): void {
    this.#signal?.throwIfAborted()
  }

  addEventListener(...given: Parameters<AbortSignal['addEventListener']>): void {
    this.#made.addEventListener(...given)
  }

  removeEventListener(...given: Parameters<AbortSignal['removeEventListener']>): void {
    this.#signal?.removeEventListener(...given)
  }

  dispatchEvent(event: Event): boolean {
    return this.#made.dispatchEvent(event)
  }
}
