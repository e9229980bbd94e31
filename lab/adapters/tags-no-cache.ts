/** The control for values that depend on other rows: every read asks the database. */
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'no cache (control)',
  docs: 'https://node-postgres.com/apis/pool',
  packages: ['pg'],
  setUp: 'Every read is a SELECT; two books are read by one.',
  refreshes: false,
  isControl: true,
  hasTags: true,
}

export async function open({ find, findMany }: Setting): Promise<Adapter> {
  return {
    get: find,
    async getMany(ids) {
      const found = new Map((await findMany(ids)).map(book => [book.id, book]))
      return ids.map(id => found.get(id) ?? null)
    },
    async write(_id, change) {
      await change()
      return undefined
    },
    writeAll: (_ids, change) => change(),
  }
}
