import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import {
  bookPath,
  listQuery,
  noQuery,
  type Wizard,
  type WizardEntry,
  wizard,
  wizardEntry,
  wizardFields,
  wizardPath,
} from './api.ts'
import { answer, nothing, trouble } from './openapi.ts'
import { sendProblem } from './problem.ts'
import { conditional, invalid, refuseCondition, tellSource, unavailable, withBody } from './route-parts.ts'
import { noSpell } from './spell-routes.ts'
import type { Wizards } from './spells.ts'
import { BOOK_SPELLS } from './wizard-table.ts'

const unknown = { 404: trouble('There is no such wizard.') }
const unknownBoth = { 404: trouble('There is no such wizard, or no such spell.') }

/** The routes of the wizards and their books. */
export function wizardRoutes(app: FastifyInstance, wizards: () => Wizards): void {
  readRoutes(app, wizards)
  writeRoutes(app, wizards)
  bookRoutes(app, wizards)
}

function readRoutes(app: FastifyInstance, wizards: () => Wizards): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.get(
    '/wizards',
    {
      schema: {
        operationId: 'listWizards',
        summary: 'Lists wizards in the order of their ids, without their books',
        description: 'If there are more, the `Link` header says where: `rel="next"`.',
        querystring: listQuery,
        response: { 200: answer('The wizards.', z.array(wizardEntry)), ...invalid, ...unavailable },
      },
    },
    async (request, reply): Promise<readonly WizardEntry[]> => {
      const { after, limit } = request.query
      const read = await wizards().page(after, limit, request.signal)
      tellSource(request, reply, read, 'wizards')
      const { wizards: found, more } = read.value
      if (more) reply.header('link', `</wizards?after=${found.at(-1)!.id}&limit=${limit}>; rel="next"`)
      return found
    },
  )

  routes.get(
    '/wizards/:id',
    {
      schema: {
        operationId: 'getWizard',
        summary: 'Shows a wizard with all spells of the book',
        params: wizardPath,
        querystring: noQuery,
        response: { 200: answer('The wizard.', wizard), ...invalid, ...unknown, ...unavailable },
      },
    },
    async (request, reply): Promise<Wizard | FastifyReply> => {
      const { id } = request.params
      const read = await wizards().find(id, request.signal)
      tellSource(request, reply, read, `wizard ${id}`)
      return read.value ?? noWizard(request, reply, id)
    },
  )
}

function writeRoutes(app: FastifyInstance, wizards: () => Wizards): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.post(
    '/wizards',
    {
      schema: {
        operationId: 'createWizard',
        summary: 'Adds a wizard, whose book is empty',
        querystring: noQuery,
        body: wizardFields,
        response: {
          201: answer('The wizard; `Location` says where it is.', wizardEntry),
          ...invalid,
          ...withBody,
          ...unavailable,
        },
      },
    },
    async (request, reply) => {
      const created = await wizards().create(request.body)
      return reply.code(201).header('location', `/wizards/${created.id}`).send(created)
    },
  )

  routes.put(
    '/wizards/:id',
    {
      schema: {
        operationId: 'changeWizard',
        summary: "Changes a wizard's name",
        params: wizardPath,
        querystring: noQuery,
        body: wizardFields,
        response: {
          200: answer('The wizard as it is now, without the book.', wizardEntry),
          ...invalid,
          ...unknown,
          ...conditional,
          ...withBody,
          ...unavailable,
        },
      },
      preHandler: refuseCondition,
    },
    async (request, reply): Promise<WizardEntry | FastifyReply> => {
      const { id } = request.params
      return (await wizards().update(id, request.body)) ?? noWizard(request, reply, id)
    },
  )

  routes.delete(
    '/wizards/:id',
    {
      schema: {
        operationId: 'deleteWizard',
        summary: 'Removes a wizard and the book; the spells stay',
        params: wizardPath,
        querystring: noQuery,
        response: { 204: nothing('It is gone.'), ...invalid, ...unknown, ...conditional, ...unavailable },
      },
      preHandler: refuseCondition,
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id } = request.params
      return (await wizards().delete(id)) ? reply.code(204).send(null) : noWizard(request, reply, id)
    },
  )
}

function bookRoutes(app: FastifyInstance, wizards: () => Wizards): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.put(
    '/wizards/:id/spells/:spell_id',
    {
      schema: {
        operationId: 'addToBook',
        summary: 'Adds a spell to the book of a wizard, if it is not in it',
        params: bookPath,
        querystring: noQuery,
        response: {
          204: nothing('It is in the book.'),
          ...invalid,
          ...unknownBoth,
          409: trouble(`The book is full: it has room for ${BOOK_SPELLS} spells.`),
          ...conditional,
          ...withBody,
          ...unavailable,
        },
      },
      preHandler: refuseCondition,
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id, spell_id } = request.params
      const came = await wizards().add(id, spell_id)
      if (came === 'no wizard') return noWizard(request, reply, id)
      if (came === 'no spell') return noSpell(request, reply, spell_id)
      if (came === 'full')
        return sendProblem(request, reply, { status: 409, detail: `The book of wizard ${id} is full.` })
      return reply.code(204).send(null)
    },
  )

  routes.delete(
    '/wizards/:id/spells/:spell_id',
    {
      schema: {
        operationId: 'removeFromBook',
        summary: 'Removes a spell from the book of a wizard; the spell itself stays',
        params: bookPath,
        querystring: noQuery,
        response: { 204: nothing('It is gone.'), ...invalid, ...unknownBoth, ...conditional, ...unavailable },
      },
      preHandler: refuseCondition,
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id, spell_id } = request.params
      if (await wizards().remove(id, spell_id)) return reply.code(204).send(null)
      const detail = `There is no spell ${spell_id} in the book of a wizard ${id}.`
      return sendProblem(request, reply, { status: 404, detail })
    },
  )
}

const noWizard = (request: FastifyRequest, reply: FastifyReply, id: string): FastifyReply =>
  sendProblem(request, reply, { status: 404, detail: `There is no wizard ${id}.` })
