import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { drawRatios } from './picture.ts'

/** What a bench has found of one thing. */
export interface Row {
  readonly name: string
  readonly value: { readonly amount: number; readonly unit: string }
  /** What it is compared with. */
  readonly against?: string | undefined
  /** The median of the ratios, and the middle half of them. */
  readonly ratio?: { readonly median: number; readonly low: number; readonly high: number } | undefined
  /** What we want of the ratio, or of the amount where there is none: at most this. */
  readonly goal?: number | undefined
  readonly verdict?: Verdict | undefined
}

/** Whether a goal is met. Not to be told where the middle half of the rounds lies on both sides of it. */
export type Verdict = 'met' | 'missed' | 'not distinguishable'

/** A part of the bench: what `npm run bench -- PART` measures. */
export interface Part {
  readonly title: string
  readonly node: string
  readonly machine: string
  readonly versions: Readonly<Record<string, string>>
  readonly rows: readonly Row[]
}

/** Parts by name, and by the major version of Node: `redis, Node 24`. */
type Parts = Readonly<Record<string, Part>>

const FOLDER = new URL('../../docs/performance/', import.meta.url)

/** The value in the middle. */
export const middleOf = (values: readonly number[]): number => quantile(values, 0.5)

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** A row, with the verdict that its ratios allow. */
export function rowOf({
  ratios,
  ...row
}: Omit<Row, 'ratio' | 'verdict'> & { readonly ratios?: readonly number[] | undefined }): Row {
  const ratio =
    ratios === undefined
      ? undefined
      : { median: middleOf(ratios), low: quantile(ratios, 0.25), high: quantile(ratios, 0.75) }
  return { ...row, ratio, verdict: verdictOf(row.goal, ratio ?? exactly(row.value.amount)) }
}

const exactly = (amount: number) => ({ median: amount, low: amount, high: amount })

function verdictOf(
  goal: number | undefined,
  { low, high }: { low: number; high: number },
): Verdict | undefined {
  if (goal === undefined) return undefined
  if (high <= goal) return 'met'
  return low > goal ? 'missed' : 'not distinguishable'
}

/** What was measured on, as documents say it. */
export function partOf(
  title: string,
  rows: readonly Row[],
  versions: Readonly<Record<string, string>> = {},
): Part {
  const [cpu] = cpus()
  const machine = `${cpus().length} x ${cpu?.model.trim() ?? 'unknown'}`
  return { title, node: process.version, machine, versions, rows }
}

/** A part as a table in Markdown. */
export function tableOf({ title, node, machine, versions, rows }: Part): string {
  const used = Object.entries({ Node: node, ...versions }).map(([name, version]) => `${name} ${version}`)
  const lines = rows.map(({ name, value, against, ratio, goal, verdict }) => {
    const compared =
      ratio === undefined
        ? ''
        : `${ratio.median.toFixed(2)} (${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)}) x ${against}`
    return `| ${name} | ${rounded(value.amount)} ${value.unit} | ${compared} | ${goal === undefined ? '' : `<= ${goal}`} | ${verdict ?? ''} |`
  })
  return [
    `### ${title}`,
    '',
    `${used.join(', ')}; ${machine}. Medians, and in brackets the middle half of all rounds.`,
    '',
    '| case | takes | ratio | goal | |',
    '|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n')
}

const rounded = (amount: number): string => (amount >= 100 ? amount.toFixed(0) : amount.toPrecision(3))

/** Puts a part in the place of what was measured of it before, and writes Markdown, JSON and a picture of all parts. */
export async function keepPart(name: string, part: Part): Promise<void> {
  const file = new URL('bench.json', FOLDER)
  const before = JSON.parse(await readFile(file, 'utf8').catch(() => '{}')) as Parts
  const key = `${name}, Node ${process.versions.node.split('.')[0]}`
  const all = Object.fromEntries(
    Object.entries({ ...before, [key]: part }).sort(([one], [other]) => (one < other ? -1 : 1)),
  )
  await writeFile(file, `${JSON.stringify(all, null, 2)}\n`)
  const intro =
    '# What `npm run bench` has measured\n\n' +
    'Written by `npm run bench -- --write`. A row is *not distinguishable* from its goal where the middle half of the rounds lies on ' +
    'both sides of it.\n\n![Ratios and their goals](bench.svg)\n\n'
  await writeFile(new URL('bench.md', FOLDER), intro + Object.values(all).map(tableOf).join('\n'))
  await writeFile(new URL('bench.svg', FOLDER), drawRatios(all))
}
