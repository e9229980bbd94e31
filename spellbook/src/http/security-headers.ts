import type { IncomingMessage, ServerResponse } from 'node:http'
import helmet from 'helmet'

const helm = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  xFrameOptions: { action: 'deny' },
  // Only the operator knows whether there is TLS in front of this, and will be for a year.
  strictTransportSecurity: false,
})

/**
 * The headers of every answer, also of those that are made beside Fastify. They are the same for all, so Helmet is asked
 * once.
 */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = headersOf(helm)

function headersOf(set: typeof helm): Record<string, string> {
  const headers: Record<string, string> = {}
  const response = {
    setHeader: (name: string, value: string) => {
      headers[name.toLowerCase()] = value.replaceAll(';', '; ')
    },
    removeHeader: () => {},
  }
  set({} as IncomingMessage, response as unknown as ServerResponse, () => {})
  // Answers must not be cached elsewhere: only the cache behind the API hears of changes.
  return { ...headers, 'cache-control': 'no-store' }
}
