import assert from 'node:assert/strict'
import type { Fill, GuardReply, ReleaseReply, Stamp } from '../../src/shared/shared-store.ts'

/**
 * What a shared store should do, said a second time: structures in the place of strings, and nothing taken from
 * the code under test but its types.
 */

export type ModelRegister =
  | { state: 'lease'; token: string }
  | { state: 'stamp'; token: string }
  | {
      state: 'value'
      nonce: string
      claim: { token: string; untilMs: number } | undefined
      generation: string
      shape: number
      filledAtMs: number
      softExpiryMs: number
      costMs: number
      tags: readonly Stamp[]
      text: string | undefined
    }
  | { state: 'guard'; dirty: boolean; deadlines: Record<string, number> }

/** Reads a register's string by its documented form. */
export function decode(raw: string): ModelRegister {
  const value =
    /^V(.{16})(.{16})(\d{13}|-{13})(.{16})(\d{6})(\d{13})(\d{13})(\d{8})(?:(=) (.*)|0 |([#~]) (\d\d)(.*))$/su.exec(
      raw,
    )
  if (value !== null) {
    const [, nonce, claimer, until, generation, shape, filledAt, softExpiry, cost, present, plain] = value
    const [kind, count, rest] = value.slice(11)
    const tagged = kind === undefined ? undefined : decodeTags(Number(count), rest!)
    if (kind === '~') assert.equal(tagged?.text, '')
    return {
      state: 'value',
      nonce: nonce!,
      claim: until!.startsWith('-') ? undefined : { token: claimer!, untilMs: Number(until) },
      generation: generation!,
      shape: Number(shape),
      filledAtMs: Number(filledAt),
      softExpiryMs: Number(softExpiry),
      costMs: Number(cost),
      tags: tagged?.tags ?? [],
      text: kind === '#' ? tagged!.text : present === undefined ? undefined : plain!,
    }
  }
  const lease = /^L(.{16})$/su.exec(raw)
  if (lease !== null) return { state: 'lease', token: lease[1]! }
  const stamp = /^S(.{16})$/su.exec(raw)
  if (stamp !== null) return { state: 'stamp', token: stamp[1]! }
  const guard = /^W([01])((?:.{16}\d{13})+)$/su.exec(raw)
  if (guard === null) throw new Error(`not a register: ${raw}`)
  const holders = [...guard[2]!.matchAll(/(.{16})(\d{13})/gsu)]
  return {
    state: 'guard',
    dirty: guard[1] === '1',
    deadlines: Object.fromEntries(holders.map(([, token, deadline]) => [token!, Number(deadline)])),
  }
}

/** Takes so many tags off the beginning of a text. Lengths are those of JavaScript's strings, so no pattern can tell them. */
function decodeTags(count: number, from: string): { tags: Stamp[]; text: string } {
  let text = from
  const take = (length: number) => {
    const taken = text.slice(0, length)
    text = text.slice(length)
    return taken
  }
  const tags = Array.from({ length: count }, () => {
    const name = take(Number(take(3)))
    return { name, token: take(16), generation: take(16) }
  })
  return { tags, text }
}

export class RegisterModel {
  timeMs: number
  /** What the stream has said. */
  readonly said: string[] = []
  readonly #registers = new Map<string, { register: ModelRegister; untilMs: number }>()
  readonly #generations = new Map<string, string>()

  constructor(timeMs: number) {
    this.timeMs = timeMs
  }

  at(key: string): ModelRegister | undefined {
    const kept = this.#registers.get(key)
    return kept === undefined || kept.untilMs <= this.timeMs ? undefined : kept.register
  }

  evict(key: string): void {
    this.#registers.delete(key)
  }

  learnNonce(key: string, nonce: string): void {
    const register = this.at(key)
    if (register?.state === 'value') register.nonce = nonce
  }

  /** `null`, or what is there. */
  lease(key: string, token: string, leaseMs: number): ModelRegister | null {
    const found = this.at(key)
    if (found !== undefined) return found
    this.#put(key, { state: 'lease', token }, leaseMs)
    return null
  }

  stamp(key: string, token: string, lifeMs: number): ModelRegister | null {
    const found = this.at(key)
    if (found !== undefined) return found
    this.#put(key, { state: 'stamp', token }, lifeMs)
    return null
  }

  renewStamp(key: string, token: string, lifeMs: number): boolean {
    const register = this.at(key)
    if (register?.state !== 'stamp' || register.token !== token) return false
    const kept = this.#registers.get(key)!
    kept.untilMs = Math.max(kept.untilMs, this.timeMs + lifeMs)
    return true
  }

  dropStamp(key: string, token: string): boolean {
    const register = this.at(key)
    return register?.state === 'stamp' && register.token === token && this.#registers.delete(key)
  }

  fillByLease(key: string, token: string, value: Fill, fits: boolean): boolean {
    const register = this.at(key)
    return register?.state === 'lease' && register.token === token && this.#store(key, value, fits)
  }

  fillByClaim(key: string, nonce: string, token: string, value: Fill, fits: boolean): boolean {
    return this.#value(key, nonce)?.claim?.token === token && this.#store(key, value, fits)
  }

  swap(key: string, nonce: string, token: string, leaseMs: number): boolean {
    if (this.#value(key, nonce) === undefined) return false
    this.#put(key, { state: 'lease', token }, leaseMs)
    return true
  }

  dropLease(key: string, token: string): boolean {
    const register = this.at(key)
    return register?.state === 'lease' && register.token === token && this.#registers.delete(key)
  }

  dropValue(key: string, nonce: string): boolean {
    return this.#value(key, nonce) !== undefined && this.#registers.delete(key)
  }

  claim(key: string, nonce: string, token: string, claimMs: number): boolean {
    const value = this.#value(key, nonce)
    if (value === undefined) return false
    if (value.claim !== undefined && value.claim.token !== token && value.claim.untilMs > this.timeMs)
      return false
    value.claim = { token, untilMs: this.timeMs + claimMs }
    return true
  }

  giveClaimBack(key: string, nonce: string, token: string): boolean {
    const value = this.#value(key, nonce)
    if (value?.claim?.token !== token) return false
    value.claim = undefined
    return true
  }

  guard(key: string, token: string, guardMs: number, renewal: boolean): GuardReply {
    this.said.push(`invalidated ${key}`)
    const register = this.at(key)
    const deadlineMs = this.timeMs + guardMs
    if (register?.state !== 'guard') {
      this.#putGuard(key, { state: 'guard', dirty: renewal, deadlines: { [token]: deadlineMs } })
      return renewal ? 'rejoined' : 'new'
    }
    const wasThere = token in register.deadlines
    register.deadlines[token] = deadlineMs
    if (!wasThere) register.dirty = true
    this.#putGuard(key, register)
    if (wasThere) return 'renewed'
    return renewal ? 'rejoined' : 'new'
  }

  release(key: string, token: string, through: Fill | undefined, fits: boolean): ReleaseReply {
    this.said.push(`invalidated ${key}`)
    const register = this.at(key)
    this.#registers.delete(key)
    if (register?.state !== 'guard') return { held: false, stored: false }
    const held = token in register.deadlines
    delete register.deadlines[token]
    for (const [other, deadlineMs] of Object.entries(register.deadlines)) {
      if (deadlineMs <= this.timeMs) delete register.deadlines[other]
    }
    if (Object.keys(register.deadlines).length > 0) {
      register.dirty = true
      this.#putGuard(key, register)
      return { held, stored: false }
    }
    const stored = held && !register.dirty && through !== undefined && this.#store(key, through, fits)
    return { held, stored }
  }

  invalidate(key: string): void {
    this.said.push(`invalidated ${key}`)
    const register = this.at(key)
    if (register?.state === 'guard') register.dirty = true
    else this.#registers.delete(key)
  }

  generation(keyspace: string, candidate: string): string {
    const generation = this.#generations.get(keyspace) ?? candidate
    this.#generations.set(keyspace, generation)
    return generation
  }

  invalidateKeyspace(keyspace: string, generation: string): void {
    this.said.push(`keyspace ${keyspace}`)
    this.#generations.set(keyspace, generation)
  }

  #value(key: string, nonce: string) {
    const register = this.at(key)
    return register?.state === 'value' && register.nonce === nonce ? register : undefined
  }

  #store(key: string, value: Fill, fits: boolean): boolean {
    if (!fits) return false
    const filled: ModelRegister = {
      state: 'value',
      nonce: 'not known yet',
      claim: undefined,
      generation: value.generation,
      shape: value.shape,
      filledAtMs: this.timeMs,
      softExpiryMs: this.timeMs + value.freshMs,
      costMs: value.costMs,
      tags: value.tags ?? [],
      text: value.text,
    }
    this.#put(key, filled, value.freshMs + value.staleMs)
    return true
  }

  #putGuard(key: string, guard: Extract<ModelRegister, { state: 'guard' }>): void {
    this.#put(key, guard, Math.max(...Object.values(guard.deadlines)) - this.timeMs)
  }

  #put(key: string, register: ModelRegister, lifeMs: number): void {
    this.#registers.set(key, { register, untilMs: this.timeMs + lifeMs })
  }
}
