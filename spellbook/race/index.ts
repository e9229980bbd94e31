/**
 * The races that the page plays: cache-aside as it is usually written, and cacheaside, in the same order of events. It runs in a
 * browser (`src/race-bundle.ts`) and in Node alike.
 */
export { ourSpells } from './our-spells.ts'
export { plainSpells } from './plain-spells.ts'
export type { Answer } from './play.ts'
export { type Outcome, playRace } from './play-race.ts'
export { type Beat, type Race, races } from './races.ts'
export type { CacheState, Entry, Lifeline, State, Tone } from './recording.ts'
export { LIFELINES } from './recording.ts'
export type { SideName } from './side.ts'
