import { fills } from '../test/protections/fills.scenarios.ts'
import { flights } from '../test/protections/flights.scenarios.ts'
import { generations } from '../test/protections/generations.scenarios.ts'
import { guards } from '../test/protections/guards.scenarios.ts'
import { lateTags } from '../test/protections/late-tags.scenarios.ts'
import { leases } from '../test/protections/leases.scenarios.ts'
import type { Patch } from '../test/protections/library.ts'
import { queue } from '../test/protections/queue.scenarios.ts'
import { registers } from '../test/protections/registers.scenarios.ts'
import { snapshots } from '../test/protections/snapshots.scenarios.ts'
import { stale } from '../test/protections/stale.scenarios.ts'
import { stamps } from '../test/protections/stamps.scenarios.ts'
import { stream } from '../test/protections/stream.scenarios.ts'
import { tags } from '../test/protections/tags.scenarios.ts'

/** The library with one protection taken out. */
export interface Mutant {
  /** Which one, and what it is there for. */
  readonly name: string
  readonly patches: readonly Patch[]
}

/** How the identity of the origin becomes part of what is compared. */
const ORIGIN_TOO = ['`$', '{store} $', '{session.origin}`'].join('')

/** Protections of the relay, of the clock and of tags, which the scenarios of `test/protections` do not take out. */
export const FURTHER: readonly Mutant[] = [
  {
    name: 'relay: apply, then mark',
    patches: [
      [
        'const applied = await this.#apply(session, batch, id)\n    await this.#limited(session.settle(applied))',
        'const applied = [...batch.changes]\n    await this.#limited(session.settle(applied))\n    await this.#apply(session, batch, id)',
      ],
    ],
  },
  {
    name: 'relay: only what was confirmed is marked',
    patches: [
      [
        'return changes.filter(change => !failed.has(change))',
        'return changes.filter(() => failed.size >= 0)',
      ],
    ],
  },
  {
    name: 'relay: what is left is tried again',
    patches: [['this.#after = undefined\n    this.#restartMs = Number', 'this.#restartMs = Number']],
  },
  {
    name: 'relay: another identity means a new generation',
    patches: [["if (suspects.length === 0) return 'done'", "if (suspects.length >= 0) return 'done'"]],
  },
  {
    name: 'relay: remembered is only what has been applied',
    patches: [['suspects.filter((_, i) => replies[i])', 'suspects.filter(() => replies.length > 0)']],
  },
  {
    name: 'relay: a lost session may have taken commits back',
    patches: [
      ["if (session?.mayTakeBack) this.#identities.distrust('the session with the origin was lost')", ''],
      [ORIGIN_TOO, ORIGIN_TOO.replace(/ \S+origin}/, '')],
    ],
  },
  {
    name: 'relay: between two sessions with a private store nothing is seen',
    patches: [
      [
        "if (this.#target.isPrivate) this.#identities.distrust('the session with the origin is a new one')",
        '',
      ],
    ],
  },
  {
    name: 'relay: what is applied to a store that has been replaced does not count',
    patches: [
      [
        'return new Set([...remembered.keys()].filter(name => remembered.get(name) !== this.#compared))',
        'return new Set([...remembered.keys()].filter(() => false))',
      ],
    ],
  },
  {
    name: 'relay: doubts before it gives new generations',
    patches: [
      ['if (isShared) await session.remember(suspects, doubt)', ''],
      [
        'const done = suspects',
        'if (isShared) await session.remember(suspects, doubt)\n    const done = suspects',
      ],
    ],
  },
  {
    name: 'relay: remembers only instead of its own doubt',
    patches: [['remember(done, identity, doubt)', 'remember(done, identity)']],
  },
  {
    name: 'relay: compares identities when the stream was interrupted',
    patches: [
      ["this.#relay?.reconnected('the broadcast stream was interrupted')", ''],
      ['this.#access.mayHaveFallenBack()', ''],
      ['      this.mayHaveFallenBack()\n', ''],
    ],
  },
  {
    name: 'relay: a change whose rows are not known invalidates the keyspaces',
    patches: [
      [
        'for (const name of mapped?.keyspaces ?? table?.keyspaces ?? everyKeyspace())',
        'for (const name of [])',
      ],
    ],
  },
  {
    name: "reader: gives back what may have been granted where another key's register was answered",
    patches: [['dropLease(space.parts, key, token)\n  if (isOf', 'void token\n  if (isOf']],
  },
  {
    name: "batch: gives back what may have been granted where another key's register was answered",
    patches: [['isOfAnother(flight.key, first?.reply) || ', '']],
  },
  {
    name: "snapshot: gives back what may have been granted where another key's register was answered",
    patches: [['replies[i] === null || isOfAnother(key, replies[i])', 'replies[i] === null']],
  },
  {
    name: 'read: only the very same text is taken for what was read before',
    patches: [
      ['young.text === text ? young.made : undefined', 'young.made'],
      [
        'if (old === undefined || old.text !== text) return undefined',
        'if (old === undefined) return undefined',
      ],
    ],
  },
  {
    name: 'clock: counts the time for which the machine slept',
    patches: [
      [
        'Math.max(monotonic - monotonicAnchor, wall - wallAnchor - WALL_ROUNDING_MS)',
        'monotonic - monotonicAnchor',
      ],
    ],
  },
  {
    name: 'tags: a flight is listed under its tags',
    patches: [['this.#parts.flights.list(this.#flight, added)', '']],
  },
  {
    name: 'tags: a value falls only by stamps that were read after it was seen',
    patches: [['  await tags.ask(doubtful, { strong: true, limitMs: leftMs(space.parts, progress) })\n', '']],
  },
  {
    name: 'tags: a value that lacks a tag is replaced once in its life',
    patches: [['if ((this.#replaced.get(key) ?? Number.NEGATIVE_INFINITY) > nowMs) return false', '']],
  },
]

