import type { Batch, Change, ChangeFeed, FeedOpening, FeedRow, FeedSession, FeedTable, Key } from 'cacheaside'

/** What a program writes into its journal when it changes a row. */
interface Entry {
  readonly number: number
  readonly table: string
  /** Left out: the whole table was changed. */
  readonly rows: readonly FeedRow[] | undefined
  readonly atMs: number
}

/** A list of changes that is only ever appended to; somewhere where it survives what it is to survive. */
export class Journal {
  /** Another text when entries may have been taken back. */
  readonly origin = 'journal 1'
  readonly entries: Entry[] = []
  /** The numbers of what was applied to the store that processes share. */
  readonly applied = new Set<number>()
  /** What is remembered of each keyspace. */
  readonly remembered = new Map<string, string>()

  append(table: string, rows: readonly FeedRow[] | undefined, atMs: number): void {
    this.entries.push({ number: this.entries.length + 1, table, rows, atMs })
  }
}

const AT_ONCE = 500

/** A change feed over a journal. */
export function journalFeed(
  journal: Journal,
  keysOf: Readonly<Record<string, (row: FeedRow) => Iterable<Key>>>,
): ChangeFeed {
  const tables = new Map<string, FeedTable>()
  for (const [name, keys] of Object.entries(keysOf)) tables.set(name, { keys })
  return {
    name: 'journal',
    tables,
    pollMs: 100,
    timeoutMs: 5_000,
    open: async opening => new JournalSession(journal, opening),
  }
}

/**
 * Sessions that share a store also share what was applied. It does no harm if two of them apply the same change, so
 * nothing is locked. A session with a store of its own has to see every change since it was opened.
 */
class JournalSession implements FeedSession {
  readonly origin: string
  readonly mayTakeBack = false
  readonly #journal: Journal
  readonly #opening: FeedOpening
  readonly #applied: Set<number>

  constructor(journal: Journal, opening: FeedOpening) {
    this.origin = journal.origin
    this.#journal = journal
    this.#opening = opening
    this.#applied = opening.isPrivate ? new Set(journal.entries.map(({ number }) => number)) : journal.applied
  }

  async take(after: string | undefined): Promise<Batch> {
    const open = this.#journal.entries.filter(({ number }) => !this.#applied.has(number))
    const next = open.filter(({ number }) => number > Number(after ?? 0))
    const changes = next.slice(0, AT_ONCE).map(({ number, table, rows, atMs }) => ({
      id: String(number),
      table,
      rows,
      ageMs: this.#opening.clock.nowMs() - atMs,
    }))
    return { changes, more: next.length > AT_ONCE, drained: open.length === changes.length }
  }

  async settle(applied: readonly Change[]): Promise<void> {
    for (const { id } of applied) this.#applied.add(Number(id))
  }

  async remembered(): Promise<ReadonlyMap<string, string>> {
    return new Map(this.#journal.remembered)
  }

  async remember(keyspaces: readonly string[], identity: string, instead?: string): Promise<void> {
    const { remembered } = this.#journal
    for (const name of keyspaces)
      if (instead === undefined || remembered.get(name) === instead) remembered.set(name, identity)
  }

  async close(): Promise<void> {}

  abandon(): void {}
}
