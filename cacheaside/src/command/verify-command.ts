import { reportText, type VerifyReport } from '../verify/report.ts'
import { verify } from '../verify/verify.ts'
import { type Command, type ExitCode, operatedBy } from './command.ts'
import { jsonText } from './json-text.ts'
import { ProgressLine } from './terminal.ts'

/** `cacheaside verify`. */
export const verifyCommand: Command = {
  operands: '',
  count: [0, 0],
  summary: 'compares what the shared store holds with the origin, and counts what is stale',
  options: ['keyspace', 'sample', 'rate', 'grace'],
  async run(run) {
    const { given, output } = run
    const { cache: _cache, migration: _migration, pool: _pool, tags: _tags, ...options } = operatedBy(run)
    const line = new ProgressLine(output)
    try {
      const report = await verify({
        ...options,
        ...(given.only && { only: given.only }),
        ...(given.sample !== undefined && { sample: given.sample }),
        ...(given.rate !== undefined && { rate: given.rate }),
        ...(given.graceMs !== undefined && { graceMs: given.graceMs }),
        ...(output.isTerminal && {
          onProgress: ({ done, of, stale }) => line.show(done, of, `, ${stale} stale`),
        }),
      })
      line.clear()
      output.out(given.json ? `${jsonText(report)}\n` : `${reportText(report)}\n`)
      return exitCodeOf(report)
    } catch (error) {
      line.clear()
      throw error
    }
  },
}

function exitCodeOf({ total }: VerifyReport): ExitCode {
  if (total.stale > 0) return 1
  return total.skipped.failed > 0 ? 2 : 0
}
