import {
  type OpenedStore,
  type PlantableShared,
  plantableShared,
  SimulatedClock,
} from '../../src/testing/index.ts'

/** An embedded store on simulated time, as the contract suite wants it. */
export async function openEmbedded(
  wrap: (inner: PlantableShared['store'], clock: SimulatedClock) => OpenedStore['store'] = inner => inner,
): Promise<OpenedStore> {
  const clock = new SimulatedClock()
  const { store, plant } = plantableShared({ clock })
  const wrapped = wrap(store, clock)
  return {
    store: wrapped,
    advance: ms => clock.advance(ms),
    raw: async key => store.inspect(key),
    plant: async (key, text, lifeMs) => plant(key, text, lifeMs),
    close: async () => {
      await wrapped.close()
      await store.close()
    },
  }
}
