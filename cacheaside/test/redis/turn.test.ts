import { expect, test } from 'vitest'
import { Turn } from '../../src/redis/turn.ts'

const nextTurn = () => new Promise<void>(resolve => setImmediate(resolve))

test('a command leaves at once if the last turn had no other, and all others leave together at the end', async () => {
  let ends = 0
  const turn = new Turn(() => ends++)
  expect(turn.add()).toBe(false)
  expect(ends).toBe(0)
  await nextTurn()
  expect(ends).toBe(1)
  expect([turn.add(), turn.add()]).toEqual([true, false])
  await nextTurn()
  expect([turn.add(), turn.add()]).toEqual([false, false])
  await nextTurn()
  expect(turn.add()).toBe(false)
  await nextTurn()
  expect(turn.add()).toBe(true)
  expect(ends).toBe(4)
})

test('a command that has left at once ends its turn with its reply, or with the end of the next turn', async () => {
  let ends = 0
  const turn = new Turn(() => ends++)
  turn.add()
  await nextTurn()
  for (let i = 0; i < 3; i++) {
    expect(turn.add()).toBe(true)
    await nextTurn()
    turn.replied()
  }
  expect(ends).toBe(1)
  expect(turn.add()).toBe(true)
  await nextTurn()
  expect(turn.add()).toBe(false)
  await nextTurn()
  expect(turn.add()).toBe(false)
  await nextTurn()
  expect(turn.add()).toBe(true)
  expect(ends).toBe(3)
})
