import type { Request } from './measure.ts'

/**
 * What the lesson saw that the stages follow, with its servers about as far away: 100 ms without a cache; with a blocking fill 250 ms for a
 * miss and 50 ms for a hit; with a background fill still 50 ms more for a miss than without a cache. What is not there it did not say.
 */
export const PUBLISHED_MS: Readonly<Record<string, Partial<Readonly<Record<Request, number>>>>> = {
  'no cache': { 'first miss': 100, hit: 100, 'second miss': 100 },
  'blocking fill': { 'first miss': 250, hit: 50, 'second miss': 250 },
  'background fill': { 'first miss': 150, hit: 50, 'second miss': 150 },
}

/** Where the lesson is found. */
export const LESSON = {
  title: 'Adding a cache is not as simple as it may seem...',
  by: 'Dreams of Code',
  video: 'https://www.youtube.com/watch?v=bFf-A27Rc9s',
  code: 'https://github.com/dreamsofcode-io/spellbook',
} as const
