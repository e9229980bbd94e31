import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import * as Plot from '@observablehq/plot'
import { fileOf, pageToDrawOn } from './picture.ts'

/** What was measured while one thing grew. */
export interface Series {
  readonly title: string
  /** What grows. */
  readonly grows: string
  /** Whether it is drawn by its magnitude. */
  readonly isLogarithmic?: boolean
  /** What is measured, with its unit. Each is drawn by itself. */
  readonly measures: readonly string[]
  readonly points: readonly Point[]
}

/** One size, and what was measured at it, in the order of the measures; `null` where it was not possible. */
export interface Point {
  readonly size: number
  readonly amounts: readonly (number | null)[]
}

interface Kept extends Series {
  readonly node: string
  readonly machine: string
}

const FOLDER = new URL('../../docs/performance/', import.meta.url)

/** A series as a table in Markdown. */
export function seriesTable({ title, grows, measures, points }: Series): string {
  const lines = points.map(
    ({ size, amounts }) => `| ${size.toLocaleString('en')} | ${amounts.map(shown).join(' | ')} |`,
  )
  return [
    `## ${title}`,
    '',
    `| ${grows} | ${measures.join(' | ')} |`,
    `|---|${measures.map(() => '---|').join('')}`,
    ...lines,
    '',
  ].join('\n')
}

const shown = (amount: number | null): string =>
  amount === null
    ? '–'
    : amount >= 1_000
      ? Math.round(amount).toLocaleString('en')
      : String(Number(amount.toPrecision(3)))

/** Puts a series in the place of what was measured before, and writes all of them and a picture. */
export async function keepSeries(name: string, series: Series): Promise<void> {
  const file = new URL('scale.json', FOLDER)
  const before = JSON.parse(await readFile(file, 'utf8').catch(() => '{}')) as Record<string, Kept>
  const machine = `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown'}`
  const all = { ...before, [name]: { ...series, node: process.version, machine } }
  await writeFile(file, `${JSON.stringify(all, null, 2)}\n`)
  const sections = Object.entries(all).map(
    ([part, kept]) =>
      `${seriesTable(kept)}\nNode ${kept.node}; ${kept.machine}.\n\n![${kept.title}](scale-${part}.svg)\n`,
  )
  const intro =
    '# How it grows\n\nWritten by `npm run scale`. What follows from it is in [README](README.md).\n\n'
  await writeFile(new URL('scale.md', FOLDER), intro + sections.join('\n'))
  await writeFile(new URL(`scale-${name}.svg`, FOLDER), drawn(series))
}

function drawn({ title, grows, isLogarithmic = false, measures, points }: Series): string {
  const data = measures.flatMap((measure, i) =>
    points.flatMap(({ size, amounts }) =>
      amounts[i] == null ? [] : [{ measure, size, amount: amounts[i] }],
    ),
  )
  // Each measure is drawn in parts of its largest amount, which its name tells.
  const most = new Map(
    measures.map((measure, i) => [measure, Math.max(...points.map(({ amounts }) => amounts[i] ?? 0))]),
  )
  const relative = data.map(({ measure, size, amount }) => ({
    size,
    label: `${measure}, up to ${shown(most.get(measure)!)}`,
    part: amount / most.get(measure)!,
  }))
  const drawing = Plot.plot({
    document: pageToDrawOn(),
    width: 820,
    height: 130 * measures.length + 60,
    marginLeft: 50,
    marginRight: 260,
    style: { background: 'white', color: 'black' },
    x: { label: grows, type: isLogarithmic ? 'log' : 'linear', grid: true },
    y: { label: null, domain: [0, 1], ticks: 2 },
    fy: { label: null },
    marks: [
      Plot.line(relative, { x: 'size', y: 'part', fy: 'label', stroke: '#2a5caa', strokeWidth: 2 }),
      Plot.dot(relative, { x: 'size', y: 'part', fy: 'label', fill: '#2a5caa', r: 4 }),
    ],
  })
  return fileOf(drawing as never, `${title}: ${measures.join(', ')}, by ${grows}`)
}
