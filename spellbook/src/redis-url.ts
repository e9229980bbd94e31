/** How Redis is reached. It may hold a password: it must not reach a log. */
export interface RedisServers {
  /** The server; or, of a Cluster, some of its servers, which are asked for the others. */
  readonly servers: readonly { readonly host: string; readonly port: number }[]
  readonly cluster: boolean
  readonly tls: boolean
  /** `undefined`: the user `default`. */
  readonly username: string | undefined
  readonly password: string | undefined
  readonly database: number
}

const FORM =
  'a URL such as redis://user:password@host:6379/0 (rediss: for TLS), or redis://host:7000,host:7001 for a Cluster'
const CLUSTER_DATABASE = 'free of a database number: a Cluster has only one database'
const PARAMETER = 'free of parameters but ?cluster=true, which says that the one host stands for a Cluster'

const DEFAULT_PORT = 6379
const URL_PARTS = /^(rediss?):\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/(\d{1,4})?)?(?:\?([^#]*))?$/

/**
 * Reads the address of Redis or Valkey, `redis://user:password@host:port/database`, where everything but the host may
 * be left out. With `rediss` the connection is encrypted, and the certificate checked. Several hosts, with commas
 * between them, are servers of one Cluster; so is a single one with `?cluster=true`. What is special in a user or a
 * password is written in percents.
 *
 * @returns the parts; or what a URL should be that this is not, to complete the sentence "it must be …".
 */
export function parseRedisUrl(text: string): RedisServers | string {
  const [, scheme, user = '', hosts = '', database = '0', parameters = ''] = URL_PARTS.exec(text) ?? []
  if (scheme === undefined) return FORM
  const credentials = credentialsOf(user)
  const servers = hosts.split(',').map(serverOf)
  if (credentials === undefined || !servers.every(server => server !== undefined)) return FORM
  if (!/^(cluster=(true|false))?$/.test(parameters)) return PARAMETER
  const cluster = servers.length > 1 || parameters === 'cluster=true'
  if (cluster && Number(database) !== 0) return CLUSTER_DATABASE
  return { servers, cluster, tls: scheme === 'rediss', ...credentials, database: Number(database) }
}

/** What stands before the `@`; `undefined` if it cannot be understood. */
function credentialsOf(text: string): Pick<RedisServers, 'username' | 'password'> | undefined {
  if (text === '') return { username: undefined, password: undefined }
  try {
    const [username = '', password = '', ...rest] = text.split(':').map(decodeURIComponent)
    // Redis knows no user without a password.
    if (password === '' || rest.length > 0) return undefined
    return { username: username === '' ? undefined : username, password }
  } catch {
    return undefined
  }
}

function serverOf(text: string): RedisServers['servers'][number] | undefined {
  if (!URL.canParse(`redis://${text}`)) return undefined
  const { hostname, port } = new URL(`redis://${text}`)
  if (hostname === '' || port === '0') return undefined
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? DEFAULT_PORT : Number(port) }
}

/** For people, without secrets: `Redis at localhost:6379/0`. */
export function nameOfRedis({ servers, cluster, tls, database }: RedisServers): string {
  const addresses = servers.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const what = `${cluster ? 'a Redis Cluster' : 'Redis'}${tls ? ' by TLS' : ''}`
  return `${what} at ${addresses.join(', ')}${cluster ? '' : `/${database}`}`
}
