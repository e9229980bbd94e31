import { masked } from '../base/masked.ts'
import { printable } from '../base/printable.ts'
import { type DoctorReport, examineAll, isIll } from '../operate/doctor.ts'
import { type Command, operatedBy } from './command.ts'
import { jsonText } from './json-text.ts'
import { type Paint, ProgressLine, paintOn } from './terminal.ts'

/** `cacheaside doctor`. */
export const doctorCommand: Command = {
  operands: '',
  count: [0, 0],
  summary: 'examines the store, the change feed and the options, and says what should be mended',
  options: ['sample'],
  async run(run) {
    const { given, output } = run
    const line = new ProgressLine(output)
    line.say('examining …')
    let report: DoctorReport
    try {
      report = await examineAll(operatedBy(run), given.sample === undefined ? {} : { sample: given.sample })
    } finally {
      line.clear()
    }
    output.out(`${given.json ? jsonText(report) : doctorText(report, paintOn(output))}\n`)
    return isIll(report) ? 1 : 0
  },
}

const COLORS = { bad: 'red', warn: 'yellow', advice: 'dim' } as const

/** A report as people read it. */
function doctorText({ examined, findings }: DoctorReport, paint: Paint): string {
  const lines = examined.map(text => `${paint('dim', 'looked at')}  ${printable(text)}`)
  for (const { severity, area, code, message } of findings)
    lines.push(
      `${paint(COLORS[severity], severity.padEnd(9))}  ${area} ${code}: ${printable(masked(message))}`,
    )
  const count = (severity: string) => findings.filter(finding => finding.severity === severity).length
  const [bad, warn, advice] = [count('bad'), count('warn'), count('advice')]
  const verdict = `${bad} bad, ${warn} to be mended, ${advice} to consider`
  return [...lines, '', paint(bad > 0 ? 'red' : warn > 0 ? 'yellow' : 'green', verdict)].join('\n')
}
