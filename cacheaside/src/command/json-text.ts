import { lineOf } from '../base/masked.ts'
import { printableJson } from '../base/printable.ts'

/** A report as JSON. Errors, for which JSON has no form, are told by their first line, and control characters are escaped. */
export const jsonText = (report: object): string =>
  printableJson(JSON.stringify(report, (_name, value) => (value instanceof Error ? lineOf(value) : value), 2))
