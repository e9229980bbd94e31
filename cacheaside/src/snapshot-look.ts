/**
 * What a snapshot asks the shared store: the first look at each value, with the load of what is missing, and the second look at
 * all of them. What these looks prove: see `snapshot.ts`.
 */
import { type AskedOrBusy, ask, askOn, askOnce, type Busy } from './ask.ts'
import type { Key } from './base/key.ts'
import { beginTags } from './flight-tags.ts'
import { isOfAnother } from './judge.ts'
import { type Asked, dropLease, giveBack } from './lease.ts'
import { loadMissing, loadOneOf, type Missing } from './load-many.ts'
import type { Flight } from './local/flight.ts'
import { markedToken } from './shared/key-mark.ts'
import { stampText, valuePrefix } from './shared/register.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import type { LeaseReply, Stamp } from './shared/shared-store.ts'
import { type Answer, beginFlight, foundAnswer, type Space } from './space.ts'

/** How one part is read. Nothing depends on its types here. */
export interface PartReader {
  readonly space: Space<unknown, unknown>
  readonly id: unknown
}

/** One part of a snapshot under way. */
export interface PartRead {
  readonly reader: PartReader
  readonly key: Key
  /** Its place among the parts: the first with this key. */
  readonly place: number
  /** All its flights have this number. */
  readonly flight: { traceId: number }
  readonly joined: false
}

/** A value that was seen, and what it is recognised by. */
export interface Seen {
  readonly answer: Answer
  readonly prefix: string
  readonly stamps: readonly Stamp[]
}

/**
 * The values as the shared store has them. What is missing is loaded and stored first. `undefined` if one cannot be kept, or its
 * loader fails: the snapshot's own `load` may still read it.
 */
export async function seeAll(
  reads: readonly PartRead[],
  signal: AbortSignal | undefined,
): Promise<readonly Seen[] | undefined> {
  const first = await seeOrLoad(reads, signal)
  const seen = await Promise.all(first.map((one, i) => (one === 'stored' ? seeStored(reads[i]!) : one)))
  return isComplete(seen) ? seen : undefined
}

const isComplete = (seen: readonly (Seen | undefined)[]): seen is readonly Seen[] => !seen.includes(undefined)

/**
 * One look at each, and the loads. They begin when all parts have been asked for, and do not wait for parts that somebody else
 * loads. Otherwise: 1. two processes ask for the same two values, and each gets the lease of one; 2. each waits for the other
 * before it loads its own, and both until `busyWaitMs` are over.
 */
async function seeOrLoad(
  reads: readonly PartRead[],
  signal: AbortSignal | undefined,
): Promise<(Seen | 'stored' | undefined)[]> {
  const looks = reads.map(read => beginLook(read, signal))
  try {
    const asked = await Promise.all(looks.map(askFor))
    const loading = loadGroups(looks, asked)
    const seen = looks.map(async (look, i) => {
      const first = asked[i]
      if (first?.kind === 'busy') return seeBusy(look, first)
      if (first?.kind !== 'leased') return seenIn(look, first)
      await loading
      return outcomeOf(look)
    })
    return await Promise.all(seen)
  } finally {
    for (const look of looks) endLook(look)
  }
}

/** One part, and a flight that asks for it. Nobody else may join that: it may end without an answer. */
interface Look {
  readonly read: PartRead
  readonly flight: Flight<Answer>
  /** Whether its load has succeeded. A caller that gives up ends it. */
  readonly loaded: Promise<boolean>
}

function beginLook(read: PartRead, signal: AbortSignal | undefined): Look {
  const { space } = read.reader
  const flight = beginFlight(space, read.key, space.parts.clock.nowMs(), false, undefined, read.flight)
  flight.isApart = true
  const loaded = flight.wait(signal).then(
    () => true,
    () => false,
  )
  return { read, flight, loaded }
}

function endLook({ read, flight }: Look): void {
  flight.reject(undefined)
  read.reader.space.parts.flights.end(flight)
}

/** `undefined` if it cannot be asked for. */
async function askFor({ read, flight }: Look): Promise<AskedOrBusy<unknown> | undefined> {
  const { space, id } = read.reader
  try {
    beginTags(space, flight, id, true)
    return await askOnce(space, flight, true)
  } catch {
    return undefined
  }
}

