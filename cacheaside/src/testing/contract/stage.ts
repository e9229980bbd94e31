/**
 * What the suites of the store's contract have in common: how a test gets a store, or a part of one, and what it works with.
 * {@link Scene} is for registers, {@link StreamScene} for the stream, {@link StoreScene} for both together.
 */
import assert from 'node:assert/strict'
import { TOKEN_LENGTH } from '../../base/clock.ts'
import { parseRegister, type Register, type ValueRegister } from '../../shared/register.ts'
import type {
  Fill,
  SharedIdentity,
  SharedRegisters,
  SharedStore,
  SharedStream,
  StreamListener,
} from '../../shared/shared-store.ts'

/** The two functions of a test runner that a contract suite needs. */
export interface ContractRunner {
  describe(name: string, body: () => void): unknown
  it(name: string, body: () => Promise<void>): unknown
}

/** Gives a contract suite the store that it tests. */
export interface SharedStoreHarness {
  /** Whether the store has the optional `view`. @defaultValue true */
  readonly hasView?: boolean
  /** Opens a store that holds nothing. Called once for every test. */
  open(): Promise<OpenedStore>
}

/** A store under test, and what the suite must be able to do beside it. */
export interface OpenedStore {
  readonly store: SharedStore
  /** Lets at least `ms` milliseconds pass for the store, and not many more. */
  advance(ms: number): Promise<void>
  /** The string that the register of this key holds, read past the store. */
  raw(key: string): Promise<string | undefined>
  /** Puts a string into the register of this key, past the store. */
  plant(key: string, text: string, lifeMs?: number): Promise<void>
  /** Closes the store and everything that was opened for it. */
  close(): Promise<void>
}

/** Gives the contract suite of registers what it tests. */
export interface SharedRegistersHarness {
  /** Whether the registers have the optional `view`. @defaultValue true */
  readonly hasView?: boolean
  /** Opens registers that hold nothing. Called once for every test. */
  open(): Promise<OpenedRegisters>
}

/** Registers under test, without a stream: nobody hears what they broadcast. */
export interface OpenedRegisters extends Omit<OpenedStore, 'store'> {
  readonly registers: SharedRegisters
  /** The registers' own time, in whole milliseconds since 1970. */
  timeMs(): Promise<number>
}

/** Gives the contract suite of a stream what it tests. */
export interface SharedStreamHarness {
  /** Opens a stream that nobody listens to. Called once for every test. */
  open(): Promise<OpenedStream>
}

/** A stream under test, without registers: the suite says what they would broadcast. */
export interface OpenedStream {
  readonly stream: SharedStream
  /** Broadcasts as registers do that invalidate this key. */
  invalidate(key: string): Promise<void>
  /** Broadcasts as registers do that give this keyspace a new generation. */
  invalidateKeyspace(keyspace: string, generation: string): Promise<void>
  /** As {@link OpenedStore.advance}. */
  advance(ms: number): Promise<void>
  /** Closes the stream and everything that was opened for it. */
  close(): Promise<void>
}

/** Gives the contract suite of an identity what it tests. */
export interface SharedIdentityHarness {
  /** Opens the registers whose identity is asked for. Called once for every test. */
  open(): Promise<OpenedIdentity>
}

/** An identity under test. */
export interface OpenedIdentity {
  readonly identity: SharedIdentity
  /** Makes the registers lose what they hold, as a crash does. */
  lose(): Promise<void>
  /** Closes everything that was opened for it. */
  close(): Promise<void>
}

/** Defines one test: `name` is a sentence, `play` gets a store, or a part of one, that holds nothing. */
export type Stage<Given = Scene> = (name: string, play: (given: Given) => Promise<void>) => void

/** Makes the function by which the suites define their tests, from a runner and from what opens the tested store. */
export function stage<Opened extends { close(): Promise<void> }, Given>(
  runner: ContractRunner,
  open: () => Promise<Opened>,
  given: (opened: Opened) => Given,
): Stage<Given> {
  return (name, play) => {
    runner.it(name, async () => {
      const opened = await open()
      try {
        await play(given(opened))
      } finally {
        await opened.close()
      }
    })
  }
}

