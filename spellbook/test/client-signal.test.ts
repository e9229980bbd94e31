import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { ClientSignal } from '../src/http/client-signal.ts'

function opened() {
  const socket = new EventEmitter()
  const signal = new ClientSignal({ socket: socket as Socket })
  return { socket, signal, listeners: () => socket.listenerCount('close') }
}

describe('the signal of a client', () => {
  test('aborts when the connection closes, and tells each listener once', () => {
    const { socket, signal, listeners } = opened()
    const told: string[] = []
    const twice = () => told.push('function')
    signal.addEventListener('abort', twice)
    signal.addEventListener('abort', twice)
    signal.addEventListener('abort', { handleEvent: ({ type }: Event) => told.push(type) })
    expect([listeners(), signal.aborted]).toEqual([1, false])
    signal.throwIfAborted()
    socket.emit('close')
    socket.emit('close')
    expect(told).toEqual(['function', 'abort'])
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toMatchObject({ name: 'AbortError' })
    expect(() => signal.throwIfAborted()).toThrow(signal.reason as Error)
  })

  test('listens to the connection only while somebody listens to it', () => {
    const { socket, signal, listeners } = opened()
    const told: string[] = []
    const [first, second] = [() => told.push('first'), () => told.push('second')]
    expect(listeners()).toBe(0)
    signal.addEventListener('abort', first)
    signal.addEventListener('abort', second)
    signal.removeEventListener('abort', second)
    expect(listeners()).toBe(1)
    signal.removeEventListener('abort', first)
    expect(listeners()).toBe(0)
    signal.addEventListener('abort', second)
    socket.emit('close')
    expect(told).toEqual(['second'])
  })
})
