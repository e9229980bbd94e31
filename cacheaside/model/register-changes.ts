import { set } from './record.ts'
import type { KeyState, Part, Reader, State } from './state.ts'
import type { World } from './world.ts'

/** The rules of the shared store: what becomes of a register, and of the tokens that it holds. */

/** The readers of a key. */
export function* readersOf(world: World, state: State, key: number): Generator<Reader> {
  for (const [i, place] of world.readerPlaces.entries()) if (place.key === key) yield state.readers[i]!
}

/** The parts of all writers for a key. */
export function* partsOf(state: State, key: number): Generator<Part> {
  for (const writer of state.writers) yield writer.parts[key]!
}

/** Removes what is there, with every lease, nonce, claim and token in it. */
export function clear(world: World, state: State, key: number): void {
  set(state.keys[key]!, {
    register: 'absent',
    version: 0,
    generation: 0,
    expired: false,
    dirty: false,
    merged: false,
  })
  for (const reader of readersOf(world, state, key)) {
    reader.lease = false
    reader.sees = false
    reader.claim = 'none'
    reader.entitled = false
  }
  for (const part of partsOf(state, key)) part.token = 'none'
}

/** Puts a reader's lease there. */
export function putLease(world: World, state: State, key: number, reader: Reader): void {
  const takesOver = !world.has('one lease')
  const others = takesOver ? [...readersOf(world, state, key)].filter(({ entitled }) => entitled) : []
  clear(world, state, key)
  state.keys[key]!.register = 'lease'
  reader.lease = true
  reader.entitled = true
  for (const other of others) other.entitled = true
}

/** Puts a value there. */
export function putValue(world: World, state: State, key: number, version: number, generation: number): void {
  clear(world, state, key)
  set(state.keys[key]!, { register: 'value', version, generation })
}

/** Tells all processes of a key. */
function broadcast(world: World, state: State, key: number): void {
  if (!world.setting.local) return
  for (const [process, { cut }] of state.processes.entries())
    if (!cut) world.copyOf(state, process, key).messages++
}

/** A guard, or with `renewal` the renewal of one. */
export function guard(world: World, state: State, key: number, part: Part, renewal: boolean): void {
  broadcast(world, state, key)
  overtake(world, state, key, part)
  const register = state.keys[key]!
  if (isLater(world, register, 'writers leave guards of later versions')) return
  const stands = register.register === 'guard'
  const found = stands && isListed(part)
  const { merged } = register
  const tokens = stands ? [...partsOf(state, key)].map(({ token }) => token) : []
  const joins = stands && !found && setsDirty(world, 'dirty: joining')
  const again = renewal && !found && setsDirty(world, 'dirty: joining again')
  const dirty = (stands && register.dirty) || joins || again
  clear(world, state, key)
  set(register, { register: 'guard', dirty })
  for (const other of partsOf(state, key)) other.token = tokens.shift() ?? 'none'
  const { holders = Number.POSITIVE_INFINITY } = world.setting
  const isFull = !found && [...partsOf(state, key)].filter(isListed).length >= holders
  part.token = !isFull ? 'live' : world.has('too many holders merge') ? 'merged' : 'none'
  register.merged = (stands && merged) || part.token === 'merged'
}

/** Whether the guard has its token, and not only its deadline. */
const isListed = ({ token }: Part): boolean => token === 'live' || token === 'passed'

/** Whether a guard of a later version stands there, which nobody joins or ends but its own writer. It becomes dirty. */
function isLater(
  world: World,
  register: KeyState,
  protection: 'writers leave guards of later versions' | 'invalidations leave guards of later versions',
): boolean {
  if (register.register !== 'later' || !world.has(protection)) return false
  if (world.has('dirty: guards of later versions')) register.dirty = true
  return true
}

/** The writer of a later version releases: it has written through, unless somebody else was there. */
export function releaseLater(world: World, state: State, key: number, version: number): void {
  broadcast(world, state, key)
  const { dirty } = state.keys[key]!
  clear(world, state, key)
  if (!dirty) putValue(world, state, key, version, state.shared.generation)
}

