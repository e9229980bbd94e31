/**
 * The browser that tests look at the page with: one Chromium for all test files of a run, started when the first of them asks
 * for it, and a context of its own for each test.
 */
import { mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { inject, onTestFinished } from 'vitest'
import { PATIENCE } from './patience.ts'

/** Where the browser of a run can be asked for, or why there is none. */
export type SharedBrowser = { readonly port: number } | { readonly problem: string }

declare module 'vitest' {
  interface ProvidedContext {
    browser: SharedBrowser
  }
}

/** Pictures of the page, which a run leaves behind. Git ignores the folder. */
const SCREENSHOTS = fileURLToPath(new URL('../screenshots', import.meta.url))

/** It asks for nothing in the network, and keeps nothing: its profile is a new folder that goes with it. */
const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/**
 * Offers a browser to all test files: the first that asks has it started. Called by the global setup.
 *
 * @returns what the test files are told, and what ends the browser.
 */
export async function offerBrowser(
  executablePath: string,
): Promise<{ shared: SharedBrowser; end(): Promise<void> }> {
  let launched: ReturnType<typeof chromium.launchServer> | undefined
  const server = createServer(async (_request, response) => {
    launched ??= chromium.launchServer({ executablePath, args: FLAGS, host: '127.0.0.1' })
    const told = await launched.then(
      browser => ({ endpoint: browser.wsEndpoint() }),
      (error: Error) => ({ problem: error.message }),
    )
    response.setHeader('connection', 'close').end(JSON.stringify(told))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    shared: { port: (server.address() as AddressInfo).port },
    async end() {
      await new Promise(resolve => server.close(resolve))
      await launched?.then(
        browser => browser.close(),
        () => {},
      )
    },
  }
}

/** The browser of this run. It ends with the run; a test file only leaves it. */
export async function sharedBrowser(): Promise<Browser> {
  const shared = inject('browser')
  if ('problem' in shared) throw new Error(shared.problem)
  const told = (await (await fetch(`http://127.0.0.1:${shared.port}`)).json()) as Record<string, string>
  if (told.endpoint === undefined) throw new Error(`Chromium did not start: ${told.problem}`)
  return chromium.connect(told.endpoint)
}

/** A page of a test's own. What it reports as an error, or asks of another host, fails the test. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    locale: 'en-GB',
    ...options,
  })
  // A page that has not come to it by then will not.
  context.setDefaultTimeout(PATIENCE.timeout)
  const page = await context.newPage()
  const wrong: string[] = []
  page.on('pageerror', error => wrong.push(error.message))
  page.on('console', message => {
    // That an answer was no success is for the test to judge.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      wrong.push(message.text())
  })
  page.on('request', request => {
    if (new URL(request.url()).host !== new URL(url).host) wrong.push(`asked for ${request.url()}`)
  })
  onTestFinished(async () => {
    await context.close()
    if (wrong.length > 0) throw new Error(`The page reported: ${wrong.join('\n')}`)
  })
  await page.goto(url)
  return page
}

/** Leaves a picture of a page behind. */
export async function picture(page: Page, name: string): Promise<void> {
  mkdirSync(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true, animations: 'disabled' })
}