/** The key that most tests are about. */
export const KEY = 'spell:4'
/** Far longer than a suite takes: such a life does not end in a test. */
export const LONG_MS = 600_000
/** A life that ends at the next {@link Scene.outlive}. */
export const SHORT_MS = 40
/** The generation that values are stamped with unless a test says otherwise. */
export const GENERATION = token('generation')

/** A token that can be recognised in a failure message. */
export function token(name: string): string {
  return name.padEnd(TOKEN_LENGTH, '_').slice(0, TOKEN_LENGTH)
}

/** A value to be stored, which is good for long. */
export function spell(text: string | undefined, life: { freshMs?: number; staleMs?: number } = {}): Fill {
  const { freshMs = LONG_MS, staleMs = 0 } = life
  return { generation: GENERATION, shape: 3, freshMs, staleMs, costMs: 12, text }
}

/** What a listener heard, one line per message. */
export interface Heard {
  readonly messages: string[]
  readonly listener: StreamListener
}

/** A listener that writes down what it hears. */
export function hearing(): Heard {
  const messages: string[] = []
  return {
    messages,
    listener: {
      invalidated: key => messages.push(`invalidated ${key}`),
      keyspaceInvalidated: keyspace => messages.push(`keyspace ${keyspace}`),
      heartbeat: text => messages.push(`heartbeat ${text}`),
      interrupted: reason => messages.push(`interrupted ${reason}`),
    },
  }
}

const isFence = (message: string) => message.startsWith('heartbeat fence')

/** What was heard, without the heartbeats of {@link Scene.fence}. */
export const withoutFences = (messages: readonly string[]): string[] =>
  messages.filter(message => !isFence(message))

/** Lets time pass until a condition is met, or until `ms` milliseconds are over. */
async function waitFor(advance: OpenedStore['advance'], condition: () => boolean, ms: number): Promise<void> {
  for (let waited = 0; waited < ms && !condition(); waited += 10) await advance(10)
}

/** What one test of registers works with. */
export class Scene {
  readonly store: SharedRegisters
  readonly advance: OpenedRegisters['advance']
  readonly raw: OpenedRegisters['raw']
  readonly plant: OpenedRegisters['plant']
  /** The registers' own time. */
  readonly timeMs: OpenedRegisters['timeMs']
  /** Hears the broadcasts of the registers; `undefined` if they are tested without a stream. */
  readonly stream: StreamScene | undefined

  constructor(opened: OpenedRegisters, stream?: StreamScene) {
    this.store = opened.registers
    this.advance = ms => opened.advance(ms)
    this.raw = key => opened.raw(key)
    this.plant = (key, text, lifeMs) => opened.plant(key, text, lifeMs)
    this.timeMs = () => opened.timeMs()
    this.stream = stream
  }

  /** Waits until everything that lives {@link SHORT_MS} is gone. */
  outlive(): Promise<void> {
    return this.advance(2 * SHORT_MS)
  }

  /** Notes what is broadcast from now on, and asserts that it was this; without a stream it asserts nothing. */
  async broadcasts(): Promise<(expected: readonly string[]) => Promise<void>> {
    const { stream } = this
    if (stream === undefined) return async () => {}
    const { messages } = await stream.listen()
    return async expected => assert.deepEqual(await stream.fence(messages), expected)
  }

  /** Puts a value under the key, by a lease. */
  async filled(key = KEY, value: Fill = spell('{"name":"Fireball"}')): Promise<ValueRegister> {
    assert.equal(await this.store.lease(key, token('setup'), LONG_MS), null)
    assert.equal(await this.store.fill(key, `L${token('setup')}`, value), true)
    return this.value(key)
  }

  /** What the register of this key says; `undefined` if there is none. */
  async register(key = KEY): Promise<Register | undefined> {
    const text = await this.raw(key)
    return text === undefined ? undefined : parseRegister(text)
  }

  /** The value in the register of this key. */
  async value(key = KEY): Promise<ValueRegister> {
    const register = await this.register(key)
    assert.equal(register?.state, 'value')
    return register as ValueRegister
  }

