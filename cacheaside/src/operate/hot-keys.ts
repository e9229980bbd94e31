/** Which keys are read most: counted in the processes, while somebody asks. */
import { CacheError } from '../base/errors.ts'
import { invalidOption, wholeNumber } from '../base/invalid-option.ts'
import type { Cache } from '../cache.ts'
import type { Occupancy, Stats } from '../stats.ts'
import { pause } from '../verify/pace.ts'
import { type CountedKey, SpaceSaving } from './space-saving.ts'
import { asked, type Operated, sharedOf, timeoutOf } from './target.ts'

/** The counts of one process. Plain data. */
export interface HotKeys {
  /** How many milliseconds it counted. */
  readonly forMs: number
  /** How many reads there were, hits in L1 included. */
  readonly reads: number
  /** The keys that were read most. */
  readonly keys: readonly CountedKey[]
  /** How often a key may have been read that is not among them. */
  readonly missedAtMost: number
}

/** The counts of all processes together. */
export interface HotKeysReport extends HotKeys {
  /** The processes that have answered, by their names. */
  readonly processes: readonly string[]
}

/** The statistics of one process, under its name. */
export interface ProcessStats {
  readonly process: string
  readonly stats: Stats & { readonly now: Occupancy }
}

const SKETCH_SIZE = 512
const MOST_KEYS = 100
const LONGEST_MS = 60_000
/** Added to the time of counting: how long an answer may be under way. */
const MARGIN_MS = 1_000

/**
 * Counts the reads of a cache in this process for a while. It costs an event for each read meanwhile, and nothing before or
 * after that. Memory is bounded: 512 keys are counted.
 *
 * @param forMs - From 1 to 60,000.
 * @param most - How many keys are told, from 1 to 100.
 * @throws CacheError `INVALID_OPTIONS`; `CLOSED`.
 */
export async function hotKeys(cache: Cache, forMs: number, most: number): Promise<HotKeys> {
  wholeNumber('forMs', forMs, 1, LONGEST_MS)
  wholeNumber('most', most, 1, MOST_KEYS)
  const { clock, whenClosing } = cache.auditable
  const ending = new AbortController()
  const forget = whenClosing(async () => ending.abort(new CacheError('CLOSED', 'the cache has been closed')))
  const sketch = new SpaceSaving(SKETCH_SIZE)
  const beganMs = clock.nowMs()
  const stop = cache.listen(event => {
    if (event.type === 'read' && event.outcome === 'answered') sketch.add(event.key, event.from)
  })
  try {
    await pause(clock, forMs, ending.signal)
  } finally {
    stop()
    forget()
  }
  const keys = sketch.top(most)
  const missedAtMost = Math.max(sketch.missedAtMost, keys.length === most ? keys.at(-1)!.count : 0)
  return { forMs: Math.round(clock.nowMs() - beganMs), reads: sketch.total, keys, missedAtMost }
}

/** A question, as it is sent. */
type Question =
  | { readonly ask: 'top'; readonly forMs: number; readonly most: number }
  | { readonly ask: 'stats' }

/** The options of {@link answerInquiries}. */
export interface AnsweringOptions {
  /** The name of this process in answers. @defaultValue `'process N'`, with the process id as N */
  readonly name?: string
}

/**
 * Lets this process answer `cacheaside top` and `cacheaside stats`, by way of the shared store. It holds one connection that
 * listens, and counts nothing unless it is asked. Everybody who may publish under the store's prefix may ask, and gets to see
 * keys.
 *
 * @returns ends it; closing the cache ends it, too. Idempotent.
 * @throws CacheError `INVALID_OPTIONS` for a store that carries no questions, as the embedded one; `CLOSED`.
 */
export function answerInquiries(cache: Cache, options: AnsweringOptions = {}): () => void {
  const { shared, whenClosing } = cache.auditable
  if (shared.answer === undefined)
    throw invalidOption('shared', 'a store that carries questions to other processes', shared.name)
  const { name = `process ${globalThis.process?.pid ?? ''}`.trim() } = options
  const stopAnswering = shared.answer(async text => {
    const question = questionIn(text)
    if (question === undefined || cache.isClosed) return undefined
    const found =
      question.ask === 'stats'
        ? { stats: cache.stats() }
        : { top: await hotKeys(cache, question.forMs, question.most) }
    return JSON.stringify({ process: name, ...found })
  })
  const forget = whenClosing(async () => stopAnswering())
  return () => {
    forget()
    stopAnswering()
  }
}

