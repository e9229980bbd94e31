/** The classes of SQLSTATE, the first two characters of the code. */
const SQLSTATE = /^(?:0[0-9A-Z]|2[0-9A-Z]|3[0-9A-Z]|4[0-9A-Z]|5[0-9A-Z]|72|F0|HV|P0|XX)[0-9A-Z]{3}$/

/** Connection exceptions, statement completion unknown, and the server being shut down or crashing. */
const UNDECIDED = /^(?:08|40003|57P0|XX)/

/**
 * Whether an error thrown by a write's function leaves it open whether, or when, the transaction commits.
 *
 * Decided is only what the server itself said of a statement that failed, by an SQLSTATE in `code`. Everything else
 * is in doubt: a connection that was lost may have been lost after COMMIT was sent, a query that timed out in the
 * client may still be running, and an error of unknown origin may come from either. The price of a doubt is small:
 * the keys stay guarded for `guardMs`, and reads of them go to the origin. A function that knows better, because it
 * rolled back or never began, can say so through the option of this name.
 *
 * @param error - What the function threw.
 * @see PostgreSQL documentation, appendix A: Error Codes
 */
export function commitInDoubt(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  if (typeof code !== 'string' || !SQLSTATE.test(code)) return true
  return UNDECIDED.test(code)
}
