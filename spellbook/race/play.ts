import type { Held, Party } from './party.ts'
import type { State } from './recording.ts'
import type { Side } from './side.ts'
import { SPELL_ID, type Spell } from './spell-table.ts'

/** What a reader got, and what was right when it asked. */
export interface Answer {
  readonly version: number | undefined
  readonly right: number
}

/** Messages take so long, one way. */
const WAY_MS = 1
/** So long is a call waited for that has stopped without a message of its own, such as one that waits for another's lease. */
const PATIENCE_MS = 30_000
const LOOK_MS = 100
const MINUTE_MS = 60_000
const LOOK_AGAIN_MS = 1000
/** Here the looking for the end of a stale value ends. */
const DAY_MS = 86_400_000

type Stop = (held: Held) => boolean

/** A race that is being played on one side: what its beats can do. */
export class Play {
  readonly side: Side
  readonly #calls: { [Name in 'reader' | 'writer']?: { isOver: boolean } } = {}
  /** What those got who asked at the end: now, after a minute, and when it was right again. */
  readonly asked: Answer[] = []
  #answered: Answer | undefined
  #staleSinceMs: number | undefined
  #staleMs = 0

  constructor(side: Side) {
    this.side = side
  }

  /** A process whose call is over has nothing in its hands. */
  settledState(): State {
    for (const name of ['reader', 'writer'] as const)
      if (this.#calls[name]?.isOver !== false) this.side[name].version = undefined
    return this.side.recording.state
  }

  /** A reader asks for the spell, in the process of the reader. */
  beginRead(): void {
    const { reader, recording, spells, database } = this.side
    const right = database.version
    reader.version = undefined
    recording.add('began', 'reader', 'wants spell 4')
    this.#begin(reader, spells.reader.find(SPELL_ID), spell => this.#answer(spell, right))
  }

  /** A writer changes the spell, in the process of the writer. */
  beginWrite(): void {
    const { writer, recording, spells } = this.side
    recording.add('began', 'writer', 'changes spell 4')
    this.#begin(writer, spells.writer.update(SPELL_ID), () => recording.add('answered', 'writer', 'done'))
  }

  /** Somebody changes the row without the program. */
  beginPsql(): void {
    const { writer, recording, psql } = this.side
    recording.add('began', 'writer', 'psql: changes the row')
    this.#begin(writer, psql.update(SPELL_ID), () => recording.add('answered', 'writer', 'done'))
  }

  /** Opens the gates of a process one after the other, until this message waits, or nothing does. */
  async goOn(name: 'reader' | 'writer', until: Stop = () => false): Promise<void> {
    const party = this.side[name]
    await this.#advance(0)
    while (party.held !== undefined && !until(party.held)) {
      party.pass()
      await this.#advance(WAY_MS)
    }
  }

  /** Lets a process go on until its call has ended. */
  async finish(name: 'reader' | 'writer'): Promise<void> {
    await this.goOn(name)
    const call = this.#calls[name]
    for (let waitedMs = 0; call?.isOver === false && waitedMs < PATIENCE_MS; waitedMs += LOOK_MS) {
      await this.#advance(LOOK_MS)
      await this.goOn(name)
    }
  }

  /** A reader asks, and is waited for. */
  async read(): Promise<void> {
    this.beginRead()
    await this.finish('reader')
  }

  /** Time passes, and with it what waits for time: relays, deadlines. */
  async wait(ms: number, text: string): Promise<void> {
    const { reader, writer, recording } = this.side
    reader.isFree = writer.isFree = true
    const step = ms > 1000 ? 1000 : 10
    for (let left = ms; left > 0; left -= step) await this.#advance(Math.min(left, step))
    reader.isFree = writer.isFree = false
    recording.add('waited', 'database', text)
  }

  /** A reader asks whose answer is the outcome. */
  async ask(): Promise<void> {
    this.#answered = undefined
    await this.read()
    this.asked.push(this.#answered ?? { version: undefined, right: this.side.database.version })
  }

  /** Waits until the cache is right, and asks then. */
  async waitUntilRight(): Promise<void> {
    const { clock, recording } = this.side
    const beganMs = clock.nowMs()
    if (!this.side.isStale()) return
    while (this.side.isStale() && clock.nowMs() - beganMs < DAY_MS) await this.#advance(LOOK_AGAIN_MS)
    recording.add(
      'waited',
      'database',
      `${Math.round((clock.nowMs() - beganMs) / MINUTE_MS)} more minutes pass`,
    )
    await this.ask()
  }

  /** For how long the cache has held a value that was older than the row, as far as that is over or by now. */
  get staleMs(): number {
    const since = this.#staleSinceMs
    return this.#staleMs + (since === undefined ? 0 : this.side.clock.nowMs() - since)
  }

  #begin<T>(party: Party, work: Promise<T>, over: (result: T) => void): void {
    const call = { isOver: false }
    this.#calls[party.name] = call
    work.then(
      result => {
        call.isOver = true
        over(result)
      },
      error => {
        call.isOver = true
        this.side.recording.add('refused', party.name, String(error))
      },
    )
  }

  #answer(spell: Spell | undefined, right: number): void {
    const version = spell?.version
    const isStale = (version ?? 0) < right
    this.#answered = { version, right }
    const answer = version === undefined ? 'no row' : `v${version}`
    this.side.recording.add(isStale ? 'stale' : 'answered', 'reader', `answers ${answer}`)
  }

  async #advance(ms: number): Promise<void> {
    const { clock } = this.side
    await clock.advance(ms)
    if (this.side.isStale()) this.#staleSinceMs ??= clock.nowMs()
    else if (this.#staleSinceMs !== undefined) {
      this.#staleMs += clock.nowMs() - this.#staleSinceMs
      this.#staleSinceMs = undefined
    }
  }
}
