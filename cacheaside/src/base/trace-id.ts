/**
 * What events name by a number, so that they form a tree: a read past L1 and the flight that it leads, a refresh, a load, a
 * write. A number is given out when it is first told.
 */
export interface Identified {
  /** 0: nobody was told of it yet. */
  traceId: number
  /** Whose number it has, if it has none of its own. */
  sameAs?: Identified | undefined
}

let last = 0

/** A number that nothing else in this process has. */
export const newId = (): number => ++last

/** The number of this one, from now on. */
export function idOf(one: Identified): number {
  if (one.traceId === 0) one.traceId = one.sameAs === undefined ? newId() : idOf(one.sameAs)
  return one.traceId
}
