/** The most bytes of UTF-8 that one UTF-16 unit of well-formed text takes. */
const MOST_PER_UNIT = 3

/**
 * How many bytes of UTF-8 a text has, if it has more than `most`; otherwise `undefined`. Mostly its length tells, without a
 * look at the text.
 */
export function bytesBeyond(text: string, most: number): number | undefined {
  if (text.length * MOST_PER_UNIT <= most) return undefined
  const bytes = Buffer.byteLength(text)
  return bytes > most ? bytes : undefined
}
