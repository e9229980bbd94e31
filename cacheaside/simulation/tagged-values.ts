import type { Cache, CommittedEntry, Key, Keyspace, ReadOptions, Tag, Tags } from '../src/index.ts'
import type { Checker, ReadMark, Row, ShownTogether } from './checker.ts'
import type { Random } from './random.ts'
import type { Settings } from './settings.ts'
import {
  COMPOSITES,
  type Composite,
  idOf,
  keyspaceOf,
  LINK,
  PAIR,
  PAIRS,
  ROWS,
  referredBy,
  type Shown,
  type Subjects,
  shownBy,
  TAGS,
  tagNameOf,
} from './subjects.ts'
import type { Weather } from './weather.ts'

/** A read that has begun. */
export interface Begun extends ReadMark {
  readonly crossings: number
}

/** What a write names: at first, and when it is under way. */
export interface Named {
  readonly first: readonly (Key | Tag)[]
  readonly late: readonly (Key | Tag)[]
}

/** What is invalidated by hand. */
export interface Target {
  readonly what: string
  readonly subjects: readonly number[]
  readonly invalidate: () => Promise<'applied' | 'queued'>
}

/** The process that reads. */
interface Reader {
  readonly name: string
  readonly cache: Cache
  readonly checker: Checker
  readonly shape: number
  readonly plainKey: (row: number) => Key
  readonly plainSpace: (row: number) => Keyspace<number, Row>
  readonly begin: (subject: number, isStrong: boolean) => Begun
  /** What it knows now. */
  readonly ownFloor: (subject: number) => number
  /** Of that: from its own writes and invalidations. */
  readonly writtenFloor: (subject: number) => number
  /** Which version of a subject it was told of that is in its queue, and that nobody has applied; 0: none. */
  readonly queuedFloor: (subject: number) => number
  /** Whether it hears of everything at the moment at which that is applied. */
  readonly hearsAtOnce: boolean
  /** Whether nothing is promised of what has begun then. */
  readonly isExcused: (mark: Begun) => boolean
  readonly timed: (
    what: string,
    passages: number,
    read: (signal: AbortSignal | undefined) => Promise<void>,
  ) => Promise<void>
  /** A snapshot of all these rows, counted as a load of these keys. */
  readonly load: (
    keys: readonly string[],
    rows: readonly number[],
  ) => Promise<ReadonlyMap<number, number | undefined>>
}

/** What a read of one key is bound by. */
type Marks = ReadonlyMap<number, readonly Bound[]>

interface Bound extends Begun {
  /**
   * What the process had only heard of does not bind a read that waits for a flight whose tags nobody knows yet: the message
   * could not tell that it is about this flight. It is within the bound of a default read, as it began that recently.
   */
  readonly joinedFloor: number
}

/** Which tags a version of the program names for a pair beside those of its rows; `fewer`: only the first row's, as for a link. */
const VERSIONS = ['first', 'second', 'fewer'] as const
/** The same where a version may name none at all. */
const WITH_NONE = [...VERSIONS, 'none'] as const
const EVERY_ROW = Array.from({ length: ROWS }, (_, row) => row)
const LATE_TAGS = 0.25
const NAMES_A_VALUE = 0.1
/** Which part of these reads are snapshots, where the weather does not say it. */
const SNAPSHOTS = 0.2
/** Which part of them are of two values of one tag, where it does. */
const OF_ONE_TAG = 0.5
/** Two tries of at most two passages each, their second looks, and the load of all. */
const SNAPSHOT_PASSAGES = 6

/**
 * The values of several rows, and the tags that they depend on, as one process has them: **pairs**, whose rows are known from
 * the id, and **links**, which show a row and another one that it refers to, so that its tag is known only once the value is.
 */
export class TaggedValues {
  readonly #reader: Reader
  readonly #subjects: Subjects
  readonly #random: Random
  readonly #tags = new Map<string, Tags<number>>()
  readonly #spaces = new Map<string, Keyspace<number, Composite>>()
  readonly #namesOwnRow: boolean
  readonly #snapshots: number
  readonly #ofOneTag: number
  readonly #version: (typeof WITH_NONE)[number] | 'usual'

