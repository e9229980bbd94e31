/** The page of the races, in a real browser: it plays them there, and says what came of it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPage, picture, sharedBrowser } from '../../test/browser.ts'
import { makeEmptyFolder } from '../../test/pglite.ts'
import { barriers } from './barriers.ts'
import { endPrograms, startProgram } from './program.ts'
import { FENCE, mutantText } from './race-mutants.ts'

const folder = mkdtempSync(join(tmpdir(), 'spellbook-race-'))
let browser: Browser
let url: string
beforeAll(async () => {
  await makeEmptyFolder(folder)
  const program = startProgram({ env: { DATA_DIR: folder, LOG_LEVEL: 'info' } })
  ;[browser, { url }] = await Promise.all([sharedBrowser(), program.ready()])
})
afterAll(async () => {
  await browser?.close()
  await endPrograms()
  rmSync(folder, { recursive: true, force: true })
})

const verdict = (page: Page, side: string) => page.locator(`#verdict-${side}`)
const title = (page: Page) => page.locator('.now').textContent()
const said = (page: Page) => page.locator('#said').textContent()
/** The race has been played, and this step of it is shown. */
const at = (page: Page, step: number) =>
  page.locator(`.beat:nth-child(${step})[aria-current="step"] .chip`).first().waitFor()

describe('the page of the races', () => {
  test('is stepped through by keyboard, tells each step aloud, and ends stale and right', async () => {
    const page = await openPage(browser, `${url}/race`)
    await page.locator('.beat .message').first().waitFor()
    expect(await title(page)).toContain('1 of 9')
    for (let step = 1; step < 6; step++) await page.keyboard.press('ArrowRight')
    await at(page, 6)
    await expect.poll(() => said(page)).toContain('Step 6 of 9.')
    expect(await said(page)).toContain(
      'Plain cache-aside: Database to reader: v1; Reader to cache: SET spell:4 v1',
    )
    expect(await said(page)).toContain('Reader to cache: fill spell:4 with v1; Cache to reader: refused')
    expect(await page.locator('.from-here').count()).toBe(1)
    expect(await page.locator('.head.plain .tag').textContent()).toBe('stale')
    expect(await page.locator('.head.ours .tag').textContent()).toBe('right')
    await picture(page, 'race-stale-set')
    await page.keyboard.press('End')
    await verdict(page, 'plain').waitFor()
    expect(await verdict(page, 'plain').textContent()).toContain('stale')
    expect(await verdict(page, 'ours').textContent()).toContain('right')
    expect(await page.locator('.verdict.wrong').textContent()).toContain('for 10 minutes')
    expect(await page.locator('.verdict.right').textContent()).toContain('At no moment')
    await page.keyboard.press('Home')
    await page.keyboard.press('ArrowLeft')
    expect(await title(page)).toContain('1 of 9')
  })

  test('says that cacheaside went stale, too, if the library is a mutant without its fence', async () => {
    const page = await openPage(browser, `${url}/spells`)
    const text = await mutantText(...FENCE)
    await page.route('**/race/engine.js', route =>
      route.fulfill({ contentType: 'text/javascript', body: text }),
    )
    await page.goto(`${url}/race?play=stale-set&step=9`)
    await verdict(page, 'ours').waitFor()
    expect(await verdict(page, 'ours').textContent()).toContain('stale')
    expect(await page.locator('.verdict.right').count()).toBe(0)
    expect(await page.locator('.side.ours .from-here').count()).toBe(1)
  })

  test('can be sent to somebody: the address names the race and the step', async () => {
    const page = await openPage(browser, `${url}/race?play=writer-killed&step=4`)
    await page.locator('.killed').first().waitFor()
    expect(await page.getByRole('heading', { level: 2 }).first().textContent()).toBe('The writer is killed')
    expect(await title(page)).toContain('4 of 7')
    await page.getByRole('button', { name: 'Next', exact: true }).click()
    expect(new URL(page.url()).search).toBe('?play=writer-killed&step=5')
    await page.getByRole('link', { name: 'Changed by psql' }).click()
    await expect.poll(() => title(page)).toContain('1 of 7')
    expect(new URL(page.url()).search).toBe('?play=changed-by-psql')
    await page.goBack()
    await expect.poll(() => title(page)).toContain('5 of 7')
  })

  test('begins at the beginning where the address names nothing that is there', async () => {
    const page = await openPage(browser, `${url}/race?play=%3Cscript%3E&step=-9e9`)
    await page.locator('.beat .message').first().waitFor()
    expect(await title(page)).toContain('1 of 9')
  })

  test('plays by itself to the end, and stops where it is told to', async () => {
    const page = await openPage(browser, `${url}/race?play=changed-by-psql&step=5`, {
      reducedMotion: 'reduce',
    })
    await page.locator('.beat .message').first().waitFor()
    await page.getByLabel('Speed').selectOption('quick')
    await page.getByRole('button', { name: 'Play', exact: true }).click()
    await page.getByRole('button', { name: 'Pause' }).waitFor()
    await page.locator('.verdicts').waitFor()
    await page.getByRole('button', { name: 'Play', exact: true }).waitFor()
    expect(await page.locator('.verdict.right').textContent()).toMatch(/held an old value for \d+ ms/)
  })

  test.each([
    ['desktop', 'light', {}],
    ['phone', 'dark', { viewport: { width: 360, height: 740 }, hasTouch: true }],
  ] as const)('keeps nobody out at its end, on a %s in the %s', async (size, colorScheme, options) => {
    const page = await openPage(browser, `${url}/race?step=9`, {
      colorScheme,
      reducedMotion: 'reduce',
      ...options,
    })
    await page.locator('.verdicts').waitFor()
    await page.locator('.transcript summary').click()
    expect(await barriers(page)).toEqual([])
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0)
    await picture(page, `race-end-${size}`)
  })
})

describe('the page of the laboratory', () => {
  test('turns switches, runs an experiment, tells aloud what came of it, and undoes everything', async () => {
    const page = await openPage(browser, `${url}/laboratory`)
    const stale = page.getByRole('region', { name: 'What is seen' }).locator('.verdict')
    await expect.poll(() => stale.textContent()).toMatch(/^\s*0 stale answers/)
    await page.getByLabel('Extra time to reach the database').selectOption('100 ms')
    await page.getByLabel('Memory of the cache').selectOption('64 KiB')
    const settings = async () =>
      ((await (await fetch(`${url}/laboratory/state`)).json()) as { settings: object }).settings
    await expect.poll(settings).toMatchObject({ databaseDelayMs: 100, maxBytes: 65_536 })
    await page.getByRole('button', { name: '500 readers of one cold key' }).click()
    const result = page.locator('.lab-result')
    await result.getByText('one query with the cache').waitFor()
    expect(await result.textContent()).toContain('500 queries without it')
    await expect.poll(() => said(page)).toContain('one query with the cache')
    expect(await barriers(page)).toEqual([])
    await picture(page, 'laboratory-crowd')
    await page.getByRole('button', { name: 'Reset everything' }).click()
    await expect.poll(settings).toMatchObject({ databaseDelayMs: 0, maxBytes: 67_108_864 })
  })
})
