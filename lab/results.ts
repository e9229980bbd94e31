import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { About } from './adapter.ts'
import type { Outcome } from './trial.ts'

/** What one trial of one library came to. */
export interface Cell {
  /** `problem`: the trial could not be done, and why. */
  readonly outcome: Outcome | { readonly kind: 'problem'; readonly why: string }
  /** The day on which it was done. */
  readonly date: string
  /** What it was done on. */
  readonly machine: string
}

/** A library in the table. */
export interface Row {
  readonly about: About
  /** Each package with the version that is installed. */
  readonly versions: string
  /** By the id of the trial; what is not there was not run. */
  readonly cells: Readonly<Record<string, Cell>>
}

/** All that is known of the last runs. */
export interface Results {
  /** By the name of the adapter's file. */
  readonly rows: Readonly<Record<string, Row>>
}

/** Whether a row was kept of another version than the one that is tried now; then it says nothing of it. */
const isOfSameVersions = (kept: Row | undefined, row: Row): boolean => kept?.versions === row.versions

/** The later results over the earlier ones, cell by cell, where these are of the same versions. */
export function merged(earlier: Results | undefined, later: Results | undefined): Results | undefined {
  if (later === undefined) return earlier
  const rows: Record<string, Row> = { ...earlier?.rows }
  for (const [name, row] of Object.entries(later.rows)) {
    const kept = rows[name]
    rows[name] = isOfSameVersions(kept, row) ? { ...row, cells: { ...kept!.cells, ...row.cells } } : row
  }
  return { rows }
}

/** The results that were written last, of the libraries that are still tried. */
export function readResults(path: string, abouts: ReadonlyMap<string, About>): Results | undefined {
  if (!existsSync(path)) return undefined
  const { rows } = JSON.parse(readFileSync(path, 'utf8')) as Results
  const known = Object.entries(rows).filter(([name]) => abouts.has(name))
  return {
    rows: Object.fromEntries(known.map(([name, row]) => [name, { ...row, about: abouts.get(name)! }])),
  }
}

/** Writes what was measured; what an adapter says of itself stays in its file. */
export function writeResults(path: string, results: Results): void {
  const measured = (key: string, value: unknown) => (key === 'about' ? undefined : value)
  writeFileSync(path, `${JSON.stringify(results, measured, 1)}\n`)
}

/** What the trials run on. */
export function machineOf(redisProgram: string, postgresVersion: string): string {
  const redis = execFileSync(redisProgram, ['--version'], { encoding: 'utf8' })
  return [
    `${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'})`,
    `Node ${process.versions.node}`,
    `${redis.includes('Valkey') ? 'Valkey' : 'Redis'} ${redis.match(/v=([\d.]+)/)?.[1] ?? 'unknown'}`,
    `PostgreSQL ${postgresVersion}`,
  ].join(', ')
}

/** The installed versions of an adapter's packages; `a/b` is the package b that a has for itself. */
export function versionsOf({ packages }: About): string {
  return packages.map(name => `${name.split('with-ioredis-6/').at(-1)} ${versionOf(name)}`).join(', ')
}

function versionOf(name: string): string {
  const apart = name.startsWith('with-ioredis-6/') ? name.replace('/', '/node_modules/') : name
  const places = [`node_modules/${apart}`, `with-ioredis-6/node_modules/${apart}`]
  for (const place of places) {
    const manifest = new URL(`${place}/package.json`, import.meta.url)
    if (existsSync(manifest))
      return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
  }
  throw new Error(`${name} is not installed in the lab`)
}
