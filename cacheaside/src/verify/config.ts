import type { VerifyOptions } from './verify.ts'

/** What a file for `npx cacheaside verify` exports by default: an object of this kind, or a function that makes one. */
export interface VerifyConfig
  extends Pick<
    VerifyOptions,
    'shared' | 'keyspaces' | 'feed' | 'rate' | 'graceMs' | 'timeoutMs' | 'maxFindings'
  > {
  /** Closes what the file has opened. Not needed for the store: it is closed anyway. */
  readonly close?: () => Promise<void> | void
}
