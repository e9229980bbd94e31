import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { type Measured, REQUESTS } from './measure.ts'
import { PUBLISHED_MS } from './published.ts'

const STYLE = `
  text { fill: #1f2328; font: 12px system-ui, sans-serif }
  .ours rect { fill: #8250df } .plain rect { fill: #6e7781 }
  .published { stroke: #bc4c00; stroke-width: 3 }
  .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .ours rect { fill: #a371f7 } .plain rect { fill: #7d8590 }
    .published { stroke: #f0883e }
    .back { fill: #0d1117 }
  }`

interface Bar {
  readonly stage: string
  readonly request: string
  readonly ms: number
  readonly publishedMs: number | undefined
}

const isOurs = ({ stage }: Bar): boolean => stage.startsWith('cacheaside')

/** Draws the times as an SVG that stands alone: a panel for each request, a bar for each stage, a mark for what the lesson saw. */
export function chart(measured: readonly Measured[]): string {
  const bars = measured.flatMap(({ stage, bestMs }): Bar[] =>
    REQUESTS.map(request => {
      return { stage, request, ms: bestMs[request], publishedMs: PUBLISHED_MS[stage]?.[request] }
    }),
  )
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const at = { fx: 'request', y: 'stage' }
  const svg = Plot.plot({
    document,
    className: 'stages',
    width: 980,
    height: 220,
    marginLeft: 130,
    marginRight: 40,
    fx: { domain: REQUESTS, label: null, padding: 0.25 },
    y: { domain: measured.map(({ stage }) => stage), label: null, tickSize: 0 },
    x: { label: 'ms', grid: true, ticks: [0, 100, 200] },
    marks: [
      Plot.barX(bars, { ...at, x: 'ms', filter: bar => !isOurs(bar), className: 'plain' }),
      Plot.barX(bars, { ...at, x: 'ms', filter: isOurs, className: 'ours' }),
      Plot.tickX(bars, { ...at, x: 'publishedMs', className: 'published' }),
      Plot.text(bars, {
        ...at,
        // Beside the mark, where that lies beyond the bar.
        x: bar => Math.max(bar.ms, bar.publishedMs ?? 0),
        text: bar => Math.round(bar.ms).toString(),
        dx: 5,
        textAnchor: 'start',
      }),
    ],
  })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  svg.setAttribute('role', 'img')
  for (const style of svg.querySelectorAll('style')) style.remove()
  svg.insertAdjacentHTML(
    'afterbegin',
    `<title>How long each request takes at each stage, in milliseconds; the mark is what the published lesson saw</title>
<style>${STYLE}
</style><rect class="back" width="100%" height="100%" rx="8"></rect>`,
  )
  return `${svg.outerHTML}\n`
}
