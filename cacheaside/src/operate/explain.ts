/** What the shared store holds for one key, and what that means. Asking changes nothing. */
import type { Change, ChangeFeed } from '../feed/change-feed.ts'
import { planOf } from '../feed/plan.ts'
import type { Mark } from '../shared/key-mark.ts'
import { MERGED, markOf, parseRegister } from '../shared/register.ts'
import type { StoreView } from '../shared/shared-store.ts'
import { Examiner } from '../verify/examiner.ts'
import type { Outcome, PendingChange } from '../verify/outcome.ts'
import { pause } from '../verify/pace.ts'
import { DEFAULT_VERIFY_OPTIONS } from '../verify/verify.ts'
import { answersFor, type ReaderAnswers } from './reader.ts'
import {
  asked,
  clockOf,
  EMBEDDED_NOTE,
  keyNamed,
  keyspacesOf,
  type NamedKey,
  type Operated,
  sharedOf,
  timeoutOf,
  withView,
} from './target.ts'

/** What a register holds, field by field. Durations are milliseconds by the store's clock. */
export type ExplainedRegister =
  | { readonly state: 'absent' }
  | ExplainedValue
  | {
      readonly state: 'lease'
      /** Random, and known to the reader that loads. It does not say which process that is. */
      readonly token: string
      /** Whose lease it is, by its token. */
      readonly mark: Mark
    }
  | { readonly state: 'stamp'; readonly token: string; readonly mark: Mark }
  | {
      readonly state: 'guard'
      /** Whether more than one writer was here: then no committed value is stored at the end. */
      readonly dirty: boolean
      /** The writers that are listed, each with what is left until its deadline; negative: it is over. */
      readonly writers: readonly { readonly token: string; readonly leftMs: number }[]
      /** The same for all writers that are not listed, because there are too many. */
      readonly othersLeftMs?: number
    }
  | { readonly state: 'later'; readonly of: 'value' | 'lease' | 'stamp' | 'guard' }
  | { readonly state: 'unreadable' }

/** A stored value, without the value itself. */
export interface ExplainedValue {
  readonly state: 'value'
  readonly nonce: string
  /** Whose value it is, by its nonce. */
  readonly mark: Mark
  /** When it was stored, in ISO 8601, and how long ago. */
  readonly filledAt: string
  readonly ageMs: number
  /** For how long it is still fresh; negative for a value that has been stale for so long. */
  readonly freshMs: number
  /** What its load took. */
  readonly costMs: number
  readonly shape: number
  /** The shape of the keyspace in the file. */
  readonly keyspaceShape: number
  /** The generation that it was stored under. */
  readonly generation: string
  /** Whether it stands for the absence of the row. */
  readonly absent: boolean
  /** How long its text is. */
  readonly characters: number
  /** The tags that it was loaded under. */
  readonly tags: readonly ExplainedTag[]
  /** For how long somebody's claim to refresh it still stands; left out: nobody has one. */
  readonly claimLeftMs?: number
  /** The stored text, if it was asked for. */
  readonly text?: string
}

/** A tag that a value was loaded under. */
export interface ExplainedTag {
  readonly name: string
  /** The token that its stamp had before the load. */
  readonly token: string
  /**
   * How the tag is now. `stands`: its stamp is the same, so it does not end the value. `invalidated`: it has another stamp, or its
   * keyspace another generation. `gone`: it has none, because it was invalidated, expired or evicted. `guarded`: a writer is
   * at work. `strange`: its register is no stamp of this version.
   */
  readonly now: 'stands' | 'invalidated' | 'gone' | 'guarded' | 'strange'
}

/** The changes in a feed's outbox that concern a key. */
export interface ExplainedFeed {
  readonly name: string
  /** Changes that are not applied yet and end this key, or a tag of its value, the oldest first; at most ten. */
  readonly waiting: readonly PendingChange[]
  /** How many there are in all, among the oldest changes of the outbox. */
  readonly count: number
  /** Why its outbox could not be read. */
  readonly problem?: unknown
}