/** Patches of the scenarios that the simulation is not asked about, and why. */
export const LEFT_OUT: readonly { readonly name: string; readonly why: string }[] = [
  {
    name: 'getMany that has rejected begins no load for nobody — leaving the other flights, and looking whether anybody waits before a load begins',
    why: 'costs loads, and no answer is wrong',
  },
  {
    name: "get in two processes loads a cold key once — the wait for another process's load",
    why: 'costs loads, and no answer is wrong',
  },
  {
    name: 'get keeps a loaded value in L1 only when the shared store has accepted it — the rule that only accepted fills are kept',
    why: 'what refused the fill was broadcast, and L1 gives the value up within the bound of a default read',
  },
  {
    name: 'get gives its lease back when its only caller gives up — aborting the flight of the last caller',
    why: 'the load goes on and is stored: nobody waits longer than for any load',
  },
  {
    name: 'get gives its lease back when the value cannot be encoded — giving back the lease of what cannot be encoded',
    why: 'all simulated rows can be encoded',
  },
  {
    name: "get keeps nothing under an id that is not that of the row — the comparison with the row's own id",
    why: 'the simulated database has one text for each id',
  },
  {
    name: "get finds nothing at hand under an id that is not that of the row — the comparison with the row's own id, of what is at hand",
    why: 'the simulated database has one text for each id',
  },
  {
    name: 'write forgets its keys in its own process before it guards them — forgetting before the guard',
    why: 'only a write that has resolved promises something to its own process',
  },
  {
    name: 'get leaves a value of a newer shape alone — leaving a newer shape alone',
    why: 'two deploys overwrite each other, and no answer is wrong',
  },
  {
    name: 'get by strong readers who come during one flight shares the next — the queued flight',
    why: 'costs round trips, and no answer is wrong',
  },
  {
    name: 'get by many callers loads once, and all share the failure — single-flight',
    why: 'costs loads, and no answer is wrong',
  },
  {
    name: 'write that dies gives way to one that lives, which moves only its own deadline — a deadline per writer: a renewal moves them all',
    why: 'a key is not cached for longer than it need be, and no answer is wrong',
  },
  {
    name: 'write through stores nothing where the key was invalidated under its guard — the plain release after a refused write-through',
    why: 'a key is not cached for longer than it need be, and no answer is wrong',
  },
  {
    name: 'write that hangs is guarded until writeTimeoutMs and guardMs have passed, and no longer — an end of the renewal',
    why: 'a key is not cached for longer than it need be, and no answer is wrong',
  },
  {
    name: 'write whose commit is in doubt stays guarded until the commit can no longer happen — an end of the renewal',
    why: 'a key is not cached for longer than it need be, and no answer is wrong',
  },
  {
    name: 'write that the server has certainly refused is released at once — reading the SQLSTATE',
    why: 'a key is not cached for longer than it need be, and no answer is wrong',
  },
  {
    name: 'write ends no guard before it is there — waiting for guards under way before the release',
    why: 'all simulated writes wait for the guards that they ask for',
  },
  {
    name: 'write shares the guard of its process, which stands until the last writer ends — sharing',
    why: 'costs commands, and no answer is wrong',
  },
  {
    name: 'write stays guarded where there are more writers than a guard lists — a deadline for those who are not listed',
    why: 'no history has as many writers',
  },
  {
    name: 'write stays guarded where there are more writers than a guard lists — the bound',
    why: 'no history has as many writers',
  },
  {
    name: 'write through stores the committed row — the write-through',
    why: 'costs a load, and no answer is wrong',
  },
  {
    name: 'get stores nothing under a lease that an older state of the store has brought back — looking whether the flight is doomed before the fill',
    why: 'a store that comes back with an older state is promised nothing until its next generation',
  },
  {
    name: 'get by a strong reader looks at nothing that a store of the past may answer — asking for the lease wherever the generation has to be read',
    why: 'a Cluster is one server here, so the node of the key also refuses to tell the generation',
  },
  {
    name: 'getMany by a strong reader looks at nothing that a store of the past may answer — asking for leases wherever the generation has to be read',
    why: 'a Cluster is one server here, so the node of the key also refuses to tell the generation',
  },
  {
    name: 'get by a strong reader does not wait for a flight that all its callers have left — counting a doomed flight as over',
    why: 'costs time, and no answer is wrong',
  },
  {
    name: 'get bypasses the store while a commit of its process is in doubt — asking for commits in doubt',
    why: 'a write that has failed promises nothing to its own process',
  },
  {
    name: 'get bypasses the store while a commit is in doubt for whose key there was no room — asking for commits in doubt of the keyspace',
    why: 'a write that has failed promises nothing to its own process',
  },
  {
    name: 'get begins no refresh of a value whose tag has come into doubt since it was found — asking the queue before a refresh begins',
    why: 'a write that has failed promises nothing to its own process',
  },
  {
    name: "get answers with no earlier version's value, which does not tell its key — replacing what does not tell its key",
    why: 'all simulated processes are of this version',
  },
  {
    name: 'get leaves a guard of a later version to its writer — going to the origin for what is of a later version, and without refusing to swap it',
    why: 'all simulated processes are of this version',
  },
  {
    name: 'write leaves a guard of a later version standing, and is not fenced — leaving it standing at the guard',
    why: 'all simulated processes are of this version',
  },
  {
    name: 'write leaves a guard of a later version standing, and is not fenced — leaving it standing at the release',
    why: 'all simulated processes are of this version',
  },
  {
    name: 'write leaves a guard of a later version standing, and is not fenced — dirty',
    why: 'all simulated processes are of this version',
  },
  {
    name: 'invalidate leaves a guard of a later version standing — leaving it standing',
    why: 'all simulated processes are of this version',
  },
  {
    name: 'write that may not go on without its guard does not where a later version has one — counting that as unguarded',
    why: 'all simulated processes are of this version',
  },
  {
    name: 'get asks once for the generation of many values whose keyspace was invalidated — sharing a look',
    why: 'costs commands, and no answer is wrong',
  },
  {
    name: 'get asks once for the generation of many values whose keyspace was invalidated — remembering what has fallen',
    why: 'costs commands, and no answer is wrong',
  },
  {
    name: 'get does not load twice a key whose tags never stay the same \u2014 remembering that a second load did not help',
    why: 'costs loads, and no answer is wrong',
  },
  {
    name: 'get loads no second time what was invalidated while it was loaded \u2014 looking whether the flight is doomed',
    why: 'costs loads, and no answer is wrong',
  },
  {
    name: 'get loads once what was invalidated together with its late tag \u2014 remembering the tags of what this process has stored',
    why: 'costs loads, and no answer is wrong',
  },
  {
    name: 'get loads no second time for the sake of late tags while readers wait for a place \u2014 looking whether there is room',
    why: 'costs time, and no answer is wrong',
  },
  {
    name: 'get gives back the claim of a refresh whose stamps it cannot read — ending a refresh that may keep nothing',
    why: 'costs loads, and no answer is wrong',
  },
  {
    name: 'get bypasses what is at hand while its tag or its key is queued \u2014 asking the queue for the tags of what is at hand',
    why: 'a store in the process applies each invalidation at once, and keeps its guards until they end',
  },
  {
    name: 'get bypasses what is at hand while its tag or its key is queued \u2014 asking the queue for the key of what is at hand',
    why: 'a store in the process applies each invalidation at once, and keeps its guards until they end',
  },
  {
    name: 'get finds nothing in L1 once a heartbeat has brought a new generation of its tags \u2014 dropping what depends on the older one',
    why: 'no message is lost without a heartbeat, and then nothing that was kept is trusted',
  },
  {
    name: 'get finds nothing in L1 once a heartbeat has brought a new generation of its tags \u2014 dropping flights: only entries are dropped',
    why: 'no message is lost without a heartbeat, and then nothing that was kept is trusted',
  },
]

/** Every protection that is taken out: those of the scenarios, by the same patches, and some more. */
export const MUTANTS: readonly Mutant[] = [...fromScenarios(), ...FURTHER]

/** The patches of all scenarios, each once. */
function fromScenarios(): Mutant[] {
  const found = new Map<string, Mutant>()
  for (const protection of [
    fills,
    leases,
    generations,
    registers,
    stamps,
    flights,
    guards,
    queue,
    stream,
    stale,
    tags,
    lateTags,
    snapshots,
  ].flat())
    for (const { without, patches } of protection.controls) {
      const name = `${protection.name} — ${without}`
      const text = JSON.stringify(patches)
      if (!found.has(text) && !LEFT_OUT.some(one => one.name === name)) found.set(text, { name, patches })
    }
  return [...found.values()]
}
