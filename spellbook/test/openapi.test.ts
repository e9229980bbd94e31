import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApp } from '../src/app.ts'

type Json = { readonly [name: string]: Json } & Json[] & string

describe('GET /openapi.json', () => {
  let document: Json
  let app: Awaited<ReturnType<typeof createApp>>
  beforeAll(async () => {
    // Nothing but the description is asked for, so nothing is served.
    const service = { spells: undefined as never, ping: async () => {} }
    app = await createApp({ log: pino({ level: 'silent' }), service: () => service })
    document = (await app.inject('/openapi.json')).json()
  })
  afterAll(() => app.close())

  const operations = () =>
    Object.entries(document.paths as Record<string, Json>).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({ path, method, operation: operation as Json })),
    )

  test('lists exactly the routes of the API', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`)).toEqual([
      'GET /spells',
      'POST /spells',
      'GET /spells/{id}',
      'PUT /spells/{id}',
      'DELETE /spells/{id}',
      'GET /wizards',
      'POST /wizards',
      'GET /wizards/{id}',
      'PUT /wizards/{id}',
      'DELETE /wizards/{id}',
      'PUT /wizards/{id}/spells/{spell_id}',
      'DELETE /wizards/{id}/spells/{spell_id}',
      'GET /health/live',
      'GET /health/ready',
    ])
  })

  test('gives every operation a name of its own, and describes each of its answers', () => {
    const names = operations().map(({ operation }) => String(operation.operationId))
    expect(new Set(names).size).toBe(names.length)
    for (const { operation } of operations()) {
      expect(operation.summary).toBeTruthy()
      const responses = Object.entries(operation.responses as Record<string, Json>)
      expect(responses.length).toBeGreaterThan(0)
      for (const [status, response] of responses) {
        expect(status).toMatch(/^[2-5]\d\d$/)
        expect(response.description).toMatch(/\w/)
        expect(response.description).not.toBe('Default Response')
        const types = Object.keys(response.content ?? {})
        if (Number(status) >= 400) expect(types).toEqual(['application/problem+json'])
      }
    }
  })

  test('declares every parameter of a path', () => {
    for (const { path, operation } of operations()) {
      const declared = ((operation.parameters ?? []) as Json[]).filter(parameter => parameter.in === 'path')
      expect(declared.map(parameter => parameter.name)).toEqual(
        [...path.matchAll(/{(\w+)}/g)].map(([, name]) => name),
      )
      for (const parameter of declared) expect(parameter.required).toBe(true)
    }
  })

  test('refers only to schemas that it holds, and holds only schemas that it refers to', () => {
    const text = JSON.stringify(document)
    const referred = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, target]) => target))
    const held = Object.keys(document.components!.schemas!).map(name => `#/components/schemas/${name}`)
    expect([...referred].sort()).toEqual(held.sort())
    expect(held).toContain('#/components/schemas/Spell')
  })

  test('describes a new spell as it is checked', () => {
    expect(document.components!.schemas!.NewSpell).toMatchObject({
      type: 'object',
      additionalProperties: false,
      required: ['name', 'damage'],
      properties: {
        name: { type: 'string', minLength: 1, maxLength: 255 },
        damage: { type: 'integer', minimum: -2_147_483_648, maximum: 2_147_483_647 },
      },
    })
  })
})
