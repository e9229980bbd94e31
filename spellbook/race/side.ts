import { createCache, embeddedShared, type Logger } from 'cacheaside'
import { SimulatedClock, SimulatedFeed } from 'cacheaside/testing'
import { ourSpells } from './our-spells.ts'
import { Party } from './party.ts'
import { plainSpells } from './plain-spells.ts'
import { PlainStore } from './plain-store.ts'
import { recordedFeed } from './recorded-feed.ts'
import { RecordedStore } from './recorded-store.ts'
import { type CacheState, Recording } from './recording.ts'
import { stateOf } from './registers.ts'
import { Database, SPELL_ID, type Spell, type SpellTable } from './spell-table.ts'

export type SideName = 'plain' | 'ours'

/** What a program does with spells. */
export interface Spells {
  find(id: number): Promise<Spell | undefined>
  update(id: number): Promise<Spell>
}

/** One side of a race: two processes, the cache that they share, and a database, in time of their own. */
export interface Side {
  readonly clock: SimulatedClock
  readonly recording: Recording
  readonly reader: Party
  readonly writer: Party
  readonly database: Database
  /** What runs in each process. */
  readonly spells: Readonly<Record<'reader' | 'writer', Spells>>
  /** The database without a program before it, over the connection of the writer: `psql`. */
  readonly psql: SpellTable
  /** Broadcasts to the reader are late from now on. Plain cache-aside has none. */
  holdBroadcasts(): void
  releaseBroadcasts(): void
  /** Whether the cache holds a value that is older than the row. */
  isStale(): boolean
  /** What the library wanted somebody to know. In a race that went as it was meant to, there is nothing. */
  readonly warnings: readonly string[]
  close(): Promise<void>
}

const KEY = `spell:${SPELL_ID}`

/** Keeps what the library wants somebody to know, unless its process is dead. */
function listener(party: Party, warnings: string[]): Logger {
  const hear = (...said: readonly unknown[]) => {
    if (!party.isDead) warnings.push(`${party.name}: ${said.find(part => typeof part === 'string')}`)
  }
  return { info: hear, warn: hear, error: hear }
}

/** What both sides have. */
function parts(holds: () => CacheState, committed: () => void) {
  const clock = new SimulatedClock()
  const warnings: string[] = []
  const database = new Database(committed)
  const isStale = () => (holds().version ?? database.version) < database.version
  const recording: Recording = new Recording(clock, () => ({
    reader: reader.version,
    writer: writer.version,
    cache: holds(),
    database: database.version,
    stale: isStale(),
  }))
  const reader = new Party('reader', recording)
  const writer = new Party('writer', recording)
  return { clock, recording, reader, writer, database, psql: database.over(writer), isStale, warnings }
}

/** Cache-aside as it is usually written. */
export function plainSide(): Side {
  const common = parts(
    () => store.holds(KEY),
    () => {},
  )
  const store = new PlainStore(common.clock)
  const { reader, writer, database } = common
  return {
    ...common,
    spells: {
      reader: plainSpells(store.over(reader), database.over(reader)),
      writer: plainSpells(store.over(writer), database.over(writer)),
    },
    holdBroadcasts() {},
    releaseBroadcasts() {},
    async close() {},
  }
}

/** Cacheaside on its embedded store, which two caches share. The relay of the feed, if there is one, is the reader's. */
export function ourSide({ hasFeed }: { readonly hasFeed: boolean }): Side {
  const common = parts(
    () => stateOf(store.inspect(KEY)),
    () => feed.commit('spell', [{ id: SPELL_ID }]),
  )
  const { clock, recording, reader, writer, database, warnings } = common
  const store = embeddedShared({ clock })
  const feed = new SimulatedFeed({ clock, tables: { spell: row => [keys.key(row.id)] } })
  const links = {
    reader: new RecordedStore(store, reader, recording),
    writer: new RecordedStore(store, writer, recording),
  }
  const caches = {
    reader: createCache({
      clock,
      shared: links.reader,
      logger: listener(reader, warnings),
      ...(hasFeed ? { feed: recordedFeed(feed, recording) } : {}),
    }),
    writer: createCache({ clock, shared: links.writer, logger: listener(writer, warnings) }),
  }
  const spells = {
    reader: ourSpells(caches.reader, database.over(reader)),
    writer: ourSpells(caches.writer, database.over(writer)),
  }
  const keys = spells.reader
  return {
    ...common,
    spells,
    holdBroadcasts: () => links.reader.holdBroadcasts(),
    releaseBroadcasts: () => links.reader.releaseBroadcasts(),
    async close() {
      const closing = [caches.reader.close(), ...(writer.isDead ? [] : [caches.writer.close()])]
      await clock.advance(60_000)
      await Promise.all(closing)
    },
  }
}
