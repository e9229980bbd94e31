import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification, type Vitest } from 'vitest/node'

/**
 * Takes longer than 20 s on two busy cores, the longest first. Vitest begins with the largest files: a small one that runs a
 * long contract would come last, and then one core has nothing to do.
 */
export const LONGEST: readonly string[] = [
  'spellbook/test/program.test.ts',
  'cacheaside/test/redis/redis-cluster.test.ts',
  'spellbook/test/servers.test.ts',
  'cacheaside/simulation/simulation.test.ts',
  'spellbook/test/verify.test.ts',
  'trials/killed-writer.test.ts',
  'cacheaside/model/model.test.ts',
  'spellbook/test/browser.test.ts',
  'cacheaside/test/redis/wrong-replies.test.ts',
  'cacheaside/test/redis/cluster-contract.test.ts',
  'trials/broadcast.test.ts',
  'cacheaside/test/redis/redis-sentinel.test.ts',
  'cacheaside/test/postgres/pooler.test.ts',
  'cacheaside/test/redis/redis-outages.test.ts',
  'cacheaside/test/protections/protections.test.ts',
  'trials/failover.test.ts',
  'trials/random-run.test.ts',
  'cacheaside/test/postgres/pglite.test.ts',
  'test/package.test.ts',
  'trials/memory-short.test.ts',
  'cacheaside/test/redis/stray-replies.test.ts',
  'cacheaside/test/postgres/table-tags-feed.test.ts',
  'cacheaside/test/ends-by-itself.test.ts',
  'cacheaside/test/postgres/postgres.test.ts',
  'cacheaside/test/postgres/end-to-end.test.ts',
  'cacheaside/test/postgres/change-feed-contract.test.ts',
  'lesson/test/lesson.test.ts',
  'cacheaside/test/operate/hot-keys.test.ts',
  'spellbook/test/descriptors.test.ts',
  'spellbook/test/race-page.test.ts',
  'trials/cut-off.test.ts',
  'cacheaside/test/redis/contract.test.ts',
  'spellbook/test/api.pglite.test.ts',
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
