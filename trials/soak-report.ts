import { readFileSync, writeFileSync } from 'node:fs'
import type { Reporter, TestModule, Vitest } from 'vitest/node'
import type { Row } from './field.ts'

const DOCUMENT = new URL('../docs/trials.md', import.meta.url)
const BEGIN = '<!-- soak: begin -->\n'
const END = '<!-- soak: end -->'
const HEAD = '| group | trial | cacheaside | control | |\n|---|---|---|---|---|'

/**
 * Prints what the trials counted as a table; and, after a run without a failure, puts it into the document, in the
 * place of the lines of the same groups.
 */
export class SoakReport implements Reporter {
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap(module => [...module.children.allTests()])
    const rows = tests.flatMap(test => test.meta().rows ?? [])
    process.stdout.write(`\n${tableOf(rows.map(lineOf))}\n`)
    const isWhole = this.#vitest?.getGlobalTestNamePattern() === undefined
    const passed = errors.length === 0 && tests.every(test => test.result().state === 'passed')
    if (!isWhole || !passed) return
    const text = readFileSync(DOCUMENT, 'utf8')
    const begin = text.indexOf(BEGIN) + BEGIN.length
    const end = text.indexOf(END)
    const groups = rows.map(({ group }) => `| ${group} |`)
    const others = text
      .slice(begin, end)
      .split('\n')
      .filter(line => /^\| \d/.test(line) && !groups.some(group => line.startsWith(group)))
    const table = tableOf([...others, ...rows.map(lineOf)])
    writeFileSync(DOCUMENT, `${text.slice(0, begin)}${table}\n${text.slice(end)}`)
  }
}

function lineOf({ group, trial, ours, control, notes = '' }: Row): string {
  return `| ${[group, trial, ours, control, notes].map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

const groupOf = (line: string): string => line.split('|', 2)[1]!

/** The lines by their groups, in each as they are. */
function tableOf(lines: readonly string[]): string {
  return [
    HEAD,
    ...lines.toSorted((a, b) => groupOf(a).localeCompare(groupOf(b), 'en', { numeric: true })),
  ].join('\n')
}
