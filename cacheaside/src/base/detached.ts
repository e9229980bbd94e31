/** A shorter piece of a text is copied by V8 itself. */
const LEAST_SHARED = 13

/**
 * The same text, in memory of its own. V8 makes a long piece of a text by pointing into it, and so keeps the whole text for as
 * long as the piece lives. To be used for pieces that outlive what they were cut out of.
 */
export const detached = (piece: string): string =>
  piece.length < LEAST_SHARED ? piece : ` ${piece}`.slice(1)
