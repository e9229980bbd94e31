import { posix } from 'node:path'

/** Reads, in a page that says which tests show what it claims, which these are. */

/** Folders whose tests run with `npm test`. */
const TESTED = /^(cacheaside\/test|spellbook\/test|examples|test|trials)\//

/** A test that the page names: the file it links to, and the name of the test in it. */
export interface Shown {
  readonly part: string
  readonly label: string
  readonly path: string
  readonly name: string
}

/** The parts of the page: what comes after each anchor, by its name. */
export function partsOf(page: string): Map<string, string> {
  const [, ...pieces] = page.split(/^<a id="([^"]+)"><\/a>$/m)
  const parts = new Map<string, string>()
  for (let i = 0; i < pieces.length; i += 2) parts.set(pieces[i]!, pieces[i + 1]!)
  return parts
}

/** Every test that a page names, in lines of the one form that it has for them. */
export function shownIn(page: string, folder = 'docs'): Shown[] {
  return [...partsOf(page)].flatMap(([part, text]) =>
    [...text.matchAll(/^- \[`([^`]+)`\]\(([^)]+)\): `([^`]+)`$/gm)].map(match => ({
      part,
      label: match[1]!,
      path: posix.join(folder, match[2]!),
      name: match[3]!,
    })),
  )
}

/** The names that the tests of a file have in its text: first arguments of a call, and names of scenarios. */
function namesIn(text: string): Set<string> {
  const title =
    /(?:\b(?:it|test)(?:\.\w+)*(?:<[^>]*>)?\(\s*|\)\(\s*|\bname:\s*)(['"`])((?:\\.|(?!\1)[^\n])*)\1,/g
  return new Set([...text.matchAll(title)].map(match => match[2]!.replace(/\\(['"`])/g, '$1')))
}

/** Why this is not a test that shows anything, if it is none. */
export function whatIsWrong(
  { label, path, name }: Shown,
  open: (path: string) => string | undefined,
): string | undefined {
  const text = open(path)
  if (text === undefined) return `${path} does not exist`
  if (!TESTED.test(path)) return `${path} is no file of the tests`
  if (label !== posix.basename(path)) return `${label} is not the name of ${path}`
  return namesIn(text).has(name) ? undefined : `${path} has no test called ${name}`
}