/** What {@link explain} found. Plain data, as `--json` prints it. */
export interface Explanation {
  /** What kind of shared store. */
  readonly store: string
  readonly keyspace: string
  readonly key: string
  readonly register: ExplainedRegister
  /** How long the register's life still lasts; left out: it has none, or the store does not tell. */
  readonly lifeMs?: number
  /** The keyspace's generation; left out: it was never read. */
  readonly generation?: string
  /** What readers would get now, by the read path itself. */
  readonly readers: ReaderAnswers
  /** Left out: no feed is known. */
  readonly feed?: ExplainedFeed
  /** What a comparison with the origin said, if it was asked for. */
  readonly origin?: Outcome
  /** Hints for the person who reads this, one sentence each. */
  readonly notes: readonly string[]
}

/** How {@link explain} is done. */
export interface ExplainOptions {
  /**
   * Whether the row is loaded and compared. If the value differs, it is compared again after `graceMs`. @defaultValue false
   */
  readonly compare?: boolean
  /** Whether the stored text is told. @defaultValue false */
  readonly withText?: boolean
}

const MOST_WAITING = 10

/**
 * Explains what the shared store holds for a key, and what a reader would get.
 *
 * It only reads: it takes no lease and makes no generation. The loader is called only with `compare`. It does not see L1, which
 * is in the processes.
 *
 * @param keyspace - The name of one of the keyspaces.
 * @param id - The parts of the id as texts; one for an id that is no tuple.
 * @throws CacheError `INVALID_OPTIONS` for an unknown keyspace, `INVALID_KEY` for what is no id of it; an error that says why the
 *   store cannot be read.
 */
export async function explain(
  operated: Operated,
  keyspace: string,
  id: readonly string[],
  options: ExplainOptions = {},
): Promise<Explanation> {
  const named = keyNamed(operated, keyspace, id)
  return withView(operated, view => explained(operated, named, view, options))
}

async function explained(
  operated: Operated,
  named: NamedKey,
  view: StoreView,
  options: ExplainOptions,
): Promise<Explanation> {
  const { keyspace, key, id } = named
  const { name, synchronous, maxValueBytes } = sharedOf(operated)
  const [text] = await view.peek([key])
  const [lifeMs] = (await view.lives?.([key])) ?? []
  const [generation] = await view.generations([keyspace.name])
  const timeMs = await view.timeMs()
  const readers = await answersFor({
    view: withFirst(view, key, text),
    synchronous,
    maxValueBytes,
    name: keyspace.name,
    options: keyspace.keyspaceOptions,
    id,
    cache: operated.cache,
    clock: clockOf(operated),
  })
  const { feed } = operated
  const tags = await tagsOf(text, view)
  return {
    store: name,
    keyspace: keyspace.name,
    key,
    register: registerOf(named, text, {
      timeMs,
      tags,
      withText: options.withText === true,
    }),
    ...(lifeMs === undefined ? {} : { lifeMs }),
    ...(generation === undefined ? {} : { generation }),
    readers,
    ...(feed?.pending === undefined ? {} : { feed: await feedOf(operated, named, tags, feed) }),
    ...(options.compare === true ? { origin: await compared(operated, named, view) } : {}),
    notes: synchronous ? [...view.caveats, EMBEDDED_NOTE] : view.caveats,
  }
}

/** The same view, but its first answer for this key is the given one. */
function withFirst(view: StoreView, key: string, text: string | undefined): StoreView {
  return {
    caveats: view.caveats,
    keys: keyspace => view.keys(keyspace),
    peek: async keys => (keys.length === 1 && keys[0] === key ? [text] : view.peek(keys)),
    generations: keyspaces => view.generations(keyspaces),
    timeMs: () => view.timeMs(),
    close: async () => {},
  }
}

/** The facts besides the register itself. */
interface Found {
  readonly timeMs: number
  readonly tags: readonly ExplainedTag[]
  readonly withText: boolean
}

