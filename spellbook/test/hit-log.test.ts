import { pino } from 'pino'
import { expect, test } from 'vitest'
import { HitLog } from '../src/http/hit-log.ts'
import type { Answer } from '../src/spells.ts'

const read = (from: 'shared' | 'origin') =>
  ({ from, why: from === 'shared' ? 'fresh' : 'missing', timings: { totalMs: 0.1234 } }) as Answer<unknown>

/** Notes so many hits. */
function hits(log: HitLog, times: number): void {
  for (let i = 0; i < times; i++) log.note(read('shared'), () => 'spell 4')
}

function logged(level: string) {
  const lines: { unwritten?: number }[] = []
  let nowMs = 0
  const log = new HitLog(
    pino({ level }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    () => nowMs,
  )
  return {
    lines,
    log,
    wait: (ms: number) => {
      nowMs += ms
    },
  }
}

test('of each second the first twenty hits are written, and the next line says how many were not', () => {
  const { lines, log, wait } = logged('info')
  hits(log, 1_000)
  expect(lines).toHaveLength(20)
  wait(999)
  hits(log, 10)
  expect(lines).toHaveLength(20)
  wait(1)
  hits(log, 2)
  expect(lines.slice(20).map(({ unwritten }) => unwritten)).toEqual([990, undefined])
  // What went to the database is written whatever came before.
  hits(log, 100)
  log.note(read('origin'), () => 'spell 5')
  expect(lines.at(-1)).toMatchObject({
    from: 'origin',
    why: 'missing',
    ms: 0.123,
    msg: 'spell 5 from database',
    unwritten: 82,
  })
})

test('at the level debug every hit is written', () => {
  const { lines, log } = logged('debug')
  hits(log, 100)
  expect(lines).toHaveLength(100)
})
