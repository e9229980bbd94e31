import type { Stage } from './stage.ts'

/** How many rows came out stale. */
export interface Counted {
  readonly kind: 'count'
  readonly bad: number
  /** How many could be put into the interleaving that the trial is about. */
  readonly of: number
  /** How many could not, because nothing of them was cached or the library did not come to the step. */
  readonly unforced: number
  /** What else was seen. */
  readonly note?: string
}

/** What came of a trial of one library. */
export type Outcome =
  | Counted
  /** For information: neither right nor wrong. */
  | { readonly kind: 'fact'; readonly text: string }
  /** The library has no such thing. */
  | { readonly kind: 'none'; readonly why: string }

/** A trial that every library goes through. */
export interface Trial {
  readonly id: string
  /** The heading of its column. */
  readonly heading: string
  /** What is done, step by step, and what is counted. */
  readonly text: string
  /** Whether it only informs. */
  readonly isInformation?: true
  /** Whether it is for libraries with tags, and only for them. */
  readonly isOfTags?: true
  /** Whether it is only for libraries that refresh values in the background. */
  readonly isOfRefreshes?: true
  /** How many rows are taken, where it is not what was asked for. */
  readonly rows?: (asked: number) => number
  run(stage: Stage, rows: number): Promise<Outcome>
}

/** Rows that go through a trial at once: each has its own interleaving, they share the waiting. */
export const ROUND = 25

/** How many rows of a round came out stale, and how many could not be tried. */
export interface Round {
  readonly bad: number
  readonly unforced: number
}

/** Does rounds until there are enough rows, and adds them up. */
export async function inRounds(rows: number, round: (count: number) => Promise<Round>): Promise<Counted> {
  let bad = 0
  let unforced = 0
  for (let done = 0; done < rows; done += ROUND) {
    const ended = await round(Math.min(ROUND, rows - done))
    bad += ended.bad
    unforced += ended.unforced
  }
  return { kind: 'count', bad, of: rows - unforced, unforced }
}
