import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { AdminGuard } from '../admin/admin-guard.ts'
import { sendError, sendProblem } from '../http/problem.ts'
import { refuseQuery } from '../route-parts.ts'
import { experiment } from './experiments.ts'
import { type Laboratory, LaboratoryError } from './laboratory.ts'
import { settingsChange } from './settings.ts'

/**
 * Adds the laboratory's routes, for those to whom `/admin` is open. What changes something takes JSON, which no form and no page of
 * another site can send. No route is described in `/openapi.json`.
 *
 * @param laboratory - Asked for when this is ready; `undefined`: it is closed here.
 */
export function laboratoryRoutes(
  app: FastifyInstance,
  judge: AdminGuard,
  laboratory: () => Laboratory | undefined,
): void {
  void app.register(
    async lab => {
      lab.addHook('onRequest', (request, reply, done) => {
        reply.header('cache-control', 'no-store')
        const telling = judge(request)
        if (telling?.status === 401) reply.header('www-authenticate', 'Bearer')
        if (telling !== undefined) return void sendProblem(request, reply, telling)
        if (laboratory() === undefined)
          return void sendProblem(request, reply, {
            status: 404,
            detail: 'There is no laboratory: LAB is off.',
          })
        done()
      })
      lab.addHook('onRoute', refuseQuery)
      lab.setErrorHandler(sendTrouble)
      describe(lab, () => laboratory()!)
    },
    { prefix: '/laboratory' },
  )
}

function describe(lab: FastifyInstance, laboratory: () => Laboratory): void {
  const routes = lab.withTypeProvider<ZodTypeProvider>()
  const tell = (request: FastifyRequest, what: string) =>
    request.log.warn(`in the laboratory somebody has done this: ${what}`)

  routes.get('/state', { schema: { hide: true } }, async () => laboratory().state)
  routes.post('/settings', { schema: { hide: true, body: settingsChange } }, async request => {
    await laboratory().set(request.body)
    tell(request, `settings ${JSON.stringify(request.body)}`)
    return laboratory().state
  })
  routes.post('/reset', { schema: { hide: true, body: z.strictObject({}) } }, async request => {
    await laboratory().reset()
    tell(request, 'reset')
    return laboratory().state
  })
  routes.post('/experiments', { schema: { hide: true, body: experiment } }, async (request, reply) => {
    laboratory().begin(request.body)
    tell(request, `experiment ${request.body.name}`)
    return reply.code(202).send(laboratory().state)
  })
}

function sendTrouble(error: Error, request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  if (error instanceof LaboratoryError)
    return sendProblem(request, reply, { status: error.status, detail: error.message })
  return sendError(error as Parameters<typeof sendError>[0], request, reply) as FastifyReply | undefined
}
