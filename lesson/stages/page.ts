import type { Measured } from './measure.ts'
import { REQUESTS } from './measure.ts'
import { LESSON, PUBLISHED_MS } from './published.ts'
import type { Distances } from './servers.ts'

const rounded = (ms: number | undefined): string => (ms === undefined ? '–' : String(Math.round(ms)))

/** A line per stage, and if it is to be compared one for what the lesson saw of it. */
function lines(measured: readonly Measured[], isCompared: boolean): string[][] {
  return measured.flatMap(({ stage, bestMs }) => {
    const seen = isCompared ? PUBLISHED_MS[stage] : undefined
    return [
      [stage, ...REQUESTS.map(request => rounded(bestMs[request]))],
      ...(seen === undefined ? [] : [['  the lesson', ...REQUESTS.map(request => rounded(seen[request]))]]),
    ]
  })
}

/**
 * The table for a terminal.
 *
 * @param isCompared - Whether the servers are as far away as those of the lesson.
 */
export function table(measured: readonly Measured[], isCompared: boolean): string {
  const all = [['ms', ...REQUESTS], ...lines(measured, isCompared)]
  const widths = all[0]!.map((_, column) => Math.max(...all.map(line => line[column]!.length)))
  return all
    .map(line =>
      line
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join('  '),
    )
    .join('\n')
}

/** `docs/stages.md`. */
export function page(
  measured: readonly Measured[],
  { postgresMs, redisMs }: Distances,
  rounds: number,
): string {
  const rows = [
    ['ms', ...REQUESTS],
    ['---', ...REQUESTS.map(() => '---:')],
    ...lines(measured, true).map(([name, ...cells]) => [
      name!.trim() === name ? name : `*${name!.trim()}*`,
      ...cells,
    ]),
  ]
  return `# The stages of the lesson

<!-- Written by \`npm run stages\`; changes here are lost with the next run. -->

Spellbook answers the same five requests at five stages, from no cache to this library. PostgreSQL is ${postgresMs} ms away and Redis ${redisMs} ms:
both are real servers behind proxies that hold back what passes. At each stage Spellbook starts again, with an empty Redis. Each number is the
best of ${rounds} rounds: a busy machine makes a request slower, never faster.

![How long each request takes at each stage](stages.svg)

${rows.map(line => `| ${line.join(' | ')} |`).join('\n')}

*First miss*: the first read after the start. *Hit*: the same spell again. *Second miss*: another spell. *Write*: a change of the first spell.
*Read after it*: the first read of the changed spell.

The lesson is the video [*${LESSON.title}*](${LESSON.video}) by ${LESSON.by}, with its [code](${LESSON.code}). It had its servers about as far
away, and its numbers are the marks in the picture.

## What they say

- **No cache.** Every read waits for PostgreSQL.
- **Blocking fill.** A hit waits for Redis only. A miss waits three times: GET, SELECT, SET. It is slower than no cache.
- **Background fill.** The answer does not wait for SET. A miss still waits for GET, so it takes ${redisMs} ms more than without a cache.
- **cacheaside.** A miss costs the same as with a background fill. The fill can be refused, and still nobody waits for it. A write waits for Redis
  twice instead of once: before its commit, for the guard, and after it. That is the price of never showing the old spell again.
- **cacheaside, with L1.** A hit waits for nothing. The process keeps its own copy, and hears of changes.

The two stages before ours are [plain cache-aside](../lesson/plain-cache-aside.ts), as it is usually written. Their writes are faster, but
they can serve the old spell for as long as it lives: [the lesson](lesson.md#seven-ways-it-goes-wrong) shows how.

## Run it

\`\`\`sh takes-minutes
npm run stages                                       # all of it; writes this page and the picture
npm run stages -- --rounds 3                         # printed only
npm run stages -- --postgres-ms 20 --redis-ms 1      # other distances, printed only
\`\`\`

The command starts its own servers, on free ports. It needs a \`redis-server\`, as the tests do.
`
}
