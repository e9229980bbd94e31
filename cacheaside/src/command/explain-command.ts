import { explain } from '../operate/explain.ts'
import { explanationText } from '../operate/explain-text.ts'
import { type Command, operatedBy } from './command.ts'
import { jsonText } from './json-text.ts'

/** `cacheaside explain`. */
export const explainCommand: Command = {
  operands: 'KEYSPACE ID...',
  count: [2, 64],
  summary: 'says what the store holds for a key, and what a reader gets and why',
  options: ['origin', 'value'],
  async run(run) {
    const { given, output } = run
    const [keyspace, ...id] = given.operands as [string, ...string[]]
    const found = await explain(operatedBy(run), keyspace, id, {
      compare: given.origin,
      withText: given.value,
    })
    output.out(`${given.json ? jsonText(found) : explanationText(found)}\n`)
    return found.origin?.kind === 'stale' ? 1 : 0
  },
}
