import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification, type Vitest } from 'vitest/node'

/** Takes longer than 30 s on two busy cores, the longest first. */
export const LONGEST: readonly string[] = [
  'spellbook/test/program.test.ts',
  'cacheaside/test/redis/redis-cluster.test.ts',
  'spellbook/test/servers.test.ts',
  'cacheaside/simulation/simulation.test.ts',
  'spellbook/test/verify.test.ts',
  'trials/killed-writer.test.ts',
  'spellbook/test/browser.test.ts',
  'cacheaside/test/redis/wrong-replies.test.ts',
  'trials/broadcast.test.ts',
  'cacheaside/test/postgres/table-tags-feed.test.ts',
  'cacheaside/test/redis/redis-sentinel.test.ts',
  'cacheaside/model/model.test.ts',
  'cacheaside/test/ends-by-itself.test.ts',
  'trials/failover.test.ts',
  'trials/random-run.test.ts',
  'cacheaside/test/redis/redis-outages.test.ts',
]

/** Begins with the longest files, so that none of them runs alone in the end; the others in the order of Vitest. */
export class LongestFirst extends BaseSequencer {
  readonly #root: string

  constructor(context: Vitest) {
    super(context)
    this.#root = context.config.root
  }

  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const place = LONGEST.indexOf(relative(this.#root, moduleId))
      return place < 0 ? LONGEST.length : place
    }
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other))
  }
}
