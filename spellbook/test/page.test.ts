import { readdirSync, readFileSync } from 'node:fs'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApp } from '../src/app.ts'

const WEB = new URL('../web/', import.meta.url)
const html = readFileSync(new URL('index.html', WEB), 'utf8')
const script = readFileSync(new URL('spellbook.js', WEB), 'utf8')

describe('the page', () => {
  let app: Awaited<ReturnType<typeof createApp>>
  beforeAll(async () => {
    const service = { spells: undefined as never, ping: async () => {} }
    app = await createApp({ log: pino({ level: 'silent' }), service: () => service })
  })
  afterAll(() => app.close())

  test.each([
    ['/', 'index.html', 'text/html; charset=utf-8'],
    ['/spellbook.js', 'spellbook.js', 'text/javascript; charset=utf-8'],
    ['/spellbook.css', 'spellbook.css', 'text/css; charset=utf-8'],
    ['/icon.svg', 'icon.svg', 'image/svg+xml'],
  ])('GET %s serves %s', async (url, file, type) => {
    const response = await app.inject(url)
    expect(response.statusCode).toBe(200)
    expect(response.headers['content-type']).toBe(type)
    expect(response.headers['cache-control']).toBe('no-cache')
    expect(response.rawPayload).toEqual(readFileSync(new URL(file, WEB)))
  })

  test('is not sent again while it is the same', async () => {
    const { etag } = (await app.inject('/spellbook.js')).headers
    const again = await app.inject({ url: '/spellbook.js', headers: { 'if-none-match': String(etag) } })
    expect([again.statusCode, again.payload]).toEqual([304, ''])
  })

  test.each([
    ['GET', '/web/index.html', 404],
    ['GET', '/spellbook.js/', 404],
    ['GET', '/../package.json', 404],
    ['GET', '/%2e%2e/package.json', 404],
    ['POST', '/spellbook.js', 405],
  ] as const)('is all that can be had: %s %s is %i', async (method, url, status) => {
    const response = await app.inject({ method, url })
    expect(response.statusCode).toBe(status)
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  test('answers a range that it does not have with a problem', async () => {
    const response = await app.inject({ url: '/spellbook.js', headers: { range: 'bytes=999999-' } })
    expect(response.statusCode).toBe(416)
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  test('is served whole: there is no file that no route serves', () => {
    expect(readdirSync(WEB).sort()).toEqual(['icon.svg', 'index.html', 'spellbook.css', 'spellbook.js'])
  })

  test('may run no script but its own, and be shown in no frame', async () => {
    const { headers } = await app.inject('/')
    const policy = new Map(
      String(headers['content-security-policy'])
        .split('; ')
        .map(directive => {
          const [name, ...sources] = directive.split(' ')
          return [name, sources.join(' ')]
        }),
    )
    expect(policy.get('default-src')).toBe("'none'")
    expect(policy.get('script-src')).toBe("'self'")
    expect(policy.get('frame-ancestors')).toBe("'none'")
    expect(String(headers['content-security-policy'])).not.toContain('unsafe')
    expect(headers['x-content-type-options']).toBe('nosniff')
  })

  test('needs nothing that this policy forbids', () => {
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)/)
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|javascript:|https?:/)
    expect([...html.matchAll(/\s(?:src|href)="([^"]+)"/g)].map(([, url]) => url)).toEqual([
      '/icon.svg',
      '/spellbook.css',
      '/spellbook.js',
      '/openapi.json',
      '/health/ready',
    ])
  })

  test('never takes what the server says for markup', () => {
    expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|srcdoc/)
  })

  test('has every element that its script asks for', () => {
    const ids = [...script.matchAll(/(?:byId|stamp)\('([\w-]+)'\)/g)].map(([, id]) => id!)
    expect(ids.length).toBeGreaterThan(8)
    for (const id of ids) expect(html).toContain(`id="${id}"`)
    const parts = [...script.matchAll(/\bparts\.(\w+)/g)].map(([, part]) => part!)
    expect(parts.length).toBeGreaterThan(8)
    for (const part of parts) expect(html).toContain(`data-part="${part}"`)
  })
})
