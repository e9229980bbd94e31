import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mime } from '@fastify/send'
import files from '@fastify/static'
import type { FastifyInstance } from 'fastify'

const FOLDER = fileURLToPath(new URL('../web', import.meta.url))

/** The paths of the views, which are all shown by the one page: see `web/views.js`. */
export const VIEW_PATHS = ['/', '/path', '/race', '/laboratory'] as const

/** The folder of a package, whose main module lies in one of its folders: which one depends on the conditions of this process. */
const packageOf = (name: string) => join(dirname(createRequire(import.meta.url).resolve(name)), '..')

/** What the page uses of the packages in `node_modules`, under `/lib`: a folder, and the files in it. */
const LIBRARIES: Readonly<Record<string, { readonly folder: string; readonly files: readonly string[] }>> = {
  'lit-html': {
    folder: packageOf('lit-html'),
    files: [
      'lit-html.js',
      'directive.js',
      'directive-helpers.js',
      'directives/keyed.js',
      'directives/repeat.js',
    ],
  },
  'eventsource-parser': { folder: join(packageOf('eventsource-parser'), 'dist'), files: ['index.js'] },
  uplot: { folder: join(packageOf('uplot'), 'dist'), files: ['uPlot.iife.min.js', 'uPlot.min.css'] },
}

// https://www.rfc-editor.org/rfc/rfc9239#section-6
mime.define({ 'text/javascript': ['js'] }, true)

/**
 * The page for people: the files of a folder, as they are, and those of the libraries that they use. Nothing comes from
 * another host. A browser asks each time whether one has changed.
 */
export async function webPage(app: FastifyInstance): Promise<void> {
  await app.register(async page => {
    page.addHook('onSend', async (_request, reply) => {
      if (reply.statusCode < 400) reply.header('cache-control', 'no-cache')
    })
    await page.register(files, { root: FOLDER, wildcard: false, cacheControl: false })
    const hidden = { schema: { hide: true } }
    for (const path of VIEW_PATHS) {
      if (path !== '/') page.get(path, hidden, (_request, reply) => reply.sendFile('index.html'))
    }
    for (const [name, { folder, files }] of Object.entries(LIBRARIES)) {
      for (const file of files)
        page.get(`/lib/${name}/${file}`, hidden, (_request, reply) => reply.sendFile(file, folder))
    }
  })
}
