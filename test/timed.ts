const STEP_MS = 5

/**
 * Does something and says how long it took, without the time for which this process did not get to run meanwhile: on
 * a machine that many share, that is not the doing of the program under test.
 */
export async function timed<T>(work: () => Promise<T>): Promise<{ value: T; tookMs: number }> {
  const beganMs = performance.now()
  let [latestMs, lostMs] = [beganMs, 0]
  const look = () => {
    const nowMs = performance.now()
    lostMs += Math.max(0, nowMs - latestMs - STEP_MS)
    latestMs = nowMs
  }
  const timer = setInterval(look, STEP_MS)
  try {
    const value = await work()
    look()
    return { value, tookMs: latestMs - beganMs - lostMs }
  } finally {
    clearInterval(timer)
  }
}
