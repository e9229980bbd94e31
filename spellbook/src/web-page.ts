import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'

const FILES = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/spellbook.js', 'spellbook.js', 'text/javascript; charset=utf-8'],
  ['/spellbook.css', 'spellbook.css', 'text/css; charset=utf-8'],
  ['/icon.svg', 'icon.svg', 'image/svg+xml'],
] as const

/** The page for people: four files, as they are. */
export async function webPage(app: FastifyInstance): Promise<void> {
  for (const [url, file, type] of FILES) {
    const content = await readFile(new URL(`../web/${file}`, import.meta.url))
    app.get(url, { schema: { hide: true } }, (_request, reply) => {
      reply.type(type).header('cache-control', 'no-cache').send(content)
    })
  }
}
