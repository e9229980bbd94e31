/** A text as an SQL literal that means the same under every setting of `standard_conforming_strings`. */
export const literal = (text: string): string => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`

/** Texts as an SQL array of `text`. */
export const literals = (texts: Iterable<string>): string =>
  `ARRAY[${Array.from(texts, literal).join(', ')}]::pg_catalog.text[]`

/** A name as a quoted SQL identifier. */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** A value as an SQL literal of the type `jsonb`. */
export const json = (value: unknown): string => `${literal(JSON.stringify(value))}::pg_catalog.jsonb`
