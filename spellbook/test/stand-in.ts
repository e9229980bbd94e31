/**
 * Stands in for a program that a console block of the README calls and this machine does not have: `createdb`, `psql` or
 * `curl`, with no more options than those blocks use.
 */
import pg from 'pg'

const [name, ...args] = process.argv.slice(2)
/** The argument after an option. */
const after = (option: string) => args[args.indexOf(option) + 1] ?? ''

async function query(connectionString: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  await client.query(sql)
  await client.end()
}

async function curl(): Promise<void> {
  const url = args.find(arg => arg.startsWith('localhost')) ?? ''
  const [type, value] = args.includes('-H') ? after('-H').split(/: */) : []
  const response = await fetch(`http://${url}`, {
    method: args.includes('-X') ? after('-X') : 'GET',
    ...(type === undefined ? {} : { headers: { [type]: value ?? '' } }),
    ...(args.includes('-d') ? { body: after('-d') } : {}),
  })
  if (args.some(arg => /^-s?i$/.test(arg))) {
    const headers = [...response.headers].map(([header, text]) => `${header}: ${text}\r\n`)
    process.stdout.write(`HTTP/1.1 ${response.status} ${response.statusText}\r\n${headers.join('')}\r\n`)
  }
  process.stdout.write(await response.text())
}

if (name === 'createdb') await query('postgres://localhost/postgres', `CREATE DATABASE ${args.at(-1)}`)
if (name === 'psql') await query(args[0] ?? '', after('-qc'))
if (name === 'curl') await curl()
