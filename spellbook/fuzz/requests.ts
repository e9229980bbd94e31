import fc, { type Arbitrary } from 'fast-check'

/**
 * Requests made from the API's own description: those that it allows, and those with something wrong in them.
 */

/** As much of a JSON Schema as the description uses. */
export interface Schema {
  readonly $ref?: string
  readonly type?: string
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
}

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[]
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: Schema } } }
  readonly responses: Readonly<Record<string, unknown>>
}

/** As much of an OpenAPI document as is used. */
export interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

/** A request, and what is known of it. */
export interface Asking {
  readonly method: string
  readonly target: string
  readonly head: readonly string[]
  readonly body: Buffer | undefined
  /** Nothing is wrong with it: it must be answered as the description says, and not be refused. */
  readonly isRight: boolean
  /** Where it ends is plain, so that what comes behind it is understood. */
  readonly isWhole: boolean
  /** The statuses that the description has for it; `undefined`: it describes no such thing. */
  readonly statuses: ReadonlySet<number> | undefined
}

const JSON_TYPE = 'content-type: application/json'

/** A target names rows by ranks, which become ids when it is known which there are. */
const MAX_RANK = 40
const RANK = /(\w+)\/~(\d+)~/g

/** The request for the rows that `idOf` gives for the ranks in it, each of the resource that is named before it. */
export const resolveIds = (asking: Asking, idOf: (resource: string, rank: number) => string): Asking => ({
  ...asking,
  target: asking.target.replace(RANK, (_, resource, rank) => `${resource}/${idOf(resource, Number(rank))}`),
})

function madeOf(schema: Schema, { components }: Description): Arbitrary<unknown> {
  if (schema.$ref !== undefined)
    return madeOf(components.schemas[schema.$ref.split('/').at(-1)!]!, { components, paths: {} })
  if (schema.properties !== undefined) {
    const made: Record<string, Arbitrary<unknown>> = {}
    for (const [name, each] of Object.entries(schema.properties))
      made[name] = madeOf(each, { components, paths: {} })
    return fc.record(made, { requiredKeys: [...(schema.required ?? [])] })
  }
  if (schema.type === 'integer')
    return fc.integer({ min: schema.minimum ?? -(2 ** 31), max: schema.maximum ?? 2 ** 31 - 1 })
  if (schema.pattern !== undefined) return fc.stringMatching(new RegExp(schema.pattern))
  const { minLength = 0, maxLength = 300 } = schema
  const text = fc.string({ unit: 'binary', minLength, maxLength })
  return text.filter(each => !each.includes('\0') && !each.startsWith('\ufeff') && each.isWellFormed())
}

/** The parts of a request before something is done to it. */
interface Draft {
  readonly method: string
  readonly target: string
  readonly head: readonly string[]
  readonly body: Buffer | undefined
}

function draftOf(path: string, method: string, operation: Operation, api: Description): Arbitrary<Draft> {
  const schema = operation.requestBody?.content['application/json'].schema
  const query = (operation.parameters ?? []).filter(parameter => parameter.in === 'query')
  const asked: Record<string, Arbitrary<unknown>> = Object.fromEntries(
    query.map(each => [each.name, madeOf(each.schema, api)]),
  )
  return fc
    .record({
      ranks: fc.array(fc.integer({ min: 0, max: MAX_RANK }), { minLength: 2, maxLength: 2 }),
      body: schema === undefined ? fc.constant(undefined) : madeOf(schema, api),
      query: fc.record(asked, { requiredKeys: [] }),
      isHead: fc.boolean(),
    })
    .map(({ ranks: [first, second], body, query, isHead }) => {
      const resolved = path.replace('{id}', `~${first}~`).replace('{spell_id}', `~${second}~`)
      const text = new URLSearchParams(query as Record<string, string>).toString()
      return {
        method: method === 'get' && isHead ? 'HEAD' : method.toUpperCase(),
        target: resolved + (text === '' ? '' : `?${text}`),
        head: ['host: localhost', ...(body === undefined ? [] : [JSON_TYPE])],
        body: body === undefined ? undefined : Buffer.from(JSON.stringify(body)),
      }
    })
}

/** Whether a number of the description, an int8, is left out of account by its patterns. */
const isInRange = (target: string) =>
  [...target.matchAll(/\d{16,}/g)].every(([digits]) => BigInt(digits) < 2n ** 63n)

const bytes = fc.uint8Array({ maxLength: 200 }).map(each => Buffer.from(each))
const line = fc.stringMatching(/^[\x20-\x7e]{0,60}$/)

/** Bodies that are wrong, or at least strange. */
const strangeBody = fc.oneof(
  bytes,
  fc.jsonValue().map(value => Buffer.from(JSON.stringify(value))),
  fc.integer({ min: 1, max: 8_000 }).map(depth => Buffer.from('['.repeat(depth))),
  fc
    .constantFrom(
      '{"name":"x","damage":1',
      '{"name":"x","damage":1,"__proto__":{"a":1}}',
      '{"name":"x","damage":1e999}',
      '{"damage":1,"damage":"1"}',
      '{"name":"\\ud800","damage":1}',
      '{"name":"\\u0000","damage":1}',
      `{"name":"${'x'.repeat(17_000)}","damage":1}`,
      '',
    )
    .map(text => Buffer.from(text)),
)

