/** The results as people read them: a line in the terminal, and `docs/lab.md`. */
import type { Cell, Results, Row } from './results.ts'
import { REST_MS } from './stage.ts'
import type { Trial } from './trial.ts'

/** What a cell says, in as few words as possible. */
export function inShort(cell: Cell | undefined): string {
  if (cell === undefined) return 'not run'
  const { outcome } = cell
  if (outcome.kind === 'none') return '–'
  if (outcome.kind === 'fact') return outcome.text
  if (outcome.kind === 'problem') return 'failed'
  if (outcome.of === 0) return 'nothing cached'
  const untried = outcome.unforced === 0 ? '' : `, ${outcome.unforced} not forced`
  return `${outcome.bad} of ${outcome.of}${untried}`
}

/** Whether something stale was counted. */
export const isBad = (cell: Cell | undefined): boolean =>
  cell?.outcome.kind === 'count' && cell.outcome.bad > 0

function marked(cell: Cell | undefined, isPromised: boolean): string {
  const text = cell?.outcome.kind === 'count' ? inShort(cell).replace(' of ', '/') : inShort(cell)
  return `${isBad(cell) ? `**${text}**` : text}${isPromised || !isBad(cell) ? '' : ' †'}`
}

function table(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(heads), line(heads.map(() => '---')), ...lines.map(line)].join('\n')
}

/** The library's name, as a link to the file that shows how it is used. */
const linked = (name: string, { about }: Row): string => `[${about.name}](../lab/adapters/${name}.ts)`

/** The rows that are tried with tags, or those that are not. */
const rowsOf = ({ rows }: Results, hasTags: boolean): [string, Row][] =>
  Object.entries(rows).filter(([, { about }]) => (about.hasTags === true) === hasTags)

/** The trials that count, with tags or without. */
export const counting = (trials: readonly Trial[], isOfTags = false): readonly Trial[] =>
  trials.filter(trial => !trial.isInformation && (trial.isOfTags === true) === isOfTags)

function counts(results: Results, trials: readonly Trial[], isOfTags: boolean): string {
  const counted = counting(trials, isOfTags)
  const lines = rowsOf(results, isOfTags).map(([name, row]) => [
    linked(name, row),
    ...counted.map(({ id }) => marked(row.cells[id], row.about.unpromised?.[id] === undefined)),
  ])
  return table(['', ...counted.map(({ id, heading }) => `[${heading}](#${id})`)], lines)
}

const noteOf = (cell: Cell | undefined): string =>
  cell?.outcome.kind === 'count' ? (cell.outcome.note ?? '') : ''

function facts(results: Results, trials: readonly Trial[]): string {
  const told = trials.filter(trial => trial.isInformation)
  const lines = rowsOf(results, false).map(([name, row]) => [
    linked(name, row),
    noteOf(row.cells['cut-off-3']),
    noteOf(row.cells['cut-off-30']),
    ...told.map(({ id }) => inShort(row.cells[id])),
  ])
  const heads = told.map(({ id, heading }) => `[${heading}](#${id})`)
  return table(['', 'cut off 3 s: the write', 'cut off 30 s: the write', ...heads], lines)
}

function problems({ rows }: Results): string[] {
  return Object.values(rows).flatMap(({ about, cells }) =>
    Object.entries(cells).flatMap(([trial, { outcome }]) =>
      outcome.kind === 'problem' ? [`- ${about.name}, ${trial}: ${outcome.why.split('\n')[0]}`] : [],
    ),
  )
}

function days({ rows }: Results): string {
  const all = Object.values(rows).flatMap(({ cells }) => Object.values(cells).map(({ date }) => date))
  const sorted = [...new Set(all)].sort()
  return sorted.length > 1 ? `${sorted[0]} to ${sorted.at(-1)}` : (sorted[0] ?? 'never')
}

/** Why trials were not done that would show nothing of a library. */
function unfit({ rows }: Results, trials: readonly Trial[]): string {
  const lines = Object.values(rows).flatMap(({ about }) =>
    Object.entries(about.unfit ?? {}).map(([id, why]) => {
      const { heading } = trials.find(trial => trial.id === id)!
      return `- ${about.name}, *${heading}*: ${why}.`
    }),
  )
  return ['A dash: the trial would show nothing.', '', ...lines].join('\n')
}

