/**
 * How often a key is used, in eight bits: a counter that rises more rarely the higher it is, and falls by one
 * for every so many minutes without an access. The one Redis uses for its LFU policies (`evict.c`), with the same
 * numbers: at a log factor of 10, about a hundred accesses bring it to 10, a million to 255.
 *
 * @see Morris, "Counting large numbers of events in small registers", CACM 21(10), 1978
 */

/** Where a new key starts: it gets time to be accessed before it is the least used of all. */
export const INITIAL_COUNTER = 5

const MAX_COUNTER = 255

/** The value of a counter after this many whole minutes without an access. */
export function decayed(counter: number, idleMinutes: number, decayMinutes: number): number {
  return Math.max(0, counter - Math.floor(idleMinutes / decayMinutes))
}

/** The counter after one more access; `random` is drawn from [0, 1). */
export function raised(counter: number, logFactor: number, random: number): number {
  if (counter === MAX_COUNTER) return counter
  const aboveInitial = Math.max(0, counter - INITIAL_COUNTER)
  return random < 1 / (aboveInitial * logFactor + 1) ? counter + 1 : counter
}
