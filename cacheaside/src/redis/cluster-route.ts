import type { Clock } from '../base/clock.ts'
import { CacheError } from '../base/errors.ts'
import { isOf, messageOf } from '../base/thrown.ts'
import { type Address, addressText, type Driver, errorCode, type RedisConnection } from './driver.ts'
import type { Examination } from './examine.ts'
import type { Link } from './link.ts'
import { UnexpectedReply } from './replies.ts'
import type { Primary, Route } from './route.ts'
import { SLOTS, slotOf } from './slot.ts'

/** What a {@link ClusterRoute} is made of. */
export interface ClusterRouteOptions<Facts> {
  readonly driver: Driver
  readonly clock: Clock
  /** What comes before every key. */
  readonly prefix: string
  readonly link: (address: Address) => Link<Facts>
  /** Called when the primaries, or what they own, have changed. */
  readonly onChange: (primaries: readonly Primary<Facts>[]) => void
}

/** The name of a node in scripts and in CLUSTER commands. */
type NodeId = string
type Range = readonly [from: number, to: number]

interface Owner {
  readonly id: NodeId
  readonly address: Address
  readonly ranges: Range[]
}

interface ClusterPrimary<Facts> extends Primary<Facts> {
  readonly id: NodeId
  readonly at: Address
}

/** Which primary owns which slots, as found out last. */
interface Table<Facts> {
  readonly primaries: readonly ClusterPrimary<Facts>[]
  readonly bySlot: readonly (ClusterPrimary<Facts> | undefined)[]
  /** {@link ownersText} of it. */
  readonly text: string
}

const MOST_REDIRECTIONS = 5
const ANSWER_MS = 1_000

/**
 * The route to the primaries of a Cluster. A key is sent to the primary that owns its slot, and follows the
 * redirections that a server answers with: a redirected command has not been run, so it may be sent again.
 *
 * The table of slots is found out when the route is made, when a command was redirected, and when a heartbeat finds
 * that a primary does not answer or sees its Cluster differently. Nothing is sent to replicas.
 *
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding
 */
export class ClusterRoute<Facts = Examination> implements Route<Facts> {
  readonly #options: ClusterRouteOptions<Facts>
  #table: Table<Facts> | undefined
  #refreshing: Promise<void> | undefined
  #problem: Error = new Error('the primaries of the Cluster are not known yet')
  /** Servers that commands were redirected to, and that own nothing yet as far as is known. */
  readonly #strangers = new Map<string, Link<Facts>>()
  #closed = false

  constructor(options: ClusterRouteOptions<Facts>) {
    this.#options = options
    this.refresh()
  }

