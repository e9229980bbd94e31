import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { makeEmptyFolder } from '../../test/pglite.ts'
import { connectionsFor } from '../src/http/descriptors.ts'
import { endPrograms, endsInOrder, startProgram } from './program.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spellbook-descriptors-'))
})
afterEach(async () => {
  await endPrograms()
  rmSync(folder, { recursive: true, force: true })
})

/** A client with one connection that it keeps. */
function clientOf(url: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const ask = (method: string, path: string, body?: object) =>
    new Promise<{ status: number; json: { id: number } }>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' }
      const asking = request(url + path, { agent, method, headers }, response => {
        let text = ''
        response.setEncoding('utf8').on('data', data => {
          text += data
        })
        response.on('end', () => resolve({ status: response.statusCode!, json: JSON.parse(text) }))
      })
      asking.on('error', reject).end(body === undefined ? undefined : JSON.stringify(body))
    })
  return { ask, end: () => agent.destroy() }
}

describe('the embedded database', () => {
  beforeEach(() => makeEmptyFolder(folder))

  test('that was out of descriptors is not ready, heals when there are some, and has lost nothing', async () => {
    const program = startProgram({ env: { DATA_DIR: folder }, descriptors: 400, after: 'hungry.ts' })
    const { url, pid } = await program.ready()
    const { ask, end } = clientOf(url)
    const acknowledged: number[] = []
    /** Long names fill a page of the table soon, and the next one takes new files. */
    const post = async (): Promise<number> => {
      const { status, json } = await ask('POST', '/spells', { name: 'x'.repeat(255), damage: 1 })
      if (status === 201) acknowledged.push(json.id)
      return status
    }
    expect(await post()).toBe(201)
    process.kill(pid, 'SIGUSR2')
    await vi.waitFor(async () => expect(await post()).toBe(503), { ...PATIENCE, interval: 0 })
    expect((await ask('GET', '/health/ready')).status).toBe(503)
    expect((await ask('GET', '/health/live')).status).toBe(200)
    expect(await post()).toBe(503)

    process.kill(pid, 'SIGUSR2')
    await vi.waitFor(async () => expect((await ask('GET', '/health/ready')).status).toBe(200), PATIENCE)
    for (let n = 0; n < 50; n++) expect(await post()).toBe(201)
    for (const id of acknowledged) expect((await ask('GET', `/spells/${id}`)).status).toBe(200)
    await program.logged('the embedded database has broken')
    end()
    await endsInOrder(program, () => process.kill(pid, 'SIGTERM'))

    const second = startProgram({ env: { DATA_DIR: folder } })
    const again = clientOf((await second.ready()).url)
    for (const id of acknowledged) expect((await again.ask('GET', `/spells/${id}`)).status).toBe(200)
    again.end()
  })

  test('does not notice that there are more connections than descriptors', async () => {
    const program = startProgram({ env: { DATA_DIR: folder, HOST: '127.0.0.1' }, descriptors: 300 })
    const { url, pid } = await program.ready()
    const sockets: Socket[] = []
    for (let n = 0; n < 400; n++) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
      sockets.push(socket)
    }
    const { ask, end } = clientOf(url)
    for (let n = 0; n < 50; n++)
      expect((await ask('POST', '/spells', { name: 'x'.repeat(255), damage: 1 })).status).toBe(201)
    expect(program.log.filter(line => line.level >= 40)).toEqual([])
    end()
    for (const socket of sockets) socket.destroy()
    await endsInOrder(program, () => process.kill(pid, 'SIGTERM'))
  })
})

describe('the number of connections', () => {
  const pglite = { kind: 'pglite', folder: undefined } as const
  const postgres = { kind: 'postgres', url: '', poolMax: 100, timeoutMs: 1 } as const
  test.each([
    [{ maxConnections: undefined, database: pglite }, 1_000_000, 1_000],
    [{ maxConnections: 50, database: pglite }, 1_000_000, 50],
    [{ maxConnections: undefined, database: pglite }, 1_024, 832],
    [{ maxConnections: 5_000, database: postgres }, 1_024, 732],
    [{ maxConnections: undefined, database: postgres }, 256, 16],
    [{ maxConnections: undefined, database: pglite }, Number.POSITIVE_INFINITY, 1_000],
  ])('for %o and %d descriptors is %d', (config, descriptors, connections) => {
    expect(connectionsFor(config, descriptors)).toBe(connections)
  })
})