/** Loads and stores what is missing, together what is of one keyspace. */
async function loadGroups(
  looks: readonly Look[],
  asked: readonly (AskedOrBusy<unknown> | undefined)[],
): Promise<void> {
  const groups = new Map<Space<unknown, unknown>, Missing<unknown, unknown>[]>()
  for (const [i, look] of looks.entries()) {
    const leased = asked[i]
    if (leased?.kind !== 'leased') continue
    const { space } = look.read.reader
    const group = groups.get(space)
    if (group === undefined) groups.set(space, [missingOf(look, leased)])
    else group.push(missingOf(look, leased))
  }
  await Promise.all([...groups].map(([space, missing]) => loadGroup(space, missing)))
}

const missingOf = (
  { read, flight }: Look,
  asked: Missing<unknown, unknown>['asked'],
): Missing<unknown, unknown> => ({ member: { flight, id: read.reader.id, strong: true }, asked })

/** One value is loaded by `load`, as elsewhere. */
function loadGroup(
  space: Space<unknown, unknown>,
  missing: readonly Missing<unknown, unknown>[],
): Promise<void> {
  const { beganAtMs } = missing[0]!.member.flight
  return missing.length > 1
    ? loadMissing(space, missing, beganAtMs)
    : loadOneOf(space, missing[0]!, space.parts.clock.nowMs() - beganAtMs)
}

/** Somebody else loads it: waits for that, and loads what is missing then. */
async function seeBusy(look: Look, busy: Busy<unknown>): Promise<Seen | 'stored' | undefined> {
  const { space } = look.read.reader
  try {
    const asked = await askOn(space, look.flight, busy)
    if (asked.kind !== 'leased') return seenIn(look, asked)
    await loadGroup(space, [missingOf(look, asked)])
    return await outcomeOf(look)
  } catch {
    return undefined
  }
}

const outcomeOf = async ({ loaded }: Look): Promise<'stored' | undefined> =>
  (await loaded) ? 'stored' : undefined

/** What was found, with all that it is recognised by. */
function seenIn({ read, flight }: Look, asked: Asked<unknown> | undefined): Seen | undefined {
  if (asked?.kind !== 'found') return undefined
  const { space } = read.reader
  const sharedMs = space.parts.clock.nowMs() - flight.beganAtMs
  const answer = foundAnswer(space, asked, 'fresh', { sharedMs, loadMs: 0 })
  return { answer, prefix: valuePrefix(asked.register.nonce), stamps: asked.register.tags }
}

/** Looks at what has just been stored. */
async function seeStored(read: PartRead): Promise<Seen | undefined> {
  const { space, id } = read.reader
  const look = beginLook(read, undefined)
  try {
    beginTags(space, look.flight, id, true)
    const asked = await ask(space, look.flight, true)
    if (asked.kind === 'leased') giveBack(space, read.key, asked)
    return seenIn(look, asked)
  } catch {
    return undefined
  } finally {
    endLook(look)
  }
}

/**
 * Whether every value and every stamp is still what was seen. As the first look, it uses commands that are refused where
 * writes are refused: so no outdated store answers.
 */
export async function standsStill(
  { parts: { access, clock, options, queue }, parts }: Space<unknown, unknown>,
  snapshot: readonly PartRead[],
  seen: readonly Seen[],
): Promise<boolean> {
  const stamps = seen.flatMap(one => one.stamps)
  const leases = snapshot.map(({ key }) => ({ key, token: markedToken(key, clock.token()) }))
  const names = [...new Set(stamps.map(({ name }) => name))]
  const creations = names.map(key => ({ key, token: markedToken(key, clock.token()) }))
  const dropGranted = (replies: readonly LeaseReply[]) => {
    // If the reply is another key's register, the answer to this question is unknown: the lease may have been granted.
    for (const [i, { key, token }] of leases.entries())
      if (replies[i] === null || isOfAnother(key, replies[i])) dropLease(parts, key, token)
  }
  const [values, tokens] = await Promise.all([
    access.run(() => access.store.leaseMany(leases, options.leaseMs), undefined, dropGranted),
    creations.length === 0 ? [] : access.run(() => access.store.stampMany(creations, 2 * options.leaseMs)),
  ])
  if (values === UNCONFIRMED) {
    for (const { key, token } of leases) dropLease(parts, key, token)
    return false
  }
  dropGranted(values)
  if (tokens === UNCONFIRMED || queue.holdsAny([...leases, ...creations].map(({ key }) => key))) return false
  const standing = new Map(names.map((name, i) => [name, tokens[i]]))
  return (
    values.every((text, i) => typeof text === 'string' && text.startsWith(seen[i]!.prefix)) &&
    // All stamps are compared, also two of one tag: 1. a value is seen under its stamp; 2. the tag is written; 3. another
    // value is loaded under the next stamp, which stands.
    stamps.every(({ name, token }) => standing.get(name) === stampText(token))
  )
}
