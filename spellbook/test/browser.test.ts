import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPage, picture, sharedBrowser } from '../../test/browser.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { VIEW_PATHS } from '../src/web-page.ts'
import { barriers } from './barriers.ts'
import { endPrograms, startProgram } from './program.ts'

const PHONE: BrowserContextOptions = { viewport: { width: 360, height: 740 }, hasTouch: true }

/** What shows that a view is there with all that it has, by its path. */
const READY: Record<(typeof VIEW_PATHS)[number], (page: Page) => Locator> = {
  '/': page => page.getByRole('button', { name: 'Add Merlin' }),
  '/race': page => page.getByRole('heading', { level: 1 }),
  '/laboratory': page => page.getByRole('heading', { name: 'The laboratory is closed here' }),
  '/path': page => page.locator('[data-chart="loads"] canvas'),
}

/** A Spellbook on a database of its own. What it reads it keeps before it answers, and no feed ends it again. */
const start = async (env: Record<string, string> = {}) =>
  startProgram({
    env: {
      DATABASE_URL: await createDatabase(sharedPostgresUrl()),
      CACHE_FILL: 'blocking',
      CACHE_FEED: 'off',
      ...env,
    },
  })

let browser: Browser
let url: string

beforeAll(async () => {
  const program = await start()
  ;[browser, { url }] = await Promise.all([sharedBrowser(), program.ready()])
})
afterAll(async () => {
  await browser?.close()
  await endPrograms()
})

const card = (page: Page, name: string) => page.getByRole('region', { name })
const headline = (page: Page) => page.locator('.headline')

describe('every view', () => {
  test.each(
    VIEW_PATHS.flatMap(path =>
      (['light', 'dark'] as const).flatMap(colorScheme => [
        { path, colorScheme, size: 'desktop', options: {} },
        { path, colorScheme, size: 'phone', options: PHONE },
      ]),
    ),
  )(
    '$path keeps nobody out and fits, $colorScheme on a $size',
    async ({ path, colorScheme, size, options }) => {
      const page = await openPage(browser, url + path, { colorScheme, ...options })
      await READY[path](page).waitFor()
      expect(await barriers(page)).toEqual([])
      expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0)
      await picture(page, `${path === '/' ? 'spellbook' : path.slice(1)}-${colorScheme}-${size}`)
    },
  )
})

test("the links move between views without loading the page again, and the way back is the browser's own", async () => {
  const page = await openPage(browser, url)
  await READY['/'](page).waitFor()
  await page.evaluate('window.isSame = true')
  const views = page.getByRole('navigation', { name: 'Views' })
  await views.getByRole('link', { name: 'Path of a read' }).click()
  await page.getByRole('heading', { level: 1, name: 'The path of a read' }).waitFor()
  expect([new URL(page.url()).pathname, await page.title()]).toEqual(['/path', 'Path of a read – Spellbook'])
  expect(await page.evaluate('document.activeElement.id')).toBe('view')
  expect(await views.getByRole('link', { name: 'Path of a read' }).getAttribute('aria-current')).toBe('page')
  await page.goBack()
  await READY['/'](page).waitFor()
  expect(await page.evaluate('isSame')).toBe(true)
})

