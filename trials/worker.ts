/**
 * The program of a trial's processes: opens a cache as it is told, does what the test asks for, and waits at the steps
 * at which it is to be held. It ends when the test does, however that ends.
 */
import { CacheasideSubject } from './cacheaside-subject.ts'
import { PlainSubject } from './plain-subject.ts'
import { runAtRandom } from './random-load.ts'
import { Steps } from './steps.ts'
import type { Order, ProcessOptions, Report, Subject } from './subject.ts'

const report = (message: Report) => void process.send?.(message)
const steps = new Steps(reached => report({ reached }))
let subject: Subject

async function open(options: ProcessOptions): Promise<void> {
  if (options.subject === 'plain') {
    const plain = new PlainSubject(options, steps)
    await plain.begin()
    subject = plain
  } else subject = new CacheasideSubject(options, steps)
}

function perform(method: string, args: readonly unknown[]): unknown {
  if (method === 'runAtRandom') {
    const load = args[0] as Parameters<typeof runAtRandom>[1]
    return runAtRandom(subject, load, history => report({ history }))
  }
  const methods = subject as unknown as Record<string, (...args: readonly unknown[]) => unknown>
  return methods[method]!(...args)
}

async function obey(order: Order): Promise<void> {
  if ('open' in order) {
    await open(order.open)
    report({ ready: true })
  } else if ('hold' in order) steps.hold(order.hold)
  else if ('letGo' in order) steps.letGo(order.letGo)
  else if ('dieAt' in order) steps.dieAt(order.dieAt)
  else {
    try {
      report({ reply: order.call, value: await perform(order.method, order.args) })
    } catch (error) {
      const { name, message, code } = error as Error & { code?: string }
      report({ reply: order.call, error: `${code ?? name}: ${message}` })
    }
  }
}

process.on('message', order => void obey(order as Order))
process.on('disconnect', () => process.exit())
