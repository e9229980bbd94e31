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
import { noSpell } from './spell-routes.ts'
import type { WizardPage, Wizards } from './spells.ts'
import { BOOK_SPELLS } from './wizard-table.ts'

const showWizard = (content: Wizard): Shown => ({
  content,
  headers: { 'cache-groups': groupsOf.wizard(content) },
})

const showPage =
  (limit: number) =>
  ({ wizards, more }: WizardPage): Shown => ({
    content: wizards,
    headers: {
      'cache-groups': groupsOf.wizardPage(),
      ...(more ? { link: `</wizards?after=${wizards.at(-1)!.id}&limit=${limit}>; rel="next"` } : {}),
    },
  })

const etagOf = (wizard: Wizard) => representationOf(wizard, showWizard).etag

const presentWizard = (wizard: Wizard) => ({ exists: true, etag: etagOf(wizard) })

/** A place in a book is shown by nothing but the wizard, so it has the wizard's entity tag. It exists if the spell is there. */
const presentPlace = (spellId: string) => (wizard: Wizard) => ({
  exists: wizard.spells.some(({ id }) => String(id) === spellId),
  etag: etagOf(wizard),
})

const unknown = { 404: trouble('There is no such wizard.') }
const unknownBoth = { 404: trouble('There is no such wizard, or no such spell.') }

/** The routes of the wizards and their books. */
export function wizardRoutes(app: FastifyInstance, wizards: () => Wizards): void {
  readRoutes(app, wizards)
  createRoute(app, wizards)
  changeRoutes(app, wizards)
  bookRoutes(app, wizards)
}

function readRoutes(app: FastifyInstance, wizards: () => Wizards): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const place: Place<Wizard> = {
    prefix: '/wizards/',
    find: (id, signal) => wizards().find(id, signal),
    what: id => `wizard ${id}`,
    show: showWizard,
  }
  app.fastPath.add(place)

  routes.get(
    '/wizards',
    {
      schema: {
        operationId: 'listWizards',
        tags: ['Wizards'],
        summary: 'Lists wizards in the order of their ids, without their books',
        description: 'If there are more, the `Link` header says where: `rel="next"`.',
        querystring: listQuery,
        response: {
          200: answer('The wizards.', z.array(wizardEntry)),
          ...unchanged,
          ...invalid,
          ...unavailable,
        },
      },
    },
    async (request, reply): Promise<FastifyReply> => {
      const { after, limit } = request.query
      const read = await wizards().page(after, limit, new ClientSignal(request))
      return sendFound(request, reply, read, () => 'wizards', showPage(limit))
    },
  )

  routes.get(
    '/wizards/:id',
    {
      schema: {
        operationId: 'getWizard',
        tags: ['Wizards'],
        summary: 'Shows a wizard with all spells of the book',
        params: wizardPath,
        querystring: noQuery,
        response: {
          200: answer('The wizard.', wizard),
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
      if (isFound(read)) return sendFound(request, reply, read, () => place.what(id), showWizard)
      tellSource(request, reply, read, () => place.what(id))
      return noWizard(request, reply, id)
    },
  )
}

function createRoute(app: FastifyInstance, wizards: () => Wizards): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.post(
    '/wizards',
    {
      schema: {
        operationId: 'createWizard',
        tags: ['Wizards'],
        summary: 'Adds a wizard, whose book is empty',
        querystring: noQuery,
        body: wizardFields,
        response: {
          201: answer('The wizard; `Location` says where it is.', wizardEntry),
          ...changing,
        },
      },
      preHandler: refuseCondition,
    },
    async (request, reply) => {
      const written = await wizards().create(request.body)
      const { value: created } = written
      tellChange(reply, written, endedGroups.wizard(created.id))
      return reply.code(201).header('location', `/wizards/${created.id}`).send(created)
    },
  )
}

function changeRoutes(app: FastifyInstance, wizards: () => Wizards): void {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.put(
    '/wizards/:id',
    {
      schema: {
        operationId: 'changeWizard',
        tags: ['Wizards'],
        summary: "Changes a wizard's name",
        params: wizardPath,
        querystring: noQuery,
        body: wizardFields,
        response: {
          200: answer('The wizard as it is now, without the book.', wizardEntry),
          ...changing,
          ...unknown,
        },
      },
      preHandler: refusePart,
    },
    async (request, reply): Promise<WizardEntry | FastifyReply> => {
      const { id } = request.params
      const written = await wizards().update(id, request.body, conditionOn(request, presentWizard))
      tellChange(reply, written, written.value ? endedGroups.wizard(id) : undefined)
      return written.value ?? noWizard(request, reply, id)
    },
  )

  routes.delete(
    '/wizards/:id',
    {
      schema: {
        operationId: 'deleteWizard',
        tags: ['Wizards'],
        summary: 'Removes a wizard and the book; the spells stay',
        params: wizardPath,
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
      const written = await wizards().delete(id, conditionOn(request, presentWizard))
      tellChange(reply, written, written.value ? endedGroups.wizard(id) : undefined)
      return written.value ? reply.code(204).send(null) : noWizard(request, reply, id)
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
        tags: ['Wizards'],
        summary: 'Adds a spell to the book of a wizard, if it is not in it',
        params: bookPath,
        querystring: noQuery,
        response: {
          204: nothing('It is in the book.'),
          ...changing,
          ...unknownBoth,
          409: trouble(`The book is full: it has room for ${BOOK_SPELLS} spells.`),
        },
      },
      preHandler: [refuseBody, refusePart],
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id, spell_id } = request.params
      const written = await wizards().add(id, spell_id, conditionOn(request, presentPlace(spell_id)))
      const { value: came } = written
      tellChange(reply, written, came === 'added' ? endedGroups.book(id) : undefined)
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
        tags: ['Wizards'],
        summary: 'Removes a spell from the book of a wizard; the spell itself stays',
        params: bookPath,
        querystring: noQuery,
        response: {
          204: nothing('It is gone.'),
          ...changing,
          ...unknownBoth,
        },
      },
      preHandler: [refuseBody, refusePart],
    },
    async (request, reply): Promise<FastifyReply> => {
      const { id, spell_id } = request.params
      const written = await wizards().remove(id, spell_id, conditionOn(request, presentPlace(spell_id)))
      tellChange(reply, written, written.value ? endedGroups.book(id) : undefined)
      if (written.value) return reply.code(204).send(null)
      const detail = `There is no spell ${spell_id} in the book of a wizard ${id}.`
      return sendProblem(request, reply, { status: 404, detail })
    },
  )
}

const noWizard = (request: FastifyRequest, reply: FastifyReply, id: string): FastifyReply =>
  sendProblem(request, reply, { status: 404, detail: `There is no wizard ${id}.` })
