/**
 * Snapshot reads: several values as they were at one moment, with respect to fenced writes.
 *
 * 1. Read each as a strong read does, in the shared store. What is missing is loaded, all of one keyspace in one call, and
 *    the fills are awaited.
 * 2. Look once more: at the nonce of each value, and at the stamps of its tags.
 * 3. If nothing has changed, all values were current at one moment between the last first look and the first second look.
 *    A fenced transaction over two of them had guards over both around its commit, and would have removed both.
 * 4. Otherwise try once more. After that, or where a value cannot be kept, `load` reads all of them at once.
 */
import { Abort, checkSignal, follow, throwIfAborted } from './base/abort.ts'
import { CacheError } from './base/errors.ts'
import { invalidOption, knownNames } from './base/invalid-option.ts'
import type { Key } from './base/key.ts'
import { newId } from './base/trace-id.ts'
import type { ReadTrace } from './base/tracing.ts'
import { callLoader, loadFrame } from './load.ts'
import { Flight } from './local/flight.ts'
import { type LoadRun, runAround } from './local/load-run.ts'
import { waitInside } from './nested.ts'
import type { LoadContext } from './options.ts'
import { tellAnswered, tellFailed } from './read-events.ts'
import { type Opened, takeOf, Unopened, UnsealedValue } from './shared/codec.ts'
import { type PartRead, type PartReader, seeAll, standsStill } from './snapshot-look.ts'
import type { Answer, Space } from './space.ts'

/**
 * One value of a snapshot: a keyspace and an id. Made by a keyspace's `at()`.
 *
 * `V` is what readers get, and `Loaded` what a loader hands in.
 */
export interface SnapshotPart<V, Loaded = V> {
  readonly key: Key
  /** @internal */
  readonly read: PartReader
  readonly [partBrand]?: (loaded: Loaded) => V
}
declare const partBrand: unique symbol

/** Any part. */
// biome-ignore lint/suspicious/noExplicitAny: a part of any types
export type AnyPart = SnapshotPart<any, any>

/** What readers get of each part. */
export type SnapshotOf<Parts extends readonly AnyPart[]> = {
  -readonly [I in keyof Parts]: (Parts[I] extends SnapshotPart<infer V, infer _> ? V : never) | undefined
}
/** What `load` answers with: a row, or nothing, for each part. */
export type SnapshotLoaded<Parts extends readonly AnyPart[]> = {
  readonly [I in keyof Parts]:
    | (Parts[I] extends SnapshotPart<infer _, infer Loaded> ? Loaded : never)
    | undefined
}

/** How a snapshot is read. */
export interface SnapshotOptions<Loaded> {
  /**
   * Reads all parts at once, in their order: in one statement, or in a transaction of `REPEATABLE READ`. Called where the
   * cache cannot give a snapshot. So trouble with the shared store never fails one.
   */
  readonly load: (context: LoadContext) => Promise<Loaded> | Loaded
  /**
   * Ends this caller's wait with the signal's reason, and the loads that were begun for it. Left out: it waits until the read
   * has ended.
   */
  readonly signal?: AbortSignal
}

/** How often the cache is tried. */
const TRIES = 2

/**
 * Reads all parts as they were at one moment.
 *
 * @returns the values, in the order of the parts.
 */
export async function readSnapshot(
  parts: readonly AnyPart[],
  options: SnapshotOptions<readonly unknown[]>,
): Promise<unknown[]> {
  knownNames('options', options, ['load', 'signal'])
  const { load, signal } = options
  if (typeof load !== 'function') throw invalidOption('load', 'a function', load)
  checkSignal(signal)
  throwIfAborted(signal)
  if (parts.length === 0) return []
  const { tracing } = (parts[0] as AnyPart).read.space.parts
  if (!tracing.hears('read')) return unlessAborted(signal, readParts(parts, load, signal))
  const keys = parts.map(({ key }) => key)
  const message: ReadTrace = { call: 'snapshot', keys, strong: true, events: [] }
  return tracing.trace('read', message, () => unlessAborted(signal, readParts(parts, load, signal, message)))
}

/** A promise that a caller may stop waiting for. */
function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const stopFollowing = follow(signal, reject)
    work.then(resolve, reject).finally(stopFollowing)
  })
}

async function readParts(
  parts: readonly AnyPart[],
  load: SnapshotOptions<readonly unknown[]>['load'],
  signal: AbortSignal | undefined,
  message?: ReadTrace,
): Promise<unknown[]> {
  const reads = readsOf(parts)
  const parent = runAround(signal)
  const { clock } = reads[0]!.reader.space.parts
  const beganMs = clock.nowMs()
  const context = { parent, batch: newId(), message }
  try {
    let answers = await answersOf(reads, parts.length, load, signal, parent)
    // The caller has been told so.
    throwIfAborted(signal)
    let values = valuesOf(parts, reads, answers)
    if (values instanceof Unopened) {
      answers = await loadAll(reads, parts.length, load, signal, parent)
      throwIfAborted(signal)
      values = valuesOf(parts, reads, answers)
      if (values instanceof Unopened) throw values.error
    }
    for (const [i, read] of reads.entries())
      tellAnswered(read.reader.space, read.key, answers[i]!, read, beganMs, context)
    return values
  } catch (error) {
    for (const read of reads) tellFailed(read.reader.space, read.key, error, signal, read, beganMs, context)
    throw error
  }
}

