import { printable } from '../base/printable.ts'
import type { Finding, Outcome, SkippedOutcome } from './outcome.ts'

/** How many registers had which outcome. */
export interface Counts {
  /** Registers with a verdict: equal, stale, unreadable and orphaned ones. */
  readonly checked: number
  readonly equal: number
  readonly stale: number
  readonly unreadable: number
  readonly orphaned: number
  readonly skipped: Readonly<Record<SkippedOutcome['why'], number>>
}

/** The result of a verification. Plain data, as `--json` prints it. */
export interface VerifyReport {
  /** What kind of shared store. */
  readonly store: string
  /** When it began, in ISO 8601. */
  readonly startedAt: string
  readonly tookMs: number
  /** How many keys were examined, if not all of them were. */
  readonly sampled?: number
  readonly total: Counts
  /** By keyspace. */
  readonly keyspaces: Readonly<Record<string, Counts>>
  /** The first `maxFindings` of them; the counts are complete. */
  readonly findings: readonly Finding[]
  /** Keys with the store's prefix that belong to no keyspace of the cache. */
  readonly foreign: number
  /** Hints for the person who reads the report, one sentence each. */
  readonly notes: readonly string[]
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] extends object ? Mutable<T[Name]> : T[Name] }

function noCounts(): Mutable<Counts> {
  return {
    checked: 0,
    equal: 0,
    stale: 0,
    unreadable: 0,
    orphaned: 0,
    skipped: { gone: 0, leased: 0, stamp: 0, guarded: 0, version: 0, changed: 0, failed: 0 },
  }
}

/** Adds up outcomes. */
export class Tally {
  readonly total = noCounts()
  readonly findings: Finding[] = []
  readonly #keyspaces: Record<string, Mutable<Counts>> = Object.create(null)
  readonly #maxFindings: number
  readonly #found = new Set<string>()

  constructor(keyspaces: Iterable<string>, maxFindings: number) {
    for (const name of keyspaces) this.#keyspaces[name] = noCounts()
    this.#maxFindings = maxFindings
  }

