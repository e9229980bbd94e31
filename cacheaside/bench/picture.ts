import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import type { Part } from './report.ts'

const WIDTH = 900
const ROW_HEIGHT = 22

/** What a drawing is made of: a page without a browser. */
export const pageToDrawOn = () => parseHTML('<!doctype html><html><body></body></html>').document

/** The markup of a drawing, as a file of its own, with what it shows in words. */
export function fileOf(drawing: Drawing, shows: string): string {
  drawing.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  drawing.setAttribute('role', 'img')
  drawing.setAttribute('aria-label', shows)
  // A second height, for a browser that is no more.
  return `${drawing.outerHTML.replace('  height: intrinsic;\n', '')}\n`
}

interface Drawing {
  readonly outerHTML: string
  setAttribute(name: string, value: string): void
}

/** All ratios that have a goal: the median, the middle half, and the goal. */
export function drawRatios(parts: Readonly<Record<string, Part>>): string {
  const rows = Object.entries(parts).flatMap(([part, { rows }]) =>
    rows.flatMap(({ name, ratio, goal, verdict }) =>
      ratio === undefined || goal === undefined
        ? []
        : [{ label: `${name} (${part})`, ...ratio, goal, verdict }],
    ),
  )
  const drawing = Plot.plot({
    document: pageToDrawOn(),
    width: WIDTH,
    height: 80 + rows.length * ROW_HEIGHT,
    marginLeft: 430,
    style: { background: 'white', color: 'black' },
    x: { label: 'ratio, with the middle half of the rounds; the bar is the goal', type: 'log', grid: true },
    y: { label: null, domain: rows.map(({ label }) => label) },
    color: {
      domain: ['met', 'not distinguishable', 'missed'],
      range: ['#2a7f3b', '#8a8a8a', '#c0392b'],
      legend: false,
    },
    marks: [
      Plot.ruleY(rows, { y: 'label', x1: 'low', x2: 'high', stroke: 'verdict', strokeWidth: 4 }),
      Plot.dot(rows, { y: 'label', x: 'median', fill: 'verdict', r: 5 }),
      Plot.tickX(rows, { y: 'label', x: 'goal', stroke: 'black', strokeWidth: 2 }),
    ],
  })
  return fileOf(drawing as unknown as Drawing, 'Ratios of the bench, each with its spread and its goal')
}
