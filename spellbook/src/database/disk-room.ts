import { statfs } from 'node:fs/promises'
import { DataFolderError } from './data-folder.ts'
import { DatabaseAwayError } from './database.ts'

/**
 * PGlite does not recover from a full disk: in the middle of a statement it hangs for ever, and with it the whole process,
 * which then answers nobody and hears no signal. So no statement that writes begins while there is less room than PostgreSQL
 * may need at once.
 */

/** A segment of its log, which it writes as a whole, and some pages. */
const LEAST_BYTES = 24 * 2 ** 20
/** What a new database needs in addition. */
const NEW_DATABASE_BYTES = 48 * 2 ** 20
/** Looking costs little, but more than nothing; no more than some hundred kilobytes are written in this time. */
const LOOK_EVERY_MS = 100

/** How many bytes are free for this process on the disk of a folder. */
export type FreeBytes = (folder: string) => Promise<number>

const freeBytesOf: FreeBytes = async folder => {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

const mebibytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`

/** Watches the room on the disk of one folder. */
export class DiskRoom {
  readonly #folder: string
  readonly #freeBytes: FreeBytes
  #looked: { readonly atMs: number; readonly free: Promise<number> } | undefined

  constructor(folder: string, freeBytes: FreeBytes = freeBytesOf) {
    this.#folder = folder
    this.#freeBytes = freeBytes
  }

  /**
   * To be called before the database is opened.
   *
   * @throws DataFolderError if there is no room for it.
   */
  async checkForDatabase(isNew: boolean): Promise<void> {
    const least = isNew ? LEAST_BYTES + NEW_DATABASE_BYTES : LEAST_BYTES
    const free = await this.#freeBytes(this.#folder)
    if (free >= least) return
    throw new DataFolderError(
      `the disk of the data folder ${this.#folder} has ${mebibytes(free)} free; the database needs ${mebibytes(least)}`,
    )
  }

  /**
   * To be called before a statement that writes.
   *
   * @throws DatabaseAwayError while there is no room.
   */
  async checkForWrite(): Promise<void> {
    const nowMs = performance.now()
    if (this.#looked === undefined || nowMs - this.#looked.atMs >= LOOK_EVERY_MS)
      this.#looked = { atMs: nowMs, free: this.#freeBytes(this.#folder) }
    const free = await this.#looked.free
    if (free >= LEAST_BYTES) return
    throw new DatabaseAwayError(
      new Error(`the disk of ${this.#folder} has only ${mebibytes(free)} free`),
      false,
    )
  }
}
