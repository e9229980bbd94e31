import type { Redis } from 'ioredis'
import type { Spell } from '../spellbook/src/api.ts'
import type { Database } from '../spellbook/src/database/database.ts'
import { installChangeFeed, migrate } from '../spellbook/src/migrations.ts'
import { type SpellTable, spellTable } from '../spellbook/src/spell-table.ts'
import { type RedisServer, type Settings, startRedis } from '../test/redis-servers.ts'
import { openDatabase, openRedis } from './stages/servers.ts'

/** Something of the lesson that can be seen. */
export interface Demonstration {
  readonly name: string
  /** What it shows, in a few words. */
  readonly title: string
  /** @throws Error if it did not happen as the lesson says. */
  run(room: Room): Promise<void>
}

/** What demonstrations are given: servers of their own, and somebody who listens. */
export interface Room {
  /** Shows a line to the reader. */
  say(line: string): void
  /** Starts a Redis. */
  redis(settings?: Settings): Promise<RedisServer>
  /** A connection to a Redis, or to a proxy before it. */
  client(port: number): Promise<Redis>
  /** The database, with Spellbook's tables and the eight spells, and its change feed. */
  database(): Promise<SpellDatabase>
  /** Has something done when the demonstration is over, the last first. */
  atEnd(work: () => unknown): void
}

/** The database of a demonstration. */
export interface SpellDatabase extends SpellTable {
  readonly url: string
  readonly database: Database
  /** What Earthquake's damage is in the database. */
  damage(): Promise<number>
}

/** Where a room finds what it needs. */
export interface Surroundings {
  say(line: string): void
  redisProgram(): string
  /** The address of an empty database. */
  postgresUrl(): Promise<string>
}

/** The spell that the lesson reads and changes: Earthquake, with a damage of 40. */
export const EARTHQUAKE = 4

/** Runs one demonstration in a room of its own, and clears up behind it. */
export async function demonstrate(demonstration: Demonstration, surroundings: Surroundings): Promise<void> {
  const { say, redisProgram, postgresUrl } = surroundings
  const ends: (() => unknown)[] = []
  const room: Room = {
    say,
    atEnd: work => void ends.unshift(work),
    async redis(settings) {
      const server = await startRedis(settings, redisProgram())
      ends.unshift(() => server.stop())
      return server
    },
    async client(port) {
      const client = await openRedis(port)
      client.on('error', () => {})
      ends.unshift(() => client.disconnect())
      return client
    },
    async database() {
      const url = await postgresUrl()
      const database = openDatabase(url)
      ends.unshift(() => database.close())
      await migrate(database)
      await installChangeFeed(database)
      const table = spellTable(database)
      const damage = async () => (await table.find(String(EARTHQUAKE)))!.damage
      return { ...table, url, database, damage }
    },
  }
  try {
    await demonstration.run(room)
  } finally {
    for (const end of ends) await end()
  }
}

/** Ends a demonstration that did not show what it is to show. */
export function shown(isShown: boolean, what: string): asserts isShown {
  if (!isShown) throw new Error(`this time it was otherwise: ${what}`)
}

/** What is read of a spell, in the words of the lesson. */
export const damageOf = (spell: Spell | undefined): string => `damage ${spell?.damage ?? 'unknown'}`
