import type { Part, State, Writer } from './state.ts'

/** The part of the writer whose token it is. */
export function holderOf(state: State, key: number, part: Part): Part {
  return part.sharesWith === 0 ? part : state.writers[part.sharesWith - 1]!.parts[key]!
}

/** The writers for whom the token of this one stands. */
export function sharersOf(state: State, i: number, key: number): readonly Writer[] {
  const sharers = state.writers.filter(({ parts }) => parts[key]!.sharesWith === i + 1)
  return sharers.length === 0 ? [state.writers[i]!] : sharers
}
