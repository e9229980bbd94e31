import type { SimulatedClock } from '../src/testing/index.ts'
import type { Application } from './application.ts'
import type { Database } from './database.ts'
import type { Random } from './random.ts'
import type { Comeback, SharedServer } from './shared-server.ts'
import type { Fault, Weather } from './weather.ts'

/** What a fault befalls besides processes. */
export interface StruckWorld {
  readonly clock: SimulatedClock
  readonly weather: Pick<Weather, 'takesBack'>
  readonly database: Database
  readonly server: SharedServer
  readonly hasFeed: boolean
  /** The rows that this history is about. */
  readonly rows: readonly number[]
}

/** Where and when something goes wrong. */
export interface Blow {
  readonly world: StruckWorld
  readonly random: Random
  /** The process that it befalls, or that is next to it. */
  readonly application: Application
  /** Another process. */
  readonly neighbour: Application
  /** Heals it after a while, unless all is being healed by then. */
  readonly until: (heal: () => void) => void
  /** Ends the process, and starts another in its place after that while. */
  readonly crash: () => void
}

type Strike = (blow: Blow) => void

const LONGEST_SLOWNESS_MS = 2_500
/** Until a change that begins now is heard of, about. */
const MESSAGE_MS = 50
/** While a stream connects again. */
const LONGEST_OUTAGE_MS = 80
/** From a change until its row has been read again, about. */
const LONGEST_RELOAD_MS = 200
const SNAPSHOT_AGE_MS = 6_000
const REPLICATION_LAG_MS = 300
const LOST_COMMITS_MS = 400
/** Mostly long enough for others to follow. */
const LONGEST_SPLIT_MS = 2_500
/** How long the reply to a look takes that is slow, and comes in time. */
const LONG_LOOK_MS = 40
/** Until the new generations of a process are given, about. */
const FOLLOWING_MS = 20

