import { describe, expect, it } from 'vitest'
import { gate } from '../../src/testing/index.ts'

describe('gate', () => {
  it('stops who waits until it is opened, and says when somebody has come', async () => {
    const passage = gate<number>()
    let reached = false
    void passage.reached.then(() => {
      reached = true
    })
    await Promise.resolve()
    expect(reached).toBe(false)
    const waiting = [passage.wait(), passage.wait()]
    await passage.reached
    expect(passage.arrivals).toBe(2)
    passage.open(30)
    passage.open(31)
    passage.fail(new Error('too late'))
    expect(await Promise.all(waiting)).toEqual([30, 30])
    expect(await passage.wait()).toBe(30)
  })

  it('fails who waits and who comes later, with the error itself', async () => {
    const passage = gate()
    const error = new Error('no such table')
    const waiting = passage.wait()
    passage.fail(error)
    await expect(waiting).rejects.toBe(error)
    await expect(passage.wait()).rejects.toBe(error)
  })

  it('fails quietly when nobody waits', async () => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', note)
    gate().fail(new Error('nobody hears this'))
    await new Promise(resolve => setImmediate(resolve))
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })

  it('lets one who is aborted go with the reason, and nobody else', async () => {
    const passage = gate<string>()
    const controller = new AbortController()
    const aborted = passage.wait(controller.signal)
    const patient = passage.wait(new AbortController().signal)
    controller.abort('the reader went away')
    await expect(aborted).rejects.toBe('the reader went away')
    await expect(passage.wait(controller.signal)).rejects.toBe('the reader went away')
    passage.open('Fireball')
    expect(await patient).toBe('Fireball')
  })
})
