import { printable } from 'cacheaside/operate'
import type { Config } from './config.ts'

/**
 * Says in one line why there is nothing to serve.
 *
 * @param config - Left out: it could not be read.
 */
export const explainFailure = (error: unknown, config?: Pick<Config, 'host' | 'port'>): string =>
  printable(reasonOf(error, config))

function reasonOf(error: unknown, config?: Pick<Config, 'host' | 'port'>): string {
  const { code, syscall, message } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error) }
  if (config !== undefined) {
    const { host, port } = config
    if (code === 'EADDRINUSE') return `port ${port} of ${host} is in use by another program`
    if (code === 'EADDRNOTAVAIL') return `HOST is ${host}, which is no address of this machine`
    if (code === 'EINVAL' && syscall === 'listen' && /^fe[89ab]/i.test(host))
      return `HOST is ${host}, an address of one link: name its interface as well, such as ${host}%eth0`
    if (syscall === 'getaddrinfo') return `HOST is ${host}, a name without an address: ${message}`
    if (code === 'EACCES' && syscall === 'listen')
      return `port ${port} of ${host} may not be used: ${message}`
  }
  const line = message.split('\n', 1)[0]!
  const advice = code === undefined ? undefined : ADVICE[code]
  return advice === undefined ? line : `${line}. ${advice}`
}

/** What to do where a database refuses the first statements, by SQLSTATE. */
const ADVICE: Readonly<Record<string, string>> = {
  '25006': 'DATABASE_URL must name the primary, and no standby',
  '42P07': 'Another program has tables in this database: give Spellbook one of its own',
}
