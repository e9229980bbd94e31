/** The same object, with another function in the place of one of its methods. */
export function withMethod<Of extends object, Name extends keyof Of>(
  inner: Of,
  name: Name,
  method: Of[Name],
): Of {
  return new Proxy(inner, {
    get(target, asked) {
      if (asked === name) return method
      const found: unknown = Reflect.get(target, asked, target)
      return typeof found === 'function' ? found.bind(target) : found
    },
  })
}
