import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { problem } from './api.ts'

/**
 * Describes the routes that are added after this, from the same schemas that check their requests, at
 * `/openapi.json`.
 *
 * @see https://spec.openapis.org/oas/v3.1.0
 */
export async function describeRoutes(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Spellbook',
        version: '1.0.0',
        description:
          'Spells, and the books of wizards. Cache-Status says of every answer whether it came from the cache or the database.',
      },
      tags: [
        { name: 'Spells', description: 'One row each' },
        { name: 'Wizards', description: 'Each with a book of spells' },
        { name: 'Health', description: 'For what starts and stops this process' },
      ],
    },
    transform: jsonSchemaTransform,
    transformObject: input => nameOnce(jsonSchemaTransformObject(input)),
  })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}

type Document = ReturnType<typeof jsonSchemaTransformObject>

/** A schema is named twice, as `Spell` for answers and as `SpellInput` for requests. Here the two never differ. */
function nameOnce(document: Document): Document {
  const once: Document = JSON.parse(
    JSON.stringify(document).replaceAll(/("#\/components\/schemas\/\w+)Input"/g, '$1"'),
  )
  const schemas: Record<string, unknown> = ('components' in once && once.components?.schemas) || {}
  for (const name of Object.keys(schemas)) if (name.endsWith('Input')) delete schemas[name]
  return once
}

/** An answer in JSON, described. */
export const answer = (description: string, schema: z.ZodType) => ({
  description,
  content: { 'application/json': { schema } },
})

/** An answer without a body, described. */
export const nothing = (description: string): unknown => z.null().meta({ description })

/** An error, described. */
export const trouble = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: problem } },
})
