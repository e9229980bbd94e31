import { describe, expect, test } from 'vitest'
import { ReadRegisters } from '../../src/local/read-registers.ts'

describe('registers that were read', () => {
  test('give what was made of a text for this text only, until they are forgotten', () => {
    const registers = new ReadRegisters<string>()
    registers.remember('spell:4', 'V1', 'Fireball')
    expect(registers.madeOf('spell:4', 'V1')).toBe('Fireball')
    expect([registers.madeOf('spell:4', 'V2'), registers.madeOf('spell:5', 'V1')]).toEqual([
      undefined,
      undefined,
    ])
    registers.remember('spell:4', 'V2', 'Frost Nova')
    expect([registers.madeOf('spell:4', 'V1'), registers.madeOf('spell:4', 'V2')]).toEqual([
      undefined,
      'Frost Nova',
    ])
    registers.forget('spell:4')
    expect(registers.madeOf('spell:4', 'V2')).toBeUndefined()
  })

  const textOf = (id: number) => String(id).padEnd(1_000)
  const rememberedOf = (registers: ReadRegisters<number>, ids: number) =>
    Array.from({ length: ids }, (_, id) => id).filter(id => registers.madeOf(`${id}`, textOf(id)) === id)

  test('are two million characters at most, and those that are read again stay', () => {
    const registers = new ReadRegisters<number>()
    for (let id = 0; id < 10_000; id++) {
      registers.remember(`${id}`, textOf(id), id)
      expect(registers.madeOf('0', textOf(0))).toBe(0)
    }
    const remembered = rememberedOf(registers, 10_000)
    expect(remembered.length).toBeGreaterThan(1_000)
    expect(remembered.length).toBeLessThan(2_100)
    expect([remembered[0], remembered.at(-1)]).toEqual([0, 9_999])
  })

  test('that change all the time take the room of one each', () => {
    const registers = new ReadRegisters<number>()
    for (let id = 0; id < 1_000; id++) registers.remember(`${id}`, textOf(id), id)
    for (let change = 0; change < 5_000; change++) registers.remember('0', textOf(change), change)
    registers.remember('0', textOf(0), 0)
    expect(rememberedOf(registers, 1_000)).toHaveLength(1_000)
  })

  test('of more than 32,768 characters are not remembered', () => {
    const registers = new ReadRegisters<string>()
    registers.remember('long', 'x'.repeat(32_769), 'made')
    registers.remember('short', 'x'.repeat(32_768), 'made')
    expect(registers.madeOf('long', 'x'.repeat(32_769))).toBeUndefined()
    expect(registers.madeOf('short', 'x'.repeat(32_768))).toBe('made')
  })
})
