import fc from 'fast-check'
import { expect, it } from 'vitest'
import { NOWHERE } from '../../src/eviction/bounded-slots.ts'
import { SlotTable } from '../../src/local/slot-table.ts'
import type { Spot } from '../../src/local/spot.ts'

const spots: fc.Arbitrary<Spot> = fc.oneof(
  { weight: 8, arbitrary: fc.nat(40) },
  fc.nat(5_000),
  fc.maxSafeInteger(),
  fc.constantFrom('', 'a', '7x', '-0'),
)

it('a slot table finds what a map of all its spots finds, whatever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(spots, { maxLength: 200 }), added => {
      const table = new SlotTable()
      const expected = new Map<Spot, number>()
      for (const [slot, spot] of added.entries()) {
        if (expected.delete(spot)) table.delete(spot)
        else {
          expected.set(spot, slot)
          table.set(spot, slot)
        }
        table.delete('unknown')
      }
      for (const spot of added) expect(table.of(spot)).toBe(expected.get(spot) ?? NOWHERE)
      table.clear()
      for (const spot of added) expect(table.of(spot)).toBe(NOWHERE)
    }),
  )
})

it('a slot table finds many numbers in any order, those too that came before their neighbours', () => {
  const table = new SlotTable()
  const numbers = Array.from({ length: 20_000 }, (_, i) => (i * 7_919) % 20_000)
  for (const number of numbers) table.set(number, 2 * number)
  expect(numbers.filter(number => table.ofNumber(number) !== 2 * number)).toEqual([])
  for (const number of numbers) if (number % 3 > 0) table.delete(number)
  expect(numbers.filter(number => (table.ofNumber(number) !== NOWHERE) !== (number % 3 === 0))).toEqual([])
})
