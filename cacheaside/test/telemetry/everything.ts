import { tracingChannel } from 'node:diagnostics_channel'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import type { Operation } from '../../src/base/tracing.ts'
import { openTelemetryTraces } from '../../src/opentelemetry/index.ts'
import { SimulatedFeed } from '../../src/testing/index.ts'
import { fireball, openWorld, spellTable } from '../world.ts'
import { openTracing } from './spans.ts'

/** All operations that are traced. */
export const FOLLOWED = [
  'read',
  'ask',
  'load',
  'fill',
  'refresh',
  'write',
  'guard',
  'commit',
  'release',
  'invalidate',
  'relay',
] as const satisfies readonly Operation[]

/** A message: the fields that it had at the start, and at the end. */
export interface Followed {
  readonly channel: string
  readonly start: readonly string[]
  end: readonly string[]
}

/** Something of every operation: what channels and spans tell of it. */
export async function everything(): Promise<{
  spans: readonly ReadableSpan[]
  messages: readonly Followed[]
}> {
  const { clock, process } = openWorld()
  const feed = new SimulatedFeed({ clock, tables: { spell: ({ id }) => [spells.key(Number(id))] } })
  const { cache } = process({ feed, local: { maxEntries: 10 }, commitInDoubt: () => false })
  let isAway = false
  const find = spellTable(fireball).findMany
  const spells = cache.keyspace('spell', {
    loadMany: async (ids: readonly number[]) => {
      if (isAway) throw new Error('away')
      return find(ids)
    },
    ttlMs: 1_000,
    ttlJitter: 0,
    staleMs: 9_000,
  })
  const tracing = openTracing()
  openTelemetryTraces(cache, { tracer: tracing.tracer, hits: true, keys: true })
  const messages: Followed[] = []
  const stops = FOLLOWED.map(operation => follow(operation, messages))
  await clock.advance(10)
  await Promise.all([spells.get(4), spells.get(4)])
  await clock.drain()
  await spells.getMany([4, 5])
  await cache.snapshot([spells.at(4)], { load: () => [fireball] as const })
  await clock.advance(2_000)
  await spells.get(4, { consistency: 'strong' })
  await spells.get(4)
  await clock.drain()
  await clock.advance(2_000)
  await spells.get(4)
  await clock.drain()
  isAway = true
  await spells.get(9).catch(() => {})
  await spells.write(4, () => {})
  await spells.write(4, () => Promise.reject(new Error('no'))).catch(() => {})
  await spells.invalidate(4)
  await spells.invalidateAll()
  feed.commit('spell', [{ id: 4 }])
  await clock.advance(1_000)
  await cache.close()
  for (const stop of stops) stop()
  const spans = tracing.spans()
  await tracing.close()
  return { spans, messages }
}

function follow(operation: Operation, messages: Followed[]): () => void {
  const channel = `cacheaside:${operation}`
  const begun = new Map<unknown, Followed>()
  const subscribers = {
    start(message: unknown) {
      const one = { channel, start: Object.keys(message as object), end: [] }
      begun.set(message, one)
      messages.push(one)
    },
    asyncEnd(message: unknown) {
      begun.get(message)!.end = Object.keys(message as object)
    },
  }
  const of = tracingChannel(channel)
  of.subscribe(subscribers as never)
  return () => of.unsubscribe(subscribers as never)
}

/** Each channel with the fields of all its messages; those at the end are the further ones, but for `error`. */
export function messagesOf(messages: readonly Followed[]): Followed[] {
  return FOLLOWED.map(operation => {
    const own = messages.filter(({ channel }) => channel === `cacheaside:${operation}`)
    const start = new Set(own.flatMap(one => one.start))
    const end = new Set(own.flatMap(one => one.end).filter(field => field !== 'error' && !start.has(field)))
    return { channel: `cacheaside:${operation}`, start: [...start], end: [...end] }
  })
}
