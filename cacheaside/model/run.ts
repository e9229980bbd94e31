import { ProtocolMachine } from './protocol-machine.ts'
import type { Row } from './row.ts'
import { check, type Outcome } from './search.ts'
import { StreamMachine } from './stream-machine.ts'
import { TagsMachine } from './tags-machine.ts'

/** What came out of a row, and whether it is what must come out. */
export interface Result extends Outcome {
  readonly isAsExpected: boolean
}

/** Looks at all states of a row, or at those of its larger setting. */
export function run(row: Row, setting: Row['setting'] = row.setting): Result {
  const outcome = outcomeOf(setting)
  const { breach } = outcome
  const isAsExpected =
    row.breaks === undefined ? breach === undefined : breach?.what.startsWith(row.breaks) === true
  return { ...outcome, isAsExpected }
}

function outcomeOf(setting: Row['setting']): Outcome {
  if ('tags' in setting) return check(new TagsMachine(setting))
  return 'readers' in setting ? check(new ProtocolMachine(setting)) : check(new StreamMachine(setting))
}

/** The trail to a breach, one step a line. */
export function story({ breach }: Outcome): string {
  if (breach === undefined) return ''
  return [
    ...breach.trail.map((step, i) => `${String(i + 1).padStart(4)}. ${step}`),
    `      ${breach.what}`,
  ].join('\n')
}
