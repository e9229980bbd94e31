import { SimulatedClock, sharedRegistersContract, sharedStoreContract } from 'cacheaside/testing'
import { describe, it } from 'vitest'
import { MapStore } from './your-own-store.ts'

describe('MapStore keeps the contract of a shared store', () => {
  sharedStoreContract(
    { describe, it },
    {
      hasView: false, // an auditor cannot look into it
      async open() {
        const clock = new SimulatedClock()
        const store = new MapStore(clock)
        return {
          store,
          advance: ms => clock.advance(ms), // with a real clock: wait that long
          raw: async key => store.inspect(key),
          plant: async (key, text, lifeMs = 86_400_000) => store.plant(key, text, lifeMs),
          close: () => store.close(),
        }
      },
    },
  )
})

describe('MapStore keeps the contract of registers, before it has a stream', () => {
  sharedRegistersContract(
    { describe, it },
    {
      hasView: false,
      async open() {
        const clock = new SimulatedClock()
        const registers = new MapStore(clock)
        return {
          registers,
          timeMs: async () => registers.timeMs(), // what the registers are stamped with
          advance: ms => clock.advance(ms),
          raw: async key => registers.inspect(key),
          plant: async (key, text, lifeMs = 86_400_000) => registers.plant(key, text, lifeMs),
          close: () => registers.close(),
        }
      },
    },
  )
})
