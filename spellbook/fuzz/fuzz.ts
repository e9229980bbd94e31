import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { pino } from 'pino'
import { problem, type Spell, spell, spellChange, spellFields } from '../src/api.ts'
import { createApp } from '../src/app.ts'
import type { Database } from '../src/database/database.ts'
import { type Spells, uncachedSpells } from '../src/spells.ts'
import { type Asking, askingOf, bytesOf, type Description, nonsense, resolveIds } from './requests.ts'
import { type Answer, answersIn, PATIENCE_MS, say } from './wire.ts'

/** What has been done. */
export interface Report {
  readonly requests: number
  readonly byStatus: ReadonlyMap<number, number>
  /** Writes that were answered as done. */
  readonly acknowledged: number
  /** Connections that were cut off with something said on them. */
  readonly cut: number
}

/** How to fuzz. */
export interface FuzzOptions {
  /** It decides all that is said. */
  readonly seed: number
  /** About how many requests. */
  readonly requests: number
  readonly database: Database
  /** Over this database; closed by its maker. */
  readonly spells: Spells
}

/** So many wizards are asked for: of some there is none, and the books of the others fill. */
const WIZARDS = 12

/** What is said on one connection: some requests at once, maybe something that is none, and maybe not to its end. */
interface Conversation {
  readonly askings: readonly Asking[]
  readonly last: Buffer | undefined
  /** Where it is cut, as a part of the whole. */
  readonly cut: number | undefined
}

const PROTOCOL_STATUSES = new Set([400, 403, 404, 405, 408, 412, 413, 415, 417, 421, 431, 501])

type Row = Pick<Spell, 'name' | 'damage'>

/**
 * Says what a seed decides to a Spellbook on a port of its own, and checks every answer:
 *
 * - no status but those of the description and of the protocol, and none from 500 on but 501 and a 503 that says when to
 *   try again;
 * - what the description allows is not refused;
 * - every refusal is a problem, and every answer has the headers that all have;
 * - every write of a spell that was answered is there, in the table and in what is read; of one that was not answered, all
 *   or nothing;
 * - the wizards and their books are read as they are in the tables.
 *
 * @throws Error that says what was wrong, and on which connection.
 */
export async function fuzz({ seed, requests, database, spells }: FuzzOptions): Promise<Report> {
  const writes = countWrites(spells)
  const service = { spells: writes.spells, ping: () => database.query('select 1') }
  const app = await createApp({ log: pino({ level: 'silent' }), service: () => service, hosts: [] })
  await app.listen({ port: 0, host: '127.0.0.1' })
  try {
    const { port } = app.server.address() as AddressInfo
    const api: Description = (await app.inject('/openapi.json')).json()
    let accepted = 0
    let open = 0
    app.server.on('connection', socket => {
      accepted++
      open++
      socket.once('close', () => open--)
    })
    let said = 0
    // A connection that was cut off may not even have been accepted when its client knows that it has ended.
    const quiet = () => accepted === said && open === 0 && writes.running() === 0
    const oracle = new Oracle(database)
    await oracle.settle()
    const tally = { requests: 0, byStatus: new Map<number, number>(), acknowledged: 0, cut: 0 }
    for (const drawn of conversations(api, seed, requests)) {
      said++
      const idOf = (resource: string, rank: number) =>
        resource === 'spells' ? oracle.idAt(rank) : String(1 + (rank % WIZARDS))
      const each = { ...drawn, askings: drawn.askings.map(one => resolveIds(one, idOf)) }
      try {
        await converse(each, port, oracle, tally)
        if (each.cut !== undefined || each.last !== undefined || oracle.isUnsure) {
          await until(quiet)
          await oracle.settle()
          if (said % 20 === 0) await compareWizards(database, spells)
        }
      } catch (error) {
        throw new Error(`${(error as Error).message}\nseed ${seed}, said: ${JSON.stringify(textOf(each))}`, {
          cause: error,
        })
      }
    }
    await oracle.settle()
    await compareWizards(database, spells)
    return tally
  } finally {
    await app.close()
  }
}

