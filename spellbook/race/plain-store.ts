import type { Clock } from 'cacheaside'
import type { Party } from './party.ts'
import type { PlainClient } from './plain-spells.ts'
import type { CacheState } from './recording.ts'
import type { Spell } from './spell-table.ts'

/** What a plain cache runs on: `GET`, `SET` with a life, and `DEL`, as Redis does them. */
export class PlainStore {
  readonly #clock: Clock
  readonly #texts = new Map<string, { readonly text: string; readonly untilMs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The store over the connection of a process. */
  over(party: Party): PlainClient {
    return {
      get: key =>
        party.exchange('cache', {
          asked: `GET ${key}`,
          run: async () => this.#get(key) ?? null,
          answered: text =>
            text === null ? { text: 'nothing' } : { text: `v${versionIn(text)}`, version: versionIn(text) },
        }),
      set: (key, text, lifeS) =>
        party.exchange('cache', {
          asked: `SET ${key} v${versionIn(text)}`,
          run: async () => {
            this.#texts.set(key, { text, untilMs: this.#clock.nowMs() + lifeS * 1000 })
          },
          answered: () => ({ text: 'OK' }),
        }),
      del: async key => {
        await party.exchange('cache', {
          asked: `DEL ${key}`,
          run: async () => this.#texts.delete(key),
          answered: wasThere => ({ text: wasThere ? '1 deleted' : '0 deleted' }),
        })
      },
    }
  }

  holds(key: string): CacheState {
    const text = this.#get(key)
    return text === undefined ? { holds: 'nothing' } : { holds: 'value', version: versionIn(text), text }
  }

  #get(key: string): string | undefined {
    const found = this.#texts.get(key)
    return found !== undefined && found.untilMs > this.#clock.nowMs() ? found.text : undefined
  }
}

const versionIn = (text: string): number => (JSON.parse(text) as Spell).version
