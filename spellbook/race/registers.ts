import { parseRegister } from 'cacheaside/store'
import type { CacheState } from './recording.ts'
import type { Spell } from './spell-table.ts'

/** What a register says, for the page. */
export function stateOf(text: string | undefined): CacheState {
  if (text === undefined) return { holds: 'nothing' }
  const register = parseRegister(text)
  switch (register.state) {
    case 'value':
      return register.text === undefined
        ? { holds: 'something else', text }
        : { holds: 'value', version: (JSON.parse(register.text) as Spell).version, text }
    case 'lease':
    case 'guard':
      return { holds: register.state, text }
    default:
      return { holds: 'something else', text }
  }
}