/** The values in the order of the parts; or why one of them cannot be opened any more. */
function valuesOf(
  parts: readonly AnyPart[],
  reads: readonly PartRead[],
  answers: readonly Answer[],
): unknown[] | Unopened {
  const byKey = new Map(reads.map(({ key }, i) => [key, answers[i]!.opened]))
  const values = parts.map(({ key }) => takeOf(byKey.get(key)!))
  return values.find(value => value instanceof Unopened) ?? values
}

/** One read for each key: a part that is named twice is read once, as by `getMany`. */
function readsOf(parts: readonly AnyPart[]): readonly PartRead[] {
  const reads = new Map<Key, PartRead>()
  for (const [place, { key, read }] of parts.entries())
    if (!reads.has(key)) reads.set(key, { reader: read, key, place, flight: { traceId: 0 }, joined: false })
  return [...reads.values()]
}

async function answersOf(
  reads: readonly PartRead[],
  parts: number,
  load: SnapshotOptions<readonly unknown[]>['load'],
  signal: AbortSignal | undefined,
  parent: LoadRun | undefined,
): Promise<readonly Answer[]> {
  const { name, parts: all } = reads[0]!.reader.space
  // More than the store answers in time are loaded at once. Inside a loader all are: that costs no more, and needs no lent place.
  const isTried =
    parent === undefined && reads.length <= (all.access.store.keysAtOnce?.(name) ?? reads.length)
  for (let left = isTried ? TRIES : 0; left > 0; left--) {
    const seen = await seeAll(reads, signal)
    if (seen === undefined) break
    if (!(await standsStill(reads[0]!.reader.space, reads, seen))) continue
    return seen.map(({ answer }) => answer)
  }
  // Nobody waits for it any more.
  throwIfAborted(signal)
  return loadAll(reads, parts, load, signal, parent)
}

/** One call of the snapshot's own loader. What it reads is kept nowhere. */
async function loadAll(
  reads: readonly PartRead[],
  parts: number,
  load: SnapshotOptions<readonly unknown[]>['load'],
  signal: AbortSignal | undefined,
  parent: LoadRun | undefined,
): Promise<readonly Answer[]> {
  const { space } = reads[0]!.reader
  const abort = new Abort()
  const stopFollowing = signal === undefined ? () => {} : follow(signal, reason => abort.abort(reason))
  const nowMs = space.parts.clock.nowMs()
  const flights = reads.map(
    ({ key, flight }) => new Flight<Answer>(key, space.name, nowMs, false, parent, flight),
  )
  try {
    const loading = callLoader(loadFrame(space, flights, abort), load)
    const { result, costMs } = await (parent === undefined ? loading : waitInside(parent, flights, loading))
    if (!Array.isArray(result) || result.length !== parts)
      throw new TypeError(`a snapshot's load must answer with ${parts} values, in the order of its parts`)
    return reads.map(({ reader, place }) => loadedAnswer(reader, result[place], costMs))
  } finally {
    stopFollowing()
  }
}

function loadedAnswer({ space }: PartReader, value: unknown, loadMs: number): Answer {
  const sealed = space.envelope.seal(value)
  const opened: Opened<unknown> = sealed instanceof Unopened ? new UnsealedValue(value) : sealed.opened
  return {
    opened,
    absent: value === undefined,
    from: 'origin',
    why: 'snapshot',
    kept: false,
    filledAtMs: undefined,
    freshUntilMs: undefined,
    sharedMs: 0,
    loadMs,
  }
}

/**
 * Refuses what is no part of a snapshot of this cache.
 *
 * @returns the parts as they are now: the caller may use its array for others meanwhile.
 */
export function checkParts(
  parts: unknown,
  isOwn: (space: Space<unknown, unknown>) => boolean,
): readonly AnyPart[] {
  if (!Array.isArray(parts))
    throw new CacheError(
      'INVALID_KEY',
      `expected an array of parts made by a keyspace's at(), got ${typeof parts}`,
    )
  const own: readonly AnyPart[] = [...parts]
  for (const part of own) {
    const space = (part as AnyPart | undefined)?.read?.space
    if (space === undefined || !isOwn(space))
      throw new CacheError('INVALID_KEY', "expected parts made by the at() of this cache's keyspaces")
  }
  return own
}
