/** Characters that control a terminal, turn the direction of a line or end it, and halves of pairs. */
const CONTROLS = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/**
 * A text in one line, as a terminal, a log or a page may be shown it: control characters, marks that turn the direction of
 * writing, separators of lines and halves of surrogate pairs are escaped as JSON escapes them. The one place for it. Keys and
 * the texts of others keep what they hold, and are shown by this.
 */
export const printable = (text: string): string => text.replace(CONTROLS, escaped)

/** The same of a text of JSON, whose own breaks of lines stay. It means what it meant. */
export const printableJson = (json: string): string =>
  json.replace(CONTROLS, one => (one === '\n' ? one : escaped(one)))

function escaped(one: string): string {
  const short = JSON.stringify(one).slice(1, -1)
  // JSON leaves those beyond ASCII as they are.
  return short === one ? `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}` : short
}
