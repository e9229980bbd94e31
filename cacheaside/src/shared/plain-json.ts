/**
 * Which values are plain JSON: those that `JSON.parse` gives back just as `JSON.stringify` took them.
 *
 * Nearly every value is, and every value is asked on its way into the cache, so this has to be cheap beside
 * `JSON.stringify`. It says no as soon as there is anything to look at more closely, and the closer look decides.
 */

/** How deep this goes into a value by recursion; what lies deeper is walked over with a list. */
const RECURSION = 200
/** How many objects a value may hold. Without a bound, one that shares its parts many times over is never walked to its end. */
export const MAX_OBJECTS = 2 ** 23
/**
 * Arrays with members beside their elements are short, as the result of a regular expression's `exec`, or hold objects.
 * Looking for such members in a long list of numbers would take longer than `JSON.stringify`.
 */
const LONG_LIST = 64

/** Whether a value is plain JSON. A cycle does not count: `JSON.stringify` finds it. May throw what a getter throws. */
export function isPlainJson(value: unknown): boolean {
  const walk = { objects: 0 }
  return isPlain(value, 0, walk)
}

interface Walk {
  objects: number
}

function isPlain(value: unknown, depth: number, walk: Walk): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return isPlainNumber(value)
    case 'object':
      if (value === null) return true
      if (++walk.objects > MAX_OBJECTS) return false
      if (depth === RECURSION) return isPlainAllTheWay(value)
      return Array.isArray(value)
        ? isPlainArray(value, depth + 1, walk)
        : isPlainObject(value, depth + 1, walk)
    default:
      return false
  }
}

/** Finite, and not the negative zero. */
const isPlainNumber = (value: number): boolean => value - value === 0 && (value !== 0 || 1 / value > 0)

function isPlainObject(object: object, depth: number, walk: Walk): boolean {
  if (Object.getPrototypeOf(object) !== Object.prototype) return false
  // Faster than an array of the names. It also finds what somebody has added to the prototype.
  for (const name in object) {
    const member: unknown = object[name as never]
    if (typeof member !== 'string' && !isPlain(member, depth, walk)) return false
  }
  return Object.getOwnPropertySymbols(object).length === 0 && !hasToJson(object)
}

/** `JSON.stringify` also calls a `toJSON` that is not enumerable, or was added to a prototype. */
const hasToJson = (object: object): boolean => (object as { toJSON?: unknown }).toJSON !== undefined

function isPlainArray(array: readonly unknown[], depth: number, walk: Walk): boolean {
  if (Object.getPrototypeOf(array) !== Array.prototype || hasToJson(array)) return false
  const objectsBefore = walk.objects
  for (let i = 0; i < array.length; i++) {
    const element = array[i]
    if (typeof element === 'string') continue
    if (typeof element === 'number' ? !isPlainNumber(element) : !isPlain(element, depth, walk)) return false
  }
  if (array.length > LONG_LIST && walk.objects === objectsBefore) return true
  return Object.keys(array).length === array.length && Object.getOwnPropertySymbols(array).length === 0
}

/** The same without recursion, for what may be nested more deeply than the stack allows. */
function isPlainAllTheWay(root: object): boolean {
  const found = new Set([root])
  for (const object of found) {
    const isArray = Array.isArray(object)
    if (Object.getPrototypeOf(object) !== (isArray ? Array.prototype : Object.prototype)) return false
    if (Object.getOwnPropertySymbols(object).length > 0 || hasToJson(object)) return false
    const members: unknown[] = Object.values(object)
    if (isArray && members.length !== object.length) return false
    for (const member of members) {
      if (typeof member === 'object' && member !== null) found.add(member)
      else if (!isPlain(member, 0, { objects: 0 })) return false
    }
    if (found.size > MAX_OBJECTS) return false
  }
  return true
}
