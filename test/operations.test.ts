/**
 * What is shipped for those who are on call: the alerts and the dashboard name metrics and labels that are exported, and
 * the alerts fire when they should.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { ensurePromtool } from './ensure-promtool.ts'

const ROOT = join(import.meta.dirname, '..')
const ALERTS = join(ROOT, 'prometheus/alerts.yml')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly annotations: { readonly summary: string; readonly description: string }
}
const rules: Rule[] = parse(read('prometheus/alerts.yml')).groups.flatMap(
  ({ rules }: { rules: Rule[] }) => rules,
)

interface Panel {
  readonly title: string
  readonly type: string
  readonly description?: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}
const dashboard: {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] }
} = JSON.parse(read('grafana/dashboard.json'))

/** The labels of each metric, by docs/telemetry.md, which another test compares with what is exported. */
const documented = new Map<string, readonly string[]>()
for (const [, name = '', kind, labels = ''] of read('docs/telemetry.md').matchAll(
  /^\| `[\w.]+` \| `(\w+)` \| (\w+) \| [^|]+ \| ([^|]+) \|/gm,
)) {
  const all = ['cache', 'instance', 'job', ...[...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label!)]
  if (kind !== 'histogram') documented.set(name, all)
  else for (const end of ['_bucket', '_count', '_sum']) documented.set(name + end, [...all, 'le'])
}

/** What is wrong with the names in an expression. */
function unknownNames(expression: string): string[] {
  const wrong: string[] = []
  const names = expression.match(/\bcacheaside_\w+/g) ?? []
  if (names.length === 0) wrong.push(`no metric in ${expression}`)
  const known = new Set(names.flatMap(name => documented.get(name) ?? []))
  for (const name of names) if (!documented.has(name)) wrong.push(name)
  for (const [, name = '', matchers = ''] of expression.matchAll(/\b(cacheaside_\w+)\{([^}]*)\}/g))
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g))
      if (documented.get(name)?.includes(label) !== true) wrong.push(`${label} of ${name}`)
  for (const [, labels = ''] of expression.matchAll(/\bby \(([^)]*)\)/g))
    for (const label of labels.split(',').map(text => text.trim()))
      if (!known.has(label)) wrong.push(`by ${label}`)
  return wrong
}

describe('names', () => {
  test('of prometheus/alerts.yml are those of exported metrics and their labels', () => {
    expect(documented.size).toBeGreaterThan(30)
    expect(rules.length).toBeGreaterThan(6)
    expect(rules.flatMap(({ expr }) => unknownNames(expr))).toEqual([])
    for (const { expr, annotations } of rules)
      for (const [, label = ''] of JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g))
        expect([...new Set(expr.match(/\bcacheaside_\w+/g))].flatMap(name => documented.get(name))).toContain(
          label,
        )
  })

  test('of grafana/dashboard.json are those of exported metrics and their labels, and none is left out', () => {
    const targets = dashboard.panels.flatMap(({ targets = [] }) => targets)
    expect(targets.length).toBeGreaterThan(30)
    expect(targets.flatMap(({ expr }) => unknownNames(expr))).toEqual([])
    for (const { expr, legendFormat } of targets)
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        expect(/\bby \(/.test(expr) ? /\bby \(([^)]*)\)/.exec(expr)?.[1] : 'instance', expr).toBe(label)
    const shown = new Set(targets.flatMap(({ expr }) => expr.match(/\bcacheaside_\w+/g) ?? []))
    const missing = [...documented.keys()].filter(name => !/_(count|sum)$/.test(name) && !shown.has(name))
    expect(missing).toEqual([])
    for (const { query } of dashboard.templating.list.slice(1))
      expect(unknownNames(JSON.stringify(query))).toEqual([])
  })

  test.each([
    ['sum(rate(cacheaside_read_total[5m]))', ['cacheaside_read_total']],
    ['cacheaside_reads_total{form="local"}', ['form of cacheaside_reads_total']],
    ['sum by (key) (cacheaside_flights)', ['by key']],
    ['up == 0', ['no metric in up == 0']],
  ])('that are wrong are found in %s', (expression, wrong) => {
    expect(unknownNames(expression)).toEqual(wrong)
  })
})

