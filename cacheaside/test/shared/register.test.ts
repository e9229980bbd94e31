import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { markedToken } from '../../src/shared/key-mark.ts'
import {
  claimPrefix,
  guardText,
  type LeaseRegister,
  laterGuardText,
  leaseText,
  MAX_SHAPE,
  MAX_TAG_LENGTH,
  MAX_TAGS,
  markOf,
  parseRegister,
  type StampRegister,
  stampText,
  type ValueRegister,
  valuePrefix,
  valueText,
  withClaim,
} from '../../src/shared/register.ts'
import type { Fill } from '../../src/shared/shared-store.ts'

const NOW_MS = 1_893_456_000_123

const token = fc
  .uint8Array({ minLength: 12, maxLength: 12 })
  .map(bytes => Buffer.from(bytes).toString('base64url'))
const timeMs = fc.integer({ min: 0, max: 9_999_999_999_999 })
const text = fc.string({ unit: 'binary', maxLength: 200 })
const fill: fc.Arbitrary<Fill> = fc.record({
  generation: token,
  shape: fc.nat(MAX_SHAPE),
  freshMs: fc.nat(10 ** 11),
  staleMs: fc.nat(10 ** 11),
  costMs: fc.nat(10 ** 8 - 1),
  text: fc.option(text, { nil: undefined }),
})

const check = (property: fc.IProperty<never> | fc.IRawProperty<unknown>) =>
  fc.assert(property as fc.IRawProperty<unknown>, { numRuns: 2000 })

