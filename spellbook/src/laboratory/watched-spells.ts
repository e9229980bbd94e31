import type { Spell } from '../api.ts'
import type { Answer, Spells } from '../uncached-spells.ts'
import { StaleJudge } from './stale-judge.ts'

/** The reads and writes since the counts began. */
export interface Counts {
  readonly reads: number
  readonly writes: number
  /** Reads and writes that failed. */
  readonly failed: number
  readonly fromCache: number
  readonly fromDatabase: number
  /** Reads of spells whose age could be judged, and those of them that were too old. */
  readonly judged: number
  readonly stale: number
  /** Of the last reads of spells, in milliseconds; `undefined`: there were none. */
  readonly p50Ms: number | undefined
  readonly p99Ms: number | undefined
}

const LAST_READS = 500

/** The spells as they are served: it holds calls back while the cache is opened again, counts them, and judges the answers. */
export class WatchedSpells {
  readonly #now: () => Spells
  #judge = new StaleJudge()
  #counts = { reads: 0, writes: 0, failed: 0, fromCache: 0, fromDatabase: 0 }
  /** Milliseconds of the last reads, oldest first. */
  readonly #lastMs: number[] = []
  #held: Promise<void> | undefined
  readonly spells: Spells

  /** @param now - Gives the spells that are served now. */
  constructor(now: () => Spells) {
    this.#now = now
    this.spells = this.#watched()
  }

  /** Holds new calls back until the work is done. */
  async whileHeld(work: () => Promise<void>): Promise<void> {
    let release = () => {}
    this.#held = new Promise(resolve => {
      release = resolve
    })
    try {
      await work()
    } finally {
      this.#held = undefined
      release()
    }
  }

  get counts(): Counts {
    const sorted = this.#lastMs.toSorted((a, b) => a - b)
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
    const { judged, stale } = this.#judge
    return { ...this.#counts, judged, stale, p50Ms: at(0.5), p99Ms: at(0.99) }
  }

  /** Sets the counts to zero. The knowledge of writes stays. */
  forget(): void {
    this.#counts = { reads: 0, writes: 0, failed: 0, fromCache: 0, fromDatabase: 0 }
    this.#judge.judged = 0
    this.#judge.stale = 0
    this.#lastMs.length = 0
  }

  async #asked<T>(kind: 'reads' | 'writes', ask: (spells: Spells) => Promise<T>): Promise<T> {
    while (this.#held !== undefined) await this.#held
    this.#counts[kind]++
    try {
      return await ask(this.#now())
    } catch (error) {
      this.#counts.failed++
      throw error
    }
  }

  async #read<T>(ask: (spells: Spells) => Promise<Answer<T>>): Promise<Answer<T>> {
    const began = performance.now()
    const answer = await this.#asked('reads', ask)
    if (answer.from === 'origin') this.#counts.fromDatabase++
    else this.#counts.fromCache++
    this.#lastMs.push(performance.now() - began)
    if (this.#lastMs.length > LAST_READS) this.#lastMs.shift()
    return answer
  }

  async #write<T>(
    id: string,
    ask: (spells: Spells) => Promise<T>,
    made: (result: T) => { readonly updatedAt: string | undefined } | undefined,
  ): Promise<T> {
    this.#judge.begin(id)
    let due: ReturnType<typeof made>
    try {
      const result = await this.#asked('writes', ask)
      due = made(result)
      return result
    } finally {
      this.#judge.end(id, due)
    }
  }

  #watched(): Spells {
    const read = this.#read.bind(this)
    const asked = this.#asked.bind(this)
    const now = this.#now
    return {
      get cache() {
        return now().cache!
      },
      find: async (id, signal) => {
        const due = this.#judge.due(id)
        const answer: Answer<Spell | undefined> = await read(spells => spells.find(id, signal))
        this.#judge.judge(due, answer.value)
        return answer
      },
      page: (...given) => read(spells => spells.page(...given)),
      create: fields => asked('writes', spells => spells.create(fields)),
      update: (id, ...change) =>
        this.#write(
          id,
          spells => spells.update(id, ...change),
          ({ value }) => (value === undefined ? undefined : { updatedAt: value.updated_at }),
        ),
      delete: (id, ...change) =>
        this.#write(
          id,
          spells => spells.delete(id, ...change),
          () => ({ updatedAt: undefined }),
        ),
      wizards: {
        find: (...given) => read(({ wizards }) => wizards.find(...given)),
        page: (...given) => read(({ wizards }) => wizards.page(...given)),
        create: (...given) => asked('writes', ({ wizards }) => wizards.create(...given)),
        update: (...given) => asked('writes', ({ wizards }) => wizards.update(...given)),
        delete: (...given) => asked('writes', ({ wizards }) => wizards.delete(...given)),
        add: (...given) => asked('writes', ({ wizards }) => wizards.add(...given)),
        remove: (...given) => asked('writes', ({ wizards }) => wizards.remove(...given)),
      },
      close: () => now().close(),
    }
  }
}