/** To be called when nothing is being done. */
async function compareWizards(database: Database, { wizards }: Spells): Promise<void> {
  const uncached = uncachedSpells(database).wizards
  for (let id = 1; id <= WIZARDS; id++) {
    const [found, is] = await Promise.all([wizards, uncached].map(each => each.find(String(id))))
    if (JSON.stringify(found!.value) !== JSON.stringify(is!.value))
      throw new Error(
        `the wizard ${id} is read as ${JSON.stringify(found!.value)}: ${found!.from}, ${found!.why}`,
      )
  }
}

/** Waits for a condition, for a bounded time. */
async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error('the server does not come to rest')
    await new Promise(setImmediate)
  }
}

/** The spells, with a count of writes that are being made. */
function countWrites(spells: Spells): { spells: Spells; running(): number } {
  let running = 0
  const counted =
    <Args extends unknown[], T>(write: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      running++
      try {
        return await write(...args)
      } finally {
        running--
      }
    }
  return {
    spells: {
      ...spells,
      create: counted(spells.create),
      update: counted(spells.update),
      delete: counted(spells.delete),
      wizards: {
        ...spells.wizards,
        create: counted(spells.wizards.create),
        update: counted(spells.wizards.update),
        delete: counted(spells.wizards.delete),
        add: counted(spells.wizards.add),
        remove: counted(spells.wizards.remove),
      },
    },
    running: () => running,
  }
}

/** Has neighbouring seeds say different things. */
const SPREAD = 0x9e3779b1

function* conversations(api: Description, seed: number, requests: number): Generator<Conversation> {
  const conversation = fc.record({
    askings: fc.array(askingOf(api), { minLength: 1, maxLength: 5 }),
    last: fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, nonsense),
    cut: fc.oneof(
      { weight: 8, arbitrary: fc.constant(undefined) },
      fc.double({ min: 0, max: 1, noNaN: true }),
    ),
  })
  let said = 0
  for (let n = 0; said < requests; n++) {
    const [each] = fc.sample(conversation, { seed: (Math.imul(seed, SPREAD) + n) | 0, numRuns: 1 })
    said += each!.askings.length + (each!.last === undefined ? 0 : 1)
    yield each!
  }
}

const whole = ({ askings, last }: Conversation): Buffer =>
  Buffer.concat([...askings.map(bytesOf), ...(last === undefined ? [] : [last])])

const textOf = (each: Conversation) => whole(each).toString('latin1').slice(0, 3_000)

interface Tally {
  requests: number
  byStatus: Map<number, number>
  acknowledged: number
  cut: number
}

async function converse(each: Conversation, port: number, oracle: Oracle, tally: Tally): Promise<void> {
  const { askings, last, cut } = each
  const bytes = whole(each)
  tally.requests += askings.length + (last === undefined ? 0 : 1)
  if (cut !== undefined) {
    tally.cut++
    for (const asking of askings) oracle.mayHappen(asking)
    await say(port, { bytes, cutAt: Math.floor(cut * bytes.length) })
    return
  }
  const answers = answersIn(
    await say(port, { bytes }),
    askings.map(({ method }) => method),
  )
  for (const { status } of answers) tally.byStatus.set(status, (tally.byStatus.get(status) ?? 0) + 1)
  for (const answer of answers) checkForm(answer)
  const ended = answers.findIndex(({ headers }) => headers.get('connection') === 'close')
  askings.forEach((asking, n) => {
    const answer = answers[n]
    // The server may end a connection with an answer; then what was said behind it has not been done.
    if (answer !== undefined) {
      checkStatus(asking, answer)
      if (oracle.check(asking, answer)) tally.acknowledged++
    } else if (ended === -1 || ended >= n) {
      throw new Error(`request ${n + 1} was not answered`)
    }
  })
}

