import type { Hold, LabProcess } from '../lab-process.ts'
import { passes, REST_MS } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

const TTL_MS = 8_000
const TIMES = { staleMs: 3_600_000, leftMs: 4_000 }
const DEADLINE_MS = TTL_MS + 10_000

/** Reads the rows until a refresh of each is held, or the time is up. */
async function readUntilHeld(reader: LabProcess, held: ReadonlyMap<number, Hold>): Promise<void> {
  const untilMs = Date.now() + DEADLINE_MS
  for (;;) {
    const left = [...held].filter(([, hold]) => !hold.isReached)
    if (left.length === 0 || Date.now() > untilMs) return
    // Not awaited: where a read waits for its refresh, it waits for us.
    for (const [id] of left) void reader.attempt('get', id)
    await passes(100)
  }
}

/** A refresh in the background has loaded a row before it is changed, and stores it after. */
export const refresh: Trial = {
  id: 'refresh',
  heading: 'refresh',
  text: `For libraries that refresh a value in the background: set up to live ${TTL_MS / 1000} s, and to be refreshed after that or (where the library does it before) in the last ${TIMES.leftMs / 1000} s. A refresh is held after its SELECT, process B changes the row and invalidates, then the refresh continues. Counted: rows that either process answers with the old version after the rest; it heals with the next refresh.`,
  isOfRefreshes: true,
  async run(stage, rows) {
    const [reader, writer] = await stage.start(2, { ttlMs: TTL_MS, refresh: TIMES })
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      await Promise.all(ids.map(id => reader!.get(id)))
      // A fill that goes on in the background, then a hit: from now on a load is a refresh.
      await passes(500)
      await Promise.all(ids.map(id => reader!.get(id)))
      const held = new Map(ids.map(id => [id, reader!.hold('loaded', id)]))
      await readUntilHeld(reader!, held)
      const forced = ids.filter(id => held.get(id)!.isReached)
      await Promise.all(forced.map(id => writer!.write(id)))
      for (const one of held.values()) one.letGo()
      await passes(REST_MS)
      const stale = await stage.staleAmong([reader!, writer!], forced)
      return { bad: stale.size, unforced: count - forced.length }
    })
  },
}
