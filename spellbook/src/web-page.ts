import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

const FILES = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/spellbook.js', 'spellbook.js', 'text/javascript; charset=utf-8'],
  ['/spellbook.css', 'spellbook.css', 'text/css; charset=utf-8'],
  ['/icon.svg', 'icon.svg', 'image/svg+xml'],
] as const

/** The page for people: four files, as they are. Whoever passes a link to it on may append anything. */
export async function webPage(app: FastifyInstance): Promise<void> {
  for (const [url, file, type] of FILES) {
    const content = await readFile(new URL(`../web/${file}`, import.meta.url))
    app.get(url, { schema: { hide: true, querystring: z.unknown() } }, (_request, reply) => {
      reply.type(type).header('cache-control', 'no-cache').send(content)
    })
  }
}
