// Reads that run along the picture, and leave their times at its steps.
import { time } from '../source.js'
import { isBypass, kindOf } from './steps.js'

/**
 * @typedef {import('./steps.js').Lane} Lane
 * @typedef {import('./picture.js').Layout} Layout
 * @typedef {import('./picture.js').Point} Point
 * @typedef {{ to: Point, arrive?: () => void }} Leg
 */

const LEG_MS = 210
/** So many run at once; of those beyond only the times are shown. */
const MOST_RUNNERS = 16

const calm = matchMedia('(prefers-reduced-motion: reduce)')

/** Runs reads along a picture. */
export class Runners {
  #host
  #layout
  #hasLocal = () => false
  /** @type {{ dot: Element, from: Point, legs: Leg[], beganMs: number }[]} */
  #running = []
  #frame = 0

  /**
   * @param {Element} host - Of the picture.
   * @param {Layout} layout
   * @param {() => boolean} hasLocal - Whether there is an L1.
   * @param {AbortSignal} signal
   */
  constructor(host, layout, hasLocal, signal) {
    this.#host = host
    this.#layout = layout
    this.#hasLocal = hasLocal
    signal.addEventListener('abort', () => cancelAnimationFrame(this.#frame))
  }

  /** Another picture has taken the place of the first. @param {Layout} layout */
  relay(layout) {
    for (const { dot } of this.#running) dot.remove()
    this.#running = []
    this.#layout = layout
  }

  /** @param {Lane} lane */
  run(lane) {
    const { steps, answer, start, found } = this.#layout
    const [kind] = kindOf(lane)
    const step = i => /** @type {Point} */ (steps[i])
    const last = lastStepOf(lane)
    /** @type {Leg[]} */
    const legs = []
    for (let i = 0; i <= last; i++) legs.push({ to: step(i), arrive: () => this.#pass(i, lane, kind) })
    if (lane.outcome === 'answered') legs.push({ to: answer(last) })
    this.#start(start, legs, kind)
    // The value goes its own way: by default the reader does not wait for that.
    if (lane.fill !== undefined) this.fill(lane)
    if (lane.from === 'shared' && lane.why === 'fresh' && !lane.joined && this.#hasLocal())
      this.#start(
        step(2),
        [...found.slice(1).map(to => ({ to })), { to: step(5), arrive: () => this.#pass(5, lane, kind) }],
        kind,
        3,
      )
  }

  /** A loaded value is offered, and taken or refused. @param {Lane} lane */
  fill(lane) {
    const { steps, refused } = this.#layout
    const step = i => /** @type {Point} */ (steps[i])
    const kind = lane.fill === 'accepted' ? 'origin' : 'bad'
    /** @type {Leg[]} */
    const legs = [{ to: step(4), arrive: () => this.#pass(4, lane, kind) }]
    if (lane.fill !== 'accepted') legs.push({ to: refused })
    else if (this.#hasLocal()) legs.push({ to: step(5), arrive: () => this.#pass(5, lane, kind) })
    this.#start(step(3), legs, kind, 4)
  }

  /**
   * @param {Point} from
   * @param {Leg[]} legs
   * @param {string} kind
   * @param {number} [after] - Begins after so many legs.
   */
  #start(from, legs, kind, after = 0) {
    const group = this.#host.querySelector('.runners')
    if (group === null || calm.matches || document.hidden || this.#running.length >= MOST_RUNNERS) {
      for (const { arrive } of legs) arrive?.()
      return
    }
    const dot = document.createElementNS(group.namespaceURI, 'circle')
    dot.setAttribute('class', `runner ${kind}`)
    dot.setAttribute('r', '9')
    dot.setAttribute('cx', `${from.x}`)
    dot.setAttribute('cy', `${from.y}`)
    if (after > 0) dot.setAttribute('visibility', 'hidden')
    group.append(dot)
    this.#running.push({ dot, from, legs: [...legs], beganMs: performance.now() + after * LEG_MS })
    if (this.#running.length === 1) this.#frame = requestAnimationFrame(ms => this.#move(ms))
  }

  /** @param {number} nowMs */
  #move(nowMs) {
    for (const runner of this.#running) {
      while (runner.legs.length > 0 && nowMs >= runner.beganMs + LEG_MS) {
        const done = /** @type {Leg} */ (runner.legs.shift())
        runner.from = done.to
        runner.beganMs += LEG_MS
        done.arrive?.()
      }
      const [leg] = runner.legs
      if (leg === undefined) continue
      const share = Math.max(0, (nowMs - runner.beganMs) / LEG_MS)
      const eased = share * share * (3 - 2 * share)
      runner.dot.setAttribute('cx', `${runner.from.x + (leg.to.x - runner.from.x) * eased}`)
      runner.dot.setAttribute('cy', `${runner.from.y + (leg.to.y - runner.from.y) * eased}`)
      if (share > 0) runner.dot.removeAttribute('visibility')
    }
    for (const { dot, legs } of this.#running) if (legs.length === 0) dot.remove()
    this.#running = this.#running.filter(({ legs }) => legs.length > 0)
    if (this.#running.length > 0) this.#frame = requestAnimationFrame(ms => this.#move(ms))
  }

  /** Leaves the time at a step. @param {number} step @param {Lane} lane @param {string} kind */
  #pass(step, lane, kind) {
    const group = this.#host.querySelector(`[data-step="${step}"]`)
    const text = this.#host.querySelector(`[data-time="${step}"]`)
    if (group === null || text === null) return
    group.setAttribute('class', `step passed ${kind}`)
    text.textContent = timeAt(step, lane)
    if (calm.matches) return
    group
      .querySelector('circle')
      ?.animate([{ strokeWidth: '8px' }, { strokeWidth: '3px' }], { duration: 500 })
  }
}

/** @param {Lane} lane */
function lastStepOf({ from, joined, outcome }) {
  if (joined) return 1
  if (outcome !== 'answered') return 3
  if (from === 'local') return 0
  return from === 'shared' ? 2 : 3
}

/**
 * What a read leaves at a step.
 *
 * @param {number} step
 * @param {Lane} lane
 */
function timeAt(step, lane) {
  const { from, joined, totalMs, sharedMs = 0, loadMs = 0, fillMs, fill } = lane
  if (step === 0) return from === 'local' ? 'hit' : 'not there'
  if (step === 1) return joined ? time(totalMs) : 'no other'
  if (step === 2) return isBypass(lane) ? `${lane.why}` : time(sharedMs)
  if (step === 3) return lane.outcome === 'answered' ? time(loadMs) : lane.outcome
  if (step === 4) return fill === 'accepted' && fillMs !== undefined ? time(fillMs) : `${fill ?? ''}`
  return 'kept'
}