  add(outcome: Outcome): void {
    const isFinding = outcome.kind !== 'equal' && outcome.kind !== 'skipped'
    // A walk may find a key twice; no finding counts twice.
    if (isFinding && this.#found.has(outcome.key)) return
    for (const counts of this.#countsOf(outcome.keyspace)) {
      if (outcome.kind === 'skipped') counts.skipped[outcome.why]++
      else {
        counts.checked++
        counts[outcome.kind]++
      }
    }
    if (!isFinding || this.findings.length >= this.#maxFindings) return
    this.findings.push(outcome)
    this.#found.add(outcome.key)
  }

  /** Counts orphaned registers whose keys are not known any more. */
  addOrphaned(keyspace: string, count: number): void {
    for (const counts of this.#countsOf(keyspace)) {
      counts.checked += count
      counts.orphaned += count
    }
  }

  /** Counts tags whose keys are not known any more. */
  addStamps(keyspace: string, count: number): void {
    for (const counts of this.#countsOf(keyspace)) counts.skipped.stamp += count
  }

  /** The counts of each keyspace so far. */
  get keyspaces(): Readonly<Record<string, Counts>> {
    return { ...this.#keyspaces }
  }

  #countsOf(keyspace: string): readonly Mutable<Counts>[] {
    this.#keyspaces[keyspace] ??= noCounts()
    return [this.total, this.#keyspaces[keyspace]]
  }
}

/** A report as people read it. */
export function reportText(report: VerifyReport): string {
  const lines = [headline(report), ...table(report)]
  if (report.findings.length > 0) lines.push('', ...report.findings.map(findingText))
  const { stale, unreadable, orphaned } = report.total
  const untold = stale + unreadable + orphaned - report.findings.length
  if (untold > 0) lines.push(`and ${untold} more`)
  if (report.notes.length > 0) lines.push('', ...report.notes.map(note => `note: ${printable(note)}`))
  return [...lines, '', verdict(report)].join('\n')
}

/** A duration for people. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`
  if (ms < 7_200_000) return `${(ms / 60_000).toFixed(0)} min`
  return `${(ms / 3_600_000).toFixed(1)} h`
}

function headline({ store, tookMs, sampled, total }: VerifyReport): string {
  const looked = total.checked + skippedIn(total)
  const how = sampled === undefined ? `${looked} registers` : `a sample of ${sampled} registers`
  return `looked at ${how} in ${store} within ${durationText(tookMs)}`
}

const skippedIn = ({ skipped }: Counts): number =>
  Object.values(skipped).reduce((sum, count) => sum + count, 0)

const COLUMNS = ['checked', 'equal', 'stale', 'unreadable', 'orphaned'] as const

function table({ keyspaces, total }: VerifyReport): string[] {
  const rows = [...Object.entries(keyspaces).map(([name, counts]) => [printable(name), counts] as const)]
  if (rows.length !== 1) rows.push(['all', total])
  const cells = rows.map(([name, counts]) => [
    name,
    ...COLUMNS.map(column => String(counts[column])),
    String(skippedIn(counts)),
  ])
  const all = [['', ...COLUMNS, 'skipped'], ...cells]
  const widths = all[0]!.map((_, i) => Math.max(...all.map(row => row[i]!.length)))
  return all.map(row =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  )
}

function findingText(finding: Finding): string {
  const key = printable(finding.key)
  switch (finding.kind) {
    case 'stale':
      return `stale ${key}: ${staleText(finding)}`
    case 'unreadable':
      return `unreadable ${key}: ${finding.reason}, ${printable(finding.message)}`
    case 'orphaned':
      return `orphaned ${key}: ${ORPHANED[finding.reason]}${finding.tags === undefined ? '' : ` (${tagsText(finding.tags)})`}`
  }
}

const ORPHANED = {
  keyspace: 'of a keyspace that is not audited',
  generation: 'stored before its keyspace was last invalidated as a whole',
  tag: 'a tag that it was loaded under does not stand any more',
  names: 'stored without a tag that its keyspace names',
  shape: 'stored with another shape version',
  id: 'not the key of any id',
  alias: 'the value of a row with another id',
  unreachable: 'nobody asks for its id any more',
} as const

const MOST_TAGS_TOLD = 3

/** The names of some tags, and how many more there are. */
function tagsText(names: readonly string[]): string {
  const told = names.slice(0, MOST_TAGS_TOLD).map(printable).join(', ')
  return names.length > MOST_TAGS_TOLD ? `${told} and ${names.length - MOST_TAGS_TOLD} more` : told
}

function staleText({ ageMs, staleMs, absent, behind, tags, change }: Finding & { kind: 'stale' }): string {
  const parts = [`stored ${durationText(ageMs)} ago, stale for ${durationText(staleMs)} at least`]
  if (absent === 'origin') parts.push('the origin has no such row')
  if (absent === 'cached') parts.push('cached as absent, and the origin has the row')
  if (behind !== undefined) {
    const by =
      behind.by === undefined
        ? ''
        : behind.unit === 'ms'
          ? `${durationText(behind.by)} `
          : `${behind.by} versions `
    parts.push(`${by}behind (${printable(behind.cached)}, the origin has ${printable(behind.origin)})`)
  }
  if (tags !== undefined) parts.push(`its tags stand (${tagsText(tags)})`)
  if (change !== undefined)
    parts.push(
      `change ${printable(change.id)} of ${printable(change.table)} has waited in the outbox for ${durationText(change.ageMs)}`,
    )
  return parts.join('; ')
}

function verdict({ total, foreign }: VerifyReport): string {
  const { checked, stale, unreadable, orphaned, skipped } = total
  const parts = [`${stale} stale of ${checked} checked`]
  if (unreadable > 0) parts.push(`${unreadable} unreadable`)
  if (orphaned > 0) parts.push(`${orphaned} orphaned`)
  if (skipped.stamp > 0) parts.push(`${skipped.stamp} tags passed by`)
  if (skipped.failed > 0) parts.push(`${skipped.failed} could not be checked`)
  if (foreign > 0) parts.push(`${foreign} keys of others left alone`)
  return parts.join(', ')
}
