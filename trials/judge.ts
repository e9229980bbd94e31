import type { Operation } from './subject.ts'

/** What a history of all processes shows. */
export interface Verdict {
  readonly reads: number
  readonly strongReads: number
  readonly writes: number
  readonly fenced: number
  readonly queued: number
  /** Strong reads older than a fenced write that had resolved, or had been read, before they began. */
  readonly oldStrongReads: number
  /** Default reads older than what was applied longer than their bound before they began. */
  readonly oldReads: number
  /** By how much the oldest default read was behind what had been applied when it began, in milliseconds. */
  readonly oldestReadMs: number
  readonly examples: readonly string[]
}

/** Versions that are known to exist from a moment on, ordered by it; each is at least as new as those before. */
type Floor = readonly { readonly atMs: number; readonly version: number }[]

/** What reads may be measured against. */
export interface Bounds {
  readonly localMaxStaleMs: number
  /** How long a change that was not confirmed to the writer, or was made by another program, took to be applied. */
  readonly lagMs: number
}

const MOST_EXAMPLES = 5

/**
 * Judges what processes have noted of one run against the promises. Versions of a row grow by one with every commit,
 * and all processes note the time by one clock, so "older" and "before" are facts and no guesses.
 */
export function judge(history: readonly Operation[], { localMaxStaleMs, lagMs }: Bounds): Verdict {
  const byId = new Map<number, Operation[]>()
  for (const operation of history) {
    const same = byId.get(operation[1])
    if (same === undefined) byId.set(operation[1], [operation])
    else same.push(operation)
  }
  const verdict = {
    reads: 0,
    strongReads: 0,
    writes: 0,
    fenced: 0,
    queued: 0,
    oldStrongReads: 0,
    oldReads: 0,
    oldestReadMs: 0,
    examples: [] as string[],
  }
  const example = (text: string) => {
    if (verdict.examples.length < MOST_EXAMPLES) verdict.examples.push(text)
  }
  for (const [id, operations] of byId) {
    const fencedFloor = floorOf(seenFenced(operations))
    const appliedFloor = floorOf(applied(operations, lagMs))
    for (const [kind, , version, beganMs, , fact] of operations) {
      if (kind === 'write') {
        verdict.writes++
        if (fact === 'fenced') verdict.fenced++
        if (fact === 'queued') verdict.queued++
        continue
      }
      if (kind === 'strong') {
        verdict.strongReads++
        const least = versionAt(fencedFloor, beganMs)
        if (version >= least) continue
        verdict.oldStrongReads++
        example(`strong read of ${id} at ${beganMs} from ${fact}: ${version}, not ${least}`)
        continue
      }
      verdict.reads++
      const behindMs = behind(appliedFloor, version, beganMs)
      verdict.oldestReadMs = Math.max(verdict.oldestReadMs, behindMs)
      if (behindMs <= localMaxStaleMs) continue
      verdict.oldReads++
      example(`read of ${id} at ${beganMs} from ${fact}: ${version}, ${Math.round(behindMs)} ms behind`)
    }
  }
  return verdict
}

/** When each version of a fenced write was known to somebody: the write had resolved, or it was read. */
function* seenFenced(operations: readonly Operation[]) {
  const fenced = new Set<number>()
  for (const [kind, , version, , , fact] of operations)
    if (kind === 'write' && fact === 'fenced') fenced.add(version)
  for (const [, , version, , endedMs] of operations) if (fenced.has(version)) yield { atMs: endedMs, version }
}

/** When each version had been applied at the latest. */
function* applied(operations: readonly Operation[], lagMs: number) {
  for (const [kind, , version, , endedMs, fact] of operations) {
    if (kind !== 'write') continue
    yield { atMs: fact === 'fenced' || fact === 'applied' ? endedMs : endedMs + lagMs, version }
  }
}

function floorOf(facts: Iterable<{ atMs: number; version: number }>): Floor {
  const floor: { atMs: number; version: number }[] = []
  for (const fact of [...facts].sort((a, b) => a.atMs - b.atMs))
    if (fact.version > (floor.at(-1)?.version ?? 0)) floor.push(fact)
  return floor
}

/** The newest version known before a moment. */
function versionAt(floor: Floor, ms: number): number {
  let low = 0
  let high = floor.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (floor[middle]!.atMs < ms) low = middle + 1
    else high = middle
  }
  return floor[low - 1]?.version ?? 0
}

/** For how long, when a read began, something newer than what it was answered with had been applied. */
function behind(floor: Floor, version: number, beganMs: number): number {
  let low = 0
  let high = floor.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (floor[middle]!.version > version) high = middle
    else low = middle + 1
  }
  const newer = floor[low]
  return newer === undefined ? 0 : Math.max(0, beganMs - newer.atMs)
}
