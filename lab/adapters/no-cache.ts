/** The control: every read asks the database. It must be 0 in every count, or the lab itself makes stale answers. */
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'no cache (control)',
  docs: 'https://node-postgres.com/apis/pool',
  packages: ['pg'],
  setUp: 'Every read is a SELECT.',
  refreshes: false,
  isControl: true,
}

export async function open({ find, findMany }: Setting): Promise<Adapter> {
  return {
    get: find,
    async getMany(ids) {
      const found = new Map((await findMany(ids)).map(spell => [spell.id, spell]))
      return ids.map(id => found.get(id) ?? null)
    },
    async write(_id, change) {
      await change()
      return undefined
    },
  }
}
