import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { listQuery, problem, spell, spellChange, spellFields, spellPath } from './api.ts'
import { cacheStatus, origin, serverTiming } from './cache-status.ts'
import { sendProblem } from './problem.ts'
import type { Answer, Spells } from './spells.ts'

const problems = (description: string) => ({ description, content: { 'application/problem+json': { schema: problem } } })
const invalid = { 400: problems('The request is malformed; `errors` says where.') }
const unavailable = { 503: problems('The database is away, or too much is being asked of it. See `Retry-After`.') }
const unknown = { 404: problems('There is no such spell.') }
const withBody = {
  413: problems('The body is larger than 16 KiB.'),
  415: problems('The body is not `application/json`.'),
}

/** The five routes of the spells. */
export function spellRoutes(app: FastifyInstance, spells: () => Spells): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.get(
    '/spells',
    {
      schema: {
        operationId: 'listSpells',
        summary: 'Lists spells in the order of their ids',
        description: 'If there are more, the `Link` header says where: `rel="next"`.',
        querystring: listQuery,
        response: { 200: z.array(spell).meta({ description: 'The spells.' }), ...invalid, ...unavailable },
      },
    },
    async (request, reply) => {
      const { after, limit } = request.query
      const answer = await spells().page(after, limit)
      tellSource(request, reply, answer, 'spells')
      const { spells: found, more } = answer.value
      if (more) reply.header('link', `</spells?after=${found.at(-1)!.id}&limit=${limit}>; rel="next"`)
      return found as z.output<typeof spell>[]
    },
  )

  routes.get(
    '/spells/:id',
    {
      schema: {
        operationId: 'getSpell',
        summary: 'Shows a spell',
        params: spellPath,
        response: { 200: spell, ...invalid, ...unknown, ...unavailable },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const answer = await spells().find(id)
      tellSource(request, reply, answer, `spell ${id}`)
      return answer.value ?? noSpell(request, reply, id)
    },
  )

  routes.post(
    '/spells',
    {
      schema: {
        operationId: 'createSpell',
        summary: 'Adds a spell',
        body: spellFields,
        response: { 201: spell, ...invalid, ...withBody, ...unavailable },
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
        body: spellChange,
        response: { 200: spell, ...invalid, ...unknown, ...withBody, ...unavailable },
      },
    },
    async (request, reply) => {
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
        response: { 204: z.null().meta({ description: 'It is gone.' }), ...invalid, ...unknown, ...unavailable },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      return (await spells().delete(id)) ? reply.code(204).send(null) : noSpell(request, reply, id)
    },
  )
}

function noSpell(request: FastifyRequest, reply: FastifyReply, id: string) {
  return sendProblem(request, reply, { status: 404, detail: `There is no spell ${id}.` }) as never
}

/** Says where an answer came from: to whoever asked in headers, to whoever runs this in the log. */
function tellSource(request: FastifyRequest, reply: FastifyReply, answer: Answer<unknown>, what: string): void {
  reply.header('cache-status', cacheStatus(answer)).header('server-timing', serverTiming(answer))
  const { from, why, timings } = answer
  request.log.info({ from, why, ms: timings.totalMs }, `${what} from ${origin(answer)}`)
}
