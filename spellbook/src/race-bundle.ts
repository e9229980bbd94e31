import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import type { FastifyInstance } from 'fastify'

const inRace = (path: string): string => fileURLToPath(new URL(`../race/${path}`, import.meta.url))

/** The modules of Node that the library imports: browsers have its timers, too, and do not need the rest. */
const nodeModules: Plugin = {
  name: 'modules of Node',
  setup({ onResolve }) {
    onResolve({ filter: /^node:/ }, ({ path }) =>
      path === 'node:timers'
        ? { path: inRace('browser/timers.ts') }
        : { path, external: true, sideEffects: false },
    )
  },
}

/**
 * How the races and the library that they run become one module for a browser. It is not minified, so people who open it find
 * the library as it is written.
 */
export const raceBuild = {
  entryPoints: [inRace('index.ts')],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  conditions: ['source'],
  inject: [inRace('browser/buffer.ts')],
  plugins: [nodeModules],
  logLevel: 'silent',
} as const satisfies BuildOptions

/** Makes the module from the sources as they are now. */
export async function bundleRaces(options: BuildOptions = raceBuild): Promise<string> {
  const { outputFiles } = await build({ ...options, write: false })
  return outputFiles[0]!.text
}

/** The module, ready to be sent. */
interface Sendable {
  readonly text: string
  readonly packed: Buffer
  readonly tag: string
}

/** Of `Accept-Encoding`. A weight of zero refuses. */
const TAKES_GZIP = /\bgzip\s*(?:,|$|;\s*q=(?:1|0\.\d*[1-9]))/i

/** Adds `/race/engine.js`: the races with the library, for the page. It is made when it is asked for the first time. */
export function raceRoute(app: FastifyInstance): void {
  let making: Promise<Sendable> | undefined
  app.get('/race/engine.js', { schema: { hide: true } }, async (request, reply) => {
    making ??= makeSendable()
    let made: Sendable
    try {
      made = await making
    } catch (error) {
      making = undefined
      throw error
    }
    const { text, packed, tag } = made
    void reply.headers({
      'cache-control': 'no-cache',
      'content-type': 'text/javascript; charset=utf-8',
      etag: tag,
      vary: 'accept-encoding',
    })
    if (request.headers['if-none-match'] === tag) return reply.code(304).send()
    const isPacked = TAKES_GZIP.test(request.headers['accept-encoding'] ?? '')
    return isPacked
      ? reply.header('content-encoding', 'gzip').send(packed)
      : reply.serializer(String).send(text)
  })
}

async function makeSendable(): Promise<Sendable> {
  const text = await bundleRaces()
  const packed = await promisify(gzip)(text)
  return { text, packed, tag: `W/"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"` }
}
