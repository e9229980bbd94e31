// Three small charts of the last two minutes, drawn by uPlot. What they show is also said in text.
import { time } from '../source.js'

/** @typedef {import('../../src/live/wire.ts').Sample} Sample */

const SECONDS = 120
/** Over so many seconds the hit ratio goes, as the percentiles do. */
const WINDOW_S = 10
const HEIGHT = 120

/** @type {Promise<any> | undefined} */
let loading

/** uPlot. The script is no module, and defines one name. */
function loadPlot() {
  loading ??= new Promise((resolve, reject) => {
    const style = Object.assign(document.createElement('link'), {
      rel: 'stylesheet',
      href: '/lib/uplot/uPlot.min.css',
    })
    const script = Object.assign(document.createElement('script'), { src: '/lib/uplot/uPlot.iife.min.js' })
    script.onload = () => resolve(/** @type {any} */ (globalThis).uPlot)
    script.onerror = reject
    document.head.append(style, script)
  })
  return loading
}

/**
 * A chart: its lines, each with the name of a colour in `tokens.css` and, if it is dashed, how.
 *
 * @typedef {object} Chart
 * @property {string} id
 * @property {readonly { label: string, colour: string, dash?: number[] }[]} lines
 * @property {object} scale
 * @property {(value: number) => string} format
 */

/** @type {readonly Chart[]} */
const CHARTS = [
  {
    id: 'ratio',
    lines: [{ label: 'hit ratio', colour: '--shared' }],
    scale: { range: [0, 100] },
    format: value => `${Math.round(value)} %`,
  },
  {
    id: 'latency',
    lines: [
      { label: 'hit p50', colour: '--shared' },
      { label: 'hit p99', colour: '--shared', dash: [4, 3] },
      { label: 'miss p50', colour: '--origin' },
      { label: 'miss p99', colour: '--origin', dash: [4, 3] },
    ],
    scale: { distr: 3 },
    format: time,
  },
  {
    id: 'loads',
    lines: [{ label: 'loads', colour: '--accent' }],
    scale: { range: (_plot, _min, max) => [0, Math.max(4, max)] },
    format: String,
  },
]

/** Draws the charts into the figures of a view. */
export class Charts {
  #host
  /** @type {any[]} */
  #plots = []
  /** @type {readonly Sample[]} */
  #samples = []
  #signal

  /**
   * @param {Element} host
   * @param {AbortSignal} signal
   */
  constructor(host, signal) {
    this.#host = host
    this.#signal = signal
    const again = () => this.#make()
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again, { signal })
    const resized = new ResizeObserver(() => this.#resize())
    resized.observe(host)
    signal.addEventListener('abort', () => {
      resized.disconnect()
      for (const plot of this.#plots) plot.destroy()
    })
    again()
  }

  /** @param {readonly Sample[]} samples */
  show(samples) {
    this.#samples = samples
    const data = dataOf(samples, Math.floor(Date.now() / 1000))
    this.#plots.forEach((plot, i) => {
      plot.setData(data[i])
    })
  }

  async #make() {
    const Plot = await loadPlot()
    if (this.#signal.aborted) return
    for (const plot of this.#plots) plot.destroy()
    this.#plots = CHARTS.map(chart => {
      const place = /** @type {HTMLElement} */ (this.#host.querySelector(`[data-chart="${chart.id}"]`))
      return new Plot(optionsOf(chart, place), [[], ...chart.lines.map(() => [])], place)
    })
    this.show(this.#samples)
  }

  #resize() {
    for (const plot of this.#plots) {
      const width = plot.root.parentElement.clientWidth
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT })
    }
  }
}

/**
 * @param {Chart} chart
 * @param {HTMLElement} place
 */
function optionsOf(chart, place) {
  const colours = getComputedStyle(place)
  const colour = name => colours.getPropertyValue(name).trim()
  const axis = {
    stroke: colour('--quiet'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font: `11px ${colour('--sans')}`,
  }
  return {
    width: Math.max(120, place.clientWidth),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [6, 14, 0, 0],
    scales: { x: { time: false }, y: chart.scale },
    series: [
      {},
      ...chart.lines.map(({ label, colour: name, dash }) => ({
        label,
        stroke: colour(name),
        width: 2,
        ...(dash === undefined ? {} : { dash }),
        points: { show: false },
        spanGaps: false,
      })),
    ],
    axes: [
      { ...axis, size: 22, values: (_plot, ticks) => ticks.map(tick => (tick === 0 ? 'now' : `${tick} s`)) },
      {
        ...axis,
        // On a logarithmic scale only the powers of ten.
        grid: {
          ...axis.grid,
          filter: (_plot, splits) => splits.map(split => (isMain(chart, split) ? split : null)),
        },
        size: 52,
        values: (_plot, ticks) => ticks.map(tick => (tick === null ? '' : chart.format(tick))),
      },
    ],
  }
}

/**
 * @param {Chart} chart
 * @param {number} split
 */
const isMain = ({ id }, split) =>
  id !== 'latency' || Number.isInteger(Math.round(Math.log10(split) * 1e6) / 1e6)

/**
 * The seconds of the last two minutes, for each chart. Of a second without reads nothing may have been told.
 *
 * @param {readonly Sample[]} samples
 * @param {number} nowS
 */
function dataOf(samples, nowS) {
  const byS = new Map(samples.map(sample => [sample.atS, sample]))
  const end = Math.max(nowS - 1, samples.at(-1)?.atS ?? 0)
  const seconds = Array.from({ length: SECONDS }, (_, i) => end - SECONDS + 1 + i)
  const x = seconds.map(second => second - end)
  const column = name => seconds.map(second => byS.get(second)?.[name] ?? null)
  return [
    [x, seconds.map(second => ratioAt(byS, second))],
    [x, ...['hitP50', 'hitP99', 'missP50', 'missP99'].map(column)],
    [x, seconds.map(second => byS.get(second)?.loads ?? 0)],
  ]
}

/**
 * @param {ReadonlyMap<number, Sample>} byS
 * @param {number} second
 */
function ratioAt(byS, second) {
  let [hits, all] = [0, 0]
  for (let i = 0; i < WINDOW_S; i++) {
    const sample = byS.get(second - i)
    if (sample === undefined) continue
    hits += sample.hits
    all += sample.hits + sample.misses + sample.bypasses
  }
  return all === 0 ? null : (100 * hits) / all
}

/**
 * What the charts show now, in words.
 *
 * @param {readonly Sample[]} samples
 */
export function inWords(samples) {
  const last = samples.at(-1)
  const byS = new Map(samples.map(sample => [sample.atS, sample]))
  const ratio = last === undefined ? null : ratioAt(byS, last.atS)
  const of = ms => (ms === null || ms === undefined ? 'none' : time(ms))
  return {
    ratio: ratio === null ? 'no reads' : `${Math.round(ratio)} %`,
    hit: `${of(last?.hitP50)} / ${of(last?.hitP99)}`,
    miss: `${of(last?.missP50)} / ${of(last?.missP99)}`,
    loads: `${last?.loads ?? 0}`,
  }
}
