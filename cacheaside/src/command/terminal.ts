/** Output for people: colours, progress and questions. */
import type { Clock } from '../base/clock.ts'
import { printable } from '../base/printable.ts'
import { type CommandOutput, RefusedError } from './command.ts'

/** The codes for a terminal before and after a text. */
const CODES = { red: [31, 39], yellow: [33, 39], green: [32, 39], bold: [1, 22], dim: [2, 22] } as const

/** Colours a text, if the output has colours. */
export type Paint = (color: keyof typeof CODES, text: string) => string

/** How texts are coloured on this output. */
export const paintOn = ({ hasColor = false }: Pick<CommandOutput, 'hasColor'>): Paint =>
  hasColor
    ? (color, text) => `\u001b[${CODES[color][0]}m${text}\u001b[${CODES[color][1]}m`
    : (_color, text) => text

/**
 * Whether a stream is to be sent colours.
 *
 * @see https://no-color.org
 */
export const wantsColor = (isTerminal: boolean, env: Readonly<Record<string, string | undefined>>): boolean =>
  isTerminal && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'

/** Clears the current line of a terminal. */
export const CLEAR_LINE = '\r\u001b[K'
const BAR_LENGTH = 30
const REDRAW_MS = 100

/** A line that is drawn again and again while work goes on, where `err` is a terminal. */
export class ProgressLine {
  readonly #output: CommandOutput
  readonly #clock: Clock
  #drawnMs = Number.NEGATIVE_INFINITY

  constructor(output: CommandOutput) {
    this.#output = output
    this.#clock = output.clock
  }

  /** Draws a bar and the text behind it. */
  show(done: number, of: number, rest: string): void {
    if (!this.#output.isTerminal) return
    if (this.#clock.nowMs() - this.#drawnMs < REDRAW_MS && done < of) return
    this.#drawnMs = this.#clock.nowMs()
    const filled = Math.round((BAR_LENGTH * Math.min(done, of)) / Math.max(1, of))
    const bar = '#'.repeat(filled) + '-'.repeat(BAR_LENGTH - filled)
    this.#draw(`[${bar}] ${done}/${of}${rest}`)
  }

  /** Draws a text. */
  say(text: string): void {
    if (!this.#output.isTerminal || this.#clock.nowMs() - this.#drawnMs < REDRAW_MS) return
    this.#drawnMs = this.#clock.nowMs()
    this.#draw(text)
  }

  /** A text that is longer than the line would go on in the next one, which nothing clears. */
  #draw(text: string): void {
    const columns = this.#output.columns?.() ?? 0
    this.#output.err(CLEAR_LINE + (columns > 0 ? text.slice(0, columns - 1) : text))
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#output.isTerminal) this.#output.err(CLEAR_LINE)
  }
}

/**
 * Goes on only if the person agrees: by `--yes`, or at the terminal.
 *
 * @param question - What is about to be done, and what it costs, without a question mark.
 * @throws RefusedError
 */
export async function agreed(
  { ask }: Pick<CommandOutput, 'ask'>,
  isAgreed: boolean,
  question: string,
): Promise<void> {
  if (isAgreed) return
  if (ask === undefined)
    throw new RefusedError(
      `nothing was done, because there is no terminal to ask at: add --yes to ${question}`,
    )
  const answer = await ask(`${printable(question)}. Do it? [y/N] `)
  if (!/^y(es)?$/i.test(answer.trim())) throw new RefusedError('nothing was done')
}