describe('parseRegister', () => {
  it('reads back a value as it was written', () => {
    check(
      fc.property(token, fill, (nonce, value) => {
        expect(parseRegister(valueText(nonce, value, NOW_MS))).toEqual({
          state: 'value',
          nonce,
          claimUntilMs: 0,
          generation: value.generation,
          shape: value.shape,
          filledAtMs: NOW_MS,
          softExpiryMs: NOW_MS + value.freshMs,
          costMs: value.costMs,
          tags: [],
          text: value.text,
        })
      }),
    )
  })

  it('reads back a lease as it was written', () => {
    check(
      fc.property(token, mine => {
        expect(parseRegister(leaseText(mine))).toEqual({ state: 'lease', token: mine })
      }),
    )
  })

  it('reads back a stamp as it was written', () => {
    check(
      fc.property(token, mine => {
        expect(parseRegister(stampText(mine))).toEqual({ state: 'stamp', token: mine })
      }),
    )
  })

  it('reads back a guard as it was written', () => {
    const holders = fc.array(fc.record({ token, deadlineMs: timeMs }), { minLength: 1, maxLength: 8 })
    check(
      fc.property(fc.boolean(), holders, (dirty, writers) => {
        expect(parseRegister(guardText(dirty, writers))).toEqual({ state: 'guard', dirty, holders: writers })
      }),
    )
  })

  it('reads any text without an error', () => {
    const states = ['value', 'lease', 'stamp', 'guard', 'later', 'unreadable']
    check(
      fc.property(fc.constantFrom('', 'V', 'L', 'S', 'W', 'W0', 'W1', 'X'), text, (first, rest) => {
        expect(states).toContain(parseRegister(first + rest).state)
      }),
    )
  })

  it('finds every text unreadable that does not begin as one of the four', () => {
    check(
      fc.property(text, garbage => {
        fc.pre(!/^[VLSW]/.test(garbage))
        expect(parseRegister(garbage)).toEqual({ state: 'unreadable' })
      }),
    )
  })

  it('takes for a later version a lease or a stamp of any other length', () => {
    check(
      fc.property(text, garbage => {
        fc.pre(garbage.length !== 16)
        expect(parseRegister(`L${garbage}`)).toEqual({ state: 'later', of: 'lease' })
        expect(parseRegister(`S${garbage}`)).toEqual({ state: 'later', of: 'stamp' })
      }),
    )
  })

  it('takes for a later version a guard that is cut short or goes on', () => {
    const whole = guardText(false, [
      { token: 'Anna____________', deadlineMs: NOW_MS },
      { token: 'Bert____________', deadlineMs: NOW_MS },
    ])
    for (let length = 1; length < whole.length; length++) {
      const isWhole = length === 2 + 16 + 13
      expect(parseRegister(whole.slice(0, length)).state).toBe(isWhole ? 'guard' : 'later')
    }
    expect(parseRegister(`${whole}x`).state).toBe('later')
    expect(parseRegister(`W2${whole.slice(2)}`).state).toBe('later')
    expect(parseRegister('W0').state).toBe('later')
  })

  it('takes for a later version a value that is cut short before its text', () => {
    const value = { generation: 'generation______', shape: 1, freshMs: 5, staleMs: 0, costMs: 2, text: '' }
    const whole = valueText('nonce___________', value, NOW_MS)
    for (let length = 1; length < whole.length; length++) {
      expect(parseRegister(whole.slice(0, length)).state).toBe('later')
    }
    expect(parseRegister(whole).state).toBe('value')
  })

  it('takes for a later version a value of another kind, or without a space before its text', () => {
    const value = {
      generation: 'generation______',
      shape: 1,
      freshMs: 5,
      staleMs: 0,
      costMs: 2,
      text: 'text',
    }
    const whole = valueText('nonce___________', value, NOW_MS)
    const head = whole.slice(0, -'= text'.length)
    expect(parseRegister(`${head}= text`)).toMatchObject({ state: 'value', text: 'text' })
    for (const tail of ['=text', '=_text', '? text', '  text', '== text']) {
      expect(parseRegister(head + tail), tail).toMatchObject({ state: 'later' })
    }
  })

  it('takes for a later version a value whose mark of absence is followed by anything', () => {
    const value = {
      generation: 'generation______',
      shape: 1,
      freshMs: 5,
      staleMs: 0,
      costMs: 2,
      text: undefined,
    }
    const whole = valueText('nonce___________', value, NOW_MS)
    expect(parseRegister(whole).state).toBe('value')
    expect(parseRegister(`${whole}x`).state).toBe('later')
  })

  it('takes for a later version a number that holds anything but digits', () => {
    const value = { generation: 'generation______', shape: 1, freshMs: 5, staleMs: 0, costMs: 2, text: 'x' }
    const whole = withClaim(valueText('nonce___________', value, NOW_MS), {
      token: 'claimer_________',
      untilMs: NOW_MS,
    })
    // Claim deadline, shape, fill time, soft expiry and cost, each with its first and its last character.
    const numbers = [33, 45, 62, 67, 68, 80, 81, 93, 94, 101]
    for (const at of numbers) {
      for (const wrong of [' ', '-', '+', '.', 'e', '/', ':', '²', '٣', '\u0000', '😀'.slice(0, 1)]) {
        const broken = whole.slice(0, at) + wrong + whole.slice(at + 1)
        expect(parseRegister(broken), `character ${at} is ${JSON.stringify(wrong)}`).toEqual({
          state: 'later',
          of: 'value',
        })
      }
    }
    const guard = guardText(false, [{ token: 'Anna____________', deadlineMs: NOW_MS }])
    for (const at of [18, 30]) {
      expect(parseRegister(`${guard.slice(0, at)}x${guard.slice(at + 1)}`).state).toBe('later')
    }
  })
})

