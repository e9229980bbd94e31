import { machineMs, type Operation, type Subject } from './subject.ts'

/** How much one process of a random run has to do. */
export interface RandomLoad {
  readonly operations: number
  readonly keys: number
  /** How many operations are under way at once. */
  readonly atOnce: number
  readonly seed: number
}

const REPORTED_AT_ONCE = 500
const MOST_TOGETHER = 3

/**
 * Reads, strong reads, batches, writes and writes of several keys, drawn at random, some keys more often than others.
 * Errors count as what they are: a write whose fate is unknown is not in the history.
 *
 * @returns how many operations there were and how many failed.
 */
export async function runAtRandom(
  subject: Subject,
  load: RandomLoad,
  report: (history: readonly Operation[]) => void,
): Promise<{ operations: number; failed: number }> {
  const random = generatorOf(load.seed)
  let history: Operation[] = []
  let left = load.operations
  let failed = 0
  const note = (operation: Operation) => {
    history.push(operation)
    if (history.length < REPORTED_AT_ONCE) return
    report(history)
    history = []
  }
  const anyKey = () => 1 + Math.floor(random() ** 2 * load.keys)
  const someKeys = () => [...new Set(Array.from({ length: MOST_TOGETHER }, anyKey))]
  async function one(): Promise<void> {
    const choice = random()
    const beganMs = machineMs()
    if (choice < 0.62) {
      const id = anyKey()
      const { version, from } = await subject.get(id)
      note(['read', id, version ?? 0, beganMs, machineMs(), from])
    } else if (choice < 0.76) {
      const id = anyKey()
      const { version, from } = await subject.get(id, true)
      note(['strong', id, version ?? 0, beganMs, machineMs(), from])
    } else if (choice < 0.82) {
      const strong = random() < 0.3
      const ids = someKeys()
      const versions = await subject.getMany(ids, strong)
      const endedMs = machineMs()
      for (const [i, id] of ids.entries())
        note([strong ? 'strong' : 'read', id, versions[i] ?? 0, beganMs, endedMs, 'batch'])
    } else {
      const ids = choice < 0.96 ? [anyKey()] : someKeys()
      const written =
        ids.length === 1
          ? [await subject.write(ids[0]!, { through: random() < 0.3 })]
          : await subject.writeAll(ids)
      const endedMs = machineMs()
      for (const [i, { version, invalidation, fenced }] of written.entries())
        note(['write', ids[i]!, version, beganMs, endedMs, fenced ? 'fenced' : invalidation])
    }
  }
  async function work(): Promise<void> {
    while (left > 0) {
      left--
      try {
        await one()
      } catch {
        failed++
      }
    }
  }
  await Promise.all(Array.from({ length: load.atOnce }, work))
  if (history.length > 0) report(history)
  return { operations: load.operations, failed }
}

/** Mulberry32: numbers in [0, 1) that a seed decides. */
export function generatorOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