describe('the spellbook', () => {
  test('tells in words where an answer came from, and that the second comes from the cache', async () => {
    const page = await openPage(browser, url)
    const open = card(page, 'Spells').getByRole('button', { name: 'Thunderbolt' })
    await open.click()
    await card(page, 'Thunderbolt').waitFor()
    await expect.poll(() => headline(page).textContent()).toBe('From the database')
    await open.click()
    await expect.poll(() => headline(page).textContent()).toBe('From the cache')
    expect(await card(page, 'Where the answer came from').textContent()).toContain(
      'The database was not asked.',
    )
    await picture(page, 'spellbook-open')
  })

  test('creates, changes and deletes a spell, and shows what the server refuses', async () => {
    const page = await openPage(browser, url)
    await page.getByRole('button', { name: 'New spell' }).click()
    await page.getByLabel('Name').fill('Frost Nova')
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await card(page, 'Frost Nova').waitFor()
    await page.getByLabel('Damage').fill('-7')
    await page.getByRole('button', { name: 'Save' }).click()
    await card(page, 'Spells').getByRole('button', { name: 'Frost Nova heals 7' }).waitFor()
    await page.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Keep' }).click()
    await page.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await expect.poll(() => card(page, 'Spells').getByRole('button', { name: 'Frost Nova' }).count()).toBe(0)
    await page.getByLabel('Look up an id').fill('0x9')
    await page.getByRole('button', { name: 'Look it up' }).click()
    await expect.poll(() => headline(page).textContent()).toBe('That did not work')
    expect(await card(page, 'Where the answer came from').textContent()).toContain('must be a whole number')
  })

  test('shows a name as the text that it is, and keeps what its field does not show', async () => {
    const name = `<b>${'W'.repeat(200)}\n\u202e</b>`
    const headers = { 'content-type': 'application/json' }
    const ask = async (method: string, path: string, body: object) =>
      (await (await fetch(url + path, { method, headers, body: JSON.stringify(body) })).json()) as {
        id: number
      }
    const { id } = await ask('POST', '/spells', { name, damage: 5 })
    const wizard = await ask('POST', '/wizards', { name })
    const page = await openPage(browser, url, PHONE)
    await page.getByLabel('Look up an id').fill(String(id))
    await page.getByRole('button', { name: 'Look it up' }).click()
    await page.getByLabel('Damage').fill('6')
    await page.getByRole('button', { name: 'Save' }).click()
    await expect
      .poll(async () => (await fetch(`${url}/spells/${id}`)).json())
      .toMatchObject({ name, damage: 6 })
    await page.locator('button.entry').last().click()
    await page.getByRole('button', { name: 'Rename' }).waitFor()
    await page.getByRole('button', { name: 'Delete' }).last().click()
    const text = (selector: string) => page.locator(selector).textContent()
    expect([await text('#spell-title'), await text('#book-title bdi'), await text('#question bdi')]).toEqual([
      name,
      name,
      name,
    ])
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0)
    for (const path of [`/spells/${id}`, `/wizards/${wizard.id}`])
      await fetch(url + path, { method: 'DELETE' })
  })

  test('shows a book again when a spell in it was changed, and why', async () => {
    const page = await openPage(browser, url)
    await page.getByRole('button', { name: 'Add Merlin, with three spells' }).click()
    const book = card(page, 'The book of Merlin')
    await book.getByRole('button', { name: /^Fireball/ }).click()
    await card(page, 'Fireball').waitFor()
    await page.getByRole('button', { name: 'Read the book again' }).click()
    await expect.poll(() => headline(page).textContent()).toBe('From the cache')
    await page.getByLabel('Damage').fill('31')
    await page.getByRole('button', { name: 'Save' }).click()
    await book.getByText('read again: a spell in it changed').waitFor()
    await book.getByRole('button', { name: 'Fireball 31' }).waitFor()
    await picture(page, 'spellbook-book')
    await book.getByRole('button', { name: 'Take Ice Shard out of the book' }).click()
    await expect.poll(() => book.getByRole('button', { name: /^Ice Shard/ }).count()).toBe(0)
  })

  test('is used by keyboard alone, and a screen reader hears one sentence for one act', async () => {
    const page = await openPage(browser, url)
    await card(page, 'Spells').getByRole('button', { name: 'Earthquake' }).waitFor()
    const focused = () => page.evaluate('document.activeElement.textContent.trim().replace(/\\s+/g, " ")')
    const tabTo = async (text: RegExp) => {
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press('Tab')
        if (text.test(String(await focused()))) return
      }
      throw new Error(`Tab never came to ${text}`)
    }
    await page.keyboard.press('Tab')
    expect(await focused()).toBe('Skip to the content')
    await page.keyboard.press('Enter')
    await page.evaluate(`
      window.heard = []
      new MutationObserver(() => heard.push(document.getElementById('said').textContent))
        .observe(document.getElementById('said'), { childList: true, characterData: true, subtree: true })`)
    await tabTo(/^Earthquake/)
    await page.keyboard.press('Enter')
    await card(page, 'Earthquake').waitFor()
    await expect.poll(() => page.evaluate('heard.length')).toBe(1)
    expect(await page.evaluate('heard[0]')).toMatch(/^Earthquake: from the database, [\d.]+ ms\.$/)
    await tabTo(/^Delete$/)
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await expect.poll(() => page.getByRole('dialog').count()).toBe(0)
    await expect.poll(focused).toBe('Delete')
  })
})

