/** What the scenarios of tags and of snapshots have in common. */
import type { KeyspaceOptions } from '../../src/index.ts'
import { type FaultySharedStore, type Gate, gate } from '../../src/testing/index.ts'
import type { Process, ProcessOptions, Stage } from './stage.ts'

/** A process whose values depend on one tag: known from the id, and known only from the value. */
export async function tagged(
  stage: Stage,
  options: ProcessOptions = {},
  shown: Partial<KeyspaceOptions<number, number>> = {},
) {
  const process = await stage.process(options)
  return { ...process, ...spaces(stage, process, shown) }
}

/** The same in one process with the store. */
export function taggedInside(stage: Stage) {
  const process = stage.embedded()
  return { ...process, ...spaces(stage, process, {}) }
}

/** Reads v1 of a value with a tag: loaded, then found, then at hand. */
export async function atHand(stage: Stage, { shown }: ReturnType<typeof taggedInside>): Promise<void> {
  for (let i = 0; i < 3; i++) await stage.now(shown.get(4))
}

function spaces(
  stage: Stage,
  { cache }: Pick<Process, 'cache'>,
  shown: Partial<KeyspaceOptions<number, number>>,
) {
  const { load, loadMany } = stage.origin
  const tag = cache.tags<number>('tag')
  const common = { load, loadMany, ttlJitter: 0 }
  return {
    tag,
    shown: cache.keyspace('shown', { ...common, tags: () => [tag.key(1)], ...shown }),
    late: cache.keyspace('late', { ...common, tagsOf: () => [tag.key(1)] }),
  }
}

/** Reads until a value with a late tag is kept. */
export async function warm(stage: Stage, read: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < 3; i++) await stage.now(read())
}

/** What {@link holdNext} can hold. */
type Held = 'lease' | 'look' | 'stampMany' | 'claim' | 'generation'

/**
 * Holds the next question of this kind that names the key: before the store has it, or its reply.
 *
 * @param key - Left out: the next of all.
 */
export function holdNext(
  link: FaultySharedStore,
  operation: Held,
  part: 'question' | 'reply',
  key = '',
): Gate<void> {
  const stop = gate()
  const send: (...args: never[]) => Promise<unknown> = link[operation].bind(link)
  let isHeld = false
  const held = async (...args: readonly unknown[]): Promise<unknown> => {
    if (isHeld || !JSON.stringify(args[0]).includes(key)) return send(...(args as never[]))
    isHeld = true
    if (part === 'question') await stop.wait()
    const reply = await send(...(args as never[]))
    if (part === 'reply') await stop.wait()
    return reply
  }
  Object.assign(link, { [operation]: held })
  return stop
}

/** A register is evicted: nobody is told. */
export async function evict(stage: Stage, key: string): Promise<void> {
  await stage.now(stage.store.drop(key, { prefix: stage.store.inspect(key)!.slice(0, 1) }))
}
