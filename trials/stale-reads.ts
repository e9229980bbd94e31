import type { WorkerProcess } from './worker-process.ts'

/** `localMaxStaleMs` of the processes under trial, which is its default. */
export const BOUND_MS = 2_000
/** How long a copy is watched: well past the bound. */
const WATCHED_MS = 2 * BOUND_MS

/** How long after its invalidation was applied the last read began that was answered with the first version. */
async function lastStaleReadMs(reader: WorkerProcess, id: number, appliedMs: number): Promise<number> {
  let lastMs = 0
  for (;;) {
    const beganMs = performance.now()
    if (beganMs - appliedMs > WATCHED_MS) return lastMs
    const { version } = await reader.get(id)
    if (version === 1) lastMs = beganMs - appliedMs
    else if (beganMs - appliedMs > BOUND_MS) return lastMs
  }
}

/** What a watch over several keys came to. */
export interface Watched {
  /** Keys of which the first version was served to a read that began after the bound. */
  readonly stale: number
  readonly oldestMs: number
}

/** Has one process write every key, and watches the copies of another. */
export async function writeAndWatch(
  writer: WorkerProcess,
  reader: WorkerProcess,
  ids: readonly number[],
  written: () => Promise<void> | void = () => {},
): Promise<Watched> {
  const applied = new Map<number, number>()
  for (const id of ids) {
    const { invalidation } = await writer.write(id)
    if (invalidation !== 'applied') throw new Error(`the invalidation of spell ${id} was ${invalidation}`)
    applied.set(id, performance.now())
  }
  await written()
  const oldest = await Promise.all(ids.map(id => lastStaleReadMs(reader, id, applied.get(id)!)))
  return { stale: oldest.filter(ms => ms > BOUND_MS).length, oldestMs: Math.max(...oldest) }
}
