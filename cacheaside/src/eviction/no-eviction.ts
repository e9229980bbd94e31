import type { EvictionPolicy } from './eviction-policy.ts'

/** The policy without candidates: what does not fit is refused. */
export function noEviction<T>(): EvictionPolicy<T> {
  return {
    accepts: () => false,
    begin() {},
    enter() {},
    leave() {},
    accessed() {},
    overwritten() {},
    resized() {},
    take: () => undefined,
    clear() {},
  }
}
