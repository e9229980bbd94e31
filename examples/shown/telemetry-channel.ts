/** What docs/telemetry.md shows, with what it takes for granted. It is compiled and not run. */
import { subscribe } from 'node:diagnostics_channel'
import type { ReadTrace } from 'cacheaside'

subscribe('tracing:cacheaside:read:asyncEnd', message => console.log((message as ReadTrace).events))
