/**
 * Other libraries with a memory of their own, from the lab's install (`npm ci --prefix lab`): each as its documentation shows
 * it, with the values of a keyspace.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** A library's way to read one value, and to load it where it is not there. */
export interface Peer {
  readonly name: string
  readonly get: (id: number) => Promise<unknown>
}

interface Loaded {
  readonly bentocache: {
    readonly BentoCache: new (
      options: object,
    ) => {
      getOrSet(options: object): Promise<unknown>
    }
    readonly bentostore: () => { useL1Layer(driver: unknown): unknown }
  }
  readonly bentomemory: { readonly memoryDriver: (options: object) => unknown }
  readonly cacheable: {
    readonly Cacheable: new (
      options: object,
    ) => { getOrSet(key: string, load: () => Promise<unknown>): Promise<unknown> }
  }
  readonly layered: { readonly Loader: new (options: object) => { get(key: string): Promise<unknown> } }
}

const LAB = new URL('../../lab/', import.meta.url)
const TTL_MS = 600_000

/** Imports a package as the lab would. Its types are not known here: the lab is no part of this workspace. */
async function imported<Name extends keyof Loaded>(from: string, name: string): Promise<Loaded[Name]> {
  const { resolve } = createRequire(new URL(from, LAB))
  return await import(pathToFileURL(resolve(name)).href)
}

/** All of them; none if the lab is not installed, and then it is said. */
export async function memoryPeers(
  maxEntries: number,
  load: (id: number) => Promise<object>,
): Promise<Peer[]> {
  if (!existsSync(new URL('node_modules', LAB))) {
    console.log('\nThe other libraries are not installed: npm ci --prefix lab')
    return []
  }
  const { BentoCache, bentostore } = await imported<'bentocache'>('package.json', 'bentocache')
  const { memoryDriver } = await imported<'bentomemory'>('package.json', 'bentocache/drivers/memory')
  const { Cacheable } = await imported<'cacheable'>('package.json', 'cacheable')
  const { Loader } = await imported<'layered'>('with-ioredis-6/package.json', 'layered-loader')
  const bento = new BentoCache({
    default: 'memory',
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: maxEntries })) },
  })
  const cacheable = new Cacheable({ ttl: TTL_MS })
  const loader = new Loader({
    inMemoryCache: { ttlInMsecs: TTL_MS, maxItems: maxEntries },
    dataSourceGetOneFn: (key: string) => load(Number(key)),
    dataSourceGetManyFn: (keys: string[]) => Promise.all(keys.map(key => load(Number(key)))),
    cacheKeyFromValueResolver: ({ id }: { id: number }) => String(id),
  })
  return [
    {
      name: 'bentocache, memory',
      get: id => bento.getOrSet({ key: `spell:${id}`, ttl: TTL_MS, factory: () => load(id) }),
    },
    { name: 'cacheable, memory', get: id => cacheable.getOrSet(`spell:${id}`, () => load(id)) },
    { name: 'layered-loader, memory', get: id => loader.get(`${id}`) },
  ]
}
