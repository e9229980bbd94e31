import { printable } from '../base/printable.ts'
import type { ProcessStats } from '../operate/hot-keys.ts'
import { type KeyspaceHoldings, type StoreStats, storeStats } from '../operate/store-stats.ts'
import { type Command, operatedBy } from './command.ts'
import { jsonText } from './json-text.ts'
import { percent, tableText } from './table.ts'
import { ProgressLine } from './terminal.ts'

/** `cacheaside stats`. */
export const statsCommand: Command = {
  operands: '',
  count: [0, 0],
  summary: 'counts what the store holds, and asks the processes what they have done with it',
  options: ['sample'],
  async run(run) {
    const { given, output } = run
    const line = new ProgressLine(output)
    let found: StoreStats
    try {
      found = await storeStats(operatedBy(run), {
        ...(given.sample === undefined ? {} : { sample: given.sample }),
        onProgress: keys => line.say(`${keys} keys met`),
      })
    } finally {
      line.clear()
    }
    output.out(`${given.json ? jsonText(found) : statsText(found)}\n`)
    return 0
  },
}

const MEBIBYTE = 2 ** 20

function statsText({ store, nodes, keyspaces, foreign, processes, notes }: StoreStats): string {
  const lines = [`in ${store}`]
  for (const { address, policy = 'unknown policy', usedBytes, maxBytes } of nodes) {
    const used = usedBytes === undefined ? 'unknown memory' : `${(usedBytes / MEBIBYTE).toFixed(1)} MiB`
    const most =
      maxBytes === undefined || maxBytes === 0 ? 'no limit' : `of ${(maxBytes / MEBIBYTE).toFixed(1)} MiB`
    lines.push(`  ${address}: ${used}, ${most}, ${policy}`)
  }
  lines.push('', ...holdingsTable(keyspaces), ...largestText(keyspaces))
  if (foreign > 0) lines.push(`${foreign} keys of others left alone`)
  for (const one of processes) lines.push('', ...processTable(one))
  if (notes.length > 0) lines.push('', ...notes.map(note => `note: ${printable(note)}`))
  return lines.join('\n')
}

const HOLDINGS = [
  'registers',
  'looked into',
  'values',
  'absent rows',
  'stale',
  'not found',
  'leases',
  'guards',
  'characters',
]

const holdingsTable = (keyspaces: Readonly<Record<string, KeyspaceHoldings>>): string[] =>
  tableText([
    ['', ...HOLDINGS],
    ...Object.entries(keyspaces).map(([name, holdings]) => [
      printable(name) + (holdings.isKnown ? '' : ' (not in the file)'),
      ...[
        holdings.registers,
        holdings.sampled,
        holdings.states.value,
        holdings.absentRows,
        holdings.stale,
      ].map(String),
      ...[holdings.oldGeneration, holdings.states.lease, holdings.states.guard, holdings.characters].map(
        String,
      ),
    ]),
  ])

function largestText(keyspaces: Readonly<Record<string, KeyspaceHoldings>>): string[] {
  const [first] = Object.values(keyspaces)
    .flatMap(({ largest }) => largest ?? [])
    .sort((a, b) => b.characters - a.characters)
  return first === undefined ? [] : [`the largest is ${printable(first.key)}: ${first.characters} characters`]
}

/** The statistics of one process. It may have another version of the library: missing fields are not shown. */
function processTable({ process, stats }: ProcessStats): string[] {
  const rows = Object.entries(stats.keyspaces ?? {}).map(([name, counts]) => {
    const { local = 0, shared = 0, origin = 0 } = counts?.reads ?? {}
    const all = local + shared + origin
    return [printable(name), String(all), percent(local, all), percent(shared, all), percent(origin, all)]
  })
  const { queuedInvalidations = 0, flights = 0 } = stats.now ?? {}
  return [
    `${printable(process)}: ${flights} flights, ${queuedInvalidations} invalidations that wait`,
    ...tableText([['', 'reads', 'local', 'shared', 'origin'], ...rows]),
  ]
}
