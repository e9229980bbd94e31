/**
 * Replays access traces through our eviction policies and prints their hit ratios, as Markdown:
 *
 *     npm run traces -- DIR
 *
 * DIR holds `*.bin.gz` files: gzip over one big-endian 32-bit key per request. `docs/traces.md` has the results for
 * three public traces, and says where they are from.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { refuse } from '../../test/usage.ts'
import { REFERENCE, REFERENCE_ALGORITHMS } from './traces/reference.ts'
import { hitPercent, type Replay } from './traces/replay.ts'

const SUFFIX = '.bin.gz'

type Contestant = { readonly title: string } & Omit<Replay, 'maxEntries'>

/** `volatile-lru`, `-lfu` and `-random` are left out: with an expiry on every entry, they are `allkeys-*`. */
const CONTESTANTS: readonly Contestant[] = [
  { title: 's3-fifo', policy: 's3-fifo' },
  { title: 'allkeys-lru', policy: 'allkeys-lru' },
  { title: 'allkeys-lru, 10 samples', policy: 'allkeys-lru', samples: 10 },
  { title: 'allkeys-lfu', policy: 'allkeys-lfu' },
  { title: 'allkeys-random', policy: 'allkeys-random' },
  { title: 'volatile-ttl', policy: 'volatile-ttl' },
  { title: 'noeviction', policy: 'noeviction' },
  { title: 's3-fifo, a write per 20 requests', policy: 's3-fifo', requestsPerWrite: 20 },
  { title: 'allkeys-lru, a write per 20 requests', policy: 'allkeys-lru', requestsPerWrite: 20 },
  { title: 's3-fifo, a write per 5 requests', policy: 's3-fifo', requestsPerWrite: 5 },
  { title: 'allkeys-lru, a write per 5 requests', policy: 'allkeys-lru', requestsPerWrite: 5 },
]

function readTrace(file: string): string[] {
  const bytes = gunzipSync(readFileSync(file))
  const keys: string[] = []
  for (let at = 0; at + 4 <= bytes.length; at += 4) keys.push(String(bytes.readUInt32BE(at)))
  return keys
}

/** The sizes of the reference where there is one, else one and ten in a hundred of the keys. */
function sizesFor(name: string, distinct: number): number[] {
  const reference = REFERENCE[name]
  if (reference !== undefined) return [...reference.keys()]
  return [0.01, 0.1].map(share => Math.max(1, Math.round(distinct * share)))
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
const percent = (value: number | undefined) => (value === undefined ? '' : value.toFixed(1))

function report(name: string, trace: readonly string[]): void {
  const distinct = new Set(trace).size
  const sizes = sizesFor(name, distinct)
  console.log(
    `\n## ${name}: ${trace.length.toLocaleString('en')} requests, ${distinct.toLocaleString('en')} keys\n`,
  )
  console.log(row(['hit % with room for', ...sizes.map(size => `${size.toLocaleString('en')} entries`)]))
  console.log(row(['---', ...sizes.map(() => '---:')]))
  for (const contestant of CONTESTANTS) {
    const hits = sizes.map(maxEntries => percent(hitPercent(trace, { ...contestant, maxEntries })))
    console.log(row([`**${contestant.title}**`, ...hits]))
  }
  const reference = REFERENCE[name]
  if (reference === undefined) return
  REFERENCE_ALGORITHMS.forEach((algorithm, column) => {
    const hits = sizes.map(size => percent(reference.get(size)?.[column]))
    console.log(row([`reference: ${algorithm}`, ...hits]))
  })
}

function traceFiles(directory: string): string[] {
  try {
    return readdirSync(directory).filter(file => file.endsWith(SUFFIX))
  } catch (error) {
    const { code } = error as { code?: string }
    return refuse('traces', `${directory} is no folder that can be read (${code})`)
  }
}

const [directory, ...others] = process.argv.slice(2)
if (directory === undefined || others.length > 0)
  refuse('traces', `expected one folder with *${SUFFIX} files, got ${process.argv.length - 2}`)
const files = traceFiles(directory)
if (files.length === 0) refuse('traces', `there are no *${SUFFIX} files in ${directory}`)
for (const file of files.sort()) report(file.slice(0, -SUFFIX.length), readTrace(join(directory, file)))