test('docs/telemetry.md lists the alerts of prometheus/alerts.yml', () => {
  const listed = [...read('docs/telemetry.md').matchAll(/^\| `(Cache\w+)` \|/gm)].map(([, name]) => name)
  expect(listed).toEqual(rules.map(({ alert }) => alert))
})

test('grafana/dashboard.json has panels that are explained and do not lie over one another', () => {
  const places = new Set<string>()
  for (const { title, type, description, gridPos } of dashboard.panels) {
    if (type !== 'row') expect(description, title).toMatch(/\.$/)
    for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        expect(x).toBeLessThan(24)
        expect(places.has(`${x} ${y}`), title).toBe(false)
        places.add(`${x} ${y}`)
      }
    }
  }
})

describe('promtool', () => {
  let promtool = ''
  beforeAll(() => {
    promtool = ensurePromtool()
  })

  const run = (...args: string[]) => spawnSync(promtool, args, { encoding: 'utf8' })

  test('accepts prometheus/prometheus.yml and prometheus/alerts.yml', () => {
    const { status, stdout, stderr } = run('check', 'config', join(ROOT, 'prometheus/prometheus.yml'))
    expect(stdout + stderr).toContain(`${rules.length} rules found`)
    expect(status).toBe(0)
  })

  /** When each alert fires, by one series per minute; and what is like it and does not make it fire. */
  const CASES: Record<string, { fires: string[]; quiet: string[]; atM: number }> = {
    CacheStaleValueFound: {
      fires: ['cacheaside_verifications_total{outcome="stale"} 0x5 1x5'],
      quiet: ['cacheaside_verifications_total{outcome="equal"} 0+10x10'],
      atM: 8,
    },
    CacheFeedLags: {
      fires: [
        'cacheaside_feed_lag_seconds 6x10',
        'cacheaside_feed_changes_total{outcome="applied"} 0+1x10',
        'cacheaside_feed_changes_total{outcome="retained"} 0x10',
      ],
      quiet: [
        'cacheaside_feed_lag_seconds 1x10',
        'cacheaside_feed_changes_total{outcome="applied"} 0+1x10',
        // One slow batch, an hour ago.
        'cacheaside_feed_lag_seconds{instance="quiet"} 6x10',
        'cacheaside_feed_changes_total{instance="quiet",outcome="applied"} 7x10',
      ],
      atM: 8,
    },
    CacheFeedLost: {
      fires: ['cacheaside_feed_open 0x10'],
      quiet: ['cacheaside_feed_open 0x1 1x8'],
      atM: 8,
    },
    CacheFeedRetains: {
      fires: ['cacheaside_feed_changes_total{outcome="retained"} 0+1x20'],
      quiet: ['cacheaside_feed_changes_total{outcome="applied"} 0+1x20'],
      atM: 15,
    },
    CacheFeedWarns: {
      fires: ['cacheaside_feed_warnings_total 0x5 1x5'],
      quiet: ['cacheaside_feed_warnings_total 2x10'],
      atM: 8,
    },
    CacheInvalidationsQueued: {
      fires: ['cacheaside_invalidations_queued 0x3 2x7'],
      quiet: ['cacheaside_invalidations_queued 0x10', 'cacheaside_commits_in_doubt 3x10'],
      atM: 8,
    },
    CacheWritesUnfenced: {
      fires: ['cacheaside_unfenced_writes_total 0x5 1x5'],
      quiet: ['cacheaside_unfenced_writes_total 7x10'],
      atM: 7,
    },
    CacheStoreSuspect: {
      fires: ['cacheaside_shared_available 1x3 0x7'],
      quiet: ['cacheaside_shared_available 1x10'],
      atM: 8,
    },
    CacheStoreFlaps: {
      fires: ['cacheaside_shared_outages_total 0+1x10'],
      quiet: ['cacheaside_shared_outages_total 0x3 2x7'],
      atM: 8,
    },
    CacheStoreFull: {
      fires: ['cacheaside_reads_total{why="full"} 0x2 1+5x10'],
      quiet: ['cacheaside_reads_total{why="missing"} 0+9x12', 'cacheaside_reads_total{why="full"} 0x12'],
      atM: 8,
    },
    CacheBroadcastsMissing: {
      fires: ['cacheaside_stream_proven 0x10', 'cacheaside_shared_available 1x10'],
      quiet: ['cacheaside_stream_proven 0x10', 'cacheaside_shared_available 0x10'],
      atM: 8,
    },
    CacheLoadsFail: {
      fires: [
        'cacheaside_loads_total{outcome="loaded"} 0+90x10',
        'cacheaside_loads_total{outcome="timed-out"} 0+10x10',
      ],
      quiet: [
        'cacheaside_loads_total{outcome="loaded"} 0+98x10',
        'cacheaside_loads_total{outcome="failed"} 0+2x10',
        'cacheaside_loads_total{outcome="aborted"} 0+50x10',
      ],
      atM: 8,
    },
    CacheLoadsSlow: {
      fires: [
        'cacheaside_load_duration_seconds_sum 0+3x1440 4320+12x60',
        'cacheaside_load_duration_seconds_count 0+60x1500',
      ],
      quiet: [
        'cacheaside_load_duration_seconds_sum 0+3x1500',
        'cacheaside_load_duration_seconds_count 0+60x1500',
      ],
      atM: 1_490,
    },
    CacheValuesUnkept: {
      fires: ['cacheaside_fills_total{outcome="too-large"} 0x5 1x5'],
      quiet: ['cacheaside_fills_total{outcome="refused"} 0+1x10'],
      atM: 8,
    },
    CacheValuesUnreadable: {
      fires: ['cacheaside_unreadable_values_total 0x5 1x5'],
      quiet: ['cacheaside_unreadable_values_total 3x10'],
      atM: 8,
    },
    CacheHitRatioFallen: {
      fires: [
        'cacheaside_reads_total{from="local"} 0+900x1440 0+100x60',
        'cacheaside_reads_total{from="origin"} 0+100x1440 0+900x60',
      ],
      quiet: [
        'cacheaside_reads_total{from="local"} 0+900x1500',
        'cacheaside_reads_total{from="origin"} 0+100x1500',
      ],
      atM: 1_490,
    },
  }

  test('is asked about each alert', () => {
    expect(Object.keys(CASES)).toEqual(rules.map(({ alert }) => alert))
  })

  test('finds that each alert fires when it should, and not otherwise', () => {
    const tests = Object.entries(CASES).flatMap(([alert, { fires, quiet, atM }]) =>
      [fires, quiet].map((series, isQuiet) => ({
        interval: '1m',
        input_series: series.map(line => {
          const at = line.indexOf(' ')
          return { series: line.slice(0, at), values: line.slice(line.search(/ \d/) + 1) }
        }),
        promql_expr_test: [
          {
            expr: `count(ALERTS{alertname="${alert}",alertstate="firing"}) or vector(0)`,
            eval_time: `${atM}m`,
            exp_samples: [{ labels: '{}', value: isQuiet === 1 ? 0 : 1 }],
          },
        ],
      })),
    )
    const folder = mkdtempSync(join(tmpdir(), 'cacheaside-alerts-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'alerts.test.yml')
    writeFileSync(file, stringify({ rule_files: [ALERTS], evaluation_interval: '1m', tests }))
    const { status, stdout, stderr } = run('test', 'rules', file)
    expect(stdout + stderr).toContain('SUCCESS')
    expect(status).toBe(0)
  })
})
