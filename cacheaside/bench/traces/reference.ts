/**
 * What other people's algorithms get on three public traces, to hold ours against: measured with independent code
 * that shares nothing with this library. Percent of the requests that are hits; sizes in entries.
 *
 * The traces are from the cache2k benchmark suite by Jens Wilke, headissue GmbH, and are licensed under CC BY 4.0
 * (https://creativecommons.org/licenses/by/4.0/). They are not part of this repository. `orm-busy-1m` is `orm-busy`
 * cut to its first million requests.
 *
 * @see https://github.com/cache2k/cache2k-benchmark
 */

/** The columns of the reference; `redis5` is Redis's approximation of LRU with five samples. */
export const REFERENCE_ALGORITHMS = ['FIFO', 'LRU', 'redis5', 'SIEVE', 'S3-FIFO', 'optimal'] as const

/** Hit ratios in percent, in the order of {@link REFERENCE_ALGORITHMS}. */
export type ReferenceRow = readonly [number, number, number, number, number, number]

/** By the name of the trace, then by size. */
export const REFERENCE: Readonly<Record<string, ReadonlyMap<number, ReferenceRow>>> = {
  web07: new Map<number, ReferenceRow>([
    [200, [36.2, 39.0, 38.6, 42.0, 43.6, 53.2]],
    [1000, [47.7, 50.4, 50.3, 53.3, 54.1, 63.6]],
    [3000, [56.2, 58.5, 58.4, 60.6, 60.4, 70.3]],
  ]),
  web12: new Map<number, ReferenceRow>([
    [200, [41.6, 44.0, 43.7, 45.6, 47.0, 62.6]],
    [1000, [60.8, 64.7, 64.5, 68.2, 69.1, 77.8]],
    [3000, [73.0, 76.5, 76.3, 78.2, 78.6, 84.2]],
  ]),
  'orm-busy-1m': new Map<number, ReferenceRow>([
    [625, [67.5, 68.2, 71.7, 67.4, 73.1, 82.0]],
    [10_000, [89.0, 90.1, 90.2, 90.3, 91.2, 94.3]],
  ]),
}
