import { fileURLToPath } from 'node:url'
import { mime } from '@fastify/send'
import files from '@fastify/static'
import type { FastifyInstance } from 'fastify'

const FOLDER = fileURLToPath(new URL('../web', import.meta.url))

// https://www.rfc-editor.org/rfc/rfc9239#section-6
mime.define({ 'text/javascript': ['js'] }, true)

/** The page for people: the files of a folder, as they are. A browser asks each time whether one has changed. */
export async function webPage(app: FastifyInstance): Promise<void> {
  await app.register(async page => {
    page.addHook('onSend', async (_request, reply) => {
      if (reply.statusCode < 400) reply.header('cache-control', 'no-cache')
    })
    await page.register(files, { root: FOLDER, wildcard: false, cacheControl: false })
  })
}