describe('parseRegister of a value with tags', () => {
  const tag = fc.record({
    name: fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
    token,
    generation: token,
  })
  const tags = fc.array(tag, { minLength: 1, maxLength: MAX_TAGS })

  it('reads back what was written', () => {
    check(
      fc.property(token, fill, tags, (nonce, value, given) => {
        const register = parseRegister(valueText(nonce, { ...value, tags: given }, NOW_MS))
        expect(register).toMatchObject({ state: 'value', nonce, text: value.text, costMs: value.costMs })
        expect((register as ValueRegister).tags).toEqual(given)
      }),
    )
  })

  it('writes and reads one without tags as before there were any', () => {
    check(
      fc.property(token, fill, (nonce, value) => {
        const written = valueText(nonce, value, NOW_MS)
        expect(valueText(nonce, { ...value, tags: [] }, NOW_MS)).toBe(written)
        expect((parseRegister(written) as ValueRegister).tags).toBe(
          (parseRegister(valueText('nonce___________', value, 0)) as ValueRegister).tags,
        )
      }),
    )
  })

  const stamp = (name: string) => ({ name, token: 'stamp___________', generation: 'generation______' })
  const value = { generation: 'generation______', shape: 1, freshMs: 5, staleMs: 0, costMs: 2 }
  const later = { state: 'later', of: 'value' }

  it('takes for a later version one whose tags are cut short', () => {
    for (const text of ['', undefined]) {
      const whole = valueText(
        'nonce___________',
        { ...value, text, tags: [stamp('author:7'), stamp('🔥')] },
        NOW_MS,
      )
      for (let length = 1; length < whole.length; length++)
        expect(parseRegister(whole.slice(0, length))).toEqual(later)
      expect(parseRegister(whole).state).toBe('value')
      expect(parseRegister(`${whole}x`)).toEqual(text === undefined ? later : parseRegister(`${whole}x`))
    }
  })

  it("takes a missing, malformed or too large count or length for a later version's", () => {
    const head = valueText('nonce___________', { ...value, text: '' }, NOW_MS).slice(0, -2)
    const section = `stamp___________${'generation______'}`
    const filler = 'x'.repeat(100_000)
    expect(parseRegister(`${head}# 01001a${section}`).state).toBe('value')
    for (const tail of [
      '# ',
      '# 0',
      `# 00${filler}`,
      `# 65${`001a${section}`.repeat(65)}`,
      `# 99${`001a${section}`.repeat(99)}`,
      `# -1001a${section}`,
      `# 1 001a${section}`,
      `# 01000${section}`,
      `# 01513${filler}`,
      `# 01999${filler}`,
      `# 01+01a${section}`,
      `# 01001a${'~'.repeat(32)}`,
      `#_01001a${section}`,
      `~ 01001a${section}x`,
      `! 01001a${section}`,
    ])
      expect(parseRegister(head + tail), tail.slice(0, 20)).toEqual(later)
    expect(parseRegister(`${head}# 01512${filler}`).state).toBe('value')
    expect(parseRegister(`${head}# 64${`001a${section}`.repeat(64)}`).state).toBe('value')
  })

  it('is refused by valueText with more tags, or longer names, than can be read', () => {
    const write = (given: ReturnType<typeof stamp>[]) => () =>
      valueText('nonce___________', { ...value, text: 'x', tags: given }, NOW_MS)
    expect(write(Array.from({ length: MAX_TAGS + 1 }, (_, i) => stamp(`author:${i}`)))).toThrow(RangeError)
    expect(write([stamp('a'.repeat(MAX_TAG_LENGTH + 1))])).toThrow(RangeError)
    expect(write([stamp('')])).toThrow(RangeError)
    expect(write([stamp('a'.repeat(MAX_TAG_LENGTH))])).not.toThrow()
  })
})

