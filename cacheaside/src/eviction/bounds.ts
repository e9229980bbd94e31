import type { Clock } from '../base/clock.ts'
import { invalidOption } from '../base/invalid-option.ts'
import { EVICTION_POLICIES, type EvictionPolicyName } from './policies.ts'

/** How large {@link BoundedSlots} may grow, and by which policy room is made. */
export interface Bounds {
  /** The most that the entries may be charged together. At least one of the two bounds must be given. */
  readonly maxBytes?: number
  /** The most entries there may be. */
  readonly maxEntries?: number
  readonly policy: EvictionPolicyName
  readonly clock: Clock
  /**
   * How many entries a sampled policy (`*-lru`, `*-lfu`, `volatile-ttl`) looks at for one eviction.
   * @defaultValue 5, like Redis's `maxmemory-samples`
   */
  readonly samples?: number
  /**
   * How steeply it gets harder for the LFU counter to rise; 0 counts every access.
   * @defaultValue 10, like Redis's `lfu-log-factor`
   */
  readonly lfuLogFactor?: number
  /**
   * Minutes without an access after which the LFU counter falls by one; `Infinity`: never.
   * @defaultValue 1, like Redis's `lfu-decay-time`
   */
  readonly lfuDecayMinutes?: number
}

/** @throws CacheError `INVALID_OPTIONS` naming the option, what it must be and what it is. */
export function checkBounds(options: Bounds): void {
  if (options.maxBytes === undefined && options.maxEntries === undefined) {
    throw invalidOption('maxBytes or maxEntries', 'given, because a bounded map needs a bound', undefined)
  }
  if (!EVICTION_POLICIES.includes(options.policy)) {
    throw invalidOption('policy', `one of ${EVICTION_POLICIES.join(', ')}`, options.policy)
  }
  for (const name of ['maxBytes', 'maxEntries', 'samples'] as const) {
    const value = options[name]
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw invalidOption(name, 'a positive integer', value)
    }
  }
  const { lfuLogFactor = 10, lfuDecayMinutes = 1 } = options
  if (!(lfuLogFactor >= 0 && lfuLogFactor < Number.POSITIVE_INFINITY)) {
    throw invalidOption('lfuLogFactor', 'a number of 0 or more', lfuLogFactor)
  }
  if (!(lfuDecayMinutes > 0))
    throw invalidOption('lfuDecayMinutes', 'a positive number or Infinity', lfuDecayMinutes)
}
