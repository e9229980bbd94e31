import type { Batch, ChangeFeed, FeedOpening, FeedSession } from 'cacheaside'
import type { Recording } from './recording.ts'

/** A change feed whose changes are drawn as they reach the relay, which runs in the process of the reader. */
export function recordedFeed(inner: ChangeFeed, recording: Recording): ChangeFeed {
  return {
    name: inner.name,
    tables: inner.tables,
    pollMs: inner.pollMs,
    timeoutMs: inner.timeoutMs,
    open: async (opening: FeedOpening) => recordedSession(await inner.open(opening), recording),
  }
}

const recordedSession = (inner: FeedSession, recording: Recording): FeedSession => ({
  origin: inner.origin,
  mayTakeBack: inner.mayTakeBack,
  async take(after): Promise<Batch> {
    const batch = await inner.take(after)
    for (const { table, rows } of batch.changes)
      recording.add('change', 'database', `changed: ${table} ${rows?.[0]?.id ?? ''}`.trim(), 'reader')
    return batch
  },
  settle: applied => inner.settle(applied),
  remembered: () => inner.remembered(),
  remember: (...given) => inner.remember(...given),
  close: () => inner.close(),
  abandon: () => inner.abandon(),
})
