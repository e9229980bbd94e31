/**
 * What the keys of a history show. A floor is kept for each **subject**: one row of the origin, as the values under one key
 * show it, or under one tag.
 */

/** Rows of the origin. */
export const ROWS = 4

/** One row under one key or tag. */
export interface Subject {
  readonly key: string
  readonly row: number
}

/** The subjects of a history, by their numbers. Those of the plain keys come first: the number of one is that of its row. */
export interface Subjects {
  readonly all: readonly Subject[]
  /** Those of a key or a tag. */
  readonly ofKey: (key: string) => readonly number[]
  /** Those of a keyspace of values or of tags. */
  readonly ofKeyspace: ReadonlyMap<string, readonly number[]>
  /** Those of a row. */
  readonly ofRow: (row: number) => readonly number[]
  /** That of a row under one key. */
  readonly at: (key: string, row: number) => number
  /** What a key is called in an accusation: of a plain one the row says it all. */
  readonly nameOf: (key: string) => string
}

/** The keyspaces whose values are one row each, and their rows. */
export const KEYSPACES: ReadonlyMap<string, readonly number[]> = new Map([
  ['row', [0, 1]],
  ['sum', [2, 3]],
])

/** The kinds of tags, and the rows that there is a tag for. */
export const TAGS: ReadonlyMap<string, readonly number[]> = new Map([
  ['near', [0, 1]],
  ['far', [2, 3]],
])

/** Which rows the values of several rows show, by reference: the second one depends on the first one's version. */
export const LINK = 'link'
/** And by condition: known from the id. */
export const PAIR = 'pair'
/** The rows of each pair. */
export const PAIRS: readonly (readonly [number, number])[] = [
  [0, 2],
  [1, 3],
  [0, 1],
]

/** The row that a row's version refers to; never itself. */
export const referredBy = (row: number, version: number): number => (row + 1 + (version % (ROWS - 1))) % ROWS

/** The tag of a row. */
export const tagNameOf = (row: number): string =>
  `${[...TAGS].find(([, rows]) => rows.includes(row))![0]}:${row}`

/** The keys of values that show several rows, and which rows each may show. */
export const COMPOSITES: ReadonlyMap<string, readonly number[]> = new Map([
  ...PAIRS.map((rows, id): [string, readonly number[]] => [`${PAIR}:${id}`, rows]),
  ...Array.from({ length: ROWS }, (_, row): [string, readonly number[]] => [
    `${LINK}:${row}`,
    Array.from({ length: ROWS }, (_, other) => other),
  ]),
])

/** A value that shows several rows, as they were in one snapshot. */
export interface Composite {
  readonly key: string
  /** The shape of the process that loaded it. */
  readonly shape: number
  readonly shown: readonly Shown[]
}

/** A row as a value shows it. */
export interface Shown {
  readonly row: number
  /** `null`: there is no such row. */
  readonly version: number | null
}

/** What an answer shows: a plain one its row. That it is absent shows that its own row is. */
export function shownBy(key: string, value: Composite | Shown | undefined): readonly Shown[] {
  if (value === undefined) return [{ row: idOf(key), version: null }]
  return 'shown' in value ? value.shown : [value]
}

/** The id in a key. */
export const idOf = (key: string): number => Number(key.slice(key.indexOf(':') + 1))

export const keyspaceOf = (key: string): string => key.slice(0, key.indexOf(':'))

const PLAIN: readonly Subject[] = [...KEYSPACES].flatMap(([name, rows]) =>
  rows.map(row => ({ key: `${name}:${row}`, row })),
)

const TAGGED: readonly Subject[] = [
  ...PLAIN,
  ...[...TAGS.values()].flat().map(row => ({ key: tagNameOf(row), row })),
  ...[...COMPOSITES].flatMap(([key, rows]) => rows.map(row => ({ key, row }))),
]

/** Of a history without tags, and of one with. */
export const PLAIN_SUBJECTS = subjectsOf(PLAIN)
export const TAGGED_SUBJECTS = subjectsOf(TAGGED)

function subjectsOf(all: readonly Subject[]): Subjects {
  const grouped = <K>(groupOf: (subject: Subject) => K): ReadonlyMap<K, readonly number[]> => {
    const groups = new Map<K, number[]>()
    for (const [at, subject] of all.entries()) {
      const group = groups.get(groupOf(subject))
      if (group === undefined) groups.set(groupOf(subject), [at])
      else group.push(at)
    }
    return groups
  }
  const byKey = grouped(({ key }) => key)
  const byRow = grouped(({ row }) => row)
  return {
    all,
    ofKey: key => byKey.get(key)!,
    ofKeyspace: grouped(({ key }) => keyspaceOf(key)),
    ofRow: row => byRow.get(row)!,
    nameOf: key => (KEYSPACES.has(keyspaceOf(key)) ? `row ${all[byKey.get(key)![0]!]!.row}` : key),
    at: (key, row) => byKey.get(key)!.find(at => all[at]!.row === row)!,
  }
}
