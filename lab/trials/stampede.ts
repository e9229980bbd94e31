import { passes, REST_MS } from '../stage.ts'
import type { Trial } from '../trial.ts'

const PROCESSES = 4
const READERS = 20
const ROWS = 5
const LOAD_MS = 300

const average = (counts: readonly number[]): string =>
  (counts.reduce((sum, one) => sum + one, 0) / counts.length).toFixed(1).replace('.0', '')

const loadsOf = (counts: readonly number[]): string =>
  average(counts) === '1' ? '1 load' : `${average(counts)} loads`

/** Many readers of one cold row. */
export const stampede: Trial = {
  id: 'stampede',
  heading: 'stampede',
  text: `${PROCESSES} processes read one cold row ${READERS} times each, at once; a load takes ${LOAD_MS} ms. Given: loads per row, as the average of ${ROWS} rows.`,
  isInformation: true,
  rows: () => ROWS,
  async run(stage, rows) {
    const processes = await stage.start(PROCESSES)
    await Promise.all(processes.map(one => one.trouble({ delayMs: LOAD_MS })))
    const ids = stage.ids(rows)
    await stage.plant(ids)
    // A process that hears of rows that are made has heard of these.
    await passes(REST_MS)
    for (const id of ids) await Promise.all(processes.map(one => one.getAtOnce(id, READERS)))
    const loads = await Promise.all(processes.map(one => one.loads(ids)))
    const sums = ids.map((_, i) => loads.reduce((sum, one) => sum + one[i]!, 0))
    return { kind: 'fact', text: loadsOf(sums) }
  },
}

/** Many readers of a row whose loader fails. */
export const failingLoader: Trial = {
  id: 'failing-loader',
  heading: 'failing loader',
  text: `One process reads one cold row ${READERS} times at once; the load takes ${LOAD_MS} ms and fails. Given: loads per row, how many of the readers get an error, and whether the next read, when the loader works again, gets the row.`,
  isInformation: true,
  rows: () => ROWS,
  async run(stage, rows) {
    const [one] = await stage.start(1)
    const ids = stage.ids(rows)
    await stage.plant(ids)
    await passes(REST_MS)
    await one!.trouble({ delayMs: LOAD_MS, fail: true })
    const errors: number[] = []
    for (const id of ids) errors.push(await one!.getAtOnce(id, READERS))
    const loads = await one!.loads(ids)
    await one!.trouble({})
    const ends = await Promise.all(ids.map(id => one!.attempt('get', id)))
    const healed = ends.filter(ended => ended?.value === 1).length
    return {
      kind: 'fact',
      text: `${loadsOf(loads)}, ${average(errors)} errors${healed === rows ? '' : `; then ${rows - healed} of ${rows} without the row`}`,
    }
  },
}
