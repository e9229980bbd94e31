import { describe, expect, test } from 'vitest'
import { cacheStatus, origin, serverTiming } from '../src/cache-status.ts'
import type { Answer } from '../src/spells.ts'

const answer = (given: Partial<Answer<unknown>>): Answer<unknown> => ({
  value: undefined,
  from: 'origin',
  why: 'missing',
  kept: true,
  joined: false,
  ageMs: undefined,
  ttlMs: undefined,
  timings: { totalMs: 0, sharedMs: 0, loadMs: 0 },
  ...given,
})

/**
 * The grammar of RFC 9211, which is a list of RFC 8941 (structured fields), as far as this server writes it: one cache,
 * a token, with parameters that are bare (true), integers or tokens.
 */
const GRAMMAR =
  /^spellbook(; (hit|stored|collapsed|ttl=-?\d{1,15}|(fwd|detail)=[A-Za-z*][\w!#$%&'*+.^`|~:/-]*))*$/
const FWD = ['bypass', 'method', 'uri-miss', 'vary-miss', 'miss', 'request', 'stale', 'partial']

const WHYS = [
  'fresh',
  'stale',
  'stale-error',
  'missing',
  'expired',
  'generation',
  'shape',
  'unreadable',
  'busy',
  'guarded',
  'queued',
  'in-doubt',
  'full',
  'too-large',
  'unavailable',
  'off',
] as const

describe('cacheStatus', () => {
  test.each([
    [{ from: 'shared', why: 'fresh', ttlMs: 12_999 }, 'spellbook; hit; ttl=12; detail=shared'],
    [{ from: 'local', why: 'fresh', ttlMs: 999 }, 'spellbook; hit; ttl=0; detail=local'],
    [{ from: 'shared', why: 'stale', ttlMs: -1 }, 'spellbook; hit; ttl=-1; detail=stale'],
    [{ why: 'missing', kept: true, ttlMs: 600_000 }, 'spellbook; fwd=miss; stored; ttl=600'],
    [{ why: 'missing', kept: true, joined: true }, 'spellbook; fwd=miss; stored; collapsed'],
    [{ why: 'expired', kept: true }, 'spellbook; fwd=stale; stored; detail=expired'],
    [{ why: 'guarded', kept: false }, 'spellbook; fwd=miss; detail=guarded'],
    [{ why: 'unavailable', kept: false }, 'spellbook; fwd=miss; detail=unavailable'],
    [{ why: 'off', kept: false }, 'spellbook; fwd=bypass; detail=off'],
  ] as const)('tells of %o as %s', (given, expected) => {
    expect(cacheStatus(answer(given))).toBe(expected)
  })

  test('keeps to the grammar, and says exactly one of hit and fwd, whatever it is told', () => {
    for (const from of ['local', 'shared', 'origin'] as const) {
      for (const why of WHYS) {
        for (const kept of [true, false]) {
          for (const ttlMs of [undefined, -5000, 0, 600_000]) {
            const text = cacheStatus(answer({ from, why, kept, joined: kept, ttlMs }))
            expect(text).toMatch(GRAMMAR)
            const fwd = /fwd=([\w-]+)/.exec(text)?.[1]
            expect(text.includes('; hit')).toBe(fwd === undefined)
            if (fwd !== undefined) expect(FWD).toContain(fwd)
          }
        }
      }
    }
  })
})

test('origin tells cache and database apart', () => {
  expect(['local', 'shared', 'origin'].map(from => origin(answer({ from: from as 'local' })))).toEqual([
    'cache',
    'cache',
    'database',
  ])
})

test('serverTiming tells the whole time and its parts in milliseconds', () => {
  expect(serverTiming(answer({ timings: { totalMs: 12.34567, sharedMs: 1, loadMs: 0.0004 } }))).toBe(
    'total;dur=12.346, cache;dur=1.000, database;dur=0.000',
  )
})