/** Header fields that change what a request means, or that nobody expects. */
const strangeField = fc.oneof(
  fc.constantFrom(
    'if-match: "1"',
    'if-match: *',
    'if-none-match: *',
    'content-type: text/plain',
    'content-encoding: gzip',
    'content-range: bytes 0-1/2',
    'origin: http://evil.example',
    'origin: null',
    'host: evil.example',
    'te: gzip, chunked',
    'expect: 100-continue',
    'expect: wonders',
    'connection: close',
    'accept: text/html',
    'x-http-method-override: DELETE',
  ),
  line.map(value => `x-strange: ${value}`),
  fc.integer({ min: 1, max: 1_500 }).map(count => Array(count).fill('a:').join('\r\n')),
)

const strangeTarget = fc.oneof(
  fc.webFragments().map(text => `/spells/${text}`),
  fc.webPath().map(path => (path === '' ? '/' : path)),
  fc.constantFrom(
    '/spells/0',
    '/spells/01',
    '/spells/-1',
    '/spells/%00',
    '/spells/%',
    '/spells/9223372036854775808',
    '/spells?limit=1&limit=2',
    '/spells?__proto__=1',
    '/spells/1?x',
    '/wizards/0',
    '/wizards/1/spells/0',
    '/wizards/1/spells/%00',
    '/wizards/9223372036854775808/spells/1',
    '*',
    'http://localhost/spells',
    'http://evil.example/spells',
    '/..',
    '//spells',
  ),
)

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY']

/** Does something to a request; `undefined`: leaves it as it is. */
const change: Arbitrary<((draft: Draft) => Draft) | undefined> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(undefined) },
  strangeBody.map(body => (draft: Draft) => ({
    ...draft,
    body,
    head: draft.body === undefined ? [...draft.head, JSON_TYPE] : draft.head,
  })),
  strangeField.map(field => (draft: Draft) => ({ ...draft, head: [...draft.head, field] })),
  strangeTarget.map(target => (draft: Draft) => ({ ...draft, target })),
  fc.constantFrom(...METHODS).map(method => (draft: Draft) => ({ ...draft, method })),
  fc.constant((draft: Draft) => ({ ...draft, head: [] })),
  fc.constant((draft: Draft) => ({ ...draft, head: draft.head.filter(field => field !== JSON_TYPE) })),
)

/** A request that the description allows, or one that was changed. */
export function askingOf(api: Description): Arbitrary<Asking> {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  return fc
    .oneof(
      ...operations.map(({ path, method, operation }) =>
        fc.record({
          draft: draftOf(path, method, operation, api),
          change,
          isChunked: fc.boolean(),
          statuses: fc.constant(new Set(Object.keys(operation.responses).map(Number))),
        }),
      ),
    )
    .map(({ draft, change, isChunked, statuses }) => {
      const changed = change?.(draft) ?? draft
      return {
        ...framed(changed, isChunked),
        isRight: changed === draft && isInRange(draft.target),
        isWhole: true,
        statuses: changed === draft ? statuses : undefined,
      }
    })
}

/** Says how long the body is, in one of the two ways. */
function framed({ head, body, ...draft }: Draft, isChunked: boolean): Draft {
  if (body === undefined || body.length === 0) return { ...draft, head, body: undefined }
  if (!isChunked) return { ...draft, head: [...head, `content-length: ${body.length}`], body }
  const half = body.length >> 1
  const chunks = [body.subarray(0, half), body.subarray(half)].filter(chunk => chunk.length > 0)
  const parts = chunks.flatMap(chunk => [`${chunk.length.toString(16)}\r\n`, chunk, '\r\n'])
  const whole = Buffer.concat([...parts, '0\r\n\r\n'].map(part => Buffer.from(part)))
  return { ...draft, head: [...head, 'transfer-encoding: chunked'], body: whole }
}

/** Something that is no request, or none whose end is plain. Nothing can be said behind it. */
export const nonsense: Arbitrary<Buffer> = fc.oneof(
  bytes,
  line.map(text => Buffer.from(`${text}\r\n\r\n`)),
  fc
    .constantFrom(
      'GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      'GET / HTTP/9.9\r\nhost: localhost\r\n\r\n',
      'GET / HTTP/1.1\r\nhost: localhost\r\nbad field\r\n\r\n',
      'CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
      'POST /spells HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      'POST /spells HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n',
      'POST /spells HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
      'POST /spells HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      'POST /spells HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"name":"x","damage":1}',
    )
    .map(text => Buffer.from(text)),
)

/** A request as bytes. */
export const bytesOf = ({ method, target, head, body }: Draft): Buffer =>
  Buffer.concat([
    Buffer.from([`${method} ${target} HTTP/1.1`, ...head, '', ''].join('\r\n')),
    body ?? Buffer.alloc(0),
  ])
