import type { SharedStore, Stamp, StoreView } from '../../src/shared/index.ts'
import { valueText } from '../../src/shared/register.ts'
import { auditedKeyspace, type VerifyOptions, type VerifyReport, verify } from '../../src/verify/index.ts'
import { openWorld, type Spell, spellTable, within } from '../world.ts'

/** Longer than any verification of a test takes on a simulated clock. */
const LONG_ENOUGH_MS = 60_000

/** A text of the length of a token. */
export const token = (name: string): string => name.padEnd(16, '_').slice(0, 16)

/** The generation that the spells of a test are stored under. */
export const GENERATION = token('generation')

/** A tag as a value holds it that was loaded under it. */
export const tag = (name: string, more: Partial<Stamp> = {}): Stamp => ({
  name,
  token: token(`of ${name}`),
  generation: GENERATION,
  ...more,
})

/** How a planted value may differ from one that a fill would have left. */
export interface Planted {
  readonly generation?: string
  readonly shape?: number
  readonly agoMs?: number
  readonly nonce?: string
  /** The tags that it was loaded under. */
  readonly tags?: readonly Stamp[]
}

/** A world with a table of spells, a store that holds what a test plants, and an audit of both. */
export async function auditWorld(
  rows: Spell[] = [1, 2, 3, 4].map(id => ({ id, name: `spell ${id}`, damage: id })),
) {
  const world = openWorld()
  const table = spellTable(...rows)
  const network = world.network()
  await network.generation('spell', GENERATION)
  const { clock } = world
  const spells = auditedKeyspace('spell', {
    load: (id: number) => table.find(id),
    idFromKey: ([id]) => Number(id),
    versionOf: spell => spell.damage,
  })
  /** Puts a value into the store as if it had been filled; `undefined` for an absent row. */
  const plantText = (key: string, text: string | undefined, planted: Planted = {}) => {
    const { generation = GENERATION, shape = 1, agoMs = 5_000, nonce = clock.token(), tags = [] } = planted
    const fill = { generation, shape, freshMs: 600_000, staleMs: 0, costMs: 1, tags, text }
    world.plant(key, valueText(nonce, fill, clock.epochMs() - agoMs))
  }
  const options = { shared: network, keyspaces: [spells], clock }
  return {
    ...world,
    network,
    table,
    spells,
    plantText,
    plant: world.plant,
    /** As `plantText`, for a row. */
    plantSpell: (id: number, row: Partial<Spell> | undefined = table.rows.get(id), planted: Planted = {}) =>
      plantText(`spell:${id}`, row === undefined ? undefined : JSON.stringify(row), planted),
    /** Begins a verification; the clock has to be moved. */
    begin: (more: Partial<VerifyOptions> = {}): Promise<VerifyReport> => verify({ ...options, ...more }),
    /** Verifies from beginning to end. */
    verify: (more: Partial<VerifyOptions> = {}): Promise<VerifyReport> =>
      within(clock, LONG_ENOUGH_MS, verify({ ...options, ...more })),
  }
}

/** What was found, one line each: `stale spell:4`. */
export const found = ({ findings }: VerifyReport): string[] =>
  findings
    .map(finding => `${finding.kind} ${finding.key}${'reason' in finding ? ` ${finding.reason}` : ''}`)
    .sort()

/** The same store with another way to look at it. */
export function viewedBy(store: SharedStore, change: (view: StoreView) => StoreView): SharedStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'view') return async () => change(await target.view!())
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}
