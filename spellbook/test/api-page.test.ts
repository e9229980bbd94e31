import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPage, picture, sharedBrowser } from '../../test/browser.ts'
import { createApp } from '../src/app.ts'

let app: FastifyInstance
let browser: Browser
let url: string
beforeAll(async () => {
  const service = { spells: undefined as never, ping: async () => {} }
  app = await createApp({ log: pino({ level: 'silent' }), service: () => service })
  ;[browser, url] = await Promise.all([sharedBrowser(), app.listen({ port: 0, host: '127.0.0.1' })])
})
afterAll(async () => {
  await browser?.close()
  await app?.close()
})

test('/docs shows every operation, asks no other host, and needs nothing that its policy forbids', async () => {
  const page = await openPage(browser, `${url}/docs`)
  await page.locator('.opblock-summary-path').first().waitFor()
  expect(await page.locator('.opblock').count()).toBe(14)
  // A request can be sent from there, and its answer is shown.
  await page.locator('#operations-Health-isReady').getByRole('button').first().click()
  await page.getByRole('button', { name: 'Try it out' }).click()
  await page.getByRole('button', { name: 'Execute' }).click()
  await page.locator('.live-responses-table').getByText('"ready"').first().waitFor()
  await picture(page, 'docs')
})

test('/docs is dark where the reader wants that', async () => {
  const page = await openPage(browser, `${url}/docs`, { colorScheme: 'dark' })
  await page.locator('.opblock-summary-path').first().waitFor()
  const background = "getComputedStyle(document.querySelector('.swagger-ui')).backgroundColor"
  await expect.poll(() => page.evaluate(background)).toBe('rgb(28, 32, 34)')
  await page.emulateMedia({ colorScheme: 'light' })
  await expect.poll(() => page.evaluate(background)).not.toBe('rgb(28, 32, 34)')
  await page.emulateMedia({ colorScheme: 'dark' })
  await picture(page, 'docs-dark')
})

test('/docs may run no script but its own, and be shown in no frame', async () => {
  const policy = String((await app.inject('/docs')).headers['content-security-policy'])
  const own = String((await app.inject('/')).headers['content-security-policy'])
  expect(policy).toBe(own.replace("img-src 'self'", "img-src 'self' data:"))
  expect(policy).toContain("script-src 'self';")
  expect(policy).not.toContain('unsafe')
})

test.each(['/docs/static/nothing.js', '/docs/static/..%2f..%2fpackage.json'])(
  '%s is a problem',
  async path => {
    const { statusCode, headers, body } = await app.inject(path)
    expect([statusCode, headers['content-type']]).toEqual([404, 'application/problem+json; charset=utf-8'])
    expect(JSON.parse(body)).toMatchObject({ detail: `There is nothing at ${path}.`, instance: path })
  },
)
