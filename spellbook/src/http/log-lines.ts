import { printable, printableJson } from 'cacheaside/operate'
import { type DestinationStream, pino } from 'pino'
import { prettyFactory } from 'pino-pretty'

/**
 * The destination of the log: the standard output, one line after the other. Pino writes in the background by default: when
 * the process exits, its last lines overtake an earlier one that is still on its way, which may be lost.
 *
 * @param terminal - Whether somebody reads it on a terminal: then a line is text, and otherwise JSON. `colours`: whether that
 * text has them.
 * @param lines - Takes each line. Left out: the standard output.
 */
export function logLines(
  terminal: { readonly colours: boolean } | undefined,
  lines: DestinationStream = pino.destination({ dest: 1, sync: true }),
): DestinationStream {
  // Somebody may show it on a terminal later. It means the same.
  if (terminal === undefined) return { write: line => void lines.write(printableJson(line)) }
  // Not pino-pretty's stream: that one writes later.
  const readable = prettyFactory({
    colorize: terminal.colours,
    ignore: 'pid',
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss',
  })
  return { write: line => void lines.write(readable(withoutControls(line))) }
}

/**
 * What a line of JSON says, as a terminal may be sent it: a client may have put a terminal's commands into an address. The
 * breaks of lines in a stack stay.
 */
const withoutControls = (line: string): object =>
  JSON.parse(line, (name, value) => {
    if (typeof value !== 'string') return value
    return name === 'stack' ? value.split('\n').map(printable).join('\n') : printable(value)
  })

/** The terminal that this process writes to, if it does. It has no colours if `NO_COLOR` is set. https://no-color.org */
export function terminalOf(
  { isTTY }: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): { readonly colours: boolean } | undefined {
  if (isTTY !== true) return undefined
  return { colours: (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb' }
}
