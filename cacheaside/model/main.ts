/**
 * The protocol's model at the command line: `npm run model`, `-- --ci` for the part that the tests run, `-- WORDS` for
 * the rows whose name contains the words.
 */
import { parsedArgs, refuse } from '../../test/usage.ts'
import type { Row } from './row.ts'
import { ROWS } from './rows.ts'
import { type Result, run, story } from './run.ts'

const { values, positionals } = parsedArgs('model', {
  allowPositionals: true,
  options: { ci: { type: 'boolean' } },
})
const words = positionals.join(' ')
const { ci: isCi = false } = values
const chosen = ROWS.filter(({ name }) => name.includes(words))
if (chosen.length === 0) refuse('model', `no row contains "${words}"`)

let unexpected = 0
const beganMs = performance.now()
for (const row of chosen) {
  report(row, row.name, row.setting, row.states)
  if (row.larger !== undefined && !isCi)
    report(row, `${row.name}, larger`, row.larger.setting, row.larger.states)
}
const seconds = (performance.now() - beganMs) / 1000
console.error(`${chosen.length} rows in ${seconds.toFixed(0)} s, ${unexpected} not as expected`)
process.exitCode = unexpected === 0 ? 0 : 1

function report(row: Row, name: string, setting: Row['setting'], expected: number): void {
  const startMs = performance.now()
  const result = run(row, setting)
  const tookMs = performance.now() - startMs
  const isGood = result.isAsExpected && result.states === expected
  if (!isGood) unexpected++
  tell(name, result, expected, isGood, tookMs)
}

function tell(name: string, result: Result, expected: number, isGood: boolean, tookMs: number): void {
  const outcome = result.breach === undefined ? 'holds ' : 'breaks'
  const states = `${result.states}${result.states === expected ? '' : ` (expected ${expected})`}`
  console.log(
    `${isGood ? '   ' : '!! '}${outcome} ${states.padStart(9)} states ${tookMs.toFixed(0).padStart(7)} ms  ${name}`,
  )
  if (result.breach !== undefined) console.log(story(result))
}
