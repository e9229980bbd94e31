import { printable } from '../base/printable.ts'
import type { PostgresFeedStatus, WatchedTagsStatus } from '../postgres/feed-status.ts'
import { durationText } from '../verify/report.ts'

/** The status of a feed as people read it. */
export function feedStatusText(status: PostgresFeedStatus): string {
  const { schema, installed, tables, outbox, reader, findings } = status
  const lines = [
    `the change feed in the schema ${printable(schema)}: ${installed ? 'installed' : 'not there'}`,
  ]
  for (const { name, columns, isMapped, tags } of tables) {
    const unmapped = isMapped ? '' : ', and this feed does not say what depends on it'
    lines.push(`  watches ${printable(name)} (${columns.map(printable).join(', ')})${unmapped}`)
    lines.push(...tags.map(tagsLine))
  }
  if (outbox !== undefined) {
    const oldest = outbox.oldestMs === undefined ? '' : `, the oldest for ${durationText(outbox.oldestMs)}`
    lines.push(`  ${outbox.rows} of at most ${outbox.maxRows} changes wait${oldest}`)
    for (const [table, count] of Object.entries(outbox.byTable))
      lines.push(`    ${count} of ${printable(table)}`)
    lines.push(
      reader === undefined
        ? '  nobody has read it yet'
        : `  last read ${durationText(reader.agoMs)} ago, by ${printable(reader.kind)}`,
    )
  }
  lines.push(...findings.map(({ code, message }) => `${code}: ${printable(message)}`))
  return lines.join('\n')
}

/** A group of tags that lies beside the outbox. */
function tagsLine({ tag, by, isAskedFor, askedAgoMs }: WatchedTagsStatus): string {
  const rows = by.length === 0 ? 'of all rows' : `by ${by.map(printable).join(', ')}`
  const asked = askedAgoMs === undefined ? '' : `, last asked for ${durationText(askedAgoMs)} ago`
  return `    tags ${printable(tag)} ${rows}${isAskedFor ? '' : `: this feed does not ask for them${asked}`}`
}
