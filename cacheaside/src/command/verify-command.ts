import { reportText, type VerifyReport } from '../verify/report.ts'
import { assertKeyspaces, verify } from '../verify/verify.ts'
import { type Command, type CommandRun, type ExitCode, operatedBy, UsageError } from './command.ts'
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
    checkGiven(run)
    const line = new ProgressLine(output)
    line.say(given.sample === undefined ? 'counting the keys …' : 'picking the keys …')
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
      if (report.total.checked === 0) output.err(`cacheaside: ${NOTHING_CHECKED}\n`)
      return exitCodeOf(report)
    } catch (error) {
      line.clear()
      throw error
    }
  },
}

/** The options of the command line have other names than those of `verify`. */
function checkGiven({ given: { only = [], sample }, config: { keyspaces } }: CommandRun): void {
  if (sample === 0) throw new UsageError('expected --sample to be at least 1, got 0')
  if (only.length === 0) return
  assertKeyspaces(keyspaces)
  const names = keyspaces.map(({ name }) => name)
  const strange = only.find(name => !names.includes(name))
  if (strange !== undefined)
    throw new UsageError(`expected --keyspace to be one of ${names.join(', ')}, got ${strange}`)
}

/** As from an empty store, or under a wrong prefix. An origin that could not be read has an error of its own. */
const NOTHING_CHECKED =
  'nothing was checked: no value of these keyspaces was found to compare, and the origin was not read'

function exitCodeOf({ total }: VerifyReport): ExitCode {
  if (total.stale > 0) return 1
  return total.skipped.failed > 0 || total.checked === 0 ? 2 : 0
}
