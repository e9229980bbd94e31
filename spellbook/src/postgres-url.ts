/**
 * Reads the address of a PostgreSQL, `postgres://user:password@host:port/database`, as `pg` and libpq do. Behind a user the host
 * may be missing, where a parameter names it: `postgres://merlin@/spells?host=/var/run/postgresql`.
 *
 * @returns `undefined` if the text is no such address.
 */
export function parsePostgresUrl(text: string): URL | undefined {
  // The parser knows no user without a host.
  const whole = text.replace(/^(\w+:\/\/[^/?#]*@)(?=\/)/, '$1localhost')
  // It would overlook blanks before the scheme, which `pg` does not.
  if (!/^postgres(?:ql)?:\/\//i.test(text) || !URL.canParse(whole)) return undefined
  const url = new URL(whole)
  return isDecodable(url.hostname) ? url : undefined
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/** For people, without secrets: `PostgreSQL at localhost:5432/spells`. Parameters count before what stands before them. */
export function nameOfPostgres(text: string): string {
  const { hostname, port, pathname, searchParams } = parsePostgresUrl(text)!
  const host = searchParams.get('host') || decodeURIComponent(hostname) || 'localhost'
  return `PostgreSQL at ${host}:${searchParams.get('port') || port || 5432}${pathname}`
}