function checkForm({ status, headers, body }: Answer): void {
  if (status >= 500 && status !== 501 && !(status === 503 && headers.has('retry-after')))
    throw new Error(`an answer has the status ${status}: ${body}`)
  if (headers.get('x-content-type-options') !== 'nosniff' || !headers.has('content-security-policy'))
    throw new Error(`an answer with the status ${status} lacks the headers that all have`)
  if (status < 400 || body === '') return
  if (!/^application\/problem\+json/.test(headers.get('content-type') ?? ''))
    throw new Error(`a refusal with the status ${status} is no problem`)
  if (problem.parse(JSON.parse(body)).status !== status)
    throw new Error(`a problem says another status than ${status}`)
}

function checkStatus({ isRight, statuses }: Asking, { status, body }: Answer): void {
  if (statuses === undefined ? status < 400 || PROTOCOL_STATUSES.has(status) : statuses.has(status)) {
    if (!isRight || status < 400 || [404, 409, 503].includes(status)) return
    throw new Error(`what the description allows was refused with ${status}: ${body}`)
  }
  if (status !== 503) throw new Error(`the status ${status} is not described: ${body}`)
}

/** Which path a target means. What cannot be decoded means none. */
function pathOf(target: string): string {
  try {
    return decodeURIComponent(target.replace(/^http:\/\/localhost/, ''))
  } catch {
    return ''
  }
}

const ONE = /^\/spells\/([1-9]\d{0,18})$/

/** Knows what each row may be. */
class Oracle {
  readonly #database: Database
  /** What each row is: everything that was answered has been done. */
  readonly #rows = new Map<string, Row>()
  /** What each of some rows may be instead; `undefined`: not there. */
  readonly #instead = new Map<string, (Row | undefined)[]>()
  /** What may have been made without an answer. */
  readonly #mayBeNew: Row[] = []

  constructor(database: Database) {
    this.#database = database
  }

