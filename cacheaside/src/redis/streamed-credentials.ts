/** A provider of node-redis that hands on new credentials for as long as somebody listens to it. */
export interface StreamingProvider {
  readonly type: 'streaming-credentials-provider'
  subscribe(listener: unknown): Promise<[credentials: unknown, subscription: Subscription]>
  onReAuthenticationError(error: unknown): void
}

interface Subscription {
  dispose(): void
}

/**
 * The user's provider for one connection. It ends its subscription with the connection. node-redis does so only when an open client
 * is destroyed: each lost connection and each refused login would leave a listener behind, for which new credentials are
 * reported as an error.
 */
export class StreamedCredentials implements StreamingProvider {
  readonly type = 'streaming-credentials-provider'
  readonly #provider: StreamingProvider
  #subscription: Subscription | undefined
  #ended = false

  private constructor(provider: StreamingProvider) {
    this.#provider = provider
  }

  /** For one more connection of a client with this provider, if that is one of this kind; any other is handed back. */
  static ofOne(provider: unknown): unknown {
    if (provider instanceof StreamedCredentials) return new StreamedCredentials(provider.#provider)
    return isStreaming(provider) ? new StreamedCredentials(provider) : provider
  }

  /** Ends the subscription of a connection with this provider. Idempotent. */
  static end(provider: unknown): void {
    if (provider instanceof StreamedCredentials) provider.#end()
  }

  async subscribe(listener: unknown): Promise<[unknown, Subscription]> {
    const [credentials, subscription] = await this.#provider.subscribe(listener)
    this.#subscription = subscription
    if (this.#ended) this.#dispose()
    return [credentials, { dispose: () => this.#end() }]
  }

  onReAuthenticationError(error: unknown): void {
    this.#provider.onReAuthenticationError(error)
  }

  #end(): void {
    this.#ended = true
    this.#dispose()
  }

  #dispose(): void {
    const subscription = this.#subscription
    this.#subscription = undefined
    subscription?.dispose()
  }
}

const isStreaming = (provider: unknown): provider is StreamingProvider =>
  (provider as Partial<StreamingProvider> | undefined)?.type === 'streaming-credentials-provider'
