/**
 * Step 3 of a read where the shared store is in this process: a fresh value is found at once, without a flight.
 *
 * A keyspace keeps what it has read from a register, beside the register's text. The text says the same as long as it
 * stands, so a hit judges only what may have changed since: the generation of the keyspace, the age of the value, and what
 * this process still has to tell the store. Anything but a fresh value of this kind is asked for as from any other store
 * (`ask.ts`).
 */
import type { Key } from './base/key.ts'
import { refreshesAhead } from './judge.ts'
import { aliasOf } from './own-key.ts'
import { refresh } from './refresh.ts'
import { type Opened, Unopened } from './shared/codec.ts'
import { parseRegister, type ValueRegister } from './shared/register.ts'
import type { MadeOfRegister, RegistersAtHand } from './shared/shared-store.ts'
import type { Found, Space } from './space.ts'

/** A value as one keyspace of one cache has opened it. */
class AtHand<Id, V> implements MadeOfRegister, Found<V> {
  readonly registerText: string
  readonly space: Space<Id, V>
  readonly generation: string
  readonly filledAtMs: number
  readonly softExpiryMs: number
  readonly costMs: number
  readonly opened: Opened<V>

  constructor(
    text: string,
    space: Space<Id, V>,
    generation: string,
    register: ValueRegister,
    opened: Opened<V>,
  ) {
    this.registerText = text
    this.space = space
    this.generation = generation
    this.filledAtMs = register.filledAtMs
    this.softExpiryMs = register.softExpiryMs
    this.costMs = register.costMs
    this.opened = opened
  }

  get register(): this {
    return this
  }
}

/**
 * The fresh value under a key; `undefined` if the store has to be asked. Begins a refresh, if one is due.
 *
 * @param readId - The number of the read.
 */
export function findAtHand<Id, V>(
  space: Space<Id, V>,
  registers: RegistersAtHand,
  id: Id,
  key: Key,
  readId: number,
): Found<V> | undefined {
  const { access, queue, stream, clock } = space.parts
  if (!access.available || queue.holds(key)) return undefined
  const held = registers.get(key)
  if (held === undefined) return undefined
  const found =
    held instanceof AtHand && held.space === space
      ? (held as AtHand<Id, V>)
      : open(space, registers, key, typeof held === 'string' ? held : held.registerText)
  if (found === undefined || found.generation !== space.generation.value) return undefined
  const freshMs = found.softExpiryMs - stream.storesFromOurs(clock.coarseMs())
  if (freshMs <= 0) return undefined
  if (refreshesAhead(space, found, freshMs))
    refresh(space, id, key, readId, parseRegister(found.registerText) as ValueRegister)
  return found
}

/** Opens a value that this keyspace may use as it is. Any other value is judged in `judge.ts`, where it can be replaced. */
function open<Id, V>(
  space: Space<Id, V>,
  registers: RegistersAtHand,
  key: Key,
  text: string,
): AtHand<Id, V> | undefined {
  const register = parseRegister(text)
  if (register.state !== 'value' || register.tags.length > 0) return undefined
  const generation = space.generation.value
  if (register.generation !== generation || register.shape !== space.options.shape) return undefined
  const opened = space.envelope.open(register.text)
  if (opened instanceof Unopened || aliasOf(space, key, opened) !== undefined) return undefined
  const found = new AtHand(text, space, generation, register, opened)
  registers.keep(key, found)
  return found
}
