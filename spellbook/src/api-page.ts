import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { SECURITY_HEADERS } from './http/security-headers.ts'

/** Swagger UI has its pictures in its style sheet. Otherwise the policy is that of Spellbook's own page. */
const POLICY = SECURITY_HEADERS['content-security-policy']!.replace("img-src 'self'", "img-src 'self' data:")

/** Swagger UI becomes dark only by a class, and ignores the setting of the reader's system. */
const DARK_IF_WANTED = `const dark = matchMedia('(prefers-color-scheme: dark)')
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', follow)
follow()
`

/**
 * Adds a page at `/docs` that shows the description of the interface, and sends requests. All of it comes from here. To be
 * called when the interface is described ({@link describeRoutes}).
 */
export async function apiPage(app: FastifyInstance): Promise<void> {
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: POLICY,
    theme: { title: 'Spellbook: the interface', js: [{ filename: 'dark.js', content: DARK_IF_WANTED }] },
    // Left out, it would ask a server elsewhere whether the description is valid.
    uiConfig: { validatorUrl: null, layout: 'BaseLayout', docExpansion: 'list', tryItOutEnabled: false },
  })
}
