import type { Config } from './config.ts'

/** What it has at most where nothing is said: a connection holds at worst some 150 KB. */
const MAX_CONNECTIONS = 1_000
/** What the process needs besides connections and pools: its files, Redis, those of the embedded database, some to spare. */
const RESERVED = 192
/** With fewer there is nothing to serve. */
const LEAST = 16

/**
 * How many connections of clients may be open, so that there is a descriptor for whatever else the process opens. Out of
 * descriptors, neither a database nor a log can be relied on.
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
  // It would look up the names of all that is connected.
  Object.assign(report, { excludeNetwork: true })
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } }
  const soft = userLimits?.open_files?.soft
  return typeof soft === 'number' ? soft : Number.POSITIVE_INFINITY
}
