import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { listQuery, noQuery, type Spell, spell, spellChange, spellFields, spellPath } from './api.ts'
import { answer, nothing, trouble } from './openapi.ts'
import { sendProblem } from './problem.ts'
import { conditional, invalid, refuseCondition, tellSource, unavailable, withBody } from './route-parts.ts'
import type { Spells } from './spells.ts'

const unknown = { 404: trouble('There is no such spell.') }

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

/** Answers that there is none. */
export const noSpell = (request: FastifyRequest, reply: FastifyReply, id: string): FastifyReply =>
  sendProblem(request, reply, { status: 404, detail: `There is no spell ${id}.` })
