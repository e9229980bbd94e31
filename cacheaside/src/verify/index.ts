/**
 * The auditor: compares what the shared store holds with the origin, and counts what is stale. Once, by `verify` or
 * `npx cacheaside verify`; or without end, a few keys at a time, by `startSampling`.
 *
 * @packageDocumentation
 */
export {
  type AuditedKeyspace,
  type AuditedKeyspaceInput,
  type AuditedKeyspaceOptions,
  auditedKeyspace,
  type IdFromKey,
  type Lookup,
  type Version,
} from './audited-keyspace.ts'
export type { VerifyConfig } from './config.ts'
export type {
  Behind,
  Finding,
  OrphanedFinding,
  PendingChange,
  SkippedOutcome,
  StaleFinding,
  UnreadableFinding,
} from './outcome.ts'
export { type Counts, reportText, type VerifyReport } from './report.ts'
export { type Sampler, type SamplingOptions, startSampling } from './sampler.ts'
export { DEFAULT_VERIFY_OPTIONS, type Progress, type VerifyOptions, verify } from './verify.ts'