/** What may go wrong, and how. */
export const STRIKES: Readonly<Record<Fault, Strike>> = {
  cut: ({ application: { link }, until }) => {
    link.cut()
    until(() => link.heal())
  },
  'half-open': ({ application: { link }, until }) => {
    link.isHalfOpen = true
    until(() => link.heal())
  },
  'mute stream': ({ application: { link }, until }) => {
    link.isMute = true
    until(() => link.heal())
  },
  'slow stream': ({ application: { link }, random, until }) => {
    link.streamDelayMs = random.below(LONGEST_SLOWNESS_MS)
    until(() => link.heal())
  },
  'dying stream': ({ world, application: { link }, random, until }) => {
    let isDying = true
    link.streamDelayMs = random.below(LONGEST_SLOWNESS_MS)
    world.clock.after(random.below(2 * LONGEST_SLOWNESS_MS), () => {
      if (isDying) link.isMute = true
    })
    until(() => {
      isDying = false
      link.heal()
    })
  },
  'change in a gap': blow => {
    blow.application.link.openGap()
    changeNextDoor(blow, true, blow.random.below(LONGEST_OUTAGE_MS))
  },
  'refused invalidations': ({ application: { link }, until }) => {
    link.isRefused = true
    until(() => link.heal())
  },
  loss: ({ application: { link }, random, until }) => {
    link.loss = 0.05 + random.next() / 4
    until(() => link.heal())
  },
  'stream reset': ({ application: { link } }) => link.interrupt('the connection was reset'),
  'change during a reset': blow => {
    const { world, random, application } = blow
    const laterMs = random.between(-MESSAGE_MS, LONGEST_OUTAGE_MS)
    world.clock.after(Math.max(0, -laterMs), () => application.link.interrupt('the connection was reset'))
    changeNextDoor(blow, true, Math.max(0, laterMs))
  },
  'reset amid a reload': blow => {
    const { world, random, application } = blow
    const row = random.pick(world.rows)
    changeBehind(blow, row)
    world.clock.after(random.below(LONGEST_RELOAD_MS), () => {
      changeBehind(blow, row)
      const shortlyMs = random.below(MESSAGE_MS)
      world.clock.after(shortlyMs, () => application.link.interrupt('the connection was reset', MESSAGE_MS))
    })
  },
  'reset at a heartbeat': blow => {
    const { world, random, application } = blow
    const row = random.pick(world.rows)
    application.link.when('heartbeat', () => {
      application.link.interrupt('the connection was reset', LONGEST_RELOAD_MS)
      world.clock.after(random.below(LONGEST_RELOAD_MS), () => changeBehind(blow, row))
    })
  },
  'reset at a fill': blow => {
    const { random, world, application } = blow
    const row = random.pick(world.rows)
    changeBehind(blow, row)
    application.link.when('fill', () => {
      application.link.interrupt('the connection was reset', MESSAGE_MS)
      changeBehind(blow, row)
    })
  },
  'change in silence': blow => {
    const { link } = blow.application
    let isOver = false
    changeNextDoor(blow, false, 0)
    blow.world.clock.after(blow.random.below(MESSAGE_MS), () => {
      if (!isOver) link.isMute = true
    })
    blow.until(() => {
      isOver = true
      link.heal()
    })
  },
  'silence after a heartbeat': blow => {
    const { link } = blow.application
    link.when('heartbeat', () => {
      link.isMute = true
      changeNextDoor(blow, false, 0)
    })
    blow.until(() => link.heal())
  },
  'change during a look': ({ world, application, neighbour }) =>
    application.link.when('look', () => {
      application.link.delayNextReply(LONG_LOOK_MS)
      if (neighbour.clock.isDead || neighbour.clock.isPaused) return
      void neighbour.invalidate(undefined).then(() => {
        if (application.clock.isDead || application.clock.isPaused) return
        for (const row of world.rows) void application.read(row)
      })
    }),
  crash: ({ crash }) => crash(),
  'death in a write': ({ world, application, random, crash }) => {
    if (application.clock.isDead || application.clock.isPaused) return
    void application.write()
    world.clock.after(random.below(80), crash)
  },
  pause: ({ application: { clock }, until }) => {
    clock.pause(false)
    until(() => clock.resume())
  },
  sleep: ({ application: { clock }, until }) => {
    clock.pause(true)
    until(() => clock.resume())
  },
  'wall clock': ({ application: { clock }, random }) => clock.jumpWall(random.between(-5_000, 5_000)),
  evict: ({ world, application, random }) => world.server.evict(application.anyKey(random)),
  'evict in doubt': ({ world, application }) => {
    if (application.clock.isDead || application.clock.isPaused) return
    // A user tries again what has failed, while the commit may still happen.
    application.whenInDoubt(keys => {
      for (const key of keys) world.server.evict(key)
      void application.write()
    })
    void application.write()
  },
  plant: ({ world, application, random }) => world.server.plant(application.anyKey(random)),
  'forget generations': ({ world }) => world.server.forgetGenerations(),
  'restart empty': blow => comeBack(blow, () => ({ elsewhere: false })),
  'restart from a snapshot': blow =>
    comeBack(blow, ({ server }) => ({ asOf: server.tickAgo(SNAPSHOT_AGE_MS), elsewhere: false })),
  'fail over': blow =>
    comeBack(blow, ({ server }) => ({ asOf: server.tickAgo(REPLICATION_LAG_MS), elsewhere: true })),
  split: blow => {
    const { world, random, application, neighbour } = blow
    comeBack(blow, ({ server }) => ({
      asOf: server.tickAgo(REPLICATION_LAG_MS),
      elsewhere: true,
      staying: application.link,
    }))
    // While another process has followed and gives new generations: the one that stays writes, and may compare as well.
    neighbour.link.when('generation', () => {
      if (random.chance(0.3)) application.link.interrupt('the connection was reset')
      world.clock.after(random.below(FOLLOWING_MS), () => {
        if (!application.clock.isDead && !application.clock.isPaused) void application.write()
      })
    })
    world.clock.after(random.below(LONGEST_SPLIT_MS), () => application.link.heal())
  },
  'reply lost': ({ application: { link } }) => link.breakReply('lost'),
  'reply added': ({ application: { link } }) => link.breakReply('added'),
  'database away': ({ world: { database }, until }) => {
    database.isAway = true
    until(() => {
      database.isAway = false
    })
  },
  'database restart': ({ world: { database, weather, hasFeed }, random }) =>
    database.crash(weather.takesBack && hasFeed ? random.below(LOST_COMMITS_MS) : 0),
  'session ends': ({ world: { database }, random }) => {
    if (database.sessions.size > 0) random.pick([...database.sessions]).end('terminated')
  },
  'session vanishes': ({ world: { database }, random }) => {
    if (database.sessions.size > 0) random.pick([...database.sessions]).vanish()
  },
}

/** Another process changes a row, or a whole keyspace, at about the time at which the stream is lost: no message is heard of it. */
function changeNextDoor({ world, random, neighbour }: Blow, isOfOneRow: boolean, afterMs: number): void {
  const row = isOfOneRow ? random.pick(world.rows) : undefined
  world.clock.after(afterMs, () => {
    if (!neighbour.clock.isDead && !neighbour.clock.isPaused) void neighbour.invalidate(row)
  })
}

/** A row changes behind the library's back, and another process invalidates it: a single message tells of it. */
function changeBehind({ world: { database }, neighbour }: Blow, row: number): void {
  const invalidate = () => {
    if (!neighbour.clock.isDead && !neighbour.clock.isPaused) void neighbour.invalidate(row)
  }
  database
    .commit({ rows: [row], clock: undefined, committed: () => {}, dropped: () => {} })
    .then(invalidate, () => {})
}

/** The server goes, and comes back. Without a change feed nothing is promised of a server that has forgotten something. */
function comeBack({ world, random }: Blow, how: (world: StruckWorld) => Omit<Comeback, 'awayMs'>): void {
  if (!world.hasFeed) return
  const awayMs = 1 + random.below(random.chance(0.5) ? 40 : 600)
  world.server.restart({ ...how(world), awayMs })
}
