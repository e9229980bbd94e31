import { valueCodec } from 'cacheaside'
import { type Case, spellOf, times } from './measure.ts'

const WHEN = new Date(0)
const spells = Array.from({ length: 100 }, (_, id) => spellOf(id))
const VALUES: readonly (readonly [string, unknown, number])[] = [
  ['a row', spellOf(4), 20_000],
  ['100 rows', spells, 200],
  ['1,000 numbers', Array.from({ length: 1_000 }, (_, i) => i * 3), 200],
]
const DATED = { ...spellOf(4), created_at: WHEN }

/** What the default codec takes beside JSON alone: for plain values, and for a row with a date. */
export function valueCases(): Case[] {
  const text = valueCodec.encode(DATED)
  const plain = JSON.stringify(DATED)
  return [
    ...VALUES.flatMap(([name, value, operations]) => casesOf(name, value, operations)),
    {
      name: 'JSON.stringify, a row with a date',
      operations: 20_000,
      run: n => times(n, () => JSON.stringify(DATED)),
    },
    {
      name: 'encode, a row with a date',
      against: 'JSON.stringify, a row with a date',
      operations: 20_000,
      run: n => times(n, () => valueCodec.encode(DATED)),
    },
    {
      name: 'JSON.parse, a row with a date',
      operations: 20_000,
      run: n => times(n, () => JSON.parse(plain)),
    },
    {
      name: 'decode, a row with a date',
      against: 'JSON.parse, a row with a date',
      operations: 20_000,
      run: n => times(n, () => valueCodec.decode(text)),
    },
  ]
}

function casesOf(name: string, value: unknown, operations: number): Case[] {
  const text = JSON.stringify(value)
  return [
    { name: `JSON.stringify, ${name}`, operations, run: n => times(n, () => JSON.stringify(value)) },
    {
      name: `encode, ${name}`,
      against: `JSON.stringify, ${name}`,
      goal: 1.4,
      operations,
      run: n => times(n, () => valueCodec.encode(value)),
    },
    { name: `JSON.parse, ${name}`, operations, run: n => times(n, () => JSON.parse(text)) },
    {
      name: `decode, ${name}`,
      against: `JSON.parse, ${name}`,
      goal: 1,
      operations,
      run: n => times(n, () => valueCodec.decode(text)),
    },
  ]
}
