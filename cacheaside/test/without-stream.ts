import type { SharedStore } from '../src/index.ts'

/** A store seen by requests alone. */
export function withoutStream(inner: SharedStore): SharedStore {
  const overridden: Partial<SharedStore> = {
    name: 'streamless',
    synchronous: false,
    stream: 'none',
    subscribe: () => {
      throw new Error('there is no stream')
    },
    heartbeat: (text, keyspaces) => {
      if (text !== '') throw new Error('there is no stream')
      return inner.heartbeat('', keyspaces)
    },
  }
  return new Proxy(inner, {
    get(target, name) {
      if (name in overridden) return overridden[name as keyof SharedStore]
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}
