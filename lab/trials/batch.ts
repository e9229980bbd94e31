import { passes, REST_MS } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

const BATCH = 5

/** A batch of rows is loaded before they are changed, and stored after it. */
export const batch: Trial = {
  id: 'batch',
  heading: 'batch',
  text: 'The stale set with batch reads of five rows, for libraries whose own batch read calls a loader: the batch is held after its SELECT, all five rows are changed and invalidated by process B, then the batch continues. Counted: rows that either process answers with the old version after the rest.',
  async run(stage, rows) {
    const [reader, writer] = await stage.start(2)
    if ((await reader!.getMany(stage.ids(2))) === null)
      return { kind: 'none', why: 'no batch read with a loader' }
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      const batches = Array.from({ length: Math.ceil(count / BATCH) }, (_, i) =>
        ids.slice(i * BATCH, (i + 1) * BATCH),
      )
      const held = batches.map(one => reader!.hold('loaded', one[0]!))
      const reading = batches.map(one => reader!.getMany(one))
      await Promise.all(held.map(one => one.reached))
      await Promise.all(ids.map(id => writer!.write(id)))
      for (const one of held) one.letGo()
      await Promise.all(reading)
      await passes(REST_MS)
      return { bad: (await stage.staleAmong([reader!, writer!], ids)).size, unforced: 0 }
    })
  },
}
