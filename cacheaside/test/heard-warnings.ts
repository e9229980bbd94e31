import type { Logger } from '../src/index.ts'

/** One warning: how loud it was said, its code without the prefix, and the sentence. */
export type Heard = readonly [level: 'info' | 'warn' | 'error', code: string, message: string]

/** A logger that only notes, in the place of stderr. */
export function notingLogger(): Logger & { readonly heard: readonly Heard[] } {
  const heard: Heard[] = []
  const at =
    (level: Heard[0]) =>
    (message: string, { code }: { code: string }) =>
      void heard.push([level, code.replace(/^CACHEASIDE_/, ''), message])
  return { heard, info: at('info'), warn: at('warn'), error: at('error') }
}

/** For tests in which much goes wrong on purpose. */
export const quiet: Logger = { info() {}, warn() {}, error() {} }
