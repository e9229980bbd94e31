/**
 * What a trial's processes have in common: the cache under trial, or the plain one it is compared with, and the
 * messages between them and the test.
 */

/** A value and where it came from. `version` grows with every change of the row; `null`: there is no such row. */
export interface Seen {
  readonly version: number | null
  readonly from: string
  readonly why: string
  readonly tookMs: number
  /** Of that, spent on the shared store before the load. */
  readonly sharedMs?: number
}

/** What became of a write. */
export interface Written {
  readonly version: number
  readonly invalidation: 'applied' | 'queued'
  readonly fenced: boolean
  readonly tookMs: number
}

/** How a write is done. */
export interface WriteHow {
  readonly through?: boolean
  /** Commits by the statement itself, without a transaction around it. */
  readonly statement?: boolean
}

/** What a process is doing, and has done. */
export interface Status {
  /** Reads, loads and fills that are not over, and invalidations that are queued. */
  readonly working: number
  readonly queued: number
  readonly loads: number
  readonly mostLoads: number
  readonly hasProof: boolean
  readonly storeIsAvailable: boolean
  readonly feedIsOpen: boolean
  readonly maxLagMs: number
  readonly distrusted: number
  readonly localEntries: number
  /** The longest time for which the process did not get to run. */
  readonly pauseMs: number
  /** How long it did not get to run all in all. */
  readonly lostMs: number
}

/** Several values, as a snapshot read answered with them. */
export interface SeenTogether {
  readonly versions: readonly (number | null)[]
  /** Whether the cache could not give the snapshot, and the origin was asked for all of them at once. */
  readonly isLoaded: boolean
}

/**
 * What the values are. `row`: a row each. The others are books: each shows the rows whose scrolls lie in it, and depends on
 * tags. `condition`: on one tag per book, which is known from its id. `reference`: on one per row in it, which is known from
 * the loaded book only. `table`: on groups of the two tables, with `tableTags`.
 */
export type Shown = 'row' | 'condition' | 'reference' | 'table'

/** A cache in one process, in front of one table. */
export interface Subject {
  get(id: number, strong?: boolean): Promise<Seen>
  getMany(ids: readonly number[], strong?: boolean): Promise<(number | null)[]>
  write(id: number, how?: WriteHow): Promise<Written>
  /** Changes several rows in one transaction. */
  writeAll(ids: readonly number[]): Promise<Written[]>
  /** Takes one from the version of a row, and adds it to another's, in one transaction. Their sum stays. */
  move(from: number, to: number): Promise<void>
  /** Reads several values by one snapshot read; plain: one after the other. */
  snapshot(ids: readonly number[]): Promise<SeenTogether>
  status(): Status
}

/** Where the shared store is. */
export type StoreAddress =
  | { readonly port: number }
  | { readonly sentinels: readonly Address[]; readonly name: string }
  | { readonly cluster: readonly Address[] }

/** A host and a port. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** What a process is started with. */
export interface ProcessOptions {
  /** `cacheaside`, or `plain`: GET, SELECT, SET and UPDATE, DEL, with one load per key and process. */
  readonly subject: 'cacheaside' | 'plain'
  readonly store: StoreAddress
  readonly postgres: string
  readonly statementTimeoutMs?: number
  readonly poolSize?: number
  /** Whether the process keeps copies; plain: removed when another process publishes a change. */
  readonly local?: boolean
  readonly feed?: boolean
  /** Left out: rows. */
  readonly shown?: Shown
  readonly allowUnsafePolicy?: boolean
  /** Plain only: every reader loads by itself, as in a program without single-flight. */
  readonly loadsApart?: boolean
  /** Plain only: how long a command may take, after which the failure is passed over. Left out: as ioredis does. */
  readonly commandTimeoutMs?: number
  /** Options of the cache that are numbers. */
  readonly cache?: Readonly<Record<string, number>>
  /** Options of the keyspace that are numbers. */
  readonly keyspace?: Readonly<Record<string, number>>
}

/** What the test tells a process. */
export type Order =
  | { readonly open: ProcessOptions }
  | { readonly call: number; readonly method: string; readonly args: readonly unknown[] }
  | { readonly hold: string }
  | { readonly letGo: string }
  | { readonly dieAt: string }

/** What a process tells the test. */
export type Report =
  | { readonly ready: true }
  | { readonly reply: number; readonly value?: unknown; readonly error?: string }
  | { readonly reached: string }
  | { readonly history: readonly Operation[] }

/** One operation of a random run: kind, id, version, when it began and ended, and what is known of it. */
export type Operation = readonly [
  kind: 'read' | 'strong' | 'write',
  id: number,
  version: number,
  beganMs: number,
  endedMs: number,
  fact: string,
]

/** Milliseconds by a clock that all processes of the machine share. */
export const machineMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000
