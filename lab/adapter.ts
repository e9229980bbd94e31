import type pg from 'pg'

/**
 * A row of the table. `version` grows by one with every change of it. Where values depend on other rows it is a book, and its
 * version is the sum of those of the rows that it shows.
 */
export interface Spell {
  readonly id: number
  readonly version: number
  /** The rows that a book shows. Unless a trial moves them, they are the one of the same id. */
  readonly spells?: readonly number[]
}

/**
 * From what a book's tags are made. `id`: before it is loaded, from its id: the tag of the row of the same id. `value`: from what
 * was loaded: one tag for each row in it.
 */
export type TagsFrom = 'id' | 'value'

/** The tags of a book: one for each row it shows. */
export const tagOf = (row: number): string => `spell-${row}`

/** What an adapter is given: the servers, and the functions of the program that has the cache. */
export interface Setting {
  readonly redisPort: number
  readonly pool: pg.Pool
  /** The program's loader: one SELECT; `null` where there is no such row. */
  find(id: number): Promise<Spell | null>
  /** The same for several rows; rows that do not exist are left out. */
  findMany(ids: readonly number[]): Promise<Spell[]>
  /** How long a value is kept. One hour, but for the trial of refreshes. */
  readonly ttlMs: number
  /** Where refreshes are tried: how they are to be set up. Left out: as the library does it when nothing is said. */
  readonly refresh?: RefreshTimes
  /** For libraries that are tried with tags. */
  readonly tagsFrom: TagsFrom
}

/** For libraries that refresh a value which has expired, and for those that refresh before it does. */
export interface RefreshTimes {
  /** After it has expired: for how long it may be served while it is refreshed. */
  readonly staleMs: number
  /** Before: with how much of its life left it is refreshed. */
  readonly leftMs: number
}

/** A library in use, in one process. */
export interface Adapter {
  get(id: number): Promise<Spell | null | undefined>
  /** Several rows, by the library's own batch read with a loader. Left out: it has none. */
  getMany?(ids: readonly number[]): Promise<(Spell | null)[]>
  /**
   * Changes a row, and invalidates what is cached of it, as the documentation teaches.
   *
   * @param change - the program's own statement; committed when it resolves.
   * @returns what the library says of the invalidation, where it says anything.
   */
  write(id: number, change: () => Promise<Spell>): Promise<string | undefined>
  /** The same for several rows that are changed by one commit. Only asked of libraries with tags. */
  writeAll?(ids: readonly number[], change: () => Promise<void>): Promise<void>
}

/** What the table and the notes say of an adapter. */
export interface About {
  readonly name: string
  /** The page of the documentation that was followed. */
  readonly docs: string
  /** The packages whose versions are named. */
  readonly packages: readonly string[]
  /** How it is set up, and which defaults matter for what is seen. */
  readonly setUp: string
  /** That it has none, or leaves all to the program: then the trial of refreshes does not apply. */
  readonly refreshes: boolean
  /** Nothing is cached, so that there is nothing to be warm. */
  readonly isControl?: true
  /** It is tried with values that depend on other rows, and with nothing else. */
  readonly hasTags?: true
  /** What the keys look like in which Redis keeps what is known of tags. Left out: there are none. */
  readonly tagKeys?: RegExp
  /** Trials that would show nothing of it, by their id, and why. */
  readonly unfit?: Readonly<Record<string, string>>
  /** What is tried but not promised, by the id of the trial, and why. */
  readonly unpromised?: Readonly<Record<string, string>>
}

/** What a file in `adapters/` exports. */
export interface AdapterModule {
  readonly about: About
  open(setting: Setting): Promise<Adapter>
  /** Prepares the database, once, before any process opens. */
  install?(pool: pg.Pool): Promise<void>
}
