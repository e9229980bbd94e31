// The path of a read, drawn: six steps, and the ways from them to the answer. Reads run along it.
import { svg } from '/lib/lit-html/lit-html.js'
import { STEPS } from './steps.js'

/** @typedef {{ x: number, y: number }} Point */

/**
 * Where everything is. Wide: from left to right, with the answer below. Tall: from top to bottom, with the answer beside.
 *
 * @typedef {object} Layout
 * @property {string} box
 * @property {readonly Point[]} steps
 * @property {Point} start
 * @property {(step: number) => Point} answer - Where the way from a step meets the answer.
 * @property {{ x: number, y: number, width: number, height: number, text: Point, turn: number }} bar - The answer.
 * @property {(step: number) => { name: Point, time: Point, anchor: string }} words
 * @property {readonly Point[]} found - From the third step to the last.
 * @property {string} foundPath
 * @property {Point} refused - Where a refused value ends.
 * @property {(step: number) => { at: Point, anchor: string }} way - Where the word on the way to the answer is.
 */

const WIDE_X = [90, 254, 418, 582, 746, 910]
const TALL_Y = [64, 164, 264, 364, 464, 564]

/** @type {Layout} */
const wide = {
  box: '0 0 1000 320',
  steps: WIDE_X.map(x => ({ x, y: 112 })),
  start: { x: 20, y: 112 },
  answer: step => ({ x: WIDE_X[step] ?? 0, y: 262 }),
  bar: { x: 30, y: 262, width: 612, height: 42, text: { x: 336, y: 289 }, turn: 0 },
  words: step => ({
    name: { x: WIDE_X[step] ?? 0, y: 62 },
    time: { x: (WIDE_X[step] ?? 0) + 12, y: 168 },
    anchor: 'middle',
  }),
  found: [
    { x: 418, y: 112 },
    { x: 462, y: 72 },
    { x: 482, y: 38 },
    { x: 524, y: 26 },
    { x: 804, y: 26 },
    { x: 846, y: 38 },
    { x: 866, y: 72 },
    { x: 910, y: 112 },
  ],
  foundPath: 'M441 96C474 76 464 26 524 26H804C864 26 854 76 887 96',
  refused: { x: 746, y: 222 },
  way: step => ({ at: { x: (WIDE_X[step] ?? 0) + 12, y: 236 }, anchor: 'start' }),
}

/** @type {Layout} */
const tall = {
  box: '0 0 340 640',
  steps: TALL_Y.map(y => ({ x: 44, y })),
  start: { x: 44, y: 12 },
  answer: step => ({ x: 290, y: TALL_Y[step] ?? 0 }),
  bar: { x: 290, y: 30, width: 38, height: 370, text: { x: 303, y: 215 }, turn: 90 },
  words: step => ({
    name: { x: 86, y: (TALL_Y[step] ?? 0) - 12 },
    time: { x: 86, y: (TALL_Y[step] ?? 0) + 24 },
    anchor: 'start',
  }),
  found: [
    { x: 44, y: 264 },
    { x: 12, y: 290 },
    { x: 12, y: 538 },
    { x: 44, y: 564 },
  ],
  foundPath: 'M18 274C8 284 8 300 8 320V508C8 528 8 544 18 554',
  refused: { x: 200, y: 464 },
  way: step => ({ at: { x: 282, y: (TALL_Y[step] ?? 0) - 8 }, anchor: 'end' }),
}

/** The words on the ways from the first four steps to the answer. */
const WAYS = ['hit', 'joined', 'found', 'loaded']
const TRACKS = [0, 1, 2, 3, 4]

/** @param {boolean} isTall */
export const layoutOf = isTall => (isTall ? tall : wide)

/** @param {Point} a @param {Point} b */
const line = (a, b) => `M${a.x} ${a.y}L${b.x} ${b.y}`

/** @param {Layout} layout @param {number} step */
const at = (layout, step) => /** @type {Point} */ (layout.steps[step])

/**
 * The drawing. What changes while reads run along it is written into the elements `.time` and the group `.runners`.
 *
 * @param {Layout} layout
 */
export const picture = layout => svg`<svg class="path-picture" viewBox=${layout.box} aria-hidden="true">
  <path class="track" d=${line(layout.start, at(layout, 0))} />
  ${TRACKS.map(i => svg`<path class=${i < 3 ? 'track' : 'track value'} d=${line(at(layout, i), at(layout, i + 1))} />`)}
  <path class="track value" d=${layout.foundPath} />
  ${WAYS.map((way, i) => {
    const { at: place, anchor } = layout.way(i)
    return svg`<path class="track" d=${line(at(layout, i), layout.answer(i))} />
      <text class="way" x=${place.x} y=${place.y} text-anchor=${anchor}>${way}</text>`
  })}
  <path class="track refused" d=${line(at(layout, 4), layout.refused)} />
  <text class="way refused" x=${layout.refused.x + (layout === tall ? 10 : 0)} y=${layout.refused.y + (layout === tall ? 5 : 22)}
    text-anchor=${layout === tall ? 'start' : 'middle'}>refused</text>
  <rect class="answer-bar" x=${layout.bar.x} y=${layout.bar.y} width=${layout.bar.width} height=${layout.bar.height} rx="12" />
  <text class="answer-word" text-anchor="middle"
    transform=${`translate(${layout.bar.text.x} ${layout.bar.text.y}) rotate(${layout.bar.turn})`}
    >the reader has the answer</text>
  ${STEPS.map(([name], i) => {
    const { x, y } = at(layout, i)
    const { name: nameAt, time, anchor } = layout.words(i)
    return svg`<g class="step" data-step=${i}>
      <circle cx=${x} cy=${y} r="28" />
      <text class="step-number" x=${x} y=${y + 8} text-anchor="middle">${i + 1}</text>
      <text class="step-name" x=${nameAt.x} y=${nameAt.y} text-anchor=${anchor}>${name}</text>
      <text class="step-time" x=${time.x} y=${time.y} text-anchor=${layout === tall ? anchor : 'start'} data-time=${i}></text>
    </g>`
  })}
  <g class="runners"></g>
</svg>`
