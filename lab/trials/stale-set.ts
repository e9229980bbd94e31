import type { LabProcess } from '../lab-process.ts'
import { passes, REST_MS, type Stage } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

/** Readers are held with the old rows in their hands, the rows are changed and invalidated, the readers go on. */
async function overlap(
  stage: Stage,
  [reader, writer, other]: readonly LabProcess[],
  count: number,
  isReadLate: boolean,
) {
  const ids = stage.ids(count)
  await stage.plant(ids)
  const held = ids.map(id => reader!.hold('loaded', id))
  const reading = ids.map(id => reader!.get(id))
  await Promise.all(held.map(one => one.reached))
  await Promise.all(ids.map(id => writer!.write(id)))
  // Somebody has seen the new version before the late read begins.
  const seen = isReadLate ? await Promise.all(ids.map(id => writerSees(writer!, reader!, id))) : []
  const late = isReadLate ? ids.map(id => reader!.get(id)) : []
  // Messages keep their order: when this is answered, the late reads have begun.
  await reader!.loads(ids)
  for (const one of held) one.letGo()
  await Promise.all(reading)
  const lateVersions = await Promise.all(late)
  if (isReadLate)
    return {
      bad: lateVersions.filter((version, i) => seen[i] && version === 1).length,
      unforced: seen.filter(one => !one).length,
    }
  await passes(REST_MS)
  const stale = await stage.staleAmong([reader!, writer!, other!], ids)
  return { bad: stale.size, unforced: 0 }
}

/** In its own process the writer has the acknowledgement; in another one it reads, and must be answered with the new row. */
async function writerSees(writer: LabProcess, reader: LabProcess, id: number): Promise<boolean> {
  return writer === reader || (await writer.get(id)) === 2
}

function trial(id: string, heading: string, text: string, isSame: boolean, isReadLate: boolean): Trial {
  return {
    id,
    heading,
    text,
    async run(stage, rows) {
      const all = await stage.start(3)
      const cast = isSame ? [all[0]!, all[0]!, all[1]!] : all
      return inRounds(rows, count => overlap(stage, cast, count, isReadLate))
    },
  }
}

/** A load that began before a write of another process ends after it. */
export const staleSet = trial(
  'stale-set',
  'stale set',
  'A reader in process A has run its SELECT and is held before its loader returns. Process B changes the row, invalidates, and is answered. Then the reader continues. Counted: rows that A, B or a third process answers with the old version after the rest.',
  false,
  false,
)

/** The same in one process. */
export const staleSetInProcess = trial(
  'stale-set-in-process',
  'stale set, one process',
  'The same, but reader and writer are in one process, which could know of the write.',
  true,
  false,
)

/** A read that begins after the write is answered with what was loaded before it. */
export const lateRead = trial(
  'late-read',
  'late read',
  'As the stale set in one process; after the write was acknowledged, and while the first reader is still held, a second read of the row begins in that process. Counted: second reads that are answered with the old version, though the process knew of the write.',
  true,
  true,
)

/** The same in another process than the writer's. */
export const lateReadElsewhere = trial(
  'late-read-elsewhere',
  'late read elsewhere',
  'As the stale set; process B has changed the row and read the new version back, then a second read begins in process A, where the first reader is still held. Counted: second reads that are answered with the version before the one that was already seen.',
  false,
  true,
)
