import { flushKeyspace, invalidateKey } from '../operate/remove.ts'
import { keyNamed, keyspaceNamed, sharedOf } from '../operate/target.ts'
import { type Command, type CommandRun, operatedBy, RefusedError } from './command.ts'
import { jsonText } from './json-text.ts'
import { agreed } from './terminal.ts'

/** The commands that remove what the store holds. */
export const changingCommands: Readonly<Record<string, Command>> = {
  invalidate: {
    operands: 'KEYSPACE ID...',
    count: [2, 64],
    summary: 'removes one value from the store and from every process',
    options: ['yes'],
    async run(run) {
      const operated = operatedBy(run)
      const [keyspace, ...id] = run.given.operands as [string, ...string[]]
      const { key } = keyNamed(operated, keyspace, id)
      const store = sharedWithOthers(run)
      await agreed(run.output, run.given.yes, `invalidate ${key} in ${store}: its next reader loads it`)
      await invalidateKey(operated, keyspace, id)
      tell(
        run,
        { done: 'invalidate', store, key },
        `${key} is invalidated in ${store}, and every process is told`,
      )
      return 0
    },
  },
  flush: {
    operands: 'KEYSPACE',
    count: [1, 1],
    summary: 'invalidates every value of a keyspace, in constant time',
    options: ['yes'],
    async run(run) {
      const operated = operatedBy(run)
      const { name } = keyspaceNamed(operated, run.given.operands[0]!)
      const store = sharedWithOthers(run)
      const question = `flush ${name} in ${store}: every value of it is loaded again by its next reader`
      await agreed(run.output, run.given.yes, question)
      const generation = await flushKeyspace(operated, name)
      const text = `${name} has a new generation in ${store}: none of its values is found any more`
      tell(run, { done: 'flush', store, keyspace: name, generation }, text)
      return 0
    },
  },
}

/**
 * The name of the store, if other processes have it too. To change one of this process alone would be a success that means
 * nothing.
 */
function sharedWithOthers(run: CommandRun): string {
  const { name, synchronous } = sharedOf(operatedBy(run))
  if (!synchronous) return name
  throw new RefusedError(
    `the store is ${name}: it lives in the process that has made it, and a command in another process cannot reach it`,
  )
}

function tell({ given, output }: CommandRun, done: object, text: string): void {
  output.out(`${given.json ? jsonText(done) : text}\n`)
}