  constructor(
    reader: Reader,
    subjects: Subjects,
    random: Random,
    settings: Settings & { readonly tags: NonNullable<Settings['tags']> } & Pick<
        Weather,
        'deploys' | 'namesNone' | 'snapshots'
      >,
  ) {
    this.#reader = reader
    this.#subjects = subjects
    this.#random = random
    this.#version = settings.deploys ? random.pick(settings.namesNone ? WITH_NONE : VERSIONS) : 'usual'
    const { namesOwnRow, isUntidy } = settings.tags
    this.#snapshots = settings.snapshots ?? SNAPSHOTS
    this.#ofOneTag = settings.snapshots === undefined ? 0 : OF_ONE_TAG
    const namesSome = this.#version !== 'none'
    this.#namesOwnRow = namesSome && (namesOwnRow || this.#version === 'first')
    const { cache } = reader
    for (const kind of TAGS.keys()) this.#tags.set(kind, cache.tags<number>(kind))
    const tidied = (tags: readonly Tag[]) => (isUntidy ? [...tags, ...tags].reverse() : tags)
    const space = (name: string) => ({
      ...settings.keyspace,
      shape: reader.shape,
      load: async (id: number) => (await this.#load(name, [id])).get(id),
      ...(settings.loadsMany ? { loadMany: (ids: readonly number[]) => this.#load(name, ids) } : {}),
    })
    this.#spaces.set(
      PAIR,
      cache.keyspace<number, Composite>(PAIR, {
        ...space(PAIR),
        ...(namesSome ? { tags: id => tidied(this.#namedByPair(id).map(row => this.tagOf(row))) } : {}),
      }),
    )
    const tagsOf = (value: Composite | undefined, id: number) => {
      const shown = shownBy(`${LINK}:${id}`, value).filter(({ row }) => this.#namedByLink(id, row))
      return tidied(shown.slice(namesOwnRow ? 1 : 0).map(({ row }) => this.tagOf(row)))
    }
    this.#spaces.set(
      LINK,
      cache.keyspace<number, Composite>(LINK, {
        ...space(LINK),
        ...(this.#namesOwnRow ? { tags: id => tidied([this.tagOf(id)]) } : {}),
        ...(namesSome ? { tagsOf } : {}),
      }),
    )
  }

  /** The tag of a row. */
  tagOf(row: number): Tag {
    return this.#tags.get(keyspaceOf(tagNameOf(row)))!.key(row)
  }

  /** The rows whose tags this version names for a pair. */
  #namedByPair(id: number): readonly number[] {
    const rows = PAIRS[id]!
    if (this.#version === 'none') return []
    if (this.#version === 'fewer') return rows.slice(0, 1)
    if (this.#version === 'usual') return rows
    const [one, other] = EVERY_ROW.filter(row => !rows.includes(row))
    return [...rows, this.#version === 'first' ? one! : other!]
  }

  /** Whether this version names the tag of a row that a link shows. */
  #namedByLink(id: number, row: number): boolean {
    if (this.#version === 'none') return false
    return this.#version !== 'fewer' || row === id
  }

  #keyOf(key: string): Key | Tag {
    const space = this.#spaces.get(keyspaceOf(key))
    return space === undefined ? this.#tags.get(keyspaceOf(key))!.key(idOf(key)) : space.key(idOf(key))
  }

  async #load(name: string, ids: readonly number[]): Promise<Map<number, Composite | undefined>> {
    const keys = ids.map(id => `${name}:${id}`)
    const rows = await this.#reader.load(keys, EVERY_ROW)
    return new Map(ids.map((id, i) => [id, this.#valueOf(keys[i]!, rows)]))
  }

  /** The value under a key, by a snapshot of all rows. */
  #valueOf(key: string, rows: ReadonlyMap<number, number | undefined>): Composite | undefined {
    const id = idOf(key)
    const { shape } = this.#reader
    const shown = (row: number): Shown => ({ row, version: rows.get(row) ?? null })
    if (keyspaceOf(key) === PAIR) return { key, shape, shown: PAIRS[id]!.map(shown) }
    const version = rows.get(id)
    return version === undefined
      ? undefined
      : { key, shape, shown: [shown(id), shown(referredBy(id, version))] }
  }

  /** What a write of these rows names: their keys and tags, some of them late, and now and then a value that shows one. */
  named(rows: readonly number[], late: readonly number[], random: Random): Named {
    const first: (Key | Tag)[] = []
    const later: (Key | Tag)[] = []
    const { plainKey: plain } = this.#reader
    for (const row of rows) {
      first.push(plain(row))
      const names = random.chance(LATE_TAGS) ? later : first
      names.push(this.tagOf(row))
      if (!random.chance(NAMES_A_VALUE)) continue
      first.push(this.#keyOf(random.pick(showing(row))))
    }
    for (const row of late) later.push(plain(row), this.tagOf(row))
    return { first, late: later }
  }

  /** Entries of values of several rows among these keys. They must not be stored. A version that names no tags makes none. */
  entries(keys: readonly string[]): CommittedEntry[] {
    if (this.#version === 'none') return []
    return keys
      .filter(key => COMPOSITES.has(key))
      .map(key => this.#spaces.get(keyspaceOf(key))!.entry(idOf(key), undefined))
  }

  /** What is invalidated when a row has changed, or all rows of a kind. Left out: the plain key, or keyspace. */
  target(row: number | undefined, random: Random): Target | undefined {
    const dice = random.next()
    if (dice < 0.25) return undefined
    const { ofKey, ofKeyspace } = this.#subjects
    if (row === undefined) {
      const name = random.pick(dice < 0.75 ? [...TAGS.keys()] : [...this.#spaces.keys()])
      const all = this.#tags.get(name) ?? this.#spaces.get(name)!
      return { what: name, subjects: ofKeyspace.get(name)!, invalidate: () => all.invalidateAll() }
    }
    const key = dice < 0.85 ? tagNameOf(row) : random.pick(showing(row))
    const all = this.#tags.get(keyspaceOf(key)) ?? this.#spaces.get(keyspaceOf(key))!
    return { what: key, subjects: ofKey(key), invalidate: () => all.invalidate(idOf(key)) }
  }

  /** One read of some kind of a value that shows this row, checked. */
  async read(row: number, isStrong: boolean): Promise<void> {
    const random = this.#random
    const key = random.pick(showing(row))
    const dice = random.next()
    if (random.chance(this.#snapshots)) return this.#snapshot(row)
    if (dice < 0.08) return this.peek(key)
    if (dice < 0.3) return this.#readMany(keyspaceOf(key), isStrong)
    const space = this.#spaces.get(keyspaceOf(key))!
    const how = isStrong ? 'strong read' : 'read'
    const marks = this.#begin(key, isStrong)
    await this.#reader.timed(`${how} of ${key}`, passagesOf(isStrong), async signal => {
      const options = optionsOf(isStrong, signal)
      if (dice < 0.7) await this.#explained(space, key, marks, options)
      else this.#answered(marks, key, await space.get(idOf(key), options), how, true)
    })
  }

  async #explained(
    space: Keyspace<number, Composite>,
    key: string,
    marks: Marks,
    options: ReadOptions,
  ): Promise<void> {
    const { checker, name, ownFloor } = this.#reader
    const { value, why, tag, joined } = await space.read(idOf(key), options)
    if (options.consistency === 'strong' && (why === 'stale' || why === 'stale-error'))
      checker.accuse(`a strong read of ${key} by ${name} was served what had expired`)
    if (why === 'tag' && (tag === undefined || !this.#tags.has(keyspaceOf(tag))))
      checker.accuse(`a read of ${key} by ${name} does not say which tag has fallen`)
    this.#answered(marks, key, value, options.consistency === 'strong' ? 'strong read' : 'read', joined)
    if (why !== 'stale-error' || joined) return
    // It knows more by now than when it began.
    const now = [...marks].map(([row, begun]) => {
      const known = begun.map(mark => ({ ...mark, ownFloor: ownFloor(mark.subject) }))
      return [row, known] as const
    })
    this.#answered(new Map(now), key, value, 'fallback', false)
  }

  async #readMany(name: string, isStrong: boolean): Promise<void> {
    const keys = [...COMPOSITES.keys()].filter(key => keyspaceOf(key) === name)
    const marks = keys.map(key => this.#begin(key, isStrong))
    const how = isStrong ? 'strong batch' : 'batch'
    await this.#reader.timed(`${how} of ${name}`, passagesOf(isStrong), async signal => {
      const values = await this.#spaces.get(name)!.getMany(keys.map(idOf), optionsOf(isStrong, signal))
      for (const [i, key] of keys.entries()) this.#answered(marks[i]!, key, values.get(idOf(key)), how, true)
    })
  }

  /** Several values as they were at one moment, this row among them. */
  async #snapshot(row: number): Promise<void> {
    const random = this.#random
    const isOfMany = random.chance(0.3)
    const keys = isOfMany ? this.#someOf(random.pick([PAIR, LINK])) : this.#some(row)
    const marks = keys.map(key => this.#begin(key, true))
    const how = isOfMany ? 'snapshot batch' : 'snapshot'
    await this.#reader.timed(`${how} of ${keys.join(', ')}`, SNAPSHOT_PASSAGES, async signal => {
      const values = await (isOfMany ? this.#manyAtOnce(keys, signal) : this.#allAtOnce(keys, signal))
      const shown = keys.flatMap((key, i): ShownTogether[] =>
        this.#answered(marks[i]!, key, values[i], how, false),
      )
      if (!this.#reader.isExcused(marks[0]!.values().next().value![0]!))
        this.#together(shown, `${how} of ${keys.join(', ')}`)
    })
  }

  #together(shown: readonly ShownTogether[], how: string): void {
    const { checker, queuedFloor, name } = this.#reader
    checker.together(shown, queuedFloor, name, how)
  }

  /** Some keys of one keyspace. */
  #someOf(name: string): string[] {
    return this.keys.filter(key => keyspaceOf(key) === name && this.#random.chance(0.7)).concat(`${name}:0`)
  }

  /** A value that shows this row, and one or two others of any kind; or two values that show it, under its tag. */
  #some(row: number): string[] {
    if (this.#ofOneTag > 0 && this.#random.chance(this.#ofOneTag)) {
      const all = showing(row)
      return [...new Set([this.#random.pick(all), this.#random.pick(all)])]
    }
    const all = [...this.keys, ...EVERY_ROW.map(one => this.#reader.plainKey(one))]
    const others = Array.from({ length: this.#random.between(1, 2) }, () => this.#random.pick(all))
    return [...new Set([this.#random.pick(showing(row)), ...others])]
  }

  #allAtOnce(
    keys: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<(Composite | Row | undefined)[]> {
    // Of one type, as a list of parts has one.
    const spaceOf = (key: string): Keyspace<number, Row> =>
      (this.#spaces.get(keyspaceOf(key)) as unknown as Keyspace<number, Row> | undefined) ??
      this.#reader.plainSpace(idOf(key))
    return this.#reader.cache.snapshot(
      keys.map(key => spaceOf(key).at(idOf(key))),
      { load: () => this.#loadAll(keys) as Promise<Row[]>, ...(signal === undefined ? {} : { signal }) },
    )
  }

  async #manyAtOnce(
    keys: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<(Composite | undefined)[]> {
    const name = keyspaceOf(keys[0]!)
    const values = await this.#spaces.get(name)!.getMany(keys.map(idOf), {
      consistency: 'snapshot',
      load: ids => this.#load(name, ids),
      ...(signal === undefined ? {} : { signal }),
    })
    return keys.map(key => values.get(idOf(key)))
  }

  /** All of them from one snapshot of the database. */
  async #loadAll(keys: readonly string[]): Promise<(Composite | Row | undefined)[]> {
    const { shape } = this.#reader
    const rows = await this.#reader.load(keys, EVERY_ROW)
    return keys.map(key => {
      const row = idOf(key)
      const version = rows.get(row)
      if (this.#spaces.has(keyspaceOf(key))) return this.#valueOf(key, rows)
      return version === undefined ? undefined : { row, version, shape }
    })
  }

  /** What L1 holds now. */
  peek(key: string): void {
    const found = this.#spaces.get(keyspaceOf(key))!.peek(idOf(key))
    // Nothing has happened meanwhile.
    if (found !== undefined) this.#answered(this.#begin(key, false), key, found.value, 'peek', false)
  }

  #begin(key: string, isStrong: boolean): Marks {
    const { begin, writtenFloor, hearsAtOnce } = this.#reader
    const isLate = (row: number) =>
      !hearsAtOnce && keyspaceOf(key) === LINK && !(this.#namesOwnRow && row === idOf(key))
    const rows = COMPOSITES.get(key) ?? [idOf(key)]
    const marks = rows.map((row): [number, Bound[]] => {
      const own = begin(this.#subjects.at(key, row), isStrong)
      const bounds: Bound[] = [{ ...own, joinedFloor: own.ownFloor }]
      if (COMPOSITES.has(key) && this.promises(key, row)) {
        const subject = this.#subjects.at(tagNameOf(row), row)
        const mark = begin(subject, isStrong)
        bounds.push({ ...mark, joinedFloor: isLate(row) ? writtenFloor(subject) : mark.ownFloor })
      }
      return [row, bounds]
    })
    return new Map(marks)
  }

  /** Whether this version of the program names the tag of a row that a value may show: if not, nothing is promised of that row. */
  promises(key: string, row: number): boolean {
    const id = idOf(key)
    return keyspaceOf(key) === LINK ? this.#namedByLink(id, row) : this.#namedByPair(id).includes(row)
  }

  /**
   * A read has been answered: each of its rows is judged, under its key and under its tag.
   *
   * @returns what it shows.
   */
  #answered(
    marks: Marks,
    key: string,
    value: Composite | Row | undefined,
    how: string,
    mayHaveJoined: boolean,
  ): ShownTogether[] {
    const { checker, name, shape, isExcused } = this.#reader
    const shown = shownBy(key, value)
    if (isExcused(marks.get(shown[0]!.row)![0]!)) return []
    checker.readOf(
      name,
      () => `${how} of ${key} → ${shown.map(({ row, version }) => `${row} v${version ?? '–'}`).join(', ')}`,
    )
    if (!isWellFormed(key, value) || (value !== undefined && value.shape !== shape))
      checker.accuse(`${how} of ${key} by ${name} gave ${JSON.stringify(value)}`)
    return shown.map(({ row, version: shownVersion }) => {
      const version = shownVersion ?? undefined
      const judged = marks.get(row) ?? []
      for (const mark of judged) {
        const bound = mayHaveJoined ? { ...mark, ownFloor: mark.joinedFloor } : mark
        checker.showed(bound, version, name, `${how} of ${key},`)
      }
      return { subjects: judged.map(({ subject }) => subject), version }
    })
  }

  /** All keys, and the spaces that they are read from. */
  get keys(): readonly string[] {
    return [...COMPOSITES.keys()]
  }

  /** At rest: what it answers by every kind of read. */
  async atRest(
    key: string,
    wait: <T>(read: () => Promise<T>) => Promise<T>,
  ): Promise<Map<string, readonly Shown[]>> {
    const space = this.#spaces.get(keyspaceOf(key))!
    const found = new Map<string, readonly Shown[]>()
    const peeked = space.peek(idOf(key))
    if (peeked !== undefined) found.set('L1', shownBy(key, peeked.value))
    for (const isStrong of [false, true, false]) {
      const answer = await wait(() => space.read(idOf(key), optionsOf(isStrong, undefined)))
      found.set(`${isStrong ? 'strong read' : 'read'} from ${answer.from}`, shownBy(key, answer.value))
    }
    return found
  }

  /** Why a read of the key has to load, if it has to. */
  async whyLoaded(
    key: string,
    wait: <T>(read: () => Promise<T>) => Promise<T>,
  ): Promise<{ readonly why: string; readonly kept: boolean } | undefined> {
    const { from, why, kept } = await wait(() => this.#spaces.get(keyspaceOf(key))!.read(idOf(key)))
    return from === 'origin' ? { why, kept } : undefined
  }
}

/** The keys whose values may show a row. Its own link as often as all others together. */
function showing(row: number): readonly string[] {
  const own = `${LINK}:${row}`
  const keys = [...COMPOSITES].flatMap(([key, rows]) => (rows.includes(row) && key !== own ? [key] : []))
  return [...keys, ...keys.map(() => own)]
}

/** Whether an answer is one that the loader may have given for this key. */
function isWellFormed(key: string, value: Composite | Row | undefined): boolean {
  if (value === undefined) return keyspaceOf(key) !== PAIR
  if ('row' in value) return !COMPOSITES.has(key) && value.row === idOf(key)
  const [first, second] = value.shown
  if (value.key !== key || first === undefined || second === undefined) return false
  if (keyspaceOf(key) === PAIR) return `${PAIRS[idOf(key)]}` === `${[first.row, second.row]}`
  if (first.row !== idOf(key) || first.version === null) return false
  return second.row === referredBy(first.row, first.version)
}

/** A strong read may have to wait for the passage before its own. */
export const passagesOf = (isStrong: boolean): number => (isStrong ? 2 : 1)

export const optionsOf = (isStrong: boolean, signal: AbortSignal | undefined): ReadOptions => ({
  ...(isStrong ? { consistency: 'strong' } : {}),
  ...(signal === undefined ? {} : { signal }),
})