  send(key: string, args: readonly string[]): Promise<unknown> {
    const table = this.#table
    if (table === undefined) return this.#found().then(() => this.send(key, args))
    const owner = table.bySlot[slotOf(key)]
    if (owner !== undefined)
      return owner.link.send(args).catch(error => this.#redirect(error, args, owner.at, 1))
    this.refresh()
    return Promise.reject(new Error(`no primary of the Cluster owns the slot of ${key}`))
  }

  reset(key: string, reason: string): void {
    this.#table?.bySlot[slotOf(key)]?.link.reset(reason)
    // It may have been redirected.
    for (const link of this.#strangers.values()) link.reset(reason)
  }

  async primaries(): Promise<readonly Primary<Facts>[]> {
    if (this.#table === undefined) await this.#found()
    return this.#table!.primaries
  }

  async disagreement(primary: Primary<Facts>): Promise<string | undefined> {
    const table = this.#table
    const view = parseNodes(String(await primary.link.send(['CLUSTER', 'NODES'])))
    if (table === undefined || view.text !== table.text)
      return `${primary.address} sees other owners of slots`
    const stranger = view.receivers.find(id => table.primaries.every(known => known.id !== id))
    return stranger === undefined ? undefined : `slots are being moved to ${stranger}, which owns none yet`
  }

  refresh(): void {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
  }

  topology(): string {
    return this.#table?.text ?? ''
  }

  close(): void {
    this.#closed = true
    this.#problem = new CacheError('CLOSED', 'the links to the Cluster were closed')
    for (const { link } of this.#table?.primaries ?? []) link.close()
    this.#forgetStrangers()
    this.#table = undefined
  }

  /** Waits for the table; rejects if it cannot be found out now. */
  async #found(): Promise<void> {
    if (this.#closed) throw this.#problem
    this.refresh()
    await this.#refreshing
    if (this.#table === undefined) throw this.#problem
  }

  /** Never rejects. */
  async #refresh(): Promise<void> {
    try {
      const owners = await this.#askOwners()
      if (!this.#closed) this.#apply(owners)
    } catch (error) {
      const cause: unknown = isOf(error, AggregateError) ? error.errors.at(-1) : error
      const text = `the primaries of the Cluster cannot be found out: ${messageOf(cause)}`
      if (!this.#closed) this.#problem = new Error(text, { cause })
    }
  }

  /** The first answer of the servers that can be asked: the connected primaries, or else the client's seeds. */
  async #askOwners(): Promise<Owner[]> {
    const live = (this.#table?.primaries ?? []).filter(({ link }) => link.facts !== undefined)
    if (live.length > 0) {
      try {
        return await Promise.any(
          live.map(({ link, at }) => this.#within(parseOwners(link.send(SLOTS_COMMAND), at))),
        )
      } catch {
        // None of them answers. Perhaps one of the client's seeds does.
      }
    }
    const seeds = await this.#options.driver.seeds()
    return Promise.any(seeds.map(seed => this.#askSeed(seed)))
  }

  async #askSeed(seed: Address): Promise<Owner[]> {
    const { driver, clock } = this.#options
    const abort = new AbortController()
    const limit = clock.after(ANSWER_MS, () => abort.abort(new Error(`${addressText(seed)} does not answer`)))
    let connection: RedisConnection | undefined
    try {
      connection = await driver.open(seed, () => {}, abort.signal)
      return await this.#within(parseOwners(connection.send(SLOTS_COMMAND), seed))
    } finally {
      limit.cancel()
      connection?.close()
    }
  }

  #within<T>(asking: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const limit = this.#options.clock.after(ANSWER_MS, () => reject(new Error('no answer in time')))
      asking.then(resolve, reject).finally(() => limit.cancel())
    })
  }

  #apply(owners: readonly Owner[]): void {
    const text = ownersText(owners)
    const before = this.#table
    if (text === before?.text) return
    const kept = new Set<Primary<Facts>>()
    const bySlot = new Array<ClusterPrimary<Facts> | undefined>(SLOTS).fill(undefined)
    const primaries = owners.map(owner => {
      const at = this.#options.driver.reachable(owner.address)
      const known = before?.primaries.find(
        one => one.id === owner.id && addressText(one.at) === addressText(at),
      )
      const link = known?.link ?? this.#options.link(at)
      const probeKey = keysIn(owner.ranges, this.#options.prefix)
      const primary = { id: owner.id, at, address: addressText(at), link, probeKey }
      if (known !== undefined) kept.add(known)
      for (const [from, to] of owner.ranges) bySlot.fill(primary, from, to + 1)
      return primary
    })
    this.#table = { primaries, bySlot, text }
    for (const gone of before?.primaries ?? [])
      if (!kept.has(gone)) gone.link.close(`${gone.address} owns no slot of the Cluster any more`)
    this.#forgetStrangers()
    this.#options.onChange(primaries)
  }

  async #redirect(error: unknown, args: readonly string[], from: Address, hop: number): Promise<unknown> {
    const code = errorCode(error)
    if (code !== 'MOVED' && code !== 'ASK') throw error
    if (code === 'MOVED') this.refresh()
    const target = (error as Error).message.split(' ')[2] ?? ''
    if (hop > MOST_REDIRECTIONS || target.startsWith(`${UNKNOWN_NAME}:`)) throw error
    const { at, link } = this.#reach(target, from)
    await link.started
    if (code === 'ASK') link.send(['ASKING']).catch(() => {})
    return link.send(args).catch(again => this.#redirect(again, args, at, hop + 1))
  }

  /** The way to an address in a redirection. An empty host means the sender's. */
  #reach(text: string, from: Address): { at: Address; link: Link<Facts> } {
    const colon = text.lastIndexOf(':')
    const host = text.slice(0, colon).replace(/^\[|\]$/g, '') || from.host
    const at = this.#options.driver.reachable({ host, port: Number(text.slice(colon + 1)) })
    const address = addressText(at)
    const known = this.#table?.primaries.find(one => one.address === address)
    if (known !== undefined) return { at, link: known.link }
    let link = this.#strangers.get(address)
    if (link === undefined) {
      link = this.#options.link(at)
      this.#strangers.set(address, link)
    }
    return { at, link }
  }

  #forgetStrangers(): void {
    for (const link of this.#strangers.values()) link.close()
    this.#strangers.clear()
  }
}

const SLOTS_COMMAND = ['CLUSTER', 'SLOTS']
/** What stands for the host of a node that has no name, where `cluster-preferred-endpoint-type` is `hostname`. */
const UNKNOWN_NAME = '?'

/** Reads CLUSTER SLOTS as answered by the server at `asked`; replicas are left out. */
async function parseOwners(reply: Promise<unknown>, asked: Address): Promise<Owner[]> {
  const owners = new Map<string, Owner>()
  for (const range of (await reply) as [number, number, [string | null, number, string, unknown]][]) {
    const [from, to, [host, port, id, metadata]] = range
    // A key is looked for in these slots until one is found.
    if (!(from >= 0 && from <= to && to < SLOTS)) throw new UnexpectedReply(range)
    const known = host === UNKNOWN_NAME ? fieldOfMetadata(metadata, 'ip') : host
    const address = { host: known || asked.host, port: Number(port) }
    const owner = owners.get(id) ?? { id, address, ranges: [] }
    owner.ranges.push([Number(from), Number(to)])
    owners.set(id, owner)
  }
  if (owners.size === 0) throw new Error(`no slot of the Cluster at ${addressText(asked)} has an owner`)
  return [...owners.values()]
}

/** A field of what CLUSTER SLOTS adds to a node: names and values in a row, or by protocol 3 an object. */
function fieldOfMetadata(metadata: unknown, name: string): string | undefined {
  const pairs = Array.isArray(metadata) ? metadata : Object.entries(metadata ?? {}).flat()
  const at = pairs.indexOf(name)
  return at === -1 ? undefined : String(pairs[at + 1])
}

/** Reads CLUSTER NODES: the owners as {@link ownersText}, and the ids of those that slots are being moved to. */
function parseNodes(text: string): { text: string; receivers: string[] } {
  const owners: Pick<Owner, 'id' | 'ranges'>[] = []
  const receivers: string[] = []
  for (const line of text.split('\n')) {
    const [id, , flags, , , , , , ...slots] = line.trim().split(' ')
    if (id === undefined || flags?.split(',').includes('master') !== true) continue
    const ranges: Range[] = []
    for (const slot of slots) {
      const receiver = /^\[\d+->-(\w+)\]$/.exec(slot)?.[1]
      if (receiver !== undefined) receivers.push(receiver)
      if (slot.startsWith('[')) continue
      const [from, to = from] = slot.split('-').map(Number)
      ranges.push([from!, to!])
    }
    if (ranges.length > 0) owners.push({ id, ranges })
  }
  return { text: ownersText(owners), receivers }
}

/** Who owns what, in one form for both commands. */
function ownersText(owners: readonly Pick<Owner, 'id' | 'ranges'>[]): string {
  const lines = owners.map(({ id, ranges }) => {
    const merged: [number, number][] = []
    for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
      const last = merged.at(-1)
      if (last !== undefined && last[1] + 1 === from) last[1] = to
      else merged.push([from, to])
    }
    return `${id} ${merged.map(range => range.join('-')).join(' ')}`
  })
  return lines.sort().join(', ')
}

/** Keys under the prefix whose slots lie in these ranges, looked for when they are asked for. */
function keysIn(ranges: readonly Range[], prefix: string): (index: number) => string {
  const keys: string[] = []
  let tried = 0
  return index => {
    while (keys.length <= index) {
      const key = `${prefix}@probe:${tried++}`
      const slot = slotOf(key)
      if (ranges.some(([from, to]) => slot >= from && slot <= to)) keys.push(key)
    }
    return keys[index]!
  }
}
