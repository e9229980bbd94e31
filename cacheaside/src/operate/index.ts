/**
 * Answers the questions of an operator: what is stored under a key, and what readers get. The program `cacheaside` prints
 * them; an application may offer the same over HTTP.
 *
 * @packageDocumentation
 */
export { certificateAdvice } from '../base/certificate-advice.ts'
export { lineOf } from '../base/masked.ts'
export { printable, printableJson } from '../base/printable.ts'
export type { AdviceCode, DoctorFinding } from './advice.ts'
export type { FeedMigration, OperationConfig, PoolSize } from './config.ts'
export { type DoctorOptions, type DoctorReport, examineAll } from './doctor.ts'
export {
  type ExplainedFeed,
  type ExplainedRegister,
  type ExplainedTag,
  type ExplainedValue,
  type ExplainOptions,
  type Explanation,
  explain,
} from './explain.ts'
export { explanationText } from './explain-text.ts'
export { feedScript, feedStatus, installChangeFeed, removeChangeFeed } from './feed.ts'
export { feedStatusText } from './feed-text.ts'
export {
  type AnsweringOptions,
  answerInquiries,
  askHotKeys,
  type HotKeys,
  type HotKeysReport,
  hotKeys,
  type ProcessStats,
} from './hot-keys.ts'
export type { ReaderAnswer, ReaderAnswers } from './reader.ts'
export { flushKeyspace, invalidateKey, keyToRemove, type Removable, removableNamed } from './remove.ts'
export type { CountedKey } from './space-saving.ts'
export {
  type KeyspaceHoldings,
  type LargestRegister,
  type StoreStats,
  type StoreStatsOptions,
  storeStats,
} from './store-stats.ts'
export type { Operated } from './target.ts'
