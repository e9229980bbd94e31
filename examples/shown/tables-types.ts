/** What docs/tables.md shows, with what it takes for granted. It is compiled and not run. */
import { tableTags } from 'cacheaside/postgres'

const { item } = tableTags({ item: { by: ['owner', 'day'], types: { owner: 'uuid', day: 'date' } } })

export { item }
