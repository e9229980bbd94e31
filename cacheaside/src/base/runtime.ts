/**
 * The only file of the library's core that asks for modules of Node. It asks for them at run time and does not import them.
 * So a bundler without such modules leaves it alone, and a runtime without them only lacks what they are used for.
 */
interface Builtin {
  'node:async_hooks': {
    readonly AsyncLocalStorage: (new () => AsyncStorage) & {
      readonly snapshot?: () => (work: () => void) => void
    }
  }
  /** Its type stands in `clock.ts`. */
  'node:perf_hooks': unknown
  'node:timers': unknown
  'node:diagnostics_channel': { readonly channel: (name: string) => DiagnosticsChannel }
  'node:events': { readonly setMaxListeners?: (most: number, ...targets: EventTarget[]) => void }
}

/** A channel of `node:diagnostics_channel`, as far as it is used. */
export interface DiagnosticsChannel {
  readonly hasSubscribers: boolean
  publish(message: object): void
  runStores?<R>(message: object, work: () => R): R
}

interface AsyncStorage {
  run<R>(value: unknown, work: () => R): R
  getStore(): unknown
  disable?(): void
}

/** A module of Node, or `undefined` in a runtime without it. */
export function builtin<Name extends keyof Builtin>(name: Name): Builtin[Name] | undefined {
  const host: { process?: { getBuiltinModule?: (id: string) => unknown } } = globalThis
  return host.process?.getBuiltinModule?.(name) as Builtin[Name] | undefined
}

/**
 * A value for a piece of work: everything that is called, awaited or scheduled inside the work finds it.
 *
 * Up to Node 22 the runtime watches every promise of the process as long as somebody uses this: a hit in L1 then takes
 * twice the time. So it is switched off while nothing is inside.
 */
export class AsyncContext<T> {
  readonly #storage: AsyncStorage | undefined
  #inside = 0

  constructor() {
    const hooks = builtin('node:async_hooks')
    this.#storage = hooks === undefined ? undefined : new hooks.AsyncLocalStorage()
  }

  /** Calls `work` with the value. {@link AsyncContext.leave} is to be called once when the work has ended. */
  enter<R>(value: T, work: () => R): R {
    this.#inside++
    return this.#storage === undefined ? work() : this.#storage.run(value, work)
  }

  leave(): void {
    this.#inside--
    if (this.#inside === 0) this.#storage?.disable?.()
  }

  /** The value of the work around this call. That work may have ended, and left this call behind. */
  get current(): T | undefined {
    return this.#inside === 0 ? undefined : (this.#storage?.getStore() as T | undefined)
  }
}

/** What calls a piece of work later in the asynchronous context of this call. */
export const contextHere = (): ((work: () => void) => void) =>
  builtin('node:async_hooks')?.AsyncLocalStorage.snapshot?.() ?? (work => work())

const events = builtin('node:events')

/** Tells Node that many listeners are normal for this signal: it takes more than ten for a leak, and warns. */
export function expectManyListeners(signal: AbortSignal): void {
  events?.setMaxListeners?.(0, signal)
}