  /** One of the ids that are there, the latest first; or, for one rank in eight, one that is not there yet. */
  idAt(rank: number): string {
    const ids = [...this.#rows.keys()].map(Number).sort((one, other) => other - one)
    return String(rank % 8 === 7 || ids.length === 0 ? (ids[0] ?? 0) + 1 : ids[rank % ids.length])
  }

  /** A request may be done, and nobody will say whether it was. */
  mayHappen({ method, target, body }: Asking): void {
    const given = parse(body)
    const path = pathOf(target)
    const id = ONE.exec(path)?.[1]
    if (method === 'POST' && path === '/spells') {
      const fields = spellFields.safeParse(given)
      if (fields.success) this.#mayBeNew.push(fields.data)
    } else if (id !== undefined && method === 'DELETE') {
      this.#mayBe(id, undefined)
    } else if (id !== undefined && method === 'PUT') {
      const change = spellChange.safeParse(given)
      if (!change.success) return
      const { damage, name } = change.data
      for (const row of [this.#rows.get(id), ...(this.#instead.get(id) ?? [])])
        if (row !== undefined) this.#mayBe(id, { name: name ?? row.name, damage })
    }
  }

  #mayBe(id: string, row: Row | undefined): void {
    this.#instead.set(id, [...(this.#instead.get(id) ?? []), row])
  }

  /** Checks an answer, and remembers what it says was done. Answers whether that is something. */
  check(asking: Asking, { status, body, headers }: Answer): boolean {
    const { method, target } = asking
    if (status === 503) {
      this.mayHappen(asking)
      return false
    }
    const path = pathOf(target)
    const id = ONE.exec(path)?.[1]
    if (method === 'POST' && status === 201 && path.startsWith('/spells')) {
      const made = spell.parse(JSON.parse(body))
      if (headers.get('location') !== `/spells/${made.id}`) throw new Error('a new spell is somewhere else')
      if (this.#rows.has(String(made.id))) throw new Error(`the id ${made.id} was given twice`)
      this.#rows.set(String(made.id), { name: made.name, damage: made.damage })
      return true
    }
    if (method === 'GET' && status === 200 && path.startsWith('/spells') && id === undefined) {
      for (const found of spell.array().parse(JSON.parse(body))) this.#mustBe(String(found.id), found)
      return false
    }
    if (id === undefined) return false
    if (this.#mayHaveBeenMade(id)) {
      // Whatever it is, it may be, and from now on be what this has made of it.
      if (method === 'PUT' && status === 200) this.#mayBeNew.push(spell.parse(JSON.parse(body)))
      return false
    }
    if (method === 'DELETE' && status === 204) {
      if (!this.#rows.delete(id)) throw new Error(`the spell ${id} was removed, and was not there`)
      return true
    }
    if (method === 'PUT' && status === 200) {
      const now = spell.parse(JSON.parse(body))
      const { damage, name } = spellChange.parse(parse(asking.body))
      const before = this.#rows.get(id)
      if (before === undefined) throw new Error(`the spell ${id} was changed, and was not there`)
      this.#rows.set(id, { name: name ?? before.name, damage })
      this.#mustBe(id, now)
      return true
    }
    if (method === 'GET' && status === 200) this.#mustBe(id, spell.parse(JSON.parse(body)))
    if (status === 404 && ['GET', 'PUT', 'DELETE'].includes(method)) this.#mustBe(id, undefined)
    return false
  }

  /** Whether something is not known to be done, so that the table has to be looked at. */
  get isUnsure(): boolean {
    return this.#mayBeNew.length > 0 || this.#instead.size > 0
  }

  #mayHaveBeenMade(id: string): boolean {
    return !this.#rows.has(id) && this.#mayBeNew.length > 0
  }

  #mustBe(id: string, found: Row | undefined): void {
    if (this.#mayHaveBeenMade(id)) return
    const expected = this.#rows.get(id)
    if (!isSame(expected, found))
      throw new Error(`the spell ${id} is ${textOfRow(found)}, and should be ${textOfRow(expected)}`)
  }

  /** Compares the whole table. To be called when nothing is being done: it says what was done of what may have been. */
  async settle(): Promise<void> {
    const rows = await this.#database.query<Row & { id: number }>('select id, name, damage from spell')
    const found = new Map(rows.map(({ id, name, damage }) => [String(id), { name, damage }]))
    const isFirst = this.#rows.size === 0
    for (const id of new Set([...found.keys(), ...this.#rows.keys(), ...this.#instead.keys()])) {
      const row = found.get(id)
      const isKnown = [this.#rows.get(id), ...(this.#instead.get(id) ?? [])].some(each => isSame(each, row))
      if (!isFirst && !isKnown && !this.#wasMade(row))
        throw new Error(
          `the table has ${textOfRow(row)} as ${id}, and should have ${textOfRow(this.#rows.get(id))}`,
        )
      if (row === undefined) this.#rows.delete(id)
      else this.#rows.set(id, row)
    }
    this.#instead.clear()
    this.#mayBeNew.length = 0
  }

  #wasMade(row: Row | undefined): boolean {
    const at = this.#mayBeNew.findIndex(each => isSame(each, row))
    if (at === -1) return false
    this.#mayBeNew.splice(at, 1)
    return true
  }
}

const isSame = (one: Row | undefined, other: Row | undefined) =>
  one?.name === other?.name && one?.damage === other?.damage

const textOfRow = (row: Row | undefined) =>
  row === undefined ? 'nothing' : JSON.stringify({ name: row.name, damage: row.damage })

/** What a body says, whichever way it is framed; `undefined`: no JSON. */
function parse(body: Buffer | undefined): unknown {
  const text = body?.toString('utf8') ?? ''
  const chunks = [...text.matchAll(/([\da-f]+)\r\n/gi)]
  if (!text.endsWith('0\r\n\r\n') || chunks.length === 0) return parseJson(text)
  const parts: Buffer[] = []
  let rest = body!
  for (;;) {
    const end = rest.indexOf('\r\n')
    const length = Number.parseInt(rest.subarray(0, end).toString('latin1'), 16)
    if (!(length > 0)) return parseJson(Buffer.concat(parts).toString('utf8'))
    parts.push(rest.subarray(end + 2, end + 2 + length))
    rest = rest.subarray(end + 4 + length)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