const setsDirty = (world: World, protection: 'dirty: joining' | 'dirty: joining again'): boolean =>
  world.has('dirty') && world.has(protection)

/** A release, and whether it found its token; `through` is the committed value, if it may be stored. */
export function release(
  world: World,
  state: State,
  key: number,
  part: Part,
  through?: { readonly version: number; readonly generation: number },
): boolean {
  broadcast(world, state, key)
  const wasOvertaken = part.overtaken
  overtake(world, state, key, part)
  const register = state.keys[key]!
  if (isLater(world, register, 'writers leave guards of later versions')) return false
  if (register.register !== 'guard') {
    if (world.has('release without a guard removes')) clear(world, state, key)
    return false
  }
  const held = isListed(part)
  part.token = 'none'
  for (const other of partsOf(state, key)) if (other.token === 'passed') other.gap = true
  const isLeft = register.merged || [...partsOf(state, key)].some(({ token }) => token === 'live')
  if (isLeft) {
    for (const other of partsOf(state, key)) if (other.token === 'passed') other.token = 'none'
    if (world.has('dirty') && world.has('dirty: release that leaves others')) register.dirty = true
    return held
  }
  const stores = through !== undefined && held && !register.dirty
  clear(world, state, key)
  if (!stores) return held
  putValue(world, state, key, through.version, through.generation)
  // Overtaken by the invalidation of its own change it is stored without harm.
  if (wasOvertaken && through.version < register.visible) backAgain(world, state, register)
  return held
}

/** An invalidation of a key. */
export function invalidate(world: World, state: State, key: number): void {
  broadcast(world, state, key)
  overtake(world, state, key)
  const register = state.keys[key]!
  if (isLater(world, register, 'invalidations leave guards of later versions')) return
  if (register.register === 'guard') {
    if (world.has('dirty') && world.has('dirty: invalidation')) register.dirty = true
  } else if (register.register !== 'lease' || world.has('invalidation removes leases'))
    clear(world, state, key)
}

/** The deadline of a token passes; with the last one the guard is gone. */
export function pass(world: World, state: State, key: number, part: Part): void {
  part.token = 'passed'
  endUnheld(world, state, key)
}

/** The deadline passes that those have in common who came when there were too many. */
export function passMerged(world: World, state: State, key: number): void {
  state.keys[key]!.merged = false
  for (const other of partsOf(state, key))
    if (other.token === 'merged') set(other, { token: 'none', gap: true })
  endUnheld(world, state, key)
}

function endUnheld(world: World, state: State, key: number): void {
  const parts = [...partsOf(state, key)]
  if (state.keys[key]!.merged || parts.some(({ token }) => token === 'live')) return
  for (const other of parts) if (other.token === 'passed') other.gap = true
  clear(world, state, key)
}

/** A new generation for all keys. */
export function invalidateAll(world: World, state: State): void {
  state.shared.generation = ++state.shared.drawn
  for (let key = 0; key < world.keys; key++) {
    broadcast(world, state, key)
    overtake(world, state, key)
  }
}

/** Whatever was loaded, or committed, before this moment must not be stored any more. */
function overtake(world: World, state: State, key: number, own?: Part): void {
  for (const reader of readersOf(world, state, key)) if (reader.at === 'fill') reader.overtaken = true
  for (const writer of state.writers) {
    const part = writer.parts[key]!
    if (part !== own && writer.at === 'release' && !part.released) part.overtaken = true
  }
}

/** G1, where a value was stored that an invalidation had overtaken. Nobody finds it if its generation is an older one. */
export function backAgain(world: World, state: State, register: KeyState): void {
  if (register.generation !== state.shared.generation) return
  if (state.shared.forgot && !world.setting.strictFills) return
  state.broken = 'G1: what was loaded or committed before an invalidation was stored after it'
}