describe('the version of a register', () => {
  const value = { generation: 'generation______', shape: 1, freshMs: 5, staleMs: 0, costMs: 2, text: 'x' }
  const drawn = 'abcdefghijklmnop'

  it('is told by the second character, in values, leases and stamps', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }), first => {
        const nonce = (first + drawn).slice(0, 16)
        const isKnown = /^[\w.-]$/.test(first)
        expect(parseRegister(valueText(nonce, value, NOW_MS)).state).toBe(isKnown ? 'value' : 'later')
        expect(parseRegister(leaseText(nonce)).state).toBe(isKnown ? 'lease' : 'later')
        expect(parseRegister(stampText(nonce)).state).toBe(isKnown ? 'stamp' : 'later')
      }),
      { numRuns: 2000 },
    )
  })

  it('and its key are told by a marked token, by no other, and not by an earlier one', () => {
    check(
      fc.property(text, text, token, (key, other, random) => {
        fc.pre(key !== other)
        const nonce = markedToken(key, random)
        expect(nonce).toHaveLength(16)
        for (const made of [valueText(nonce, value, NOW_MS), leaseText(nonce), stampText(nonce)]) {
          const register = parseRegister(made) as ValueRegister | LeaseRegister | StampRegister
          expect(markOf(register, key)).toBe('own')
          expect(markOf(register, other)).toBe('foreign')
        }
        const earlier = parseRegister(leaseText(random)) as LeaseRegister
        expect(markOf(earlier, key)).toBe('none')
      }),
    )
  })

  it('is not that of a marked token under a random part of its own', () => {
    const marks = new Set<string>()
    for (let i = 0; i < 200; i++) marks.add(markedToken('spell:4', systemClock.token()).slice(1, 6))
    expect(marks.size).toBe(200)
  })

  it('is left in a guard that an older one has made dirty', () => {
    expect(laterGuardText('W20 whatever')).toBe('W21 whatever')
    expect(laterGuardText('W21 whatever')).toBe('W21 whatever')
    expect(laterGuardText('W0Anna')).toBe('W1Anna')
    expect(laterGuardText('W2')).toBe('W2')
    expect(laterGuardText('W')).toBe('W')
  })
})

describe('valueText', () => {
  it('keeps a cost too large for its field as the largest that fits', () => {
    check(
      fc.property(token, fill, fc.double({ min: 10 ** 8, noNaN: true }), (nonce, value, costMs) => {
        const register = parseRegister(valueText(nonce, { ...value, costMs }, NOW_MS))
        expect(register).toMatchObject({ state: 'value', costMs: 10 ** 8 - 1, text: value.text })
      }),
    )
  })

  it('rounds fractions of a millisecond', () => {
    const value = {
      generation: 'generation______',
      shape: 1,
      freshMs: 0.5,
      staleMs: 0,
      costMs: 1.6,
      text: 'x',
    }
    expect(parseRegister(valueText('nonce___________', value, NOW_MS + 0.4))).toMatchObject({
      filledAtMs: NOW_MS,
      softExpiryMs: NOW_MS + 1,
      costMs: 2,
    })
  })
})

describe('withClaim', () => {
  it('changes nothing but the claim, and can be undone', () => {
    check(
      fc.property(token, token, fill, timeMs, (nonce, claimer, value, untilMs) => {
        const unclaimed = valueText(nonce, value, NOW_MS)
        const claimed = withClaim(unclaimed, { token: claimer, untilMs })
        expect(claimed.length).toBe(unclaimed.length)
        expect(parseRegister(claimed)).toEqual({ ...parseRegister(unclaimed), claimUntilMs: untilMs })
        expect(withClaim(claimed, undefined)).toBe(unclaimed)
        expect(withClaim(claimed, { token: nonce, untilMs: 7 })).toBe(
          withClaim(unclaimed, { token: nonce, untilMs: 7 }),
        )
      }),
    )
  })
})

describe('valuePrefix and claimPrefix', () => {
  it('recognise their value and no other', () => {
    check(
      fc.property(token, token, token, token, fill, (nonce, other, claimer, rival, value) => {
        fc.pre(nonce !== other && claimer !== rival)
        const unclaimed = valueText(nonce, value, NOW_MS)
        const claimed = withClaim(unclaimed, { token: claimer, untilMs: NOW_MS })
        for (const register of [unclaimed, claimed]) {
          expect(register.startsWith(valuePrefix(nonce))).toBe(true)
          expect(register.startsWith(valuePrefix(other))).toBe(false)
          expect(register.startsWith(claimPrefix(nonce, rival))).toBe(false)
        }
        expect(claimed.startsWith(claimPrefix(nonce, claimer))).toBe(true)
        expect(unclaimed.startsWith(claimPrefix(nonce, claimer))).toBe(false)
      }),
    )
  })
})