/** A question that can be answered; `undefined` for anything else that somebody may have published. */
function questionIn(text: string): Question | undefined {
  const asked = parsed(text) as Partial<Record<'ask' | 'forMs' | 'most', unknown>> | undefined
  if (asked?.ask === 'stats') return { ask: 'stats' }
  const { forMs, most } = asked ?? {}
  const isWithin = (value: unknown, limit: number): value is number =>
    Number.isInteger(value) && (value as number) >= 1 && (value as number) <= limit
  if (asked?.ask !== 'top' || !isWithin(forMs, LONGEST_MS) || !isWithin(most, MOST_KEYS)) return undefined
  return { ask: 'top', forMs, most }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) ?? undefined
  } catch {
    return undefined
  }
}

/** Asks the processes. Malformed answers are ignored: anybody may publish. */
async function ask(
  operated: Operated,
  question: Question,
  forMs: number,
): Promise<Record<string, unknown>[]> {
  const shared = sharedOf(operated)
  if (shared.ask === undefined)
    throw invalidOption('shared', 'a store that carries questions to other processes', shared.name)
  const answers = await asked(
    { ...operated, timeoutMs: forMs + timeoutOf(operated) },
    'the shared store',
    shared.ask(JSON.stringify(question), forMs),
  )
  const read = answers.map(parsed) as (Record<string, unknown> | undefined)[]
  return read.filter(answer => typeof answer?.process === 'string') as Record<string, unknown>[]
}

/**
 * Asks all processes that answer for the keys that they read most, and adds up their counts.
 *
 * @param forMs - For how long they count, from 1 to 60,000.
 * @param most - How many keys are told, from 1 to 100.
 * @throws CacheError `INVALID_OPTIONS`, also for a store that carries no questions; an error that says why the store cannot be asked.
 */
export async function askHotKeys(operated: Operated, forMs: number, most: number): Promise<HotKeysReport> {
  wholeNumber('forMs', forMs, 1, LONGEST_MS)
  wholeNumber('most', most, 1, MOST_KEYS)
  const answers = await ask(operated, { ask: 'top', forMs, most: MOST_KEYS }, forMs + MARGIN_MS)
  const told = answers.filter(({ top }) => isHotKeys(top)) as { process: string; top: HotKeys }[]
  return {
    processes: told.map(({ process }) => process),
    ...together(
      told.map(({ top }) => top),
      forMs,
      most,
    ),
  }
}

/** Asks all processes that answer for the statistics of their caches. @throws as {@link askHotKeys}. */
export async function askStats(operated: Operated): Promise<ProcessStats[]> {
  const answers = await ask(operated, { ask: 'stats' }, MARGIN_MS)
  return answers.filter(
    ({ stats }) => typeof stats === 'object' && stats !== null,
  ) as unknown as ProcessStats[]
}

function isHotKeys(top: unknown): top is HotKeys {
  const { reads, keys, missedAtMost } = (top ?? {}) as Partial<HotKeys>
  return (
    Number.isFinite(reads) &&
    Number.isFinite(missedAtMost) &&
    Array.isArray(keys) &&
    keys.every(
      key =>
        typeof key?.key === 'string' &&
        [key.count, key.error, key.local, key.shared, key.origin].every(Number.isFinite),
    )
  )
}

/** The sum of several processes' counts. A key that one of them does not tell may have been read there, too. */
export function together(counted: readonly HotKeys[], forMs: number, most: number): HotKeys {
  const byKey = new Map<string, { sum: CountedKey; told: number }>()
  for (const { keys, missedAtMost } of counted) {
    for (const one of keys) {
      const known = byKey.get(one.key)
      const sum = known === undefined ? one : added(known.sum, one)
      byKey.set(one.key, { sum, told: (known?.told ?? 0) + missedAtMost })
    }
  }
  const untold = counted.reduce((all, one) => all + one.missedAtMost, 0)
  const keys = [...byKey.values()]
    .map(({ sum, told }) => ({
      ...sum,
      count: sum.count + untold - told,
      error: sum.error + untold - told,
    }))
    .sort((a, b) => b.count - b.error - (a.count - a.error) || b.count - a.count)
  // Processes tell more keys than are shown: what is cut off counts as missed, too.
  const missedAtMost = keys.slice(most).reduce((largest, { count }) => Math.max(largest, count), untold)
  const reads = counted.reduce((all, one) => all + one.reads, 0)
  return { forMs, reads, keys: keys.slice(0, most), missedAtMost }
}

const added = (a: CountedKey, b: CountedKey): CountedKey => ({
  key: a.key,
  count: a.count + b.count,
  error: a.error + b.error,
  local: a.local + b.local,
  shared: a.shared + b.shared,
  origin: a.origin + b.origin,
})
