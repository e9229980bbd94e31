import { NOWHERE } from './columns.ts'
import type { EvictionPolicy } from './eviction-policy.ts'

/** The policy without candidates: what does not fit is refused. */
export function noEviction(): EvictionPolicy {
  return {
    grow() {},
    accepts: () => false,
    begin() {},
    enter() {},
    leave() {},
    accessed() {},
    overwritten() {},
    resized() {},
    take: () => NOWHERE,
    clear() {},
  }
}
