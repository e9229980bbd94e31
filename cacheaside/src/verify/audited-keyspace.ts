import { isDeepStrictEqual } from 'node:util'
import { CacheError } from '../base/errors.ts'
import { invalidOption } from '../base/invalid-option.ts'
import { idPartsOf, type Key, keyOf } from '../base/key.ts'
import { notAtOnce, silencePromise } from '../base/thrown.ts'
import { DEFAULT_CACHE_OPTIONS, type KeyspaceOptions, type LoadContext } from '../options.ts'
import { aliasOf } from '../own-key.ts'
import {
  type ResolvedCacheOptions,
  type ResolvedKeyspaceOptions,
  resolveKeyspaceOptions,
} from '../resolve-options.ts'
import { Envelope, type Opened, Unopened } from '../shared/codec.ts'
import type { Kept } from '../shared/kept.ts'
import type { ValueRegister } from '../shared/register.ts'

/** Tells an older value of a row from a newer one: a number that grows, or the time of its last change. */
export type Version = number | bigint | string | Date

/**
 * Reads another value from the shared store as a reader would find it now: the value, or `undefined`, also for one that is
 * absent, guarded or of an old generation.
 *
 * @param keyspace - The name of an audited keyspace.
 */
export type Lookup = (keyspace: string, id: unknown) => Promise<unknown>

/** Turns the parts of a key's id back into the id. If it throws or returns `undefined`, the parts are no id of the keyspace. */
export type IdFromKey<Id> = (parts: readonly string[]) => Id | undefined

/**
 * The options of an audited keyspace: those of the cache's keyspace, and some only for audits. `codec`, `schema`, `shape`,
 * `key`, `idOf` and `tags` have to be the same as in the cache. Times to live do not matter here.
 *
 * The loader must read the primary. It is called as for a reader, but takes no place under any load limit: an audit's own
 * `rate` bounds its calls.
 */
export interface AuditedKeyspaceOptions<Id, V, D = Kept<V>, W = D> extends KeyspaceOptions<Id, V, D, W> {
  /**
   * The way back from a key's parts, which are texts, to the id: `([id]) => Number(id)`. Left out, the id is the one
   * part, as text.
   */
  readonly idFromKey?: IdFromKey<Id>
  /**
   * Reads from a value how new it is. Left out: the report does not say how far behind a stale value is. Not used to compare.
   */
  readonly versionOf?: (value: W) => Version | undefined
  /**
   * Whether a cached value counts as equal to the origin's; `undefined` is an absent row. Left out: they are equal if they
   * have the same text, or are deeply equal.
   */
  readonly equal?: (cached: W | undefined, origin: W | undefined) => boolean
  /**
   * Whether any reader still asks for this id. For ids that contain a version: values of an old version are never found
   * again, so they are orphaned and not stale. Left out: always.
   */
  readonly isReachable?: (id: Id, lookup: Lookup) => Promise<boolean> | boolean
}

/** {@link AuditedKeyspaceOptions}, in which `idFromKey` may be left out only where ids are texts. */
export type AuditedKeyspaceInput<Id, V, D = Kept<V>, W = D> = AuditedKeyspaceOptions<Id, V, D, W> &
  (string extends Id ? object : { readonly idFromKey: IdFromKey<Id> })

/** The state of a row in the origin now: a value as readers would get it, or why it could not be read. */
export type FromOrigin =
  | { readonly kind: 'value'; readonly text: string | undefined; readonly opened: Opened<unknown> }
  | { readonly kind: 'failed'; readonly error: unknown }

/** A key of a keyspace, and the id behind it. */
export interface KeyAndId {
  readonly key: string
  readonly id: unknown
}

const OWN_OPTIONS = ['idFromKey', 'versionOf', 'equal', 'isReachable'] as const
/** An audit has no leases, so the relations to them do not matter. */
const WITHOUT_LEASES = {
  ...DEFAULT_CACHE_OPTIONS,
  busyWaitMs: 0,
  leaseMs: Number.POSITIVE_INFINITY,
} as unknown as ResolvedCacheOptions

