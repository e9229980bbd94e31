import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Reply, readReply } from '../../src/redis/read-reply.ts'

/** A reply as a server sends it. */
function sent(reply: Reply, nothing: string): string {
  if (reply === null) return nothing
  if (typeof reply === 'number') return `:${reply}\r\n`
  if (typeof reply === 'string') return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`
  return `*${reply.length}\r\n${reply.map(one => sent(one, nothing)).join('')}`
}

const texts = fc.string({ unit: fc.constantFrom('a', '\r\n', '$1\r\n', 'é', '€', '😀') })
const { replies } = fc.letrec<{ replies: Reply; lists: Reply[] }>(tie => ({
  replies: fc.oneof({ maxDepth: 3 }, texts, fc.maxSafeInteger(), fc.constant(null), tie('lists')),
  lists: fc.array(tie('replies'), { maxLength: 5 }),
}))
const nothings = fc.constantFrom('$-1\r\n', '*-1\r\n', '_\r\n')

it('readReply reads texts, whole numbers, nothings and lists of them, wherever they lie in a chunk', () => {
  fc.assert(
    fc.property(replies, nothings, fc.nat(20), (reply, nothing, from) => {
      const bytes = Buffer.from(`${'*'.repeat(from)}${sent(reply, nothing)}:7\r\n`)
      expect(readReply(bytes, from)).toEqual(reply)
    }),
  )
})

it.each([
  '+OK\r\n',
  '-ERR what\r\n',
  '#t\r\n',
  ',1.5\r\n',
  '%1\r\n+a\r\n+b\r\n',
  '~1\r\n:1\r\n',
  '=5\r\ntxt:a\r\n',
  '*2\r\n$1\r\na\r\n-ERR what\r\n',
])('readReply leaves %j to the client', reply => {
  expect(readReply(Buffer.from(reply), 0)).toBeUndefined()
})
