import type { Config } from '../config.ts'

/** The default limit: a connection holds at worst some 150 KB. */
const MAX_CONNECTIONS = 1_000
/** Descriptors for everything besides connections and pools: files, Redis, the embedded database, and some to spare. */
const RESERVED = 192
/** With fewer there is nothing to serve. */
const LEAST = 16

/**
 * How many connections of clients may be open, so that descriptors are left for everything else. Without free descriptors
 * neither a database nor a log works reliably.
 */
export function connectionsFor(
  { maxConnections = MAX_CONNECTIONS, database }: Pick<Config, 'maxConnections' | 'database'>,
  descriptors = maxDescriptors(),
): number {
  const pools = database.kind === 'postgres' ? database.poolMax : 0
  return Math.min(maxConnections, Math.max(LEAST, descriptors - RESERVED - pools))
}

/** How many descriptors this process may have open. Only Node's diagnostic report tells; where it does not: no limit. */
function maxDescriptors(): number {
  const { report } = process
  // With the network the report would look up the names of all connected hosts.
  Object.assign(report, { excludeNetwork: true })
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } }
  const soft = userLimits?.open_files?.soft
  return typeof soft === 'number' ? soft : Number.POSITIVE_INFINITY
}