/**
 * A keyspace as an audit sees it: how to get from a key to its id, from there to the origin, and how to compare.
 *
 * @param name - As in the cache's `keyspace()`.
 * @throws CacheError `INVALID_OPTIONS`, naming the option, what it should be and what it is.
 *
 * @example
 * ```ts
 * auditedKeyspace('spell', {
 *   load: (id: number) => table.find(id),
 *   idFromKey: ([id]) => Number(id),
 *   versionOf: spell => spell.updated_at,
 * })
 * ```
 */
export function auditedKeyspace<Id, V, D = Kept<V>, W = D>(
  name: string,
  options: AuditedKeyspaceInput<Id, V, D, W>,
): AuditedKeyspace {
  return new AuditedKeyspace(name, options as unknown as AuditedKeyspaceOptions<unknown, unknown>)
}

/** Made by {@link auditedKeyspace}. */
export class AuditedKeyspace {
  readonly name: string
  /** Version of the values' shape. @internal */
  readonly shape: number
  /** The options of the cache's keyspace. @internal */
  readonly keyspaceOptions: KeyspaceOptions<unknown, unknown>
  readonly #options: ResolvedKeyspaceOptions<unknown, unknown>
  readonly #audited: Pick<AuditedKeyspaceOptions<unknown, unknown>, (typeof OWN_OPTIONS)[number]>
  readonly #envelope: Envelope<unknown>

  /** @internal */
  constructor(name: string, given: AuditedKeyspaceOptions<unknown, unknown>) {
    if (typeof given !== 'object' || given === null) throw invalidOption(name, 'an object', given)
    const { idFromKey, versionOf, equal, isReachable, ...options } = given
    this.#options = resolveKeyspaceOptions(name, options, WITHOUT_LEASES)
    for (const option of OWN_OPTIONS) {
      if (given[option] !== undefined && typeof given[option] !== 'function')
        throw invalidOption(`${name}.${option}`, 'a function', given[option])
    }
    this.name = name
    this.keyspaceOptions = options
    this.shape = this.#options.shape
    this.#audited = given
    this.#envelope = new Envelope(this.#options.codec, this.#options.schema)
  }

  /**
   * The canonical key of an id, as the cache's keyspace makes it.
   *
   * @throws CacheError `INVALID_KEY` if the id is malformed or too long.
   */
  key(id: unknown): Key {
    const { key } = this.#options
    return keyOf(this.name, key === undefined ? id : answered(`${this.name}.key`, key(id)))
  }

  /** The id behind a key, or `undefined` if no id has this key. @internal */
  idFromKey(key: string): unknown {
    try {
      const id = this.#idOf(idPartsOf(key))
      return id !== undefined && this.key(id) === key ? id : undefined
    } catch {
      // The key was not made of an id.
      return undefined
    }
  }

  /** The id that has these parts, as a person has typed them, and its key; `undefined` if there is none. @internal */
  idFromParts(parts: readonly string[]): { readonly id: unknown; readonly key: Key } | undefined {
    try {
      const id = this.#idOf(parts)
      return id === undefined ? undefined : { id, key: this.key(id) }
    } catch {
      // No id has these parts.
      return undefined
    }
  }

