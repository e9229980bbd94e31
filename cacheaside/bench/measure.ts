/**
 * Speed as ratios, measured side by side in one run.
 *
 * Every case is run for a number of rounds, all cases in turn within a round and in an order that changes. What counts is
 * the ratio of two cases within a round: the median over all rounds, and the middle half of them as its spread. A ratio of the
 * same run says something on any machine; a time alone does not.
 */
import { middleOf, type Row, rowOf } from './report.ts'

/** Something whose speed is of interest. */
export interface Case {
  readonly name: string
  /** The case that this one is compared with. */
  readonly against?: string
  /** What we want of the ratio. */
  readonly goal?: number
  readonly operations: number
  readonly run: (operations: number) => Promise<void> | void
}

/** A row of the keys and values that all cases use. */
export const spellOf = (id: number) => ({
  id,
  name: `Spell ${id}`,
  damage: id % 50,
  created_at: '2026-01-01T00:00:00.000Z',
})

/** A hundred thousand ids below a bound, at random and the same in every run. */
export function randomIds(below: number): Int32Array {
  const ids = new Int32Array(100_000)
  let state = 1
  for (let i = 0; i < ids.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    ids[i] = Math.floor((state / 2 ** 32) * below)
  }
  return ids
}

/** Does it so often, in one go. */
export function times(operations: number, run: (i: number) => unknown): void {
  for (let i = 0; i < operations; i++) run(i)
}

/** Does it so often, one after the other. */
export async function timesAwaited(operations: number, run: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < operations; i++) await run(i)
}

/** Does it so often, `width` at a time. */
export async function timesAtOnce(
  operations: number,
  width: number,
  run: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < operations) await run(next++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}

/** The times that each case takes per operation, in nanoseconds, one for each round and in their order. */
export async function measure(all: readonly Case[], rounds: number): Promise<Map<string, number[]>> {
  const taken = new Map<string, number[]>(all.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < all.length; at++) {
      const one = all[(at + round) % all.length]!
      // Heartbeats are heard between the cases.
      await new Promise(resolve => setTimeout(resolve, 0))
      const beganMs = performance.now()
      await one.run(one.operations)
      taken.get(one.name)!.push(((performance.now() - beganMs) * 1e6) / one.operations)
    }
  }
  return taken
}

/** Measures all cases, and tells of each how it compares with the one that it is held against. */
export async function measuredRows(all: readonly Case[], rounds: number): Promise<Row[]> {
  const taken = await measure(all, rounds)
  return all.map(({ name, against, goal }) => {
    const times = taken.get(name)!
    return rowOf({
      name,
      value: { amount: middleOf(times), unit: 'ns' },
      against,
      goal,
      // Round by round: a noisy neighbour makes both sides of a round slower.
      ratios: against === undefined ? undefined : times.map((time, i) => time / taken.get(against)![i]!),
    })
  })
}
