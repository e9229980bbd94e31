import { type Answer, Play } from './play.ts'
import { races } from './races.ts'
import type { Entry, State } from './recording.ts'
import { ourSide, plainSide, type SideName } from './side.ts'

/** What one side came to. */
export interface Outcome {
  readonly side: SideName
  readonly entries: readonly Entry[]
  /** What everybody held when each beat had ended. */
  readonly states: readonly State[]
  /** What a reader got at the end of the race, and a minute later. */
  readonly now: Answer
  readonly later: Answer
  /** What a reader got when the cache was right again, if it had been wrong a minute later. */
  readonly last: Answer | undefined
  /** For how long a reader could have got the old row after the commit, in milliseconds. */
  readonly staleMs: number
  /** Whether the cache was right again when it was last looked at. */
  readonly ended: boolean
  /** What the library wanted somebody to know meanwhile. */
  readonly warnings: readonly string[]
}

/** The caches find their store and their feed meanwhile, which takes a heartbeat and a poll. */
const WARM_UP_MS = 1000

/**
 * Plays a race on one side, from its beginning to its end.
 *
 * @param name - Of the race.
 * @throws RangeError if there is no race of this name.
 */
export async function playRace(name: string, side: SideName): Promise<Outcome> {
  const race = races.find(race => race.name === name)
  if (race === undefined) throw new RangeError(`there is no race called ${name}`)
  const on = side === 'plain' ? plainSide() : ourSide(race)
  const { clock, reader, writer, recording } = on
  const play = new Play(on)
  await clock.advance(WARM_UP_MS)
  const untold = on.warnings.length
  reader.isFree = writer.isFree = false
  recording.begin()
  const states: State[] = []
  for (const [at, beat] of race.beats.entries()) {
    recording.enter(at)
    await beat.play(play)
    states.push(play.settledState())
  }
  const [now, later, last] = play.asked
  if (now === undefined || later === undefined) throw new Error('the race has no end')
  const { staleMs } = play
  const ended = !on.isStale()
  const warnings = on.warnings.slice(untold)
  reader.isFree = writer.isFree = true
  await on.close()
  return { side, entries: recording.entries, states, now, later, last, staleMs, ended, warnings }
}
