import { printable } from '../base/printable.ts'
import { askHotKeys, type HotKeysReport } from '../operate/hot-keys.ts'
import { NOBODY_ANSWERS } from '../operate/store-stats.ts'
import { type Command, operatedBy, RefusedError } from './command.ts'
import { jsonText } from './json-text.ts'
import { percent, tableText } from './table.ts'
import { ProgressLine } from './terminal.ts'

const DEFAULT_SECONDS = 5
const DEFAULT_LIMIT = 20

/** `cacheaside top`. On a terminal it goes on until it is interrupted; otherwise it counts once. */
export const topCommand: Command = {
  operands: '',
  count: [0, 0],
  summary: 'shows the keys that are read most now, by the processes that answer',
  options: ['seconds', 'limit'],
  async run(run) {
    const { given, output } = run
    const { seconds = DEFAULT_SECONDS, limit = DEFAULT_LIMIT } = given
    const operated = operatedBy(run)
    const goesOn = output.isTerminal && !given.json
    const line = new ProgressLine(output)
    let isFirst = true
    while (isFirst || (goesOn && output.signal?.aborted !== true)) {
      line.say(`counting for ${seconds} s; Ctrl-C ends it`)
      let report: HotKeysReport
      try {
        report = await askHotKeys(operated, seconds * 1000, limit)
      } catch (error) {
        line.clear()
        if (!isFirst && output.signal?.aborted === true) return 0
        throw error
      }
      line.clear()
      if (report.processes.length === 0) throw new RefusedError(NOBODY_ANSWERS)
      output.out(`${given.json ? jsonText(report) : topText(report)}\n`)
      isFirst = false
    }
    return 0
  },
}

function topText({ processes, forMs, reads, keys, missedAtMost }: HotKeysReport): string {
  const perSecond = (count: number) => (count / (forMs / 1000)).toFixed(1)
  const rows = keys.map(({ key, count, error, local, shared, origin }) => {
    const certain = local + shared + origin
    return [
      perSecond(count),
      error === 0 ? '' : `-${perSecond(error)}`,
      percent(count, reads),
      ...[local, shared, origin].map(part => percent(part, certain)),
      printable(key),
    ]
  })
  return [
    `${perSecond(reads)} reads per second in ${processes.map(printable).join(', ')}`,
    ...tableText([['reads/s', 'or', 'of all', 'local', 'shared', 'origin', 'key'], ...rows], 6),
    ...(missedAtMost > 0
      ? [`no key outside this list was read more than ${perSecond(missedAtMost)} times per second`]
      : []),
  ].join('\n')
}