function registerOf(
  { key, keyspace }: NamedKey,
  text: string | undefined,
  { timeMs, tags, withText }: Found,
): ExplainedRegister {
  if (text === undefined) return { state: 'absent' }
  const register = parseRegister(text)
  switch (register.state) {
    case 'value': {
      const claimLeftMs = register.claimUntilMs - timeMs
      return {
        state: 'value',
        nonce: register.nonce,
        mark: markOf(register, key),
        filledAt: new Date(register.filledAtMs).toISOString(),
        ageMs: timeMs - register.filledAtMs,
        freshMs: register.softExpiryMs - timeMs,
        costMs: register.costMs,
        shape: register.shape,
        keyspaceShape: keyspace.shape,
        generation: register.generation,
        absent: register.text === undefined,
        characters: register.text?.length ?? 0,
        tags,
        ...(claimLeftMs > 0 ? { claimLeftMs } : {}),
        ...(withText && register.text !== undefined ? { text: register.text } : {}),
      }
    }
    case 'lease':
    case 'stamp':
      return { state: register.state, token: register.token, mark: markOf(register, key) }
    case 'guard': {
      const left = register.holders.map(({ token, deadlineMs }) => ({ token, leftMs: deadlineMs - timeMs }))
      const others = left.find(({ token }) => token === MERGED)
      return {
        state: 'guard',
        dirty: register.dirty,
        writers: left.filter(({ token }) => token !== MERGED),
        ...(others === undefined ? {} : { othersLeftMs: others.leftMs }),
      }
    }
    case 'later':
      return { state: 'later', of: register.of }
    default:
      return { state: 'unreadable' }
  }
}

/** The tags of a value, as they are now. */
async function tagsOf(text: string | undefined, view: StoreView): Promise<ExplainedTag[]> {
  const register = text === undefined ? undefined : parseRegister(text)
  if (register?.state !== 'value' || register.tags.length === 0) return []
  const { tags } = register
  const texts = await view.peek(tags.map(({ name }) => name))
  const generations = await view.generations(tags.map(({ name }) => name.slice(0, name.indexOf(':'))))
  return tags.map(({ name, token, generation }, i) => ({
    name,
    token,
    now: tagNow(texts[i], token, generations[i] === generation),
  }))
}

function tagNow(text: string | undefined, token: string, sameGeneration: boolean): ExplainedTag['now'] {
  if (!sameGeneration) return 'invalidated'
  if (text === undefined) return 'gone'
  const register = parseRegister(text)
  if (register.state === 'guard') return 'guarded'
  if (register.state !== 'stamp') return 'strange'
  return register.token === token ? 'stands' : 'invalidated'
}

async function feedOf(
  operated: Operated,
  { key }: NamedKey,
  tags: readonly ExplainedTag[],
  feed: ChangeFeed,
): Promise<ExplainedFeed> {
  let changes: readonly Change[]
  try {
    changes = await asked(operated, `the ${feed.name} feed`, feed.pending!())
  } catch (problem) {
    // Without the feed, the rest of the explanation is still worth telling.
    return { name: feed.name, waiting: [], count: 0, problem }
  }
  const plan = planOf(
    changes,
    feed.tables,
    () => keyspacesOf(operated).map(({ name }) => name),
    () => {},
  )
  const byKey: ReadonlyMap<string, readonly Change[]> = plan.keys
  // A change ends a value by its own key, or by a tag that it was loaded under.
  const found = new Set(
    [key, ...tags.map(({ name }) => name)].flatMap(name => [
      ...(byKey.get(name) ?? []),
      ...(plan.keyspaces.get(name.slice(0, name.indexOf(':'))) ?? []),
    ]),
  )
  const waiting = [...found].sort((a, b) => b.ageMs - a.ageMs)
  return {
    name: feed.name,
    count: waiting.length,
    waiting: waiting
      .slice(0, MOST_WAITING)
      .map(({ id, table, ageMs }) => ({ id, table, ageMs: Math.round(ageMs) })),
  }
}

/** What the auditor says of this key. */
async function compared(operated: Operated, { key }: NamedKey, view: StoreView): Promise<Outcome> {
  const clock = clockOf(operated)
  const examiner = new Examiner({
    view,
    keyspaces: new Map(keyspacesOf(operated).map(space => [space.name, space])),
    clock,
    graceMs: operated.graceMs ?? DEFAULT_VERIFY_OPTIONS.graceMs,
    timeoutMs: timeoutOf(operated),
    signal: operated.signal,
    loadsAtOnce: 1,
    onLoad: () => {},
  })
  let [outcome] = await examiner.examine([key])
  while (outcome === undefined) {
    await pause(clock, examiner.dueInMs ?? 0, operated.signal)
    ;[outcome] = await examiner.examineAgain(1)
  }
  return outcome
}
