import type { Clock } from '../base/clock.ts'
import { invalidOption } from '../base/invalid-option.ts'
import { silencePromise } from '../base/thrown.ts'
import type { SharedStore, StoreView } from '../shared/shared-store.ts'
import { limited } from './pace.ts'

/** How long the store may take for an answer, and what ends the wait sooner. */
export interface ViewLimits {
  readonly clock: Clock
  readonly timeoutMs: number
  /** Left out: only the time limit ends a wait. */
  readonly signal?: AbortSignal | undefined
}

/** A wait for an answer of the store, for no longer than is allowed. */
type Asked = <T>(answer: Promise<T>) => Promise<T>

/**
 * Opens a view of the store. The opening, each answer and each page of a walk have the time limit.
 *
 * @throws CacheError `INVALID_OPTIONS` for a store without a view; an error that says why the store cannot be looked at, or
 * that it did not answer; the signal's reason.
 */
export async function openTimedView(
  shared: SharedStore,
  { clock, timeoutMs, signal }: ViewLimits,
): Promise<StoreView> {
  if (shared.view === undefined)
    throw invalidOption('shared', 'a store that can be looked at, by view()', shared.name)
  const late = () => new Error(`the shared store did not answer within ${timeoutMs} ms`)
  const asked: Asked = answer => limited(clock, timeoutMs, answer, late, signal)
  const opening = shared.view()
  const view = await asked(opening).catch(error => {
    // Nobody waits for the view any more, and it must not stay open.
    opening.then(
      unwanted => unwanted.close(),
      () => {},
    )
    throw error
  })
  return {
    caveats: view.caveats,
    keys: keyspace => pagesOf(view.keys(keyspace), asked),
    peek: keys => asked(view.peek(keys)),
    generations: keyspaces => asked(view.generations(keyspaces)),
    ...(view.lives === undefined ? {} : { lives: (keys: readonly string[]) => asked(view.lives!(keys)) }),
    timeMs: () => asked(view.timeMs()),
    close: () => view.close(),
  }
}

/** A server may stop answering in the middle of a walk, too. */
async function* pagesOf<T>(pages: AsyncIterable<T>, asked: Asked): AsyncIterable<T> {
  const walk = pages[Symbol.asyncIterator]()
  try {
    for (;;) {
      const page = await asked(walk.next())
      if (page.done === true) return
      yield page.value
    }
  } finally {
    // Not waited for: a walk that waits for an answer ends no sooner than it has it.
    silencePromise(walk.return?.())
  }
}
