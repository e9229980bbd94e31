/** The table as a picture, in colours for light and dark. */
import { counting, inShort, isBad } from './page.ts'
import type { Cell, Results } from './results.ts'
import type { Trial } from './trial.ts'

const NAME_WIDTH = 270
const HEAD_HEIGHT = 150
const WIDTH = 58
const HEIGHT = 26

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .back { fill: #ffffff }
  .cell { stroke: #ffffff; stroke-width: 2 }
  .good { fill: #b4e6c3 } .bad { fill: #f6a9a0 } .open { fill: #f3dfa2 } .none { fill: #e6e9ed }
  .number { text-anchor: middle; font-weight: 600 } .small { font-size: 10px; font-weight: 400 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .back { fill: #0d1117 }
    .cell { stroke: #0d1117 }
    .good { fill: #1f6f3a } .bad { fill: #a4302a } .open { fill: #7a5c10 } .none { fill: #2b3138 }
  }`

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

function classOf(cell: Cell | undefined, isPromised: boolean): string {
  if (cell?.outcome.kind !== 'count' || cell.outcome.of === 0) return 'none'
  if (!isBad(cell)) return 'good'
  return isPromised ? 'bad' : 'open'
}

/** The number, and of how many. */
function wordsOf(cell: Cell | undefined): { number: string; of: string } {
  if (cell?.outcome.kind === 'none') return { number: '–', of: '' }
  if (cell?.outcome.kind !== 'count') return { number: '', of: inShort(cell) }
  if (cell.outcome.of === 0) return { number: '', of: '' }
  return { number: String(cell.outcome.bad), of: `/${cell.outcome.of}` }
}

function square(cell: Cell | undefined, isPromised: boolean, x: number, y: number): string {
  const { number, of } = wordsOf(cell)
  const middle = `x="${x + WIDTH / 2}" y="${y + HEIGHT / 2 + 4}"`
  return `<g><title>${escaped(inShort(cell))}</title>
<rect class="cell ${classOf(cell, isPromised)}" x="${x}" y="${y}" width="${WIDTH}" height="${HEIGHT}" rx="4"/>
<text class="number" ${middle}>${number}<tspan class="small">${of}</tspan></text></g>`
}

/** Draws the counts; what only informs is left to the page. */
export function picture(results: Results, trials: readonly Trial[]): string {
  const rows = Object.fromEntries(Object.entries(results.rows).filter(([, { about }]) => !about.hasTags))
  const counted = counting(trials)
  const width = NAME_WIDTH + counted.length * WIDTH + 60
  const height = HEAD_HEIGHT + Object.keys(rows).length * HEIGHT + 34
  const heads = counted.map(({ heading }, i) => {
    const at = `${NAME_WIDTH + i * WIDTH + WIDTH / 2} ${HEAD_HEIGHT - 8}`
    return `<text transform="translate(${at}) rotate(-50)">${escaped(heading)}</text>`
  })
  const lines = Object.values(rows).map(({ about, cells }, i) => {
    const y = HEAD_HEIGHT + i * HEIGHT
    const squares = counted.map(({ id }, j) =>
      square(cells[id], about.unpromised?.[id] === undefined, NAME_WIDTH + j * WIDTH, y),
    )
    return [`<text x="12" y="${y + HEIGHT / 2 + 4}">${escaped(about.name)}</text>`, ...squares].join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>How many rows were stale after each trial, for each library</title>
<style>${STYLE}
</style>
<rect class="back" width="${width}" height="${height}" rx="8"/>
${[...heads, ...lines].join('\n')}
<text x="12" y="${height - 12}">Stale rows of rows tried. Green: none. Red: stale. Yellow: stale, and not promised without the change feed. Grey: the library has none, or nothing was cached.</text>
</svg>
`
}
