import { lineOf } from '../base/masked.ts'

/** A report as JSON. Errors, for which JSON has no form, are told by their first line. */
export const jsonText = (report: object): string =>
  JSON.stringify(report, (_name, value) => (value instanceof Error ? lineOf(value) : value), 2)
