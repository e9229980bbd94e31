import { printable } from '../base/printable.ts'
import { flushKeyspace, invalidateKey, keyToRemove, removableNamed } from '../operate/remove.ts'
import { sharedOf } from '../operate/target.ts'
import { type Command, type CommandRun, operatedBy, RefusedError } from './command.ts'
import { jsonText } from './json-text.ts'
import { agreed } from './terminal.ts'

/** The commands that remove what the store holds. */
export const changingCommands: Readonly<Record<string, Command>> = {
  invalidate: {
    operands: 'KEYSPACE|TAGS ID...',
    count: [2, 64],
    summary: 'removes one value, or all that depends on one tag, from the store and from every process',
    options: ['yes'],
    async run(run) {
      const operated = operatedBy(run)
      const [name, ...id] = run.given.operands as [string, ...string[]]
      const { isTags } = removableNamed(operated, name)
      const key = keyToRemove(operated, name, id)
      const store = sharedWithOthers(run)
      const question = isTags
        ? `invalidate the tag ${key} in ${store}: every value that depends on it is loaded again by its next reader`
        : `invalidate ${key} in ${store}: its next reader loads it`
      await agreed(run.output, run.given.yes, question)
      await invalidateKey(operated, name, id)
      tell(
        run,
        { done: 'invalidate', store, [isTags ? 'tag' : 'key']: key },
        `${isTags ? 'the tag ' : ''}${key} is invalidated in ${store}, and every process is told`,
      )
      return 0
    },
  },
  flush: {
    operands: 'KEYSPACE|TAGS',
    count: [1, 1],
    summary:
      'invalidates every value of a keyspace, or all that depends on any tag of one kind, in constant time',
    options: ['yes'],
    async run(run) {
      const operated = operatedBy(run)
      const { name, isTags } = removableNamed(operated, run.given.operands[0]!)
      const store = sharedWithOthers(run)
      const what = isTags ? `all tags ${name}` : name
      const lost = isTags ? 'every value that depends on one of them' : 'every value of it'
      await agreed(
        run.output,
        run.given.yes,
        `flush ${what} in ${store}: ${lost} is loaded again by its next reader`,
      )
      const generation = await flushKeyspace(operated, name)
      const text = isTags
        ? `all tags ${name} have a new generation in ${store}: no value that depends on one of them is found any more`
        : `${name} has a new generation in ${store}: none of its values is found any more`
      tell(run, { done: 'flush', store, [isTags ? 'tags' : 'keyspace']: name, generation }, text)
      return 0
    },
  },
}

/**
 * The name of the store, if other processes use it, too. Changing a store of this process alone would be a meaningless
 * success.
 */
function sharedWithOthers(run: CommandRun): string {
  const { name, synchronous } = sharedOf(operatedBy(run))
  if (!synchronous) return name
  throw new RefusedError(
    `the store is ${name}: it lives in the process that has made it, and a command in another process cannot reach it`,
  )
}

function tell({ given, output }: CommandRun, done: object, text: string): void {
  output.out(`${given.json ? jsonText(done) : printable(text)}\n`)
}