  /** The id that these parts make. Throws what `idFromKey` throws. */
  #idOf(parts: readonly string[]): unknown {
    const { idFromKey } = this.#audited
    if (idFromKey !== undefined) return answered('idFromKey', idFromKey(parts))
    return parts.length === 1 ? parts[0] : undefined
  }

  /** Opens a stored text as for a reader. @internal */
  open(text: string | undefined): Opened<unknown> | Unopened {
    return this.#envelope.open(text)
  }

  /**
   * Whether a value belongs to a row with another id: a reader does not take it.
   *
   * @throws CacheError `INVALID_OPTIONS` if `idOf` cannot tell.
   * @internal
   */
  isAlias(key: string, opened: Opened<unknown>): boolean {
    const alias = aliasOf({ keyOf: id => this.key(id), options: this.#options }, key, opened)
    if (alias === undefined || alias.belongsTo !== undefined) return alias !== undefined
    throw new CacheError(
      'INVALID_OPTIONS',
      `${this.name}.idOf: expected a function from a value to its id (idFromKey is the one from the parts of a key)`,
      { cause: alias.error },
    )
  }

  /**
   * The tags that readers expect of an id's value, whatever it is: they take no value without them.
   *
   * @throws what `tags` throws.
   * @internal
   */
  tagsOfId(id: unknown): readonly string[] {
    return this.#options.tags?.(id) ?? []
  }

  /**
   * The tags that a value names itself. Readers take no value without them.
   *
   * @returns `undefined` if `tagsOf` throws: then readers do not take the value either.
   * @internal
   */
  tagsOfValue(id: unknown, opened: Opened<unknown>): readonly string[] | undefined {
    try {
      return this.#options.tagsOf?.(opened.take(), id) ?? []
    } catch {
      return undefined
    }
  }

  /** Whether readers still ask for an id. @internal */
  async isReachable(id: unknown, lookup: Lookup): Promise<boolean> {
    return this.#audited.isReachable === undefined || (await this.#audited.isReachable(id, lookup))
  }

  /**
   * Reads the origin: by `loadMany` in one call, or by several calls of `load` at once. Never rejects. @internal
   *
   * @param call - Runs one call of a loader, within its limits.
   */
  async load(
    asked: readonly KeyAndId[],
    atOnce: number,
    call: <T>(work: (context: LoadContext) => Promise<T>) => Promise<T>,
  ): Promise<ReadonlyMap<string, FromOrigin>> {
    const { load, loadMany } = this.#options
    const loaded = new Map<string, FromOrigin>()
    if (loadMany !== undefined) {
      try {
        const pairs = await call(context =>
          loadMany(
            asked.map(({ id }) => id),
            context,
          ),
        )
        const values = new Map<string, unknown>([...pairs].map(([id, value]) => [this.key(id), value]))
        for (const { key } of asked) loaded.set(key, this.#seal(values.get(key)))
      } catch (error) {
        for (const { key } of asked) loaded.set(key, { kind: 'failed', error })
      }
      return loaded
    }
    const loadOne = async ({ key, id }: KeyAndId) => {
      try {
        loaded.set(key, this.#seal(await call(async context => load!(id, context))))
      } catch (error) {
        loaded.set(key, { kind: 'failed', error })
      }
    }
    for (let at = 0; at < asked.length; at += atOnce)
      await Promise.all(asked.slice(at, at + atOnce).map(loadOne))
    return loaded
  }

  /** Whether a cached value is what the origin holds. @internal */
  isEqual(register: ValueRegister, cached: Opened<unknown>, origin: FromOrigin & { kind: 'value' }): boolean {
    const { equal } = this.#audited
    if (equal !== undefined) return answered(`${this.name}.equal`, equal(cached.take(), origin.opened.take()))
    // The order of an object's fields, as of a row's columns, makes no difference.
    return register.text === origin.text || isDeepStrictEqual(cached.take(), origin.opened.take())
  }

  /** The version of a value; `undefined` for an absent row, or if the value has none. @internal */
  versionOf(opened: Opened<unknown>): Version | undefined {
    const value = opened.take()
    return value === undefined
      ? undefined
      : answered(`${this.name}.versionOf`, this.#audited.versionOf?.(value))
  }

  #seal(value: unknown): FromOrigin {
    const sealed = this.#envelope.seal(value)
    if (sealed instanceof Unopened)
      return {
        kind: 'failed',
        error: new CacheError(
          'INVALID_OPTIONS',
          `${this.name}: a value of the origin does not survive its ${sealed.reason}`,
          { cause: sealed.error },
        ),
      }
    return { kind: 'value', ...sealed }
  }
}

/** The answer of a user's function. Throws if it is a promise: the function may have been declared as async. */
function answered<T>(name: string, answer: T): T {
  if (silencePromise(answer)) throw notAtOnce(name)
  return answer
}
