/**
 * `npm run lesson`: what `docs/lesson.md` tells, one demonstration at a time, on servers of its own. Without a name it lists them; `all`
 * runs one after the other. Exits with 1 if something was not as the lesson says.
 */
import { ensureRedisServer } from '../test/ensure-redis-server.ts'
import { createDatabase, type PostgresServer, startPostgres } from '../test/services.ts'
import { parsedArgs, refuse } from '../test/usage.ts'
import { demonstrate } from './demonstration.ts'
import { demonstrations } from './demonstrations.ts'

const { positionals } = parsedArgs('lesson', { allowPositionals: true })
const unknown = positionals.find(name => name !== 'all' && !demonstrations.some(one => one.name === name))
if (unknown !== undefined)
  refuse(
    'lesson',
    `there is no ${unknown}; there are all, ${demonstrations.map(({ name }) => name).join(', ')}`,
  )

const longest = Math.max(...demonstrations.map(({ name }) => name.length))
const chosen = positionals.includes('all')
  ? demonstrations
  : demonstrations.filter(({ name }) => positionals.includes(name))
if (chosen.length === 0) {
  console.log('npm run lesson -- NAME, or all:\n')
  for (const { name, title } of demonstrations) console.log(`  ${name.padEnd(longest)}  ${title}`)
}

let postgres: PostgresServer | undefined
try {
  for (const one of chosen) {
    if (chosen.length > 1) console.log(`\n${one.name}: ${one.title}`)
    await demonstrate(one, {
      say: line => console.log(line),
      redisProgram: ensureRedisServer,
      async postgresUrl() {
        postgres ??= await startPostgres()
        return createDatabase(postgres.url)
      },
    })
  }
} catch (error) {
  console.error(`lesson: ${(error as Error).message}`)
  process.exitCode = 1
} finally {
  await postgres?.stop()
}
