/**
 * Step 3 of a read where the shared store is in this process: a fresh value is found at once, without a flight.
 *
 * A keyspace keeps what it has read from a register, beside the register's text. The text says the same as long as it
 * stands, so a hit judges only what may have changed since: the generation of the keyspace, the age of the value, the stamps
 * of its tags, and what this process still has to tell the store. Anything but a fresh value of this kind is asked for as from
 * any other store (`ask.ts`).
 *
 * The store is looked at without a wait in between: all that a hit compares was true at one moment.
 */
import { type Key, keyspaceOf } from './base/key.ts'
import { refreshesAhead } from './lease.ts'
import { aliasOf } from './own-key.ts'
import type { GenerationCopy } from './shared/broadcast-stream.ts'
import { type Opened, Unopened } from './shared/codec.ts'
import { parseRegister, stampText, type ValueRegister } from './shared/register.ts'
import type { MadeOfRegister, RegistersAtHand } from './shared/shared-store.ts'
import type { CacheParts, Found, Space } from './space.ts'

/** A tag of a value: what stood in its register when the value was stored. */
interface TagAtHand {
  readonly name: string
  readonly stamp: string
  /** The generation of the tag's keyspace at that time, and the stream's copy of what it is now. */
  readonly generation: string
  readonly current: GenerationCopy
}

/** What one takes, and the list of all, beside the register's text. (`at-hand.test.ts` compares it with the heap.) */
const TAG_BYTES = 100
const NO_TAGS: readonly TagAtHand[] = Object.freeze([])

/** A value as one keyspace of one cache has opened it. */
class AtHand<Id, V> implements MadeOfRegister, Found<V> {
  readonly registerText: string
  readonly space: Space<Id, V>
  readonly generation: string
  readonly filledAtMs: number
  readonly softExpiryMs: number
  readonly costMs: number
  readonly opened: Opened<V>
  readonly tags: readonly TagAtHand[]
  readonly furtherBytes: number

  constructor(
    text: string,
    space: Space<Id, V>,
    generation: string,
    register: ValueRegister,
    opened: Opened<V>,
    tags: readonly TagAtHand[],
  ) {
    this.registerText = text
    this.space = space
    this.generation = generation
    this.filledAtMs = register.filledAtMs
    this.softExpiryMs = register.softExpiryMs
    this.costMs = register.costMs
    this.opened = opened
    this.tags = tags
    this.furtherBytes = tags.length === 0 ? 0 : (tags.length + 1) * TAG_BYTES
  }

  get register(): this {
    return this
  }
}

/** The fresh value under a key; `undefined` if the store has to be asked. */
export function findAtHand<Id, V>(
  space: Space<Id, V>,
  registers: RegistersAtHand,
  key: Key,
): AtHand<Id, V> | undefined {
  const { access, queue } = space.parts
  if (!access.available || queue.holds(key)) return undefined
  const held = registers.get(key)
  if (held === undefined) return undefined
  const found =
    held instanceof AtHand && held.space === space
      ? (held as AtHand<Id, V>)
      : open(space, registers, key, typeof held === 'string' ? held : held.registerText)
  if (found === undefined || found.generation !== space.generation.value) return undefined
  if (found.tags.length > 0 && !found.tags.every(tag => stands(space.parts, registers, tag))) return undefined
  return freshMsOf(space, found) > 0 ? found : undefined
}

/** What a refresh has to know of the value, if one is due. Drawn at random at every hit. */
export const dueAtHand = <Id, V>(space: Space<Id, V>, found: AtHand<Id, V>): ValueRegister | undefined =>
  refreshesAhead(space, found, freshMsOf(space, found))
    ? (parseRegister(found.registerText) as ValueRegister)
    : undefined

const freshMsOf = <Id, V>({ parts }: Space<Id, V>, { softExpiryMs }: AtHand<Id, V>): number =>
  softExpiryMs - parts.stream.storesFromOurs(parts.clock.coarseMs())

/** Whether a tag's stamp is still the one that the value was stored under. */
const stands = ({ queue }: CacheParts, registers: RegistersAtHand, tag: TagAtHand): boolean =>
  !queue.holds(tag.name) && tag.current.value === tag.generation && registers.get(tag.name) === tag.stamp

/**
 * Keeps a value at hand that has tags, or whose keyspace names some. `judge.ts` has found it to be fresh: whether it was stored under
 * each tag that the keyspace names is judged only there.
 */
export function keepAtHand<Id, V>(
  space: Space<Id, V>,
  key: string,
  text: string,
  register: ValueRegister,
  opened: Opened<V>,
): void {
  const { stream } = space.parts
  const tags = register.tags.map(({ name, token, generation }) => {
    const current = stream.follow(keyspaceOf(name))
    // The same string for all tags of a kind.
    const same = current.value === generation ? current.value : generation
    return { name, stamp: stampText(token), generation: same, current }
  })
  space.atHand?.keep(key, new AtHand(text, space, register.generation, register, opened, tags))
}

/**
 * Opens a value that this keyspace may use as it is. Any other value is judged in `judge.ts`, where it can be replaced: also one
 * without tags in a keyspace that names some.
 */
function open<Id, V>(
  space: Space<Id, V>,
  registers: RegistersAtHand,
  key: Key,
  text: string,
): AtHand<Id, V> | undefined {
  const register = parseRegister(text)
  if (space.tagging !== undefined || register.state !== 'value' || register.tags.length > 0) return undefined
  const generation = space.generation.value
  if (register.generation !== generation || register.shape !== space.options.shape) return undefined
  const opened = space.envelope.open(register.text)
  if (opened instanceof Unopened || aliasOf(space, key, opened) !== undefined) return undefined
  const found = new AtHand(text, space, generation, register, opened, NO_TAGS)
  registers.keep(key, found)
  return found
}
