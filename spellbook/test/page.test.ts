import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApp } from '../src/app.ts'
import { VIEW_PATHS } from '../src/web-page.ts'

const WEB = new URL('../web/', import.meta.url)
const html = readFileSync(new URL('index.html', WEB), 'utf8')
/** Every file of the page, by its path. */
const files = readdirSync(WEB, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile())
  .map(({ parentPath, name }) => relative(fileURLToPath(WEB), join(parentPath, name)))
const textOf = (file: string) => readFileSync(new URL(file, WEB), 'utf8')
const scripts = files.filter(file => file.endsWith('.js'))
const styles = files.filter(file => file.endsWith('.css'))

/** The styles of the shell. */
const STYLES = [...html.matchAll(/href="\/(styles\/[^"]+)"/g)].map(([, file]) => file!)
/** What comes with the views out of packages, but for the charts. */
const LIBRARIES = [
  '/lib/lit-html/lit-html.js',
  '/lib/lit-html/directives/keyed.js',
  '/lib/lit-html/directives/repeat.js',
  '/lib/lit-html/directive.js',
  '/lib/lit-html/directive-helpers.js',
  '/lib/eventsource-parser/index.js',
]
/** The views: their modules and their styles. */
const VIEWS = [
  ...textOf('views.js').matchAll(/styles: \[([^\]]*)\],\s*load: \(\) => import\('\.\/([^']+)'\)/g),
].map(([, styles, module]) => ({
  module: module!,
  styles: [...styles!.matchAll(/\w+/g)].map(([name]) => `styles/${name}.css`),
}))

/** A module of the page and those that it imports before it runs. */
function loadedWith(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file) || !files.includes(file)) return found
  found.add(file)
  for (const [, specifier] of textOf(file).matchAll(/\bfrom '(\.[^']+)'/g))
    loadedWith(posix.join(posix.dirname(file), specifier!), found)
  return found
}

describe('the page', () => {
  let app: Awaited<ReturnType<typeof createApp>>
  beforeAll(async () => {
    const service = { spells: undefined as never, ping: async () => {} }
    app = await createApp({ log: pino({ level: 'silent' }), service: () => service })
  })
  afterAll(() => app.close())

  test.each([
    ['/', 'index.html', 'text/html; charset=utf-8'],
    ['/main.js', 'main.js', 'text/javascript; charset=utf-8'],
    ['/styles/base.css', 'styles/base.css', 'text/css; charset=utf-8'],
    ['/icon.svg', 'icon.svg', 'image/svg+xml'],
  ])('GET %s serves %s', async (url, file, type) => {
    const response = await app.inject(url)
    expect(response.statusCode).toBe(200)
    expect(response.headers['content-type']).toBe(type)
    expect(response.headers['cache-control']).toBe('no-cache')
    expect(response.rawPayload).toEqual(readFileSync(new URL(file, WEB)))
  })

  test('is not sent again while it is the same', async () => {
    const { etag } = (await app.inject('/main.js')).headers
    const again = await app.inject({ url: '/main.js', headers: { 'if-none-match': String(etag) } })
    expect([again.statusCode, again.payload]).toEqual([304, ''])
  })

  test.each([
    ['GET', '/web/index.html', 404],
    ['GET', '/main.js/', 404],
    ['GET', '/../package.json', 404],
    ['GET', '/%2e%2e/package.json', 404],
    ['POST', '/main.js', 405],
  ] as const)('is all that can be had: %s %s is %i', async (method, url, status) => {
    const response = await app.inject({ method, url })
    expect(response.statusCode).toBe(status)
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  test('answers a range that it does not have with a problem', async () => {
    const response = await app.inject({ url: '/main.js', headers: { range: 'bytes=999999-' } })
    expect(response.statusCode).toBe(416)
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  test('is served whole: every file has its route, and every view the one page', async () => {
    expect(files.length).toBeGreaterThan(10)
    for (const file of files) expect([file, (await app.inject(`/${file}`)).statusCode]).toEqual([file, 200])
    for (const path of VIEW_PATHS) expect((await app.inject(path)).payload).toBe(html)
    expect([...textOf('views.js').matchAll(/\bpath: '([^']+)'/g)].map(([, path]) => path)).toEqual([
      ...VIEW_PATHS,
    ])
  })

  test('imports nothing that is not served', async () => {
    const seen = new Set<string>()
    const visit = async (url: string): Promise<void> => {
      if (seen.has(url)) return
      seen.add(url)
      const response = await app.inject(url)
      expect([url, response.statusCode]).toEqual([url, 200])
      const imported = /\b(?:from|import)\s*\(?\s*["'](\.{0,2}\/[^"'\n]+?)["'](?!\)\.)/g
      const code = response.payload.replace(/\/\*[\s\S]*?\*\//g, '')
      for (const [, specifier] of code.matchAll(imported))
        await visit(new URL(specifier!, `http://page${url}`).pathname)
    }
    await visit('/main.js')
    // Every module is reached from the first.
    expect(scripts.filter(file => !seen.has(`/${file}`))).toEqual([])
    expect([...seen].filter(url => url.startsWith('/lib/')).length).toBeGreaterThan(1)
  })

  test('is light: without charts and engines a view takes less than 100 KB, and a third of that packed', async () => {
    expect(VIEWS.length).toBe(VIEW_PATHS.length)
    for (const view of VIEWS) {
      const parts = [...loadedWith('main.js'), ...loadedWith(view.module), ...STYLES, ...view.styles]
      const own = [...parts.map(file => `/${file}`), '/', '/icon.svg', '/lib/lit-html/lit-html.js']
      const all = new Set([...own, ...LIBRARIES])
      // All that the modules import is here.
      for (const [, path] of parts
        .map(textOf)
        .join()
        .matchAll(/from '(\/lib\/[^']+)'/g))
        expect(LIBRARIES).toContain(path)
      const sizes = async (urls: Iterable<string>) => {
        const payloads = await Promise.all([...urls].map(async url => (await app.inject(url)).rawPayload))
        const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b)
        return {
          raw: sum(payloads.map(({ length }) => length)),
          packed: sum(payloads.map(payload => gzipSync(payload).length)),
        }
      }
      expect((await sizes(all)).raw).toBeLessThan(100_000)
      expect((await sizes(new Set(own))).packed).toBeLessThan(34_000)
    }
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
    for (const text of [html, ...scripts.map(textOf)])
      expect(text).not.toMatch(/<style|\sstyle=|\son\w+=|javascript:|https?:\/\//)
    for (const file of styles) expect(textOf(file)).not.toMatch(/url\(|@import/)
    const linked = [...html.matchAll(/<(?:link|script|img)[^>]*\s(?:src|href)="([^"]+)"/g)].map(
      ([, url]) => url,
    )
    // Each style is one of the shell or of a view.
    expect([...new Set([...STYLES, ...VIEWS.flatMap(view => view.styles)])].sort()).toEqual(
      [...styles].sort(),
    )
    expect(linked.filter(url => !url!.startsWith('/'))).toEqual([])
  })

  test('never takes what the server says for markup', () => {
    const forbidden = /innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|srcdoc|unsafe/
    for (const file of scripts) expect([file, forbidden.exec(textOf(file))?.[0]]).toEqual([file, undefined])
  })
})
