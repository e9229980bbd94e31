/** What may be thrown, and cannot be read as an error is. By what each is. */
export const hostileErrors: Readonly<Record<string, unknown>> = {
  null: null,
  undefined: undefined,
  'a symbol': Symbol('thrown'),
  'an object without a prototype': Object.create(null),
  'an error whose message is a symbol': Object.assign(new Error(), { message: Symbol('message') }),
  'an error whose message is an object without a prototype': Object.assign(new Error(), {
    message: Object.create(null),
  }),
  'an error whose fields throw': throwing(new Error(), ['message', 'code', 'cause', 'errors']),
  'an object whose toString throws': {
    toString() {
      throw new Error('toString')
    },
  },
  'a proxy whose traps throw': new Proxy(new Error(), {
    get() {
      throw new Error('get')
    },
    getPrototypeOf() {
      throw new Error('getPrototypeOf')
    },
    defineProperty() {
      throw new Error('defineProperty')
    },
  }),
  'a proxy that was revoked': revoked(),
  'an error that is its own cause': ownCause(),
}

function throwing(error: Error, names: readonly string[]): Error {
  for (const name of names)
    Object.defineProperty(error, name, {
      get() {
        throw new Error(`its ${name}`)
      },
    })
  return error
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function ownCause(): Error {
  const error = new Error('caused by itself')
  error.cause = error
  return error
}
