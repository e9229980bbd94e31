/** What the modules of the repository import, as their texts say. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'

/** The root of the repository. */
export const ROOT = join(import.meta.dirname, '..')

/** The text with its comments blanked out: an example in a comment is no import, and a word there no use. */
export function code(text: string): string {
  const commentOrString =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g
  return text.replace(commentOrString, found =>
    /^\/[/*]/.test(found) ? found.replace(/[^\n]/g, ' ') : found,
  )
}

/** What a module imports or re-exports, by type, for its effect or when it gets there. */
export function importsOf(text: string): string[] {
  const specifier = /\b(?:from|import)\s*\(?\s*(['"])([^'"\n]+)\1/g
  return [...code(text).matchAll(specifier)].map(match => match[2] as string)
}

/** The TypeScript of the given folders, by paths from the root of the repository. */
export function modulesIn(...folders: string[]): Map<string, string> {
  const modules = new Map<string, string>()
  for (const folder of folders) {
    for (const name of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts') || /(^|[/\\])(node_modules|dist)[/\\]/.test(name)) continue
      const path = posix.join(folder, name.split(sep).join('/'))
      modules.set(path, readFileSync(join(ROOT, path), 'utf8'))
    }
  }
  return modules
}
