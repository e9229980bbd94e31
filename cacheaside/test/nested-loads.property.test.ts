import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CacheError, type Keyspace } from '../src/index.ts'
import { openWorld, passing } from './world.ts'

/** How the loader of a key asks for those that it needs. */
type How = 'at once' | 'in turn' | 'together' | 'strongly'

/** One key: what its loader needs, and what it takes. */
interface Node {
  readonly space: number
  readonly needs: readonly number[]
  readonly how: How
  readonly beforeMs: number
  readonly afterMs: number
}

/** A keyspace: in which cache it is, and whether its keys can be loaded together. */
interface Space {
  readonly cache: number
  readonly loadsMany: boolean
}

interface Reading {
  readonly ids: readonly number[]
  readonly atMs: number
  readonly isStrong: boolean
}

interface Graph {
  readonly limits: readonly number[]
  readonly delayMs: number
  readonly spaces: readonly Space[]
  readonly nodes: readonly Node[]
  readonly readings: readonly Reading[]
  /** When which keys are invalidated. */
  readonly invalidations: readonly { readonly id: number; readonly atMs: number }[]
  /** Whether the stream has yet to be proven when the reading begins, which dooms what is under way. */
  readonly isEarly: boolean
}

const KEYS = 9
const RUNS = 250

const graphs = (isAcyclic: boolean): fc.Arbitrary<Graph> =>
  fc.integer({ min: 1, max: 3 }).chain(spaceCount =>
    fc.record({
      limits: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 2 }),
      delayMs: fc.integer({ min: 0, max: 5 }),
      spaces: fc.array(fc.record({ cache: fc.integer({ min: 0, max: 1 }), loadsMany: fc.boolean() }), {
        minLength: spaceCount,
        maxLength: spaceCount,
      }),
      nodes: fc.tuple(
        ...Array.from({ length: KEYS }, (_, id) =>
          fc.record({
            space: fc.integer({ min: 0, max: spaceCount - 1 }),
            needs:
              isAcyclic && id === KEYS - 1
                ? fc.constant([])
                : fc.uniqueArray(fc.integer({ min: isAcyclic ? id + 1 : 0, max: KEYS - 1 }), {
                    maxLength: 3,
                  }),
            how: fc.constantFrom<How>('at once', 'in turn', 'together', 'strongly'),
            beforeMs: fc.integer({ min: 0, max: 4 }),
            afterMs: fc.integer({ min: 0, max: 4 }),
          }),
        ),
      ),
      readings: fc.array(
        fc.record({
          ids: fc.uniqueArray(fc.integer({ min: 0, max: KEYS - 1 }), { minLength: 1, maxLength: 6 }),
          atMs: fc.integer({ min: 0, max: 12 }),
          isStrong: fc.boolean(),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      invalidations: fc.oneof(
        fc.constant([]),
        fc.array(
          fc.record({ id: fc.integer({ min: 0, max: KEYS - 1 }), atMs: fc.integer({ min: 0, max: 20 }) }),
          { maxLength: 4 },
        ),
      ),
      isEarly: fc.boolean(),
    }),
  )

/** What a key's value is, and whether it has one: a key that needs itself, through whatever others, has none. */
function sumOf({ nodes }: Graph, id: number, above: readonly number[] = []): number | undefined {
  if (above.includes(id)) return undefined
  let sum = id + 1
  for (const need of nodes[id]!.needs) {
    const value = sumOf({ nodes } as Graph, need, [...above, id])
    if (value === undefined) return undefined
    sum += value
  }
  return sum
}

/** Plays a graph in a simulated world, and tells what became of each reading and how many loaders were at work. */
async function play(graph: Graph) {
  const { clock, process, network } = openWorld()
  const working = [0, 0]
  const most = [0, 0]
  let mostTogether = 0
  const caches = graph.limits.map(maxLoads => {
    if (graph.delayMs === 0) return process({ maxLoads, maxQueuedLoads: 1_000 }).cache
    const link = network()
    link.delay(graph.delayMs)
    return process({ maxLoads, maxQueuedLoads: 1_000 }, link).cache
  })
  const spaces: Keyspace<number, number>[] = []
  const begins = (cache: number) => {
    most[cache] = Math.max(most[cache]!, ++working[cache]!)
    mostTogether = Math.max(mostTogether, working[0]! + working[1]!)
  }
  const one = async (id: number): Promise<number> => {
    const { needs, how, beforeMs, afterMs } = graph.nodes[id]!
    await passing(clock, beforeMs)
    if (needs.length === 0) return id + 1
    const values = await ask(needs, how)
    await passing(clock, afterMs)
    return values.reduce((sum, value) => sum + value, id + 1)
  }
  const get = async (id: number, isStrong = false) =>
    (await spaces[graph.nodes[id]!.space]!.get(id, isStrong ? { consistency: 'strong' } : {}))!
  const ask = async (ids: readonly number[], how: How): Promise<number[]> => {
    if (how === 'in turn') {
      const values: number[] = []
      for (const id of ids) values.push(await get(id))
      return values
    }
    if (how !== 'together') return settled(ids.map(id => get(id, how === 'strongly')))
    const groups = bySpace(graph, ids)
    return (
      await settled(
        [...groups].map(async ([space, group]) => [...(await spaces[space]!.getMany(group)).values()]),
      )
    ).flat()
  }
  /** Loads some keys of one keyspace; while it waits for others it is not at work. */
  const load = async (ids: readonly number[], cache: number) => {
    begins(cache)
    await passing(clock, 1)
    working[cache]!--
    const values = await Promise.all(ids.map(id => one(id).catch((error: Error) => error)))
    begins(cache)
    await passing(clock, 1)
    working[cache]!--
    return values
  }
  for (const [i, { cache, loadsMany }] of graph.spaces.entries()) {
    const at = cache % caches.length
    spaces.push(
      caches[at]!.keyspace<number, number>(`k${i}`, {
        load: async id => {
          const [value] = await load([id], at)
          if (value instanceof Error) throw value
          return value
        },
        ...(loadsMany
          ? {
              loadMany: async ids => {
                const values = await load(ids, at)
                return new Map(ids.map((id, i) => [id, values[i]!]))
              },
            }
          : {}),
      }),
    )
  }
  if (!graph.isEarly) await clock.advance(20)
  for (const { id, atMs } of graph.invalidations)
    void passing(clock, atMs).then(() => spaces[graph.nodes[id]!.space]!.invalidate(id))
  const outcomes = graph.readings.map(async ({ ids, atMs, isStrong }) => {
    await passing(clock, atMs)
    const options = isStrong ? ({ consistency: 'strong' } as const) : {}
    const groups = bySpace(graph, ids)
    return Promise.all(
      [...groups].map(async ([space, group]) => {
        const answer =
          group.length === 1
            ? spaces[space]!.get(group[0]!, options).then(value => new Map([[group[0]!, value]]))
            : spaces[space]!.getMany(group, options)
        return answer.then(
          values => ({ group, values, error: undefined }),
          (error: unknown) => ({ group, values: undefined, error }),
        )
      }),
    )
  })
  let left = outcomes.length
  for (const one of outcomes) one.then(() => left--)
  await clock.advance(1_900)
  const unsettled = left
  if (unsettled > 0) await clock.advance(60_000)
  const all = (await Promise.all(outcomes)).flat()
  for (const cache of caches)
    expect(cache.stats().now).toMatchObject({ flights: 0, loads: 0, queuedLoads: 0 })
  return { all, unsettled, most, mostTogether }
}

function bySpace({ nodes }: Graph, ids: readonly number[]): Map<number, number[]> {
  const groups = new Map<number, number[]>()
  for (const id of ids) {
    const { space } = nodes[id]!
    groups.set(space, [...(groups.get(space) ?? []), id])
  }
  return groups
}

async function settled<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work)
  return Promise.all(work)
}

