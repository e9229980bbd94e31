/**
 * `compose.yaml` as far as it can be tried without Docker: it is read as Compose reads it, its Redis is started with the
 * very arguments, and what it says agrees with the configuration that Spellbook reads and with the README.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { readConfig } from '../spellbook/src/config.ts'
import { type Settings, startRedis } from './redis-servers.ts'

interface Service {
  readonly image: string
  readonly profiles?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly command?: readonly string[]
  readonly ports: readonly string[]
  readonly volumes?: readonly string[]
  readonly healthcheck: { readonly test: readonly string[]; readonly retries: number }
}

const ROOT = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const TEXT = read('compose.yaml')
const compose: { services: Record<'postgres' | 'redis', Service>; volumes: Record<string, unknown> } =
  parse(TEXT)
const { postgres, redis } = compose.services

/** The assignments before the `npm start` of the file's head. */
function headVariables(): Record<string, string> {
  const line = TEXT.split('\n').find(text => text.endsWith('npm start')) ?? ''
  return Object.fromEntries([...line.matchAll(/\b([A-Z_]+)=(\S+)/g)].map(([, name, value]) => [name, value]))
}

const versionOf = ({ image }: Service): [name: string, major: number] => {
  const [name = '', tag = ''] = image.split(':')
  return [name, Number(/^\d+/.exec(tag)?.[0])]
}

test('compose.yaml has the two servers, of versions that are supported, on this machine only', () => {
  const others = Object.entries<Service>(compose.services).filter(
    ([, { profiles }]) => profiles !== undefined,
  )
  expect(Object.keys(compose.services)).toEqual(['postgres', 'redis', ...others.map(([name]) => name)])
  const [postgresName, postgresMajor] = versionOf(postgres)
  expect(postgresName).toBe('postgres')
  expect(postgresMajor).toBeGreaterThanOrEqual(13)
  const [redisName, redisMajor] = versionOf(redis)
  expect(redisName).toBe('redis')
  expect(redisMajor).toBeGreaterThanOrEqual(7)
  for (const { ports } of [postgres, redis])
    expect(ports.every(port => /^127\.0\.0\.1:/.test(port))).toBe(true)
  // From 18 on the image keeps its data elsewhere, and a volume at this place would stay empty.
  expect(postgresMajor).toBeLessThan(18)
  expect(postgres.volumes).toEqual(['postgres:/var/lib/postgresql/data'])
  expect(Object.keys(compose.volumes)).toEqual(['postgres'])
})

test('compose.yaml names variables in its head that Spellbook knows, and that lead to its servers', () => {
  const variables = headVariables()
  expect(Object.keys(variables)).toEqual(['DATABASE_URL', 'REDIS_URL'])
  const { database, cache } = readConfig(variables)
  expect(database.kind === 'postgres' && database.url).toBe(variables.DATABASE_URL)
  const url = new URL(variables.DATABASE_URL!)
  expect(postgres.environment).toEqual({
    POSTGRES_USER: url.username,
    POSTGRES_PASSWORD: url.password,
    POSTGRES_DB: url.pathname.slice(1),
  })
  expect(postgres.ports).toEqual([`127.0.0.1:${url.port}:5432`])
  const { shared } = cache!
  if (shared.kind !== 'redis') throw new Error('REDIS_URL leads to no Redis')
  expect(shared.servers.map(({ port }) => `127.0.0.1:${port}:6379`)).toEqual(redis.ports)
  // The README leaves the port out, which is the default one.
  url.port = ''
  expect(read('README.md')).toContain(`\`${url.href}\``)
  for (const name of Object.keys(variables)) expect(read('spellbook/.env.example')).toContain(`#${name}=`)
})

test('compose.yaml asks its servers how they are with programs and arguments that they have', () => {
  expect(postgres.healthcheck.test).toEqual([
    'CMD',
    'pg_isready',
    `--username=${postgres.environment!.POSTGRES_USER}`,
    '--host=127.0.0.1',
  ])
  expect(redis.healthcheck.test).toEqual(['CMD', 'redis-cli', 'ping'])
})

test('compose.yaml starts its Redis with arguments that it takes, and that Spellbook does not warn about', async () => {
  const [program, ...args] = redis.command!
  expect(program).toBe('redis-server')
  const settings: Record<string, string> = {}
  for (let i = 0; i < args.length; i += 2) settings[args[i]!.replace(/^--/, '')] = args[i + 1] || '""'
  const server = await startRedis(settings satisfies Settings)
  onTestFinished(() => server.stop())
  const warnings: string[] = []
  const store = redisShared({
    client: new Redis(server.port, { lazyConnect: true }),
    onWarning: ({ message }) => warnings.push(message),
  })
  onTestFinished(() => store.close())
  const { nodes } = await store.ready()
  expect(nodes.map(({ policy }) => policy)).toEqual(['allkeys-lru'])
  expect(warnings).toEqual([])
  expect(await server.command('CONFIG', 'GET', 'save')).toEqual(['save', ''])
})

interface Watching extends Service {
  readonly network_mode: string
}

test('compose.yaml has a profile for Prometheus and one for Grafana, on this machine only', () => {
  const { prometheus, grafana } = compose.services as unknown as Record<'prometheus' | 'grafana', Watching>
  for (const [name, service] of Object.entries({ prometheus, grafana })) {
    expect(service.profiles).toEqual([name])
    // Spellbook tells its metrics to this machine, and what publishes no port must itself listen on the loopback.
    expect(service.network_mode).toBe('host')
    expect(service.ports).toBeUndefined()
    expect(service.healthcheck.test.at(-1)).toMatch(/^http:\/\/127\.0\.0\.1:\d+\//)
    for (const volume of service.volumes!) {
      const [path = '', , mode] = volume.split(':')
      expect(existsSync(join(ROOT, path)), path).toBe(true)
      expect(mode).toBe('ro')
    }
  }
  const listening = prometheus.command!.find(text => text.startsWith('--web.listen-address='))
  expect(listening).toBe('--web.listen-address=127.0.0.1:9090')
  expect(grafana.environment!.GF_SERVER_HTTP_ADDR).toBe('127.0.0.1')
  const [source] = parse(read('grafana/provisioning/datasources/prometheus.yml')).datasources
  expect(source.url).toBe('http://localhost:9090')
  const [provider] = parse(read('grafana/provisioning/dashboards/cacheaside.yml')).providers
  expect(grafana.volumes!.some(volume => volume.split(':')[1]!.startsWith(`${provider.options.path}/`))).toBe(
    true,
  )
  const [job] = parse(read('prometheus/prometheus.yml')).scrape_configs
  expect(job.static_configs[0].targets).toEqual([`localhost:${readConfig({}).port}`])
})
