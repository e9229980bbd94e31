/** The spans of a cache, recorded by the SDK of OpenTelemetry. */
import { type Context, context, type Tracer, trace } from '@opentelemetry/api'
import { AlwaysOffSampler } from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, test } from 'vitest'
import { type OpenTelemetryTracesOptions, openTelemetryTraces } from '../../src/opentelemetry/index.ts'
import { gate, SimulatedFeed } from '../../src/testing/index.ts'
import { fireball, openWorld, type Spell, spellTable } from '../world.ts'
import { openTracing } from './spans.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  trace.disable()
  for (const end of ends.splice(0)) await end()
})

type Given = Omit<OpenTelemetryTracesOptions, 'tracer'>

function open(
  given: Given = {},
  options: Parameters<ReturnType<typeof openWorld>['process']>[0] = {},
  isFar = false,
) {
  const { clock, process, network } = openWorld()
  const { cache } = isFar ? process(options, network()) : process(options)
  const tracing = openTracing()
  ends.push(tracing.close)
  const traces = openTelemetryTraces(cache, { ...given, tracer: tracing.tracer })
  return { clock, cache, tracing, traces, ...tracing }
}

describe('openTelemetryTraces', () => {
  test('puts the steps of a miss below it, and what the loader does below its load', async () => {
    const { cache, inside, tree, named } = open()
    const spells = cache.keyspace('spell', {
      load: (id: number) => inside('query', () => spellTable(fireball).find(id)),
    })
    await inside('request', () => spells.get(4))
    expect(tree()).toEqual([
      [
        'request',
        [
          'cacheaside.read spell',
          'cacheaside.ask spell',
          ['cacheaside.load spell', 'query'],
          'cacheaside.fill spell',
        ],
      ],
    ])
    expect(named('cacheaside.read spell')[0]!.attributes).toEqual({
      'cacheaside.cache': 'default',
      'cacheaside.keyspace': 'spell',
      'cacheaside.keys.count': 1,
      'cacheaside.call': 'get',
      'cacheaside.strong': false,
      'cacheaside.outcome': 'answered',
      'cacheaside.joined': false,
      'cacheaside.from': 'origin',
      'cacheaside.why': 'missing',
      'cacheaside.absent': false,
    })
    expect(named('cacheaside.ask spell')[0]!.attributes).toMatchObject({ 'cacheaside.answer': 'leased' })
    const load = { 'cacheaside.outcome': 'loaded', 'cacheaside.wait': 0 }
    expect(named('cacheaside.load spell')[0]!.attributes).toMatchObject(load)
    expect(named('cacheaside.fill spell')[0]!.attributes).toMatchObject({ 'cacheaside.outcome': 'accepted' })
  })

  test('shows a hit in the shared store, and no hit in L1 unless it is asked for', async () => {
    const shared = open({}, {}, true)
    const first = shared.cache.keyspace('spell', { load: spellTable(fireball).find })
    await shared.clock.drain()
    await first.get(4)
    await shared.clock.drain()
    await first.get(4)
    expect(shared.tree().at(-1)).toEqual(['cacheaside.read spell', 'cacheaside.ask spell'])

    const local = { local: { maxEntries: 10 } }
    const quiet = open({}, local)
    const second = quiet.cache.keyspace('spell', { loadMany: spellTable(fireball).findMany })
    await second.get(4)
    const before = quiet.spans().length
    await second.get(4)
    await second.getMany([4])
    expect(quiet.spans()).toHaveLength(before)

    const loud = open({ hits: true, keys: true }, local)
    const third = loud.cache.keyspace('spell', { load: spellTable(fireball).find })
    await third.get(4)
    await loud.inside('request', () => third.get(4))
    expect(loud.tree().at(-1)).toEqual(['request', 'cacheaside.read spell'])
    expect(loud.named('cacheaside.read spell')[1]!.attributes).toMatchObject({
      'cacheaside.from': 'local',
      'cacheaside.keys': ['spell:4'],
    })
  })

  test('links a read that has joined to the read that leads', async () => {
    const { cache, inside, named, tree } = open()
    const loading = gate<Spell>()
    const spells = cache.keyspace('spell', { load: (_: number) => loading.wait() })
    const reads = [inside('one', () => spells.get(4)), inside('other', () => spells.get(4))]
    await loading.reached
    loading.open(fireball)
    await Promise.all(reads)
    expect(tree()[1]).toEqual(['other', 'cacheaside.read spell'])
    const [leads, joins] = named('cacheaside.read spell').sort(
      (a, b) => Number(a.attributes['cacheaside.joined']) - Number(b.attributes['cacheaside.joined']),
    )
    expect(leads!.links).toEqual([])
    expect(joins!.links.map(link => link.context.spanId)).toEqual([leads!.spanContext().spanId])
  })

  test('puts the load of strong readers that have waited below the first of them', async () => {
    const { cache, inside, tree } = open()
    const loading = gate<Spell>()
    const spells = cache.keyspace('spell', { load: (_: number) => loading.wait() })
    const strong = { consistency: 'strong' } as const
    const reads = [inside('one', () => spells.get(4)), inside('strong', () => spells.get(4, strong))]
    await loading.reached
    loading.open(fireball)
    await Promise.all(reads)
    expect(tree()[1]).toEqual(['strong', ['cacheaside.read spell', 'cacheaside.ask spell']])
  })

  test('makes a refresh a root of its own, with a link to the read that has begun it', async () => {
    const { clock, cache, inside, tree, named } = open()
    const options = { load: spellTable(fireball).find, ttlMs: 1_000, ttlJitter: 0, staleMs: 9_000 } as const
    const spells = cache.keyspace('spell', options)
    await spells.get(4)
    await clock.advance(2_000)
    await inside('request', () => spells.get(4))
    await clock.drain()
    expect(tree().slice(1)).toEqual([
      ['request', ['cacheaside.read spell', 'cacheaside.ask spell']],
      ['cacheaside.refresh spell', 'cacheaside.load spell', 'cacheaside.fill spell'],
    ])
    const [refresh] = named('cacheaside.refresh spell')
    const read = named('cacheaside.read spell')[1]!
    expect(refresh!.links.map(link => link.context.spanId)).toEqual([read.spanContext().spanId])
    expect(read.attributes).toMatchObject({ 'cacheaside.why': 'stale' })
  })

  test('says of a load that fails, and of its read, how they ended and with which error', async () => {
    const { cache, named } = open()
    const spells = cache.keyspace('spell', { load: (_: number) => Promise.reject(new TypeError('away')) })
    await expect(spells.get(4)).rejects.toThrow('away')
    for (const name of ['cacheaside.load spell', 'cacheaside.read spell']) {
      const [span] = named(name)
      expect(span!.status, name).toEqual({ code: 2, message: 'away' })
      expect(span!.attributes).toMatchObject({ 'cacheaside.outcome': 'failed', 'error.type': 'failed' })
      expect(span!.events.map(event => event.attributes!['exception.type'])).toEqual(['TypeError'])
    }
  })

  test('says of a fill that it was refused, which is no error', async () => {
    const { cache, named } = open()
    const loading = gate<Spell>()
    const spells = cache.keyspace('spell', { load: (_: number) => loading.wait() })
    const reading = spells.get(4)
    await loading.reached
    await spells.invalidate(4)
    loading.open(fireball)
    await reading
    const [fill] = named('cacheaside.fill spell')
    expect(fill!.attributes).toMatchObject({ 'cacheaside.outcome': 'refused' })
    expect(fill!.status.code).toBe(0)
    expect(named('cacheaside.invalidate spell')[0]!.attributes).toMatchObject({
      'cacheaside.outcome': 'applied',
    })
  })

  test('puts the guards, the commit and the releases of a write below it', async () => {
    const { cache, inside, tree, named } = open()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await inside('request', () => spells.write(4, () => inside('update', async () => {})))
    expect(tree()).toEqual([
      [
        'request',
        [
          'cacheaside.write spell',
          'cacheaside.guard spell',
          ['cacheaside.commit spell', 'update'],
          'cacheaside.release spell',
        ],
      ],
    ])
    expect(named('cacheaside.write spell')[0]!.attributes).toMatchObject({
      'cacheaside.outcome': 'committed',
      'cacheaside.fenced': true,
      'cacheaside.invalidation': 'applied',
    })
  })

  test('counts where the values of a batch came from, and names no keyspace where there are several', async () => {
    const { clock, cache, named, inside } = open()
    const spells = cache.keyspace('spell', { loadMany: spellTable(fireball).findMany })
    const names = cache.keyspace('name', { load: async (_: number) => 'Fireball' })
    await spells.get(4)
    await clock.drain()
    await inside('request', () => spells.getMany([4, 5]))
    const counts = { 'cacheaside.reads.local': 0, 'cacheaside.reads.shared': 1, 'cacheaside.reads.origin': 1 }
    expect(named('cacheaside.read spell')[1]!.attributes).toMatchObject({
      'cacheaside.call': 'getMany',
      ...counts,
    })
    await cache.snapshot([spells.at(4), names.at(4)], { load: () => [fireball, 'Fireball'] as const })
    const [snapshot] = named('cacheaside.read')
    expect(snapshot!.attributes).toMatchObject({ 'cacheaside.call': 'snapshot', 'cacheaside.keys.count': 2 })
    expect(snapshot!.attributes).not.toHaveProperty('cacheaside.keyspace')
  })

  test('makes a batch of the feed a root', async () => {
    const { clock, process } = openWorld()
    const feed = new SimulatedFeed({ clock, tables: { spell: ({ id }) => [spells.key(Number(id))] } })
    const { cache } = process({ feed })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const tracing = openTracing()
    ends.push(tracing.close)
    openTelemetryTraces(cache, { tracer: tracing.tracer, name: 'spells' })
    await clock.advance(10)
    feed.commit('spell', [{ id: 4 }])
    await clock.advance(1_000)
    expect(tracing.tree()).toEqual(['cacheaside.relay'])
    expect(tracing.spans()[0]!.attributes).toEqual({
      'cacheaside.cache': 'spells',
      'cacheaside.feed.changes': 1,
      'cacheaside.feed.applied': 1,
      'cacheaside.feed.lag': expect.any(Number),
      'cacheaside.outcome': 'applied',
    })
    await cache.close()
  })

  test('records nothing where the sampler has left the span out', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const tracing = openTracing(new AlwaysOffSampler())
    ends.push(tracing.close)
    let touched = 0
    const { tracer: real } = tracing
    const tracer = {
      startSpan(name: string, options: object, parent: Context) {
        const span = real.startSpan(name, options, parent)
        for (const method of [
          'setAttribute',
          'setAttributes',
          'recordException',
          'addLink',
          'setStatus',
        ] as const)
          span[method] = () => {
            touched++
            return span as never
          }
        return span
      },
    } as unknown as Tracer
    openTelemetryTraces(cache, { tracer })
    const spans: boolean[] = []
    const spells = cache.keyspace('spell', {
      load: async (id: number) => {
        spans.push(trace.getSpan(context.active())?.isRecording() === true)
        return spellTable(fireball).find(id)
      },
    })
    await Promise.all([spells.get(4), spells.get(4)])
    await spells.write(4, () => {})
    expect(tracing.spans()).toEqual([])
    expect([touched, spans]).toEqual([0, [false]])
  })

  test('takes the tracer of the global provider if none is given, and starts no more spans once it is closed', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const tracing = openTracing()
    ends.push(tracing.close)
    trace.setGlobalTracerProvider({ getTracer: () => tracing.tracer })
    const traces = openTelemetryTraces(cache)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    const { length } = tracing.spans()
    expect(length).toBeGreaterThan(0)
    traces.close()
    traces.close()
    await spells.get(4)
    expect(tracing.spans()).toHaveLength(length)
  })

  test.each<[unknown, string]>([
    [{ tracer: 4 }, 'expected tracer to be a Tracer of @opentelemetry/api, got 4'],
    [{ hits: 1 }, 'expected hits to be true or false, got 1'],
    [{ keys: 'all' }, 'expected keys to be true or false, got "all"'],
    [{ meter: 1 }, 'unknown option options.meter, known are: tracer, name, hits, keys'],
  ])('refuses %j', (options, message) => {
    const { process } = openWorld()
    const { cache } = process()
    expect(() => openTelemetryTraces(cache, options as OpenTelemetryTracesOptions)).toThrow(message)
  })
})