/** Whether a complaint names keys that need each other in a circle. */
function isCycle({ nodes }: Graph, message: string): boolean {
  const ids = message
    .slice(message.indexOf(': ') + 2)
    .split(' → ')
    .map(key => Number(key.split(':')[1]))
  if (ids.length < 2 || ids[0] !== ids.at(-1)) return false
  return ids.every((id, i) => i === 0 || nodes[ids[i - 1]!]!.needs.includes(id))
}

async function check(graph: Graph): Promise<void> {
  const { all, unsettled, most, mostTogether } = await play(graph)
  expect(unsettled, 'readings that do not end').toBe(0)
  for (const { group, values, error } of all) {
    const wanted = group.map(id => sumOf(graph, id))
    if (wanted.includes(undefined)) {
      if (!(error instanceof CacheError)) throw error ?? new Error(`${group} were answered`)
      expect(error.code).toBe('LOAD_CYCLE')
      expect(isCycle(graph, error.message), error.message).toBe(true)
    } else {
      if (error !== undefined) throw error
      expect(group.map(id => values!.get(id))).toEqual(wanted)
    }
  }
  // A load that nobody waits for any more runs on in the place that it was lent, beside the one that gave up waiting for it.
  const { limits, nodes } = graph
  if (nodes.some((_, id) => sumOf(graph, id) === undefined)) return
  if (graph.isEarly || graph.invalidations.length > 0) return
  const together = limits.reduce((sum, limit) => sum + limit, 0)
  expect(mostTogether).toBeLessThanOrEqual(together)
  if (limits.length === 1) expect(most[0]).toBeLessThanOrEqual(limits[0]!)
}

test('get of keys whose loaders need others answers rightly, within the limit, for any graph without cycles', async () => {
  await fc.assert(fc.asyncProperty(graphs(true), check), { numRuns: RUNS })
})

test('get of keys whose loaders need each other rejects with LOAD_CYCLE at once, for any graph', async () => {
  await fc.assert(fc.asyncProperty(graphs(false), check), { numRuns: RUNS })
})