/** What was run on, the most usual first. */
function machines({ rows }: Results): string {
  const counts = new Map<string, number>()
  for (const { cells } of Object.values(rows))
    for (const { machine } of Object.values(cells)) counts.set(machine, (counts.get(machine) ?? 0) + 1)
  return [...counts.keys()].sort((one, other) => counts.get(other)! - counts.get(one)!).join('; ')
}

const LEGEND = `A dash: the library has no such thing. A † : stale, and not promised without the change feed. *Nothing cached*: the library, or the program
by hand, does not remember that a row does not exist. Each heading links to its trial.`

const FAIR = `- Every library is set up in the shortest way that the page linked below teaches, with its own defaults and those of its client. Only the time
  to live is set: one hour, too long to heal anything. For refreshes see the trial.
- The SELECT of the loader and the UPDATE of the write are the same for all. The library is called through two or three methods
  ([adapter.ts](../lab/adapter.ts)); nothing inside it is touched or held.
- Interleavings are forced only in the program's own code: in the loader after its SELECT, and after a commit. So 100/100 does not mean
  that every write goes wrong. It means that nothing prevents it; load decides how often it happens.
- If nothing was cached, or the library did not come to the step, a row counts as *not forced*, not as 0.
- The control must be 0 everywhere. Any other number there would be an error of the lab.
- Some of it is by design, and documented: a library without a bus does not tell other processes' memories, and no other library says that it
  notices changes made by another program. It is in the table because the reader still gets an old row.
- layered-loader asks for Node 22 or later. npm warns on an older one; nothing was seen to fail because of that.
- Ours are default reads, never \`{ consistency: 'strong' }\`.
- Is your library used wrongly? Its file in [lab/adapters](../lab/adapters) is short: please correct it.`

/** The whole page. */
export function page(results: Results, trials: readonly Trial[]): string {
  const failed = problems(results)
  const shown = Object.entries(results.rows)
  return `# The lab: the same trials for every library

<!-- Written by \`npm run lab\`; changes here are lost with the next run. -->

Popular libraries, cache-aside by hand, no cache at all and this library go through the same trials: several processes, a real Redis and a
real PostgreSQL, connections that are cut, processes that are killed. A cell says **stale/tried**: how many rows were stale, of how many that
were tried, ${REST_MS / 1000} s after everything had come to rest, with a time to live of one hour.

![The table as a picture](lab.svg)

Run on: ${machines(results)}; ${days(results)}.

${counts(results, trials, false)}

${LEGEND}

For information (in brackets: what the library itself says of the invalidation, if anything):

${facts(results, trials)}

## Values that depend on other rows

Some libraries have tags, or references: names under which a value is stored, and by which it is invalidated with all others. These trials
are for them. A value is a *book*: it shows rows of a table, through another table that says which rows lie in which book. A tag stands for
a row. The control reads the database each time.

${counts(results, trials, true)}

A † : stale, and not promised without the change feed. Where a process keeps in its memory which tags were invalidated, it does not
forget that with Redis; a process that starts later is not tried.

${unfit(results, trials)}

Left out: Next itself. What is tried is a handler that its cache can be given; the set per tag by hand does what [Next's
example](https://github.com/vercel/next.js/tree/canary/examples/cache-handler-redis) of one does.
${failed.length === 0 ? '' : `\nTrials that could not be done:\n\n${failed.join('\n')}\n`}
## Run it

\`\`\`sh takes-minutes
npm ci && npm run lab                       # all of it, about an hour; writes this page, the picture and lab.json
npm run lab -- --trial stale-set            # one trial, printed only
npm run lab -- --adapter bentocache-bus --count 10
npm run lab -- --trial batch --write        # and put into this page
\`\`\`

The command makes the lab's own install (\`lab/package-lock.json\`), of which nothing reaches the library or the application. The lab needs a
\`redis-server\`, as the tests do, and brings its PostgreSQL. \`--jobs\` says how many trials run side by side (2), each with its own Redis,
database and processes.

## Fair

${FAIR}

## The trials

"After the rest" means ${REST_MS / 1000} s after all calls are answered. Rows are tried in rounds of up to 25. Each has its own interleaving; they share
the waiting.

${trials.map(({ id, heading, text }) => `### ${id}\n\n*${heading}.* ${text}`).join('\n\n')}

## The libraries

${table(
  ['', 'versions', 'set up', 'as taught by'],
  shown.map(([name, row]) => [
    linked(name, row),
    row.versions,
    row.about.setUp,
    `[documentation](${row.about.docs})`,
  ]),
)}
`
}
