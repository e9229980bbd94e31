/**
 * What those who watch cost those who read: the same reads over HTTP without a viewer, and with many who are told of each read,
 * in short rounds by turns. `npm run bench:viewers -- 1000`; with `--json` the ratios alone, as `npm run scale -- viewers` reads them;
 * `--rounds 1` for a quick look.
 *
 * Three processes: Spellbook, the viewers, and this one, which reads. Reads per second depend on what else the machine does. The
 * time that Spellbook's process was on a processor for each read does not, or less.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ROUND_MS = 800
const READERS = 8
/** Linux counts in these. */
const TICK_MS = 10

const self = fileURLToPath(import.meta.url)
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean' }, rounds: { type: 'string', default: '7' } },
})
const [first = '1000', url = ''] = positionals

if (first === 'watch') watch()
else await compare(Number(first), Number(values.rounds))

/** The viewers' process: watches with as many as it is told. */
function watch(): void {
  // Without `keepAlive` it says `Connection: close`, as proxies do, and Spellbook takes it for one.
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
  let open: ReturnType<typeof get>[] = []
  process.on('message', async (viewers: number) => {
    for (const request of open) request.destroy()
    open = []
    await Promise.all(Array.from({ length: viewers }, () => view()))
    process.send!('watching')
  })

  async function view(): Promise<void> {
    const request = get(`${url}/live`, { agent }).on('error', () => {})
    open.push(request)
    const [response] = await once(request, 'response')
    if (response.statusCode !== 200) throw new Error(`/live answered ${response.statusCode}`)
    response.on('error', () => {}).resume()
  }
}

interface Round {
  readonly perSecond: number
  readonly p99Ms: number
  readonly cpuUs: number
}

async function compare(viewers: number, count: number): Promise<void> {
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
  const { PATH = '' } = process.env
  const env = {
    PATH,
    PORT: '0',
    DATA_DIR: 'memory',
    MAX_CONNECTIONS: `${2 * viewers + 100}`,
    LOG_LEVEL: 'info',
  }
  const spellbook = spawn(process.execPath, [...process.execArgv, main], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const at = await ready(spellbook)
  const watchers = fork(self, ['watch', at])
  const died = once(watchers, 'exit').then(([code]) => {
    throw new Error(`the viewers' process ended with ${code}`)
  })
  died.catch(() => {})
  try {
    const agent = new Agent({ keepAlive: true, maxSockets: READERS })
    const rounds = { alone: [] as Round[], watched: [] as Round[] }
    await round(spellbook, at, agent)
    for (let i = 0; i < count; i++)
      for (const side of i % 2 === 0 ? (['alone', 'watched'] as const) : (['watched', 'alone'] as const)) {
        watchers.send(side === 'watched' ? viewers : 0)
        await Promise.race([once(watchers, 'message'), died])
        rounds[side].push(await round(spellbook, at, agent))
      }
    if (values.json) console.log(JSON.stringify(ratiosOf(rounds.alone, rounds.watched)))
    else print(viewers, rounds.alone, rounds.watched)
    agent.destroy()
  } finally {
    watchers.kill()
    spellbook.kill()
    await once(spellbook, 'close')
  }
}

/** Where it serves. What it logs later is dropped. */
async function ready(program: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: program.stdout! })) {
    const [, url] = /Spellbook is ready at (http[^"]+)/.exec(line) ?? []
    if (url === undefined) continue
    program.stdout!.resume()
    return url
  }
  throw new Error('Spellbook did not start')
}

/** Reads for a while, and counts. */
async function round(spellbook: ChildProcess, at: string, agent: Agent): Promise<Round> {
  const times: number[] = []
  const cpuBefore = cpuMs(spellbook.pid!)
  const began = performance.now()
  const reader = async () => {
    while (performance.now() - began < ROUND_MS) {
      const sent = performance.now()
      const [response] = await once(get(`${at}/spells/4`, { agent }), 'response')
      await once(response.resume(), 'end')
      times.push(performance.now() - sent)
    }
  }
  await Promise.all(Array.from({ length: READERS }, reader))
  const tookMs = performance.now() - began
  times.sort((a, b) => a - b)
  return {
    perSecond: (1000 * times.length) / tookMs,
    p99Ms: times[Math.floor(times.length * 0.99)]!,
    cpuUs: (1000 * (cpuMs(spellbook.pid!) - cpuBefore)) / times.length,
  }
}

/** How long a process was on a processor so far. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** Watched to alone, each of a pair of rounds. */
function ratioOf(field: keyof Round, alone: readonly Round[], watched: readonly Round[]): number {
  return median(alone.map((round, i) => watched[i]![field] / round[field]))
}

function ratiosOf(alone: readonly Round[], watched: readonly Round[]): Round {
  const of = (field: keyof Round) => ratioOf(field, alone, watched)
  return { perSecond: of('perSecond'), p99Ms: of('p99Ms'), cpuUs: of('cpuUs') }
}

function print(viewers: number, alone: readonly Round[], watched: readonly Round[]): void {
  const of = (rounds: readonly Round[], field: keyof Round) => median(rounds.map(round => round[field]))
  console.log(
    `Reads of one spell over HTTP, ${READERS} at once; medians of ${alone.length} rounds by turns.\n`,
  )
  console.log(`| | nobody watches | ${viewers} watch | ratio |\n|---|---|---|---|`)
  for (const [name, field, digits] of [
    ['reads per second', 'perSecond', 0],
    ['99 of 100 reads take at most, ms', 'p99Ms', 2],
    ['processor time of a read, µs', 'cpuUs', 0],
  ] as const) {
    const [a, b] = [of(alone, field), of(watched, field)]
    const ratio = ratioOf(field, alone, watched)
    console.log(`| ${name} | ${a.toFixed(digits)} | ${b.toFixed(digits)} | ${ratio.toFixed(2)} |`)
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}
