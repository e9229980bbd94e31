import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { listQuery, noQuery, type Spell, spell, spellChange, spellFields, spellPath } from './api.ts'
import { endedGroups, groupsOf } from './cache-groups.ts'
import { ClientSignal } from './http/client-signal.ts'
import type { Place } from './http/fast-path.ts'
import { sendProblem } from './http/problem.ts'
import { representationOf, type Shown } from './http/representation.ts'
import { answer, nothing, trouble } from './openapi.ts'
import {
  changing,
  conditionOn,
  invalid,
  isFound,
  refuseBody,
  refuseCondition,
  refusePart,
  sendFound,
  tellChange,
  tellSource,
  unavailable,
  unchanged,
} from './route-parts.ts'
import type { Page, Spells } from './spells.ts'

/** How a spell is shown. */
const showSpell = (content: Spell): Shown => ({
  content,
  headers: { 'cache-groups': groupsOf.spell(content.id) },
})

/** How a page is shown that was asked for with this limit. */
const showPage =
  (limit: number) =>
  ({ spells, more }: Page): Shown => ({
    content: spells,
    headers: {
      'cache-groups': groupsOf.spellPage(),
      ...(more ? { link: `</spells?after=${spells.at(-1)!.id}&limit=${limit}>; rel="next"` } : {}),
    },
  })

const presentSpell = (spell: Spell) => ({
  exists: true,
  etag: representationOf(spell, showSpell).etag,
})

const unknown = { 404: trouble('There is no such spell.') }

/** The five routes of the spells. */
export function spellRoutes(app: FastifyInstance, spells: () => Spells): void {
  readRoutes(app, spells)
  createRoute(app, spells)
  changeRoutes(app, spells)
}

function readRoutes(app: FastifyInstance, spells: () => Spells): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const place: Place<Spell> = {
    prefix: '/spells/',
    find: (id, signal) => spells().find(id, signal),
    what: id => `spell ${id}`,
    show: showSpell,
  }
  app.fastPath.add(place)

  routes.get(
    '/spells',
    {
      schema: {
        operationId: 'listSpells',
        tags: ['Spells'],
        summary: 'Lists spells in the order of their ids',
        description: 'If there are more, the `Link` header says where: `rel="next"`.',
        querystring: listQuery,
        response: { 200: answer('The spells.', z.array(spell)), ...unchanged, ...invalid, ...unavailable },
      },
    },
    async (request, reply): Promise<FastifyReply> => {
      const { after, limit } = request.query
      const read = await spells().page(after, limit, new ClientSignal(request))
      return sendFound(request, reply, read, () => 'spells', showPage(limit))
    },
  )

  routes.get(
    '/spells/:id',
    {
      schema: {
        operationId: 'getSpell',
        tags: ['Spells'],
        summary: 'Shows a spell',
        params: spellPath,
        querystring: noQuery,
        response: {
          200: answer('The spell.', spell),
          ...unchanged,
          ...invalid,
          ...unknown,
          ...unavailable,
        },
      },
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id } = request.params
      const read = await app.fastPath.read(request.raw, place, id)
      if (isFound(read)) return sendFound(request, reply, read, () => place.what(id), showSpell)
      tellSource(request, reply, read, () => place.what(id))
      return noSpell(request, reply, id)
    },
  )
}

function createRoute(app: FastifyInstance, spells: () => Spells): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.post(
    '/spells',
    {
      schema: {
        operationId: 'createSpell',
        tags: ['Spells'],
        summary: 'Adds a spell',
        querystring: noQuery,
        body: spellFields,
        response: {
          201: answer('The spell; `Location` says where it is.', spell),
          ...changing,
        },
      },
      preHandler: refuseCondition,
    },
    async (request, reply) => {
      const written = await spells().create(request.body)
      const { value: created } = written
      tellChange(reply, written, endedGroups.spell(created.id))
      const { etag } = presentSpell(created)
      return reply
        .code(201)
        .headers({ location: `/spells/${created.id}`, etag })
        .send(created)
    },
  )
}

function changeRoutes(app: FastifyInstance, spells: () => Spells): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.put(
    '/spells/:id',
    {
      schema: {
        operationId: 'changeSpell',
        tags: ['Spells'],
        summary: "Changes a spell's damage, and its name if one is given",
        params: spellPath,
        querystring: noQuery,
        body: spellChange,
        response: {
          200: answer('The spell as it is now.', spell),
          ...changing,
          ...unknown,
        },
      },
      preHandler: refusePart,
    },
    async (request, reply): Promise<Spell | FastifyReply> => {
      const { id } = request.params
      const written = await spells().update(id, request.body, conditionOn(request, presentSpell))
      tellChange(reply, written, written.value ? endedGroups.spell(id) : undefined)
      return written.value ?? noSpell(request, reply, id)
    },
  )

  routes.delete(
    '/spells/:id',
    {
      schema: {
        operationId: 'deleteSpell',
        tags: ['Spells'],
        summary: 'Removes a spell',
        params: spellPath,
        querystring: noQuery,
        response: {
          204: nothing('It is gone.'),
          ...changing,
          ...unknown,
        },
      },
      preHandler: [refuseBody, refusePart],
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id } = request.params
      const written = await spells().delete(id, conditionOn(request, presentSpell))
      tellChange(reply, written, written.value ? endedGroups.spell(id) : undefined)
      return written.value ? reply.code(204).send(null) : noSpell(request, reply, id)
    },
  )
}

/** Answers that there is none. */
export const noSpell = (request: FastifyRequest, reply: FastifyReply, id: string): FastifyReply =>
  sendProblem(request, reply, { status: 404, detail: `There is no spell ${id}.` })