  /** The state of this key in words. */
  async state(key = KEY): Promise<string> {
    return inWords(await this.raw(key))
  }
}

/** What one test of a stream works with. */
export class StreamScene {
  readonly stream: SharedStream
  readonly advance: OpenedStream['advance']
  readonly invalidate: OpenedStream['invalidate']
  readonly invalidateKeyspace: OpenedStream['invalidateKeyspace']
  #fences = 0

  constructor(opened: OpenedStream) {
    this.stream = opened.stream
    this.advance = ms => opened.advance(ms)
    this.invalidate = key => opened.invalidate(key)
    this.invalidateKeyspace = (keyspace, generation) => opened.invalidateKeyspace(keyspace, generation)
  }

  /** Waits for a condition, at most for a few seconds. */
  async until(condition: () => boolean, what: string): Promise<void> {
    await waitFor(this.advance, condition, 5000)
    assert.ok(condition(), `waited in vain for ${what}`)
  }

  /**
   * Subscribes, and waits until the stream is heard: a store may need a while to connect, and until then messages
   * pass it by, so that the heartbeat is repeated.
   */
  async listen(heard = hearing()): Promise<{ messages: string[]; stop: () => void }> {
    const { messages, listener } = heard
    const stop = this.stream.subscribe(listener)
    messages.length = 0
    for (let i = 0; i < 100 && !messages.some(isFence); i++) {
      await this.stream.heartbeat(this.#nextFence(), [])
      await waitFor(this.advance, () => messages.some(isFence), 100)
    }
    await this.fence(messages)
    messages.length = 0
    return { messages, stop }
  }

  /**
   * Waits until everything sent so far has been heard, and returns it: a heartbeat comes after what was sent
   * before it. The heartbeat itself is left out.
   */
  async fence(messages: string[]): Promise<string[]> {
    const text = this.#nextFence()
    await this.stream.heartbeat(text, [])
    await this.until(() => messages.includes(`heartbeat ${text}`), text)
    return withoutFences(messages)
  }

  #nextFence(): string {
    return `fence ${++this.#fences}`
  }
}

/** What one test of a whole store works with. */
export interface StoreScene {
  readonly store: SharedStore
  readonly registers: Scene
  readonly stream: StreamScene
}

/** The scene of a whole store: its parts are one object. */
export function storeScene(opened: OpenedStore): StoreScene {
  const { store } = opened
  const advance: OpenedStore['advance'] = ms => opened.advance(ms)
  const close = () => opened.close()
  const stream = new StreamScene({
    stream: store,
    invalidate: key => store.invalidate(key),
    invalidateKeyspace: (keyspace, generation) => store.invalidateKeyspace(keyspace, generation),
    advance,
    close,
  })
  const registers = new Scene(
    {
      registers: store,
      timeMs: async () => (await store.heartbeat('what time is it', [])).timeMs,
      raw: key => opened.raw(key),
      plant: (key, text, lifeMs) => opened.plant(key, text, lifeMs),
      advance,
      close,
    },
    stream,
  )
  return { store, registers, stream }
}

/** What a register says, in a few words that a test can compare. */
export function inWords(raw: string | undefined): string {
  if (raw === undefined) return 'absent'
  const register = parseRegister(raw)
  switch (register.state) {
    case 'value':
      return register.claimUntilMs === 0
        ? 'a value'
        : `a value claimed by ${raw.slice(17, 33).replace(/_+$/, '')}`
    case 'lease':
      return `a lease of ${register.token.replace(/_+$/, '')}`
    case 'stamp':
      return `a stamp of ${register.token.replace(/_+$/, '')}`
    case 'guard': {
      const names = register.holders.map(holder => holder.token.replace(/_+$/, '')).sort()
      return `a ${register.dirty ? 'dirty' : 'clean'} guard of ${names.join(', ')}`
    }
    case 'later':
      return `a ${register.of === 'guard' && raw[2] === '1' ? 'dirty guard' : register.of} of a later version`
    case 'unreadable':
      return 'something unreadable'
  }
}
