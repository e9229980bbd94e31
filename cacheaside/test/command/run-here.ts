import { systemClock } from '../../src/base/clock.ts'
import type { CommandOutput } from '../../src/command/command.ts'
import { runCommand } from '../../src/command/run-command.ts'

/** How a command ended, what it wrote, and what it asked. */
export interface RanHere {
  readonly code: number
  readonly out: string
  readonly err: string
  readonly asked: readonly string[]
}

/** Runs a command of `cacheaside` in this process. */
export async function runHere(
  args: readonly string[],
  more: Partial<CommandOutput> & { readonly answer?: string } = {},
): Promise<RanHere> {
  let [out, err] = ['', '']
  const asked: string[] = []
  const { answer, ...output } = more
  const code = await runCommand(args, {
    out: text => {
      out += text
    },
    err: text => {
      err += text
    },
    isTerminal: false,
    clock: systemClock,
    ...(answer === undefined
      ? {}
      : {
          ask: async (question: string) => {
            asked.push(question)
            return answer
          },
        }),
    ...output,
  })
  return { code, out, err, asked }
}
