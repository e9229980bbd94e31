/** What a shared store holds, counted by looking, and the statistics of the processes. */
import { isKeyspaceName } from '../base/key.ts'
import { lineOf } from '../base/masked.ts'
import type { RedisNode } from '../redis/examine.ts'
import type { RedisReport } from '../redis/servers.ts'
import { parseRegister, type Register } from '../shared/register.ts'
import type { StoreView } from '../shared/shared-store.ts'
import { Reservoir } from '../verify/walk.ts'
import { askStats, type ProcessStats } from './hot-keys.ts'
import { tagNamesOf } from './named-tags.ts'
import {
  askedStore,
  clockOf,
  EMBEDDED_NOTE,
  keyspacesOf,
  type Operated,
  sharedOf,
  withView,
} from './target.ts'

/** What is stored of one keyspace. */
export interface KeyspaceHoldings {
  /** How many registers it has. */
  readonly registers: number
  /** Its generation; left out: it has none. */
  readonly generation?: string
  /** Whether the file names it. */
  readonly isKnown: boolean
  /** How many of the registers were looked into, picked at random; the counts below are of these. */
  readonly sampled: number
  readonly states: Readonly<Record<Register['state'] | 'gone', number>>
  /** Marks of absent rows. */
  readonly absentRows: number
  /** Values that no reader finds any more, because the keyspace was invalidated since. */
  readonly oldGeneration: number
  /** Values past their soft expiry. */
  readonly stale: number
  /** Characters of all sampled registers together. */
  readonly characters: number
  /** The largest of the sampled registers; left out: none was there. */
  readonly largest?: LargestRegister
}

/** The register with the most characters among those that were looked into. */
export interface LargestRegister {
  readonly key: string
  readonly characters: number
}

/** What {@link storeStats} found. Plain data, as `--json` prints it. */
export interface StoreStats {
  readonly store: string
  /** What each server says of itself, where the store asks servers. */
  readonly nodes: readonly RedisNode[]
  readonly keyspaces: Readonly<Record<string, KeyspaceHoldings>>
  /** Keys with the store's prefix that are of no keyspace. */
  readonly foreign: number
  /** The statistics of the processes that answer. */
  readonly processes: readonly ProcessStats[]
  /** Hints for the person who reads this, one sentence each. */
  readonly notes: readonly string[]
}

/** How {@link storeStats} counts. */
export interface StoreStatsOptions {
  /** How many registers of each keyspace are looked into. @defaultValue 200 */
  readonly sample?: number
  /** Called with the number of keys found so far. Left out: nothing is called. */
  readonly onProgress?: (keys: number) => void
}

const DEFAULT_SAMPLE = 200
const MOST_KEYSPACES = 1_000
const PEEKED_TOGETHER = 100

/**
 * Counts what the store holds, by walking over the names of all keys and looking into some registers of each keyspace. It changes
 * nothing.
 *
 * @throws CacheError `INVALID_OPTIONS` without a store or keyspaces; an error that says why the store cannot be read.
 */
export async function storeStats(
  operated: Operated,
  { sample = DEFAULT_SAMPLE, onProgress }: StoreStatsOptions = {},
): Promise<StoreStats> {
  const shared = sharedOf(operated)
  const known = new Set([...keyspacesOf(operated).map(({ name }) => name), ...tagNamesOf(operated)])
  const notes: string[] = shared.synchronous ? [EMBEDDED_NOTE] : []
  const nodes = await nodesOf(operated)
  const { keyspaces, foreign } = await withView(operated, async view => {
    notes.push(...view.caveats)
    const counted = new Counted(operated, sample, known)
    for await (const page of view.keys()) {
      operated.signal?.throwIfAborted()
      counted.add(page)
      await onProgress?.(counted.keys)
    }
    return counted.holdings(view)
  })
  return {
    store: shared.name,
    nodes,
    keyspaces,
    foreign,
    processes: await processesOf(operated, notes),
    notes,
  }
}

async function nodesOf(operated: Operated): Promise<readonly RedisNode[]> {
  const shared = sharedOf(operated)
  const { inspect } = shared as { inspect?: () => Promise<RedisReport> }
  if (shared.synchronous || typeof inspect !== 'function') return []
  return (await askedStore(operated, inspect.call(shared))).nodes
}

