import { z } from 'zod'

/**
 * The schemas of requests and answers. They check requests, and `/openapi.json` is made of them. Nothing is coerced: `"31"`
 * is not a number, and an unknown field is an error.
 */

const MAX_NAME_LENGTH = 255
const MAX_INT8 = 2n ** 63n - 1n
const MAX_INT8_DIGITS = 19

/**
 * PostgreSQL counts characters, which are code points, and so does JSON Schema; the `length` of a string counts UTF-16
 * units. It also cannot store NUL, and half a surrogate pair is no character in any encoding. A byte order mark that
 * comes first belongs to no text: many decoders leave it out, PGlite's too, so another name would be shown than was sent.
 */
function isName(text: string): boolean {
  if (text.length > 2 * MAX_NAME_LENGTH || text.includes('\0') || !text.isWellFormed()) return false
  if (text.startsWith('\ufeff')) return false
  const length = [...text].length
  return length >= 1 && length <= MAX_NAME_LENGTH
}

const NAME = `must be a string of 1 to ${MAX_NAME_LENGTH} characters, without NUL, that begins with no byte order mark`
const DAMAGE = 'must be a whole number from -2147483648 to 2147483647'

const name = (example: string) =>
  z
    .string({ error: NAME })
    .refine(isName, { error: NAME })
    .meta({ minLength: 1, maxLength: MAX_NAME_LENGTH, examples: [example] })
const spellName = name('Fireball')
const wizardName = name('Merlin')

const damage = z
  .int32({ error: DAMAGE })
  .meta({ description: 'How much a hit costs; negative for a spell that heals.', examples: [30] })

const isInt8 = (digits: string) => digits.length < MAX_INT8_DIGITS || BigInt(digits) <= MAX_INT8

/** Digits without a sign, a leading zero or anything else, within the range of a bigint. */
const digits = (pattern: RegExp, error: string) =>
  z.string({ error }).regex(pattern, { error, abort: true }).refine(isInt8, { error })

const ID = `must be a whole number from 1 to ${MAX_INT8}`
const AFTER = `must be a whole number from 0 to ${MAX_INT8}`
const LIMIT = 'must be a whole number from 1 to 100'
const ID_DIGITS = /^[1-9]\d{0,18}$/
const id = digits(ID_DIGITS, ID)

/** Whether a text is a well-formed id in a path. */
export const isId = (text: string): boolean => ID_DIGITS.test(text) && isInt8(text)

// Never above 2^53 - 1: the tables have that bound, so a number is always exact.
const rowId = z.int().min(1)
const time = z.iso.datetime().meta({ description: 'In UTC, to the millisecond.' })

/** A spell, as every answer shows it. */
export const spell = z
  .strictObject({ id: rowId, name: spellName, damage, created_at: time, updated_at: time })
  .meta({ id: 'Spell' })

/** The fields of a new spell. */
export const spellFields = z.strictObject({ name: spellName, damage }).meta({ id: 'NewSpell' })

/** The fields that can be changed. A name that is left out stays. */
export const spellChange = z.strictObject({ damage, name: spellName.optional() }).meta({ id: 'SpellChange' })

/** Which spell. An id that no spell can have, such as 9223372036854775807, is still well-formed. */
export const spellPath = z.strictObject({ id })

/** A wizard, with all spells of the book in the order of their ids. */
export const wizard = z
  .strictObject({
    id: rowId,
    name: wizardName,
    spells: z.array(spell),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: 'Wizard' })

/** A wizard without the book, as lists show it. */
export const wizardEntry = wizard.omit({ spells: true }).meta({ id: 'WizardEntry' })

/** The fields of a new wizard, which can also be changed. */
export const wizardFields = z.strictObject({ name: wizardName }).meta({ id: 'NewWizard' })

/** Which wizard. */
export const wizardPath = z.strictObject({ id })

/** Which spell, in whose book. */
export const bookPath = z.strictObject({ id, spell_id: id })

/** Which part of a list: at most `limit` rows with an id greater than `after`. */
export const listQuery = z.strictObject({
  after: digits(/^(0|[1-9]\d{0,18})$/, AFTER)
    .default('0')
    .meta({ description: 'Only those with a greater id.' }),
  limit: z
    .string({ error: LIMIT })
    .regex(/^([1-9]\d?|100)$/, { error: LIMIT })
    .transform(Number)
    .default(20)
    .meta({ description: 'At most so many, from 1 to 100; 20 if it is left out.' }),
})

/** The query of routes without parameters. */
export const noQuery = z.strictObject({})

/** What is wrong with one part of a request. */
const flaw = z.strictObject({
  detail: z.string(),
  pointer: z
    .string()
    .optional()
    .meta({ description: 'Where in the body: a JSON Pointer as a URI fragment.' }),
  parameter: z.string().optional().meta({ description: 'Which part of the path or the query.' }),
})

/**
 * The form of every error.
 * @see https://www.rfc-editor.org/rfc/rfc9457
 */
export const problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string(),
    errors: z.array(flaw).optional(),
  })
  .meta({ id: 'Problem' })

/** How a healthy process answers when it is asked. */
export const health = z.strictObject({ status: z.enum(['alive', 'ready']) }).meta({ id: 'Health' })

/** See {@link spell}. */
export type Spell = z.output<typeof spell>
/** See {@link spellFields}. */
export type SpellFields = z.output<typeof spellFields>
/** See {@link spellChange}. */
export type SpellChange = z.output<typeof spellChange>
/** See {@link wizard}. */
export type Wizard = z.output<typeof wizard>
/** See {@link wizardEntry}. */
export type WizardEntry = z.output<typeof wizardEntry>
/** See {@link wizardFields}. */
export type WizardFields = z.output<typeof wizardFields>
/** See {@link problem}. */
export type Problem = z.output<typeof problem>
/** One of a problem's `errors`. */
export type Flaw = z.output<typeof flaw>
/** See {@link health}. */
export type Health = z.output<typeof health>
