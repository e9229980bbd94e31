/**
 * The commands of `cacheaside`, over HTTP and for a cache in this process. No route is described in `/openapi.json`: they are
 * for operators of Spellbook, and not a part of its interface.
 */
import { type Cache, CacheError } from 'cacheaside'
import {
  askHotKeys,
  examineAll,
  explain,
  feedStatus,
  flushKeyspace,
  hotKeys,
  installChangeFeed,
  invalidateKey,
  lineOf,
  type Operated,
  printableJson,
  type Removable,
  removableNamed,
  removeChangeFeed,
  storeStats,
} from 'cacheaside/operate'
import { verify } from 'cacheaside/verify'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { sendError, sendProblem } from '../http/problem.ts'
import { refuseBody, refuseQuery } from '../route-parts.ts'
import type { AdminGuard } from './admin-guard.ts'

/** What operators work on. */
export interface Administered {
  /** This process's cache. */
  readonly cache: Cache
  readonly operated: Omit<Operated, 'clock' | 'signal'>
}

/** Adds the routes under `/admin`. */
export function adminRoutes(
  app: FastifyInstance,
  judge: AdminGuard,
  administered: () => Administered | undefined,
): void {
  void app.register(
    async admin => {
      admin.addHook('onRequest', (request, reply, done) => {
        reply.header('cache-control', 'no-store')
        const telling = judge(request)
        if (telling?.status === 401) reply.header('www-authenticate', 'Bearer')
        if (telling !== undefined) return void sendProblem(request, reply, telling)
        if (administered() === undefined)
          return void sendProblem(request, reply, { status: 404, detail: 'There is no cache: CACHE is off.' })
        done()
      })
      admin.addHook('onRoute', refuseQuery)
      // It may be read on a terminal, and keys and the texts of others hold what they hold.
      admin.setReplySerializer(payload => printableJson(JSON.stringify(payload)))
      admin.setErrorHandler(sendTrouble)
      lookingRoutes(admin, () => administered()!)
      changingRoutes(admin, () => administered()!)
    },
    { prefix: '/admin' },
  )
}

/** An operator may know why something failed. */
function sendTrouble(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error.validation !== undefined) return sendError(error, request, reply)
  const isOfTheRequest = error instanceof CacheError && /^INVALID_/.test(error.code)
  const status = isOfTheRequest ? 400 : (error.statusCode ?? 503)
  if (status >= 500) request.log.warn({ err: error }, 'an administrator got no answer')
  return sendProblem(request, reply, { status, detail: lineOf(error) })
}

const whole = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .refine(value => value >= least && value <= most)
/** One part of an id, or several. */
const id = z.union([z.string(), z.array(z.string()).min(1).max(64)])
const parts = (given: z.output<typeof id>): readonly string[] => [given].flat()
const flag = z.enum(['true', 'false']).optional()

const DEFAULT_SECONDS = 5
const DEFAULT_LIMIT = 20
const hide = true

function lookingRoutes(admin: FastifyInstance, administered: () => Administered): void {
  const routes = admin.withTypeProvider<ZodTypeProvider>()
  const operated = () => administered().operated

  routes.get(
    '/explain',
    {
      schema: { hide, querystring: z.strictObject({ keyspace: z.string(), id, origin: flag, value: flag }) },
    },
    ({ query }) =>
      explain(operated(), query.keyspace, parts(query.id), {
        compare: query.origin === 'true',
        withText: query.value === 'true',
      }),
  )
  routes.get(
    '/stats',
    { schema: { hide, querystring: z.strictObject({ sample: whole(1, 10_000).optional() }) } },
    async ({ query: { sample } }) => ({
      ...(await storeStats(operated(), sample === undefined ? {} : { sample })),
      here: administered().cache.stats(),
    }),
  )
  routes.get(
    '/top',
    {
      schema: {
        hide,
        querystring: z.strictObject({ seconds: whole(1, 25).optional(), limit: whole(1, 100).optional() }),
      },
    },
    ({ query: { seconds = DEFAULT_SECONDS, limit = DEFAULT_LIMIT } }) => {
      const { cache, operated } = administered()
      return operated.shared.ask === undefined
        ? hotKeys(cache, seconds * 1000, limit)
        : askHotKeys(operated, seconds * 1000, limit)
    },
  )
  routes.get('/doctor', { schema: { hide } }, () => examineAll(operated()))
  routes.get('/feed', { schema: { hide } }, () => feedStatus(operated()))
  routes.get(
    '/verify',
    {
      schema: {
        hide,
        querystring: z.strictObject({
          keyspace: z.string().optional(),
          sample: whole(1, 100_000).optional(),
          rate: whole(1, 100_000).optional(),
        }),
      },
    },
    ({ query: { keyspace, sample, rate }, signal }) => {
      const { shared, keyspaces, feed } = operated()
      return verify({
        ...{ shared, keyspaces, signal },
        ...(feed === undefined ? {} : { feed }),
        ...(keyspace === undefined ? {} : { only: [keyspace] }),
        ...(sample === undefined ? {} : { sample }),
        ...(rate === undefined ? {} : { rate }),
      })
    },
  )
}

/** A body that names a keyspace, or tags. */
const namedWith = <More extends z.ZodRawShape>(more: More) =>
  z.union(
    [z.strictObject({ keyspace: z.string(), ...more }), z.strictObject({ tags: z.string(), ...more })],
    {
      error: `expected one of "keyspace" and "tags", with a name${Object.keys(more).map(name => `, and "${name}"`)}`,
    },
  )

/**
 * The keyspace or the tags that a body names. Throws `INVALID_OPTIONS` for an unknown name, and for tags named as a keyspace.
 */
function nameIn(
  operated: Operated,
  body: { readonly keyspace: string } | { readonly tags: string },
): Removable {
  const asTags = 'tags' in body
  const named = removableNamed(operated, asTags ? body.tags : body.keyspace)
  if (named.isTags === asTags) return named
  const [is, word] = named.isTags ? ['tags', '"tags"'] : ['a keyspace', '"keyspace"']
  throw new CacheError('INVALID_OPTIONS', `${named.name} is the name of ${is}: expected it as ${word}`)
}

function changingRoutes(admin: FastifyInstance, administered: () => Administered): void {
  const routes = admin.withTypeProvider<ZodTypeProvider>()
  const operated = () => administered().operated
  const tell = (request: FastifyRequest, what: string) =>
    request.log.warn(`an administrator has done this: ${what}`)

  routes.post('/invalidate', { schema: { hide, body: namedWith({ id }) } }, async request => {
    const { name, isTags } = nameIn(operated(), request.body)
    const key = await invalidateKey(operated(), name, parts(request.body.id))
    tell(request, `invalidate ${key}`)
    return { done: 'invalidate', [isTags ? 'tag' : 'key']: key }
  })
  routes.post('/flush', { schema: { hide, body: namedWith({}) } }, async request => {
    const { name, isTags } = nameIn(operated(), request.body)
    const generation = await flushKeyspace(operated(), name)
    tell(request, `flush ${name}`)
    return { done: 'flush', [isTags ? 'tags' : 'keyspace']: name, generation }
  })
  routes.put('/feed', { schema: { hide }, preHandler: refuseBody }, async request => {
    await installChangeFeed(operated())
    tell(request, 'feed install')
    return { done: 'feed install' }
  })
  routes.delete('/feed', { schema: { hide }, preHandler: refuseBody }, async request => {
    await removeChangeFeed(operated())
    tell(request, 'feed remove')
    return { done: 'feed remove' }
  })
}
