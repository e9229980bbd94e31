/**
 * The seed that finds each mutant out: kept in `killing-seeds.json`, and shown in docs/simulation.md. Both are written
 * by `npm run simulate -- --mutants --rewrite` alone.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LEFT_OUT, MUTANTS } from './mutants.ts'

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

/** The two tables as Markdown: what finds each mutant out, and which ones the simulation is not asked about. */
export function tables(seeds: Readonly<Record<string, KillingSeed>>): string {
  const found = MUTANTS.map(({ name }) => {
    const { seed, weather, found } = seeds[name] ?? { seed: 'none', weather: '', found: '' }
    return `| ${name} | ${seed} | ${weather} | ${found} |\n`
  })
  const leftOut = LEFT_OUT.map(({ name, why }) => `| ${name} | ${why} |\n`)
  return `
${MUTANTS.length} protections are taken out, one after the other:

| taken out | seed | weather | what is found |
|---|---|---|---|
${found.join('')}
The simulation is not asked about these:

| taken out | why |
|---|---|
${leftOut.join('')}
`
}

function page(): { before: string; written: string; after: string } {
  const text = readFileSync(PAGE, 'utf8')
  const begin = text.indexOf(BEGIN) + BEGIN.length + 1
  const end = text.indexOf(END)
  if (!text.includes(BEGIN) || end < begin) throw new Error(`${PAGE} has lost its marks: ${BEGIN} … ${END}`)
  return { before: text.slice(0, begin), written: text.slice(begin, end), after: text.slice(end) }
}
