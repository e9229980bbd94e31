/**
 * The examinations of the servers behind a store. A server is examined before it is used (`examine.ts`): it is refused, or it
 * gets the scripts. The logger hears what is wrong with it (`findings.ts`).
 */
import { CacheError } from '../base/errors.ts'
import type { RedisConnection } from './driver.ts'
import { type Examination, examine } from './examine.ts'
import type { Findings } from './findings.ts'
import type { Names } from './names.ts'
import type { ResolvedRedisOptions } from './options.ts'
import { loadScript, type Way } from './run-script.ts'
import { channelOf, type Scripts } from './scripts.ts'

const MOST_DENIED_KEYS = 16

/** What {@link Examinations} are made of. */
export interface ExaminationsOptions {
  readonly options: ResolvedRedisOptions
  readonly names: Names
  readonly scripts: Scripts
  readonly findings: Findings
}

/** The examinations of a store's servers, the last one of each remembered. */
export class Examinations {
  readonly #given: ExaminationsOptions
  /** By address, also of those that were refused. */
  readonly #last = new Map<string, Examination>()
  readonly #deniedKeys = new Set<string>()
  #hasExplained = true

  constructor(given: ExaminationsOptions) {
    this.#given = given
  }

  /** The last examination of the server at this address. */
  last(address: string): Examination | undefined {
    return this.#last.get(address)
  }

  /** Lets the next examinations ask for this key too, until one finds no right missing. */
  denied(key: string): void {
    this.#hasExplained = false
    if (this.#deniedKeys.size < MOST_DENIED_KEYS) this.#deniedKeys.add(key)
  }

  /** Whether an examination has found a right missing since the last denial. */
  get hasExplained(): boolean {
    return this.#hasExplained
  }

  /** Examines the server at the other end, refuses it or warns, and loads the scripts. */
  async welcome(connection: RedisConnection, address: string): Promise<Examination> {
    const { options, scripts, findings } = this.#given
    const examination = await this.#examine(connection, address, options.policy)
    // Also the reasons to refuse it: nobody waits for a server that comes later, so a rejection would tell nobody.
    findings.found(address, examination.findings)
    const refusals = examination.findings.filter(({ severity }) => severity === 'refused')
    if (refusals.length > 0)
      throw new CacheError('INVALID_OPTIONS', refusals.map(({ message }) => message).join('; '))
    await Promise.all(Object.values(scripts).map(script => loadScript(connection, script)))
    return examination
  }

  /** Examines a server once more, and changes nothing of it. */
  again(way: Way, address: string): Promise<Examination> {
    return this.#examine(way, address, undefined)
  }

  async #examine(way: Way, address: string, policy: ResolvedRedisOptions['policy']): Promise<Examination> {
    const { names } = this.#given
    const { driver, allowUnsafePolicy } = this.#given.options
    const examination = await examine(way, {
      address,
      deployment: driver.deployment,
      allowUnsafePolicy,
      policy,
      channels: [channelOf(names.channel, 'probe'), names.ownChannel],
      key: names.probeKey,
      deniedKeys: [...this.#deniedKeys],
    })
    if (examination.findings.some(({ code }) => code === 'PERMISSION')) this.#hasExplained = true
    else this.#deniedKeys.clear()
    this.#last.set(address, examination)
    return examination
  }
}
