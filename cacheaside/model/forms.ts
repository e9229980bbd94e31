import { type Kind, many } from './record.ts'

/** How a part of a state is begun, copied, written down and read again, where states are lists of lists. */
export interface Form<T> {
  readonly size: number
  first(): T
  copy(value: T): T
  /** Writes it to `bytes` from `at` on, and returns where the next one begins. */
  pack(value: T, bytes: Uint8Array, at: number): number
  unpack(bytes: Uint8Array, at: number): T
}

/** What a form is the form of. */
export type Formed<F> = F extends Form<infer T> ? T : never

/** A record of a kind. */
export function record<R extends object>(kind: Kind<R>): Form<R> {
  return kind
}

/** So many small numbers; 0 at the beginning. */
export function counts(amount: number): Form<number[]> {
  return {
    size: amount,
    first: () => new Array<number>(amount).fill(0),
    copy: value => value.slice(),
    pack: (value, bytes, at) => {
      for (let i = 0; i < amount; i++) bytes[at + i] = value[i]!
      return at + amount
    },
    unpack: (bytes, at) => many(amount, i => bytes[at + i]!),
  }
}

/** So many of one form. */
export function list<T>(form: Form<T>, amount: number): Form<T[]> {
  return {
    size: form.size * amount,
    first: () => Array.from({ length: amount }, () => form.first()),
    copy: values => values.map(value => form.copy(value)),
    pack: (values, bytes, at) => {
      let next = at
      for (const value of values) next = form.pack(value, bytes, next)
      return next
    },
    unpack: (bytes, at) => many(amount, i => form.unpack(bytes, at + i * form.size)),
  }
}

/** Several forms, each with a name. */
export function group<T extends object>(forms: { readonly [Name in keyof T]: Form<T[Name]> }): Form<T> {
  const entries = Object.entries(forms) as [keyof T, Form<T[keyof T]>][]
  const each = (of: (form: Form<T[keyof T]>, name: keyof T) => T[keyof T]): T => {
    const made = {} as T
    for (const [name, form] of entries) made[name] = of(form, name)
    return made
  }
  return {
    size: entries.reduce((sum, [, form]) => sum + form.size, 0),
    first: () => each(form => form.first()),
    copy: value => each((form, name) => form.copy(value[name])),
    pack: (value, bytes, at) => {
      let next = at
      for (const [name, form] of entries) next = form.pack(value[name], bytes, next)
      return next
    },
    unpack: (bytes, at) => {
      let next = at
      return each(form => {
        const start = next
        next += form.size
        return form.unpack(bytes, start)
      })
    },
  }
}
