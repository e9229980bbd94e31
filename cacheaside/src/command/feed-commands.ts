import { printable } from '../base/printable.ts'
import {
  feedScript,
  feedStatus,
  installChangeFeed,
  migrationOf,
  removeChangeFeed,
  schemaOf,
  tablesOf,
} from '../operate/feed.ts'
import { feedStatusText } from '../operate/feed-text.ts'
import { type Command, operatedBy } from './command.ts'
import { jsonText } from './json-text.ts'
import { agreed } from './terminal.ts'

/** The commands about the change feed. */
export const feedCommands: Readonly<Record<string, Command>> = {
  'feed status': {
    operands: '',
    count: [0, 0],
    summary: 'says what the change feed watches, what waits in it, and what should be mended',
    options: [],
    async run(run) {
      const status = await feedStatus(operatedBy(run))
      run.output.out(`${run.given.json ? jsonText(status) : feedStatusText(status)}\n`)
      return status.findings.length > 0 ? 1 : 0
    },
  },
  'feed install': {
    operands: '',
    count: [0, 0],
    summary: 'installs the change feed, or brings it up to date',
    options: ['print', 'yes'],
    async run(run) {
      const operated = operatedBy(run)
      const { given, output } = run
      if (given.print) {
        const script = feedScript(operated)
        output.out(`${given.json ? jsonText({ script }) : script}\n`)
        return 0
      }
      const migration = migrationOf(operated)
      const [schema, tables] = [schemaOf(migration), tablesOf(migration)]
      const question =
        `install the change feed in the schema ${schema}, which watches ${tables.join(', ')}: ` +
        'writers of these tables may wait for a moment'
      await agreed(output, given.yes, question)
      await installChangeFeed(operated)
      const text = `the change feed in the schema ${schema} watches ${tables.join(', ')}`
      output.out(`${given.json ? jsonText({ done: 'feed install', schema, tables }) : printable(text)}\n`)
      return 0
    },
  },
  'feed remove': {
    operands: '',
    count: [0, 0],
    summary: 'removes the change feed, with all changes that wait in it',
    options: ['yes'],
    async run(run) {
      const operated = operatedBy(run)
      const { given, output } = run
      const schema = schemaOf(migrationOf(operated))
      const question =
        `remove the change feed in the schema ${schema}, with all changes that wait in it: ` +
        'what other programs change is not invalidated any more'
      await agreed(output, given.yes, question)
      await removeChangeFeed(operated)
      const text = `the change feed in the schema ${schema} is removed`
      output.out(`${given.json ? jsonText({ done: 'feed remove', schema }) : printable(text)}\n`)
      return 0
    },
  },
}
