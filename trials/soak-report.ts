import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { Reporter, TestModule, Vitest } from 'vitest/node'
import type { Row } from './field.ts'

const DOCUMENT = new URL('../docs/trials.md', import.meta.url)
const BEGIN = '<!-- soak: begin -->'
const END = '<!-- soak: end -->'

/** Prints what the trials counted as a table; and, after a whole run without a failure, puts it into the document. */
export class SoakReport implements Reporter {
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap(module => [...module.children.allTests()])
    const rows = tests.flatMap(test => test.meta().rows ?? [])
    rows.sort((a, b) => a.group.localeCompare(b.group))
    const table = tableOf(rows)
    process.stdout.write(`\n${table}\n`)
    const isWhole = modules.length === trialFiles() && !this.#vitest?.getGlobalTestNamePattern()
    const passed = errors.length === 0 && tests.every(test => test.result().state === 'passed')
    if (!isWhole || !passed) return
    const text = readFileSync(DOCUMENT, 'utf8')
    const [before, rest = ''] = text.split(BEGIN)
    const after = rest.slice(rest.indexOf(END) + END.length)
    const where = `Node ${process.versions.node}, ${cpus().length} processors, ${new Date().toISOString().slice(0, 10)}.`
    writeFileSync(DOCUMENT, `${before}${BEGIN}\n${where}\n\n${table}\n${END}${after}`)
  }
}

const trialFiles = (): number =>
  readdirSync(new URL('.', import.meta.url)).filter(name => name.endsWith('.test.ts')).length

function tableOf(rows: readonly Row[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|')
  return [
    '| group | trial | cacheaside | control | |',
    '|---|---|---|---|---|',
    ...rows.map(
      ({ group, trial, ours, control, notes = '' }) =>
        `| ${[group, trial, ours, control, notes].map(cell).join(' | ')} |`,
    ),
  ].join('\n')
}
