/** The fakes of one test runner. */
export interface Fakes {
  readonly use: () => void
  readonly restore: () => void
  readonly setDateForward?: (ms: number) => void
  readonly advance?: (ms: number) => unknown
}
type Library = typeof import('cacheaside')
type Testing = typeof import('cacheaside/testing')
export function timePassesBeforeDuringAndAfter(library: Library, fakes: Fakes): Promise<void>
export function limitsHoldWhileFaked(library: Library, fakes: Fakes): Promise<void>
export function dateForwardExpires(library: Library, fakes: Fakes): Promise<void>
export function fakeableClockFollows(library: Library, testing: Testing, fakes: Fakes): Promise<void>
