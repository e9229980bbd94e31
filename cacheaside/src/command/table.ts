/** A character as people see it, which terminals draw in two columns: those of East Asia, and pictures. */
const WIDE =
  /^(?:[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{17000}-\u{18cff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}|\p{Emoji}\ufe0f)/u
/** Marks and joiners that stand alone, which terminals draw in none. */
const EMPTY = /^[\p{Mn}\p{Me}\p{Cf}]+$/u

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** In how many columns a terminal shows a text. */
function columnsOf(text: string): number {
  let columns = 0
  for (const { segment } of graphemes.segment(text))
    columns += WIDE.test(segment) ? 2 : EMPTY.test(segment) ? 0 : 1
  return columns
}

/**
 * Rows of cells, one column to the left and all others to the right. Where the last one stands to the left, a long cell makes only
 * its own line longer.
 *
 * @param left - Which column stands to the left.
 */
export function tableText(rows: readonly (readonly string[])[], left = 0): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map(row => columnsOf(row[i] ?? '')))) ?? []
  const spaces = (cell: string, i: number) => ' '.repeat(widths[i]! - columnsOf(cell))
  return rows.map(row =>
    row
      .map((cell, i) => (i === left ? cell + spaces(cell, i) : spaces(cell, i) + cell))
      .join('  ')
      .trimEnd(),
  )
}

/** A share in whole percents. */
export const percent = (part: number, whole: number): string =>
  whole === 0 ? '-' : `${Math.round((100 * part) / whole)} %`
