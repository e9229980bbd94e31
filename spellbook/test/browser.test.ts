import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPage, picture, sharedBrowser } from '../../test/browser.ts'
import { VIEW_PATHS } from '../src/web-page.ts'
import { barriers } from './barriers.ts'
import { endPrograms, startProgram } from './program.ts'

const PHONE: BrowserContextOptions = { viewport: { width: 360, height: 740 }, hasTouch: true }

let browser: Browser
let url: string

beforeAll(async () => {
  const program = startProgram({ env: { DATA_DIR: 'memory', CACHE_FILL: 'blocking', LOG_LEVEL: 'info' } })
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
    (VIEW_PATHS as readonly string[]).flatMap(path =>
      (['light', 'dark'] as const).flatMap(colorScheme => [
        { path, colorScheme, size: 'desktop', options: {} },
        { path, colorScheme, size: 'phone', options: PHONE },
      ]),
    ),
  )(
    '$path keeps nobody out and fits, $colorScheme on a $size',
    async ({ path, colorScheme, size, options }) => {
      const page = await openPage(browser, url + path, { colorScheme, ...options })
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.waitForLoadState('networkidle')
      expect(await barriers(page)).toEqual([])
      expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0)
      await picture(page, `${path === '/' ? 'spellbook' : path.slice(1)}-${colorScheme}-${size}`)
    },
  )
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

  test('shows a book anew when a spell in it was changed, and why', async () => {
    const page = await openPage(browser, url)
    await page.getByRole('button', { name: 'Add Merlin, with three spells' }).click()
    const book = card(page, 'The book of Merlin')
    await book.getByRole('button', { name: /^Fireball/ }).click()
    await card(page, 'Fireball').waitFor()
    await page.getByRole('button', { name: 'Read the book again' }).click()
    await expect.poll(() => headline(page).textContent()).toBe('From the cache')
    await page.getByLabel('Damage').fill('31')
    await page.getByRole('button', { name: 'Save' }).click()
    await book.getByText('read anew: a spell in it changed').waitFor()
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
