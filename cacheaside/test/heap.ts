import v8 from 'node:v8'
import vm from 'node:vm'

v8.setFlagsFromString('--expose-gc')
const collectGarbage: () => void = vm.runInNewContext('gc')

/** The bytes on the heap that are in use. Some of what earlier tests have left is let go of in later turns only. */
export async function heap(): Promise<number> {
  for (let least = Number.POSITIVE_INFINITY; ; ) {
    collectGarbage()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    const used = heapUsed + arrayBuffers
    if (used > 0.999 * least) return used
    least = used
    await new Promise(setImmediate)
  }
}
