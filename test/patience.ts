/**
 * For how long a test waits for what other processes do before it gives up, as `vi.waitFor` and `vi.waitUntil` take it.
 * Vitest's own second is over too soon on a machine that is busy, and says nothing of the program under test.
 */
export const PATIENCE = { timeout: 40_000, interval: 20 }