async function processesOf(operated: Operated, notes: string[]): Promise<readonly ProcessStats[]> {
  if (sharedOf(operated).ask === undefined) return []
  try {
    const processes = await askStats(operated)
    if (processes.length === 0) notes.push(NOBODY_ANSWERS)
    return processes
  } catch (error) {
    operated.signal?.throwIfAborted()
    notes.push(`the processes could not be asked: ${lineOf(error)}`)
    return []
  }
}

/** The hint if no process answers. */
export const NOBODY_ANSWERS =
  'no process has answered: each that is to tell of its reads calls answerInquiries(cache); see docs/cli.md'

/** The keys that were found, by keyspace. */
class Counted {
  keys = 0
  readonly #operated: Operated
  readonly #sample: number
  readonly #known: ReadonlySet<string>
  readonly #byName = new Map<string, { registers: number; readonly picked: Reservoir }>()
  #unnamed = 0

  constructor(operated: Operated, sample: number, known: ReadonlySet<string>) {
    this.#operated = operated
    this.#sample = sample
    this.#known = known
    for (const name of known) this.#begin(name)
  }

  add(page: readonly string[]): void {
    this.keys += page.length
    for (const key of page) {
      const name = key.slice(0, Math.max(0, key.indexOf(':')))
      const canBegin = isKeyspaceName(name) && this.#byName.size < MOST_KEYSPACES
      const counts = this.#byName.get(name) ?? (canBegin ? this.#begin(name) : undefined)
      if (counts === undefined) this.#unnamed++
      else {
        counts.registers++
        counts.picked.add(key)
      }
    }
  }

  /** A keyspace has a generation, or the file names it. Other keys do not belong to the cache, and are not read. */
  async holdings(view: StoreView): Promise<Pick<StoreStats, 'keyspaces' | 'foreign'>> {
    const names = [...this.#byName.keys()]
    const generations = await view.generations(names)
    const timeMs = await view.timeMs()
    const keyspaces: Record<string, KeyspaceHoldings> = Object.create(null)
    let foreign = this.#unnamed
    for (const [i, name] of names.entries()) {
      const { registers, picked } = this.#byName.get(name)!
      const generation = generations[i]
      const isKnown = this.#known.has(name)
      if (generation === undefined && !isKnown) foreign += registers
      else {
        const texts: (string | undefined)[] = []
        for (let at = 0; at < picked.kept.length; at += PEEKED_TOGETHER)
          texts.push(...(await view.peek(picked.kept.slice(at, at + PEEKED_TOGETHER))))
        keyspaces[name] = {
          registers,
          ...(generation === undefined ? {} : { generation }),
          isKnown,
          ...holdingsOf(texts, generation, timeMs),
          ...largestOf(picked.kept, texts),
        }
      }
    }
    return { keyspaces: { ...keyspaces }, foreign }
  }

  #begin(name: string) {
    const counts = { registers: 0, picked: new Reservoir(this.#sample, clockOf(this.#operated)) }
    this.#byName.set(name, counts)
    return counts
  }
}

/** The largest of these registers, if any is there. */
export function largestOf(
  keys: readonly string[],
  texts: readonly (string | undefined)[],
): { readonly largest?: LargestRegister } {
  let largest: LargestRegister | undefined
  for (const [i, key] of keys.entries()) {
    const characters = texts[i]?.length ?? 0
    if (characters > (largest?.characters ?? 0)) largest = { key, characters }
  }
  return largest === undefined ? {} : { largest }
}

function holdingsOf(texts: readonly (string | undefined)[], generation: string | undefined, timeMs: number) {
  const states = { value: 0, lease: 0, stamp: 0, guard: 0, later: 0, unreadable: 0, gone: 0 }
  let [absentRows, oldGeneration, stale, characters] = [0, 0, 0, 0]
  for (const text of texts) {
    const register = text === undefined ? undefined : parseRegister(text)
    states[register?.state ?? 'gone']++
    characters += text?.length ?? 0
    if (register?.state !== 'value') continue
    if (register.text === undefined) absentRows++
    if (register.generation !== generation) oldGeneration++
    if (register.softExpiryMs <= timeMs) stale++
  }
  return { sampled: texts.length, states, absentRows, oldGeneration, stale, characters }
}
