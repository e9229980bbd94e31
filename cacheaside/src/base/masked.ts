/** The texts of other programs, in one line and without what may be a secret. */
import { certificateAdvice } from './certificate-advice.ts'
import { printable } from './printable.ts'
import { fieldOf, isOf, messageOf } from './thrown.ts'

const SECRET = '***'

/** A text without the passwords that addresses in it may hold. */
export const masked = (text: string): string =>
  text
    .replace(/\b([a-z][a-z\d+.-]*:\/\/)[^\s'"<>]*@/gi, `$1${SECRET}@`)
    .replace(/\b((?:[a-z]*password|passwd|pwd|secret|token)\s*=\s*)[^\s&,;'"]+/gi, `$1${SECRET}`)

/** The first line of an error, without secrets, and printable. */
export function lineOf(error: unknown): string {
  // For several refused addresses Node has one error without a message.
  const errors = messageOf(error) === '' ? fieldOf(error, 'errors') : undefined
  return isOf(error, AggregateError) && Array.isArray(errors)
    ? errors.map(lineOfOne).join(', ')
    : lineOfOne(error)
}

function lineOfOne(error: unknown): string {
  const message = messageOf(error) || messageOf(fieldOf(error, 'name'))
  return printable(masked(message.split('\n', 1)[0]! + certificateAdvice(error)))
}