describe('the path of a read', () => {
  const lanes = (page: Page) => page.locator('.lanes > li')

  test('shows each read as it happens, with its times and why it went so', async () => {
    const page = await openPage(browser, `${url}/path`)
    await page.getByText('live', { exact: true }).waitFor()
    const before = await lanes(page).count()
    // Each of the two also reads the list, to find a spell. The second is clicked when the first has ended: they would join.
    await page.getByRole('button', { name: /^Write it and read it/ }).click()
    await expect.poll(() => lanes(page).count()).toBe(Math.min(50, before + 2))
    await page.getByRole('button', { name: /^Read a spell/ }).click()
    await expect.poll(() => lanes(page).count()).toBe(Math.min(50, before + 4))
    const [hit, , miss] = [0, 1, 2].map(i => lanes(page).nth(i))
    expect(await hit!.locator('.tag').textContent()).toBe('hit')
    expect(await miss!.locator('.tag').textContent()).toBe('miss')
    await miss!.locator('summary').click()
    const steps = await miss!.locator('.lane-steps').textContent()
    expect(steps).toMatch(/4 Load\s+the database took [\d.]+ ms/)
    expect(steps).toMatch(/5 Fill\s+the cache took it, [\d.]+ ms/)
    await expect.poll(() => page.locator('[data-time="3"]').textContent()).toMatch(/ms$/)
    await expect.poll(() => page.locator('[data-chart="latency"] canvas').count()).toBe(1)
    await expect
      .poll(() => page.getByLabel('The last two minutes').textContent())
      .toMatch(/Hit ratio\s*\d+ %/)
    await picture(page, 'path-lanes')
  })

  test('shows a stranger only the reads of this browser, and all of them with the token', async () => {
    const guarded = await start({ ADMIN_TOKEN: 'abracadabra' })
    const page = await openPage(browser, `${(await guarded.ready()).url}/path`)
    await page.getByText('your reads only').waitFor()
    await page.getByRole('button', { name: /^Read a spell/ }).click()
    await expect.poll(() => lanes(page).count()).toBe(2)
    await picture(page, 'path-stranger')
    await page.getByLabel('ADMIN_TOKEN').fill('abracadabra')
    await page.getByRole('button', { name: 'Show all reads' }).click()
    await page.getByText('live', { exact: true }).waitFor()
    await expect.poll(() => lanes(page).count()).toBe(2)
    // A process that ends does not wait for those who watch, and they notice.
    const began = performance.now()
    process.kill(guarded.process.pid!, 'SIGTERM')
    expect(await guarded.exit).toEqual({ code: 0, signal: null })
    expect(performance.now() - began).toBeLessThan(5_000)
    await page.getByText('no connection').waitFor()
  })

  test.each([
    ['no connection', 'not-asked'],
    ['your reads only', 'viewers-full'],
  ])('says "%s" when it may not watch now (%s), and comes again when it was told to', async (tag, detail) => {
    const page = await openPage(browser, url)
    const headers = { 'retry-after': '1', 'cache-status': `spellbook; detail=${detail}` }
    await page.route('**/live', route => route.fulfill({ status: 503, headers }), { times: 1 })
    await page.goto(`${url}/path`)
    await page.getByText(tag, { exact: true }).waitFor()
    await page.getByText('live', { exact: true }).waitFor({ timeout: 8_000 })
  })

  test('stands still when asked to, and for visitors who want little motion', async () => {
    const page = await openPage(browser, `${url}/path`, { reducedMotion: 'reduce' })
    await page.getByText('live', { exact: true }).waitFor()
    await page.getByRole('button', { name: /^Read a spell/ }).click()
    await expect.poll(() => page.locator('[data-time="2"]').textContent()).toMatch(/ms$/)
    expect(await page.locator('.runner').count()).toBe(0)
    await page.getByRole('button', { name: 'Pause' }).click()
    const shown = await lanes(page).first().textContent()
    await page.getByRole('button', { name: /^Read what is not there/ }).click()
    await expect.poll(() => page.locator('#said').textContent()).toMatch(/^From the database/)
    expect(await lanes(page).first().textContent()).toBe(shown)
    await page.getByRole('button', { name: 'Go on' }).click()
    await expect.poll(() => lanes(page).first().textContent()).not.toBe(shown)
  })
})
