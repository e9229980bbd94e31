/**
 * The seed that finds each mutant out: kept in `killing-seeds.json`, and counted in docs/simulation.md. Both are written
 * by `npm run simulate -- --mutants --rewrite` alone.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FURTHER, LEFT_OUT, MUTANTS } from './mutants.ts'

/** The history that finds one mutant out. */
export interface KillingSeed {
  readonly seed: number
  readonly weather: string
  /** What the checker says of it. */
  readonly found: string
}

const FILE = join(import.meta.dirname, 'killing-seeds.json')
const PAGE = join(import.meta.dirname, '../../docs/simulation.md')
const BEGIN = '<!-- begin: written by npm run simulate -- --mutants --rewrite -->'
const END = '<!-- end -->'

/** The kept seeds, by the names of their mutants. */
export function killingSeeds(): Readonly<Record<string, KillingSeed>> {
  return JSON.parse(readFileSync(FILE, 'utf8'))
}

/** Writes the file, in the order of the mutants and without those that are gone, and the tables of the document. */
export function writeKillingSeeds(seeds: Readonly<Record<string, KillingSeed>>): void {
  const known = MUTANTS.flatMap(({ name }) => (seeds[name] === undefined ? [] : [[name, seeds[name]]]))
  writeFileSync(FILE, `${JSON.stringify(Object.fromEntries(known), null, 2)}\n`)
  const { before, after } = page()
  writeFileSync(PAGE, `${before}${tables(seeds)}${after}`)
}

/** What stands between the marks of the document. */
export function writtenTables(): string {
  return page().written
}

/**
 * As Markdown: how many mutants each weather finds, and why the simulation is not asked about the others. The names are
 * those of docs/protections.md, and are not repeated, except of mutants that are no scenario.
 */
export function tables(seeds: Readonly<Record<string, KillingSeed>>): string {
  const first = MUTANTS[0]!
  const weathers = counted(MUTANTS.map(({ name }) => seeds[name]?.weather ?? 'none'))
  const reasons = counted(LEFT_OUT.map(({ why }) => why))
  const further = FURTHER.map(({ name }) => `- ${name}\n`)
  return `
${MUTANTS.length} protections are taken out. The weathers that find them: ${weathers
    .map(([weather, count]) => `${weather} ${count}`)
    .join(', ')}. For example, without *${first.name}*:
seed ${seeds[first.name]?.seed}, ${seeds[first.name]?.weather}, "${seeds[first.name]?.found}".

These of them are no scenario:

${further.join('')}
The simulation is not asked about ${LEFT_OUT.length} others:

| why | protections |
|---|---|
${reasons.map(([why, count]) => `| ${why} | ${count} |\n`).join('')}
`
}

/** Each text once, the most frequent first, with how often it comes. */
function counted(texts: readonly string[]): [string, number][] {
  const counts = new Map<string, number>()
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1)
  return [...counts].sort(([, one], [, other]) => other - one)
}

function page(): { before: string; written: string; after: string } {
  const text = readFileSync(PAGE, 'utf8')
  const begin = text.indexOf(BEGIN) + BEGIN.length + 1
  const end = text.indexOf(END)
  if (!text.includes(BEGIN) || end < begin) throw new Error(`${PAGE} has lost its marks: ${BEGIN} … ${END}`)
  return { before: text.slice(0, begin), written: text.slice(begin, end), after: text.slice(end) }
}
