/**
 * The program of a trial's processes: opens one library, does what the trial asks for, and waits at the steps at which
 * it is to be held. It ends when the lab does, however that ends.
 */
import { Steps } from '../trials/steps.ts'
import type { Adapter, AdapterModule, RefreshTimes, TagsFrom } from './adapter.ts'
import { Origin } from './origin.ts'

/** What a process is started with. */
export interface OpenOptions {
  readonly adapter: string
  readonly redisPort: number
  readonly postgres: string
  readonly ttlMs: number
  readonly refresh?: RefreshTimes
  readonly tagsFrom: TagsFrom
}

/** How a call ended. */
export interface Ended {
  /** What came of it; left out where it failed. */
  readonly value?: unknown
  readonly error?: string
  readonly tookMs: number
}

/** What the lab tells a process. */
export type Order =
  | { readonly open: OpenOptions }
  | { readonly call: number; readonly method: keyof Methods; readonly args: readonly unknown[] }
  | { readonly hold: string }
  | { readonly letGo: string }

/** What a process tells the lab. */
export type Report =
  | { readonly ready: true }
  | { readonly failed: string }
  | { readonly reached: string }
  | { readonly reply: number; readonly ended: Ended }

const report = (message: Report) => void process.send?.(message)
const steps = new Steps(reached => report({ reached }))
let methods: Methods

/** What can be asked of a process. */
export type Methods = ReturnType<typeof methodsOf>

function methodsOf(adapter: Adapter, origin: Origin) {
  const versionOf = async (id: number) => (await adapter.get(id))?.version ?? null
  return {
    get: versionOf,
    /** The versions; `null`: the library has no batch read. */
    async getMany(ids: readonly number[]) {
      const spells = await adapter.getMany?.(ids)
      return spells?.map(spell => spell?.version ?? null) ?? null
    },
    /** Reads a row so many times at once, and answers with the errors there were. */
    async getAtOnce(id: number, times: number) {
      const ends = await Promise.allSettled(Array.from({ length: times }, () => versionOf(id)))
      return ends.filter(end => end.status === 'rejected').length
    },
    /** The versions of two books, by a read of both at one moment where there is one, and else side by side. */
    async getBoth(ids: readonly number[]) {
      const both = (await adapter.getMany?.(ids)) ?? (await Promise.all(ids.map(id => adapter.get(id))))
      return both.map(book => book?.version ?? null)
    },
    async move(from: number, to: number) {
      await adapter.writeAll!([from, to], () => origin.move(from, to))
    },
    write: (id: number) => adapter.write(id, () => origin.change(id)),
    loads: (ids: readonly number[]) => origin.loads(ids),
    trouble: (kind: { delayMs?: number; fail?: boolean }) => origin.trouble(kind),
  }
}

async function open(options: OpenOptions): Promise<void> {
  const { adapter, postgres, ...rest } = options
  const library = (await import(`./adapters/${adapter}.ts`)) as AdapterModule
  const origin = new Origin(postgres, steps, library.about.hasTags === true)
  const { pool, find, findMany } = origin
  methods = methodsOf(await library.open({ ...rest, pool, find, findMany }), origin)
}

async function perform(order: Extract<Order, { call: number }>): Promise<Ended> {
  const beganMs = performance.now()
  const tookMs = () => performance.now() - beganMs
  try {
    const method = methods[order.method] as (...args: readonly unknown[]) => unknown
    return { value: await method(...order.args), tookMs: tookMs() }
  } catch (error) {
    const { name, message, code } = error as Error & { code?: string }
    // Not every class of errors says its name.
    const kind = name === 'Error' ? (error as Error).constructor.name : name
    return { error: `${code ?? kind}: ${message}`, tookMs: tookMs() }
  }
}

async function obey(order: Order): Promise<void> {
  if ('hold' in order) steps.hold(order.hold)
  else if ('letGo' in order) steps.letGo(order.letGo)
  else if ('call' in order) report({ reply: order.call, ended: await perform(order) })
  else {
    const done = await open(order.open).then(
      (): Report => ({ ready: true }),
      (error): Report => ({ failed: String(error?.stack ?? error) }),
    )
    report(done)
  }
}

process.on('message', order => void obey(order as Order))
process.on('disconnect', () => process.exit())
