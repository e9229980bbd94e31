import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { listQuery, noQuery, type Spell, spell, spellChange, spellFields, spellPath } from './api.ts'
import { cacheStatus, origin, serverTiming } from './cache-status.ts'
import { answer, nothing, trouble } from './openapi.ts'
import { sendProblem } from './problem.ts'
import type { Answer, Spells } from './spells.ts'

const invalid = { 400: trouble('The request is malformed; `errors` says where.') }
const unavailable = {
  503: trouble('The database is away, or too much is being asked of it. See `Retry-After`.'),
}
const unknown = { 404: trouble('There is no such spell.') }
const conditional = { 412: trouble('A condition was set that does not hold; spells have no entity tags.') }
const withBody = {
  413: trouble('The body is larger than 16 KiB.'),
  415: trouble('The body is not `application/json`, or it is compressed.'),
}

/** The five routes of the spells. */
export function spellRoutes(app: FastifyInstance, spells: () => Spells): void {
  readRoutes(app, spells)
  writeRoutes(app, spells)
}

function readRoutes(app: FastifyInstance, spells: () => Spells): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.get(
    '/spells',
    {
      schema: {
        operationId: 'listSpells',
        summary: 'Lists spells in the order of their ids',
        description: 'If there are more, the `Link` header says where: `rel="next"`.',
        querystring: listQuery,
        response: { 200: answer('The spells.', z.array(spell)), ...invalid, ...unavailable },
      },
    },
    async (request, reply): Promise<readonly Spell[]> => {
      const { after, limit } = request.query
      const read = await spells().page(after, limit, request.signal)
      tellSource(request, reply, read, 'spells')
      const { spells: found, more } = read.value
      if (more) reply.header('link', `</spells?after=${found.at(-1)!.id}&limit=${limit}>; rel="next"`)
      return found
    },
  )

  routes.get(
    '/spells/:id',
    {
      schema: {
        operationId: 'getSpell',
        summary: 'Shows a spell',
        params: spellPath,
        querystring: noQuery,
        response: { 200: answer('The spell.', spell), ...invalid, ...unknown, ...unavailable },
      },
    },
    async (request, reply): Promise<Spell | FastifyReply> => {
      const { id } = request.params
      const read = await spells().find(id, request.signal)
      tellSource(request, reply, read, `spell ${id}`)
      return read.value ?? noSpell(request, reply, id)
    },
  )
}

function writeRoutes(app: FastifyInstance, spells: () => Spells): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.post(
    '/spells',
    {
      schema: {
        operationId: 'createSpell',
        summary: 'Adds a spell',
        querystring: noQuery,
        body: spellFields,
        response: {
          201: answer('The spell; `Location` says where it is.', spell),
          ...invalid,
          ...withBody,
          ...unavailable,
        },
      },
    },
    async (request, reply) => {
      const created = await spells().create(request.body)
      return reply.code(201).header('location', `/spells/${created.id}`).send(created)
    },
  )

  routes.put(
    '/spells/:id',
    {
      schema: {
        operationId: 'changeSpell',
        summary: "Changes a spell's damage, and its name if one is given",
        params: spellPath,
        querystring: noQuery,
        body: spellChange,
        response: {
          200: answer('The spell as it is now.', spell),
          ...invalid,
          ...unknown,
          ...conditional,
          ...withBody,
          ...unavailable,
        },
      },
      preHandler: refuseCondition,
    },
    async (request, reply): Promise<Spell | FastifyReply> => {
      const { id } = request.params
      return (await spells().update(id, request.body)) ?? noSpell(request, reply, id)
    },
  )

  routes.delete(
    '/spells/:id',
    {
      schema: {
        operationId: 'deleteSpell',
        summary: 'Removes a spell',
        params: spellPath,
        querystring: noQuery,
        response: {
          204: nothing('It is gone.'),
          ...invalid,
          ...unknown,
          ...conditional,
          ...unavailable,
        },
      },
      preHandler: refuseCondition,
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id } = request.params
      return (await spells().delete(id)) ? reply.code(204).send(null) : noSpell(request, reply, id)
    },
  )
}

/**
 * Keeps a change from being made whose condition cannot be met. A spell has no entity tags, so no version can be asked
 * for but any; and that there is none is no condition for a change. Nor is a part of a spell ever changed.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1
 */
function refuseCondition(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  const { 'if-match': wanted = '*', 'if-none-match': unwanted, 'content-range': part } = request.headers
  if (part !== undefined) {
    sendProblem(request, reply, { status: 400, detail: 'A spell is changed as a whole.' })
  } else if (wanted !== '*' || unwanted === '*') {
    sendProblem(request, reply, { status: 412, detail: 'Spells have no entity tags that could match.' })
  } else done()
}

const noSpell = (request: FastifyRequest, reply: FastifyReply, id: string): FastifyReply =>
  sendProblem(request, reply, { status: 404, detail: `There is no spell ${id}.` })

/** Says where an answer came from: to the client in headers, to the operator in the log. */
function tellSource(request: FastifyRequest, reply: FastifyReply, read: Answer<unknown>, what: string): void {
  reply.header('cache-status', cacheStatus(read)).header('server-timing', serverTiming(read))
  const { from, why, timings } = read
  request.log.info({ from, why, ms: Number(timings.totalMs.toFixed(3)) }, `${what} from ${origin(read)}`)
}
